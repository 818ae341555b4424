"""How much waits in the queues, and what was given up."""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from shopstream.aws.clients import asked

if TYPE_CHECKING:
    from shopstream.aws.clients import Clients
    from shopstream.aws.names import Names
    from shopstream.settings import Settings


class Queue(Struct):
    """A queue: messages that wait and those that somebody is at. `dead`: they were given up."""

    name: str
    waiting: int
    in_flight: int
    dead: bool


def queues(clients: Clients, names: Names, settings: Settings) -> list[Queue]:
    """All queues of a deployment. Raises AwsError when one isn't there."""
    topics = ["orders"] if settings.aws_clicks == "kinesis" else ["clicks", "orders"]
    live = [_queue(clients, names.queue(topic), dead=False) for topic in topics]
    dead = [_queue(clients, names.dead_letters(topic), dead=True) for topic in topics]
    return [*live, *dead, _queue(clients, names.failures, dead=True)]


def _queue(clients: Clients, name: str, *, dead: bool) -> Queue:
    with asked(f"look at the queue {name}"):
        url = clients.sqs.get_queue_url(QueueName=name)["QueueUrl"]
        found = clients.sqs.get_queue_attributes(
            QueueUrl=url,
            AttributeNames=[
                "ApproximateNumberOfMessages",
                "ApproximateNumberOfMessagesNotVisible",
            ],
        )["Attributes"]
    return Queue(
        name,
        int(found["ApproximateNumberOfMessages"]),
        int(found["ApproximateNumberOfMessagesNotVisible"]),
        dead,
    )
