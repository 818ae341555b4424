"""Alerts on AWS: messages of SNS, which sends them on as mail, to queues or wherever."""

from functools import cached_property

import msgspec

from shopstream.aws.clients import Clients, asked
from shopstream.aws.names import Names
from shopstream.domain.receivers import header_line, one_line
from shopstream.errors import AwsError, NotDelivered
from shopstream.events import Alert

MESSAGE_BYTES_MAX = 256 * 1024
"""Source: Amazon SNS, "Message size limits"; attributes count too."""
_ROOM_BYTES = 4 * 1024
SUBJECT_CHARS_MAX = 99
"""SNS wants fewer than 100 characters of ASCII."""
_LINES_MAX, _LINE_CHARS_MAX = 200, 2_000

_encode = msgspec.json.Encoder(decimal_format="number").encode


class SnsNotifier:
    """`ports.Notifier` that publishes an alert to the topic of its kind; at least once.

    Mail gets it as text; every other subscriber as the JSON of `events.Alert`. The message has
    the attributes `alert_id` (the idempotency key) and `kind`, for the filters of subscriptions.
    """

    def __init__(self, clients: Clients, names: Names) -> None:
        self._clients = clients
        self._names = names

    def deliver(self, alert: Alert) -> None:
        invalid = alert.kind == "invalid_order"
        name = self._names.invalid_orders if invalid else self._names.alerts
        try:
            with asked(f"publish to {name}"):
                self._clients.sns.publish(
                    TopicArn=self._clients.arn(self._clients.sns, "sns", self._account, name),
                    Subject=_subject(alert.subject),
                    Message=_message(alert),
                    MessageStructure="json",
                    MessageAttributes={
                        key: {"DataType": "String", "StringValue": value}
                        for key, value in (("alert_id", alert.alert_id), ("kind", alert.kind))
                    },
                )
        except AwsError as e:
            raise NotDelivered(str(e), receiver_down=e.busy) from e

    @cached_property
    def _account(self) -> str:
        return self._names.account or self._clients.account


def _subject(subject: str) -> str:
    text = header_line(subject).encode("ascii", "replace").decode()[:SUBJECT_CHARS_MAX]
    # SNS refuses one that begins with anything but a letter, digit or punctuation mark.
    return text.strip() or "shopstream"


def _message(alert: Alert) -> str:
    """The alert in both forms; what is too long is cut, `data` first."""
    text = "\n".join(one_line(line, _LINE_CHARS_MAX) for line in _lines(alert))
    whole = _both(alert, text)
    if _size(whole) <= MESSAGE_BYTES_MAX - _ROOM_BYTES:
        return whole
    whole = _both(msgspec.structs.replace(alert, data={"cut": True}), text)
    if _size(whole) <= MESSAGE_BYTES_MAX - _ROOM_BYTES:
        return whole
    short = msgspec.structs.replace(
        alert, data={"cut": True}, subject=alert.subject[:1_000], body=alert.body[:8_000]
    )
    return _both(short, text[:16_000])


def _lines(alert: Alert) -> list[str]:
    return [*alert.body.splitlines()[:_LINES_MAX], "", f"alert {one_line(alert.alert_id)}"]


def _both(alert: Alert, text: str) -> str:
    return _encode({"default": _encode(alert).decode(), "email": text}).decode()


def _size(text: str) -> int:
    return len(text.encode())
