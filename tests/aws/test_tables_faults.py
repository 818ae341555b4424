"""What DynamoDB leaves unprocessed, throttles or answers too late: all is written, once in
effect.
"""

from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any

import pytest
from tests.aws.answering import SUBSETS, answer, by_turns, get_lost, no_aws, refuse

from shopstream.aws.items import text_of
from shopstream.aws.names import Names
from shopstream.aws.tables import DynamoBudget, DynamoTables, ttls_s
from shopstream.errors import AwsError
from shopstream.settings import Settings

NAMES = Names("shop", "123456789012")


class Dynamo:
    """BatchWriteItem, GetItem, PutItem and UpdateItem as documented, `turns` saying which writes
    of a call are left unprocessed, `lost` how many answers never come.
    """

    def __init__(self, turns: Iterator[set[int]], *, lost: int = 0) -> None:
        self.turns = turns
        self.lost = lost
        self.items: dict[tuple[str, str, str], Any] = {}
        self.writes: list[tuple[str, str, str]] = []
        self.waits: list[float] = []
        dynamodb = no_aws().dynamodb
        self.calls = answer(dynamodb, "BatchWriteItem", self.batch_write)
        answer(dynamodb, "GetItem", self.get_item)
        answer(dynamodb, "PutItem", self.put_item)
        answer(dynamodb, "UpdateItem", self.update_item)
        self.tables = DynamoTables(no_aws(), NAMES, sleep=self.waits.append)

    def batch_write(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        writes = [(name, w) for name, found in asked["RequestItems"].items() for w in found]
        assert 1 <= len(writes) <= 25
        places = [place_of(name, write) for name, write in writes]
        assert len(set(places)) == len(places), "DynamoDB refuses a key that comes twice"
        failing = next(self.turns)
        unprocessed: dict[str, list[Any]] = {}
        for n, (name, write) in enumerate(writes):
            if n in failing:
                unprocessed.setdefault(name, []).append(write)
                continue
            self.writes.append(places[n])
            if "PutRequest" in write:
                self.items[places[n]] = write["PutRequest"]["Item"]
            else:
                self.items.pop(places[n], None)
        self._maybe_lost()
        return {"UnprocessedItems": unprocessed}

    def get_item(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        assert asked["ConsistentRead"]
        found = self.items.get((asked["TableName"], *keys_of(asked["Key"])))
        return {} if found is None else {"Item": found}

    def put_item(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        place = (asked["TableName"], *keys_of(asked["Item"]))
        was = asked.get("ExpressionAttributeValues", {}).get(":was")
        there = self.items.get(place)
        good = there is None if was is None else there is not None and was in there.values()
        if not good:
            refuse("ConditionalCheckFailedException")
        self.items[place] = asked["Item"]
        self._maybe_lost()
        return {}

    def update_item(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        place = (asked["TableName"], *keys_of(asked["Key"]))
        spent = int(self.items.get(place, {"spent": {"N": "0"}})["spent"]["N"])
        if spent >= int(asked["ExpressionAttributeValues"][":limit"]["N"]):
            refuse("ConditionalCheckFailedException")
        self.items[place] = {**asked["Key"], "spent": {"N": str(spent + 1)}}
        self._maybe_lost()
        return {}

    def _maybe_lost(self) -> None:
        if self.lost:
            self.lost -= 1
            get_lost()


def keys_of(attributes: Mapping[str, Any]) -> tuple[str, str]:
    return text_of(attributes["pk"]), text_of(attributes["sk"])


def place_of(name: str, write: Mapping[str, Any]) -> tuple[str, str, str]:
    found = write["PutRequest"]["Item"] if "PutRequest" in write else write["DeleteRequest"]["Key"]
    return (name, *keys_of(found))


def five(dynamo: Dynamo) -> None:
    """Three puts in two tables, and two deletions of what is there."""
    dynamo.items[NAMES.table("offers"), "u", "gone"] = {"item": {"S": "x"}}
    dynamo.items[NAMES.table("orders"), "o", ""] = {"item": {"S": "x"}}
    batch = dynamo.tables.batch()
    batch.put("offers", "u", "a", b"1")
    batch.delete("offers", "u", "gone")
    batch.put("offers", "u", "b", b"\xff")
    batch.delete("orders", "o", "")
    batch.put("orders", "p", "", b"")
    dynamo.tables.write(batch)


def is_written(dynamo: Dynamo) -> None:
    get = dynamo.tables.get
    assert (get("offers", "u", "a"), get("offers", "u", "b")) == (b"1", b"\xff")
    assert get("orders", "p") == b""
    assert get("offers", "u", "gone") is None
    assert get("orders", "o") is None


@pytest.mark.parametrize("failing", SUBSETS, ids=str)
def test_only_what_is_left_unprocessed_is_written_again(failing: set[int]) -> None:
    dynamo = Dynamo(by_turns(failing))
    five(dynamo)
    is_written(dynamo)
    assert len(dynamo.writes) == len(set(dynamo.writes)) == 5
    assert len(dynamo.calls) == (2 if failing else 1)


@pytest.mark.parametrize("failing", SUBSETS, ids=str)
def test_a_time_out_after_some_were_written_does_no_harm(failing: set[int]) -> None:
    dynamo = Dynamo(by_turns(failing, failing), lost=1)
    five(dynamo)
    is_written(dynamo)


@pytest.mark.parametrize("failing", SUBSETS, ids=str)
def test_a_call_that_is_throttled_as_a_whole_is_repeated(failing: set[int]) -> None:
    dynamo = Dynamo(by_turns(failing))
    throttled = iter([True, True, False, False])

    def now_and_then(asked: Mapping[str, Any]) -> dict[str, Any]:
        if next(throttled):
            refuse("ProvisionedThroughputExceededException")
        return dynamo.batch_write(asked)

    answer(no_aws().dynamodb, "BatchWriteItem", now_and_then)
    five(dynamo)
    is_written(dynamo)
    assert len(dynamo.waits) == (3 if failing else 2)


def test_large_batches_are_cut_at_25_writes_and_16_mib() -> None:
    dynamo = Dynamo(by_turns())
    batch = dynamo.tables.batch()
    for n in range(60):
        batch.put("orders", f"o{n}", "", b"\xff" * 390_000)
    dynamo.tables.write(batch)
    assert len(dynamo.items) == 60
    for call in dynamo.calls:
        [written] = call["RequestItems"].values()
        assert sum(len(w["PutRequest"]["Item"]["item"]["B"]) for w in written) * 4 / 3 < 16 << 20


def test_what_is_never_written_is_told() -> None:
    dynamo = Dynamo(iter(lambda: set(range(25)), None))
    with pytest.raises(AwsError, match="write items: AWS took none of 5"):
        five(dynamo)
    assert 5 <= len(dynamo.waits) <= 20


def test_a_table_that_is_not_there_is_told_at_once() -> None:
    dynamo = Dynamo(by_turns())
    answer(no_aws().dynamodb, "BatchWriteItem", lambda _: refuse("ResourceNotFoundException"))
    with pytest.raises(AwsError, match=r"ResourceNotFoundException.*deploy first"):
        five(dynamo)
    assert dynamo.waits == []


def test_a_put_whose_answer_got_lost_is_told_of_its_own_item_when_it_is_repeated() -> None:
    dynamo = Dynamo(by_turns(), lost=1)
    with pytest.raises(AwsError, match="ReadTimeoutError"):
        dynamo.tables.put_new("offers", "u", "a", b"mine")
    assert dynamo.tables.put_new("offers", "u", "a", b"mine") == b"mine"
    assert dynamo.tables.put_new("offers", "u", "a", b"other's") == b"mine"


def test_a_swap_whose_answer_got_lost_is_done_when_it_is_repeated() -> None:
    dynamo = Dynamo(by_turns())
    dynamo.tables.put_new("offers", "u", "a", b"one")
    dynamo.lost = 1
    with pytest.raises(AwsError, match="ReadTimeoutError"):
        dynamo.tables.swap("offers", "u", "a", b"one", b"two")
    assert dynamo.tables.swap("offers", "u", "a", b"one", b"two")
    assert not dynamo.tables.swap("offers", "u", "a", b"one", b"three")


@pytest.mark.parametrize("lost", range(4))
def test_a_budget_is_never_overspent_whatever_answers_get_lost(lost: int) -> None:
    dynamo = Dynamo(by_turns(), lost=lost)
    budget = DynamoBudget(no_aws(), NAMES)
    spent = 0
    for _ in range(12):
        try:
            spent += budget.take("rule", 1, 5)
        except AwsError:
            continue
    assert spent == 5 - lost, "those that got lost are counted"
    assert dynamo.tables.get("budgets", "rule", "1") == b"5"


@pytest.mark.parametrize(("events", "ledger"), [(90, 90), (2, 30)])
def test_the_ledger_is_kept_as_long_as_it_may_be_asked_for_or_a_record_may_come_again(
    events: int, ledger: int
) -> None:
    assert ttls_s(Settings(events_ttl=timedelta(days=events)))["ledger"] == ledger * 86_400
