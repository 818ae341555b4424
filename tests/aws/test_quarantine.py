"""Looking into a quarantine of millions: no more of it is read than is shown."""

from collections.abc import Mapping
from typing import Any

import msgspec
import pytest
from tests.aws.answering import answer, no_aws

from shopstream.aws.names import Names
from shopstream.aws.tables import DynamoTables
from shopstream.events import TOPICS, Failure, Rejection
from shopstream.flows.replaying import newest_rejections, rejections
from shopstream.flows.work import QuarantineRecord

TABLES = DynamoTables(no_aws(), Names("shopstream", "123456789012"))


def rejected(topic: str, n: int, source: str) -> dict[str, Any]:
    sk = f"{10**9 - n:020d}-record-000000"
    failure = Failure(reason="value", field="price", value="x", wanted="a number")
    record = QuarantineRecord(
        id=f"0-{sk}",
        rejection=Rejection(topic=topic, failures=[failure], raw=b"{}"),
        source=source,
        at_us=10**9 - n,
    )
    item = {"S": msgspec.json.encode(record).decode()}
    return {"pk": {"S": topic}, "sk": {"S": sk}, "item": item}


def without_end(asked: Mapping[str, Any]) -> dict[str, Any]:
    """A page of a quarantine that has no last one: every third rejection is the shop's."""
    topic = asked["ExpressionAttributeValues"][":pk"]["S"]
    first = int(asked.get("ExclusiveStartKey", {}).get("n", {"N": "0"})["N"])
    sources = ("shop", "http", "load:x")
    items = [rejected(topic, n, sources[n % 3]) for n in range(first, first + 100)]
    last = {"pk": {"S": topic}, "sk": {"S": "any"}, "n": {"N": str(first + 100)}}
    return {"Items": items, "LastEvaluatedKey": last}


def test_the_newest_are_found_without_reading_the_others() -> None:
    asked = answer(no_aws().dynamodb, "Query", without_end)
    found = list(newest_rejections(TABLES, {"source": "shop"}, 50))
    assert len(found) == 50 * len(TOPICS)
    assert {record.source for record in found} == {"shop"}
    newest = [record.at_us for record in found if record.rejection.topic == "clicks"]
    assert newest == [10**9 - n for n in range(0, 150, 3)]
    assert len(asked) == 2 * len(TOPICS)
    assert not any(one["ScanIndexForward"] for one in asked)


def test_one_is_found_by_its_key() -> None:
    wanted = rejected("orders", 7, "shop")
    clients = no_aws()
    answer(clients.dynamodb, "Query", lambda _: pytest.fail("the quarantine is read"))
    of_topic = {"orders": {"Item": wanted}}
    asked = answer(clients.dynamodb, "GetItem", lambda one: of_topic.get(one["Key"]["pk"]["S"], {}))
    where = {"id": f"0-{wanted['sk']['S']}"}
    (found,) = rejections(TABLES, where)
    assert (found.id, found.rejection.topic) == (where["id"], "orders")
    assert {one["Key"]["sk"]["S"] for one in asked} == {wanted["sk"]["S"]}
    assert list(rejections(TABLES, {"id": "another"})) == []
