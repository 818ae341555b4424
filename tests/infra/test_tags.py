"""Everything that can have tags has those by which a bill is told apart."""

from collections.abc import Iterator
from typing import Any

from tests.infra.drive import Drive


def made(module: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The resources of a module and of those in it."""
    yield from module.get("resources", [])
    for inner in module.get("child_modules", []):
        yield from made(inner)


def test_what_was_made_says_which_deployment_it_is_of(drive: Drive) -> None:
    state = drive.stack.plan_json()["prior_state"]["values"]["root_module"]
    tagged = {one["address"]: one["values"] for one in made(state) if "tags_all" in one["values"]}
    wanted = {"Project": "shopstream", "Deployment": drive.names.prefix, "ManagedBy": "terraform"}
    assert {values["tags_all"]["Deployment"] for values in tagged.values()} == {drive.names.prefix}
    assert len(tagged) > 50
    assert not [address for address, values in tagged.items() if values["tags_all"] != wanted]
    # As AWS has it, and not the state alone.
    url = drive.queue_url(drive.names.queue("orders"))
    assert drive.emulator.client("sqs").list_queue_tags(QueueUrl=url)["Tags"] == wanted
