"""What the tables on AWS have beside `ports.Items`: timers by when they are due, budgets, TTL."""

import time
import zlib
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import pytest
from tests.engines.aws_resources import Deployment

from shopstream.aws.items import attributes_of, from_stream, item_of
from shopstream.aws.tables import DynamoBudget, DynamoTables
from shopstream.domain.shoppers import Timer
from shopstream.domain.waiting import Waiting, kind_of, write_waiting
from shopstream.local.lake import FolderLake


def timer(user: str, due_us: int, *, historical: bool = False) -> Timer:
    return Timer(due_us, user, "abandoned", f"cart-{due_us}", historical)


def wait(tables: DynamoTables, *timers: Timer, user: str = "", historical: bool = False) -> None:
    """Have a user's timers be these."""
    batch = tables.batch()
    owner = user or timers[0].user_id
    batch.put("timers", owner, kind_of(historical), write_waiting(Waiting("", list(timers))))
    tables.write(batch)


def test_users_come_by_when_their_first_timer_is_due(dynamo: Deployment) -> None:
    tables = dynamo.tables("timers")
    for due_us in (7, 3, 9, 1, 5, 8, 2, 6, 4, 10):
        wait(tables, timer(f"u{due_us}", due_us + 50), timer(f"u{due_us}", due_us))
    assert list(tables.due_users(4, False)) == ["u1", "u2", "u3", "u4"]
    assert list(tables.due_users(0, False)) == []
    assert list(tables.due_users(2**60, False)) == [f"u{n}" for n in range(1, 11)]


def test_timers_of_history_are_apart(dynamo: Deployment) -> None:
    tables = dynamo.tables("timers")
    wait(tables, timer("u1", 1))
    wait(tables, timer("u2", 2, historical=True), historical=True)
    assert list(tables.due_users(9, False)) == ["u1"]
    assert list(tables.due_users(9, True)) == ["u2"]


def test_a_user_who_waits_for_nothing_more_is_not_found(dynamo: Deployment) -> None:
    tables = dynamo.tables("timers")
    wait(tables, timer("u1", 1))
    wait(tables, user="u1")
    assert list(tables.due_users(9, False)) == []
    assert tables.get("timers", "u1", "live") is not None, "what was looked at is still known"


def test_a_user_whose_timers_cannot_be_read_is_found_among_the_others(dynamo: Deployment) -> None:
    tables = dynamo.tables("timers")
    for n in range(3):
        wait(tables, timer(f"u{n}", n))
    dynamo.clients.dynamodb.update_item(
        TableName=dynamo.names.table("timers"),
        Key={"pk": {"S": "u1"}, "sk": {"S": "live"}},
        UpdateExpression="SET #item = :torn",
        ExpressionAttributeNames={"#item": "item"},
        ExpressionAttributeValues={":torn": {"S": '{"after":'}},
    )
    assert list(tables.due_users(9, False)) == ["u0", "u1", "u2"]


def test_thousands_of_users_all_come(dynamo: Deployment) -> None:
    tables = dynamo.tables("timers")
    batch = tables.batch()
    for n in range(1_100):
        waiting = Waiting("x" * 1_200, [timer(f"u{n}", n)])
        batch.put("timers", f"u{n}", "live", write_waiting(waiting))
    tables.write(batch)
    assert list(tables.due_users(2_000, False)) == [f"u{n}" for n in range(1_100)]


def test_a_budget_is_spent_to_the_last_and_no_further(dynamo: Deployment) -> None:
    dynamo.table("budgets")
    budget = DynamoBudget(dynamo.clients, dynamo.names)
    assert [budget.take("rule", 20_000, 3) for _ in range(5)] == [True, True, True, False, False]
    assert budget.take("rule", 20_001, 3), "another day"
    assert budget.take("other", 20_000, 3), "another rule"
    assert not budget.take("third", 20_000, 0)
    assert dynamo.tables("budgets").get("budgets", "rule", "20000") == b"3"


def test_many_who_spend_at_once_never_overspend(dynamo_local: Deployment) -> None:
    dynamo_local.table("budgets")
    budget = DynamoBudget(dynamo_local.clients, dynamo_local.names)
    with ThreadPoolExecutor(8) as pool:
        taken = list(pool.map(lambda _: budget.take("rule", 1, 20), range(60)))
    assert sum(taken) == 20


def test_of_many_who_put_one_item_at_once_one_does(dynamo_local: Deployment) -> None:
    tables = dynamo_local.tables("offers")
    with ThreadPoolExecutor(8) as pool:
        told = list(pool.map(lambda n: tables.put_new("offers", "u", "a", b"%d" % n), range(24)))
    stored = tables.get("offers", "u", "a")
    assert told.count(None) == 1
    assert {one for one in told if one is not None} == {stored}
    assert told[int(stored or b"-1")] is None


def test_of_many_who_swap_one_item_at_once_one_does(dynamo_local: Deployment) -> None:
    tables = dynamo_local.tables("offers")
    tables.put_new("offers", "u", "a", b"0")
    with ThreadPoolExecutor(8) as pool:
        told = list(
            pool.map(lambda n: tables.swap("offers", "u", "a", b"0", b"n%d" % n), range(24))
        )
    assert sum(told) == 1


def test_items_expire_as_long_after_they_are_put_as_their_table_says(dynamo: Deployment) -> None:
    tables = dynamo.tables("offers", "products", ttls={"offers": 3_600})
    before = int(time.time())
    tables.put_new("offers", "u1", "a", b"1")
    batch = tables.batch()
    batch.put("offers", "u1", "b", b"1")
    batch.put("products", "u1", "", b"1")
    tables.write(batch)
    for sk in ("a", "b"):
        found = raw(dynamo, "offers", "u1", sk)
        assert before + 3_600 <= int(found["expires"]["N"]) <= time.time() + 3_600
    assert "expires" not in raw(dynamo, "products", "u1", "\0")


def test_timers_expire_as_long_after_they_are_due(dynamo: Deployment) -> None:
    tables = dynamo.tables("timers", ttls={"timers": 3_600})
    due_s = int(time.time()) + 86_400
    wait(tables, timer("u1", due_s * 1_000_000))
    assert int(raw(dynamo, "timers", "u1", "live")["expires"]["N"]) == due_s + 3_600
    wait(tables, timer("u1", 1))
    expires = int(raw(dynamo, "timers", "u1", "live")["expires"]["N"])
    assert abs(expires - time.time() - 3_600) < 60


def raw(dynamo: Deployment, table: str, pk: str, sk: str) -> dict[str, Any]:
    answer = dynamo.clients.dynamodb.get_item(
        TableName=dynamo.names.table(table), Key={"pk": {"S": pk}, "sk": {"S": sk}}
    )
    return dict(answer["Item"])


@pytest.mark.parametrize("size", [399_000, 409_600, 409_601, 1_200_000])
def test_an_item_that_fits_only_compressed_is_kept_compressed(
    dynamo: Deployment, size: int
) -> None:
    tables = dynamo.tables("orders")
    item = (b'{"line":"\xc3\xa9 12345"}' * 100_000)[:size]
    assert tables.put_new("orders", "o1", "", item) is None
    assert tables.get("orders", "o1") == item
    assert tables.put_new("orders", "o1", "", b"x") == item
    assert tables.swap("orders", "o1", "", item, item + b" ")
    assert list(tables.scan("orders")) == [("o1", "", item + b" ")]


@pytest.mark.parametrize("fits", [True, False])
def test_an_item_is_replaced_whatever_compressed_it(
    dynamo: Deployment, fits: bool, tmp_path: Any
) -> None:
    tables = dynamo.tables("orders", lake=FolderLake(tmp_path))
    item = b"12345" * 100_000 if fits else Random(7).randbytes(1_000_000)
    tables.put_new("orders", "o1", "", item)
    assert ("z" in raw(dynamo, "orders", "o1", "\0")) is fits
    if fits:
        # As another version of zlib, or none of its kind, would have put it.
        dynamo.clients.dynamodb.update_item(
            TableName=dynamo.names.table("orders"),
            Key={"pk": {"S": "o1"}, "sk": {"S": "\0"}},
            UpdateExpression="SET z = :z",
            ExpressionAttributeValues={":z": {"B": zlib.compress(item, 1)}},
        )
    assert not tables.swap("orders", "o1", "", item + b"1", b"not this")
    assert tables.swap("orders", "o1", "", item, b"new")
    assert tables.get("orders", "o1") == b"new"


def test_an_item_that_fits_in_no_way_is_a_file_of_the_lake(aws: Any, tmp_path: Any) -> None:
    deployment = Deployment(aws, tmp_path)
    tables = deployment.tables("quarantine", lake=deployment.lake())
    item = Random(7).randbytes(1_000_000)
    batch = tables.batch()
    batch.put("quarantine", "orders", "1", item)
    tables.write(batch)
    assert list(tables.query("quarantine", "orders")) == [("1", item)]


def test_the_largest_items_come_whole_many_in_one_call(dynamo: Deployment) -> None:
    tables = dynamo.tables("orders")
    items = {f"o{n:02d}": Random(n).randbytes(380_000) for n in range(30)}
    batch = tables.batch()
    for sk, item in items.items():
        batch.put("orders", "o", sk, item)
    tables.write(batch)
    assert dict(tables.query("orders", "o")) == items


def test_images_of_a_stream_hold_the_same_item() -> None:
    for item in (b"text", "é".encode(), bytes(range(256)), b"", b"\xff" * 500_000):
        made = attributes_of("offers", "u1", "a", item, keep=_none)
        assert item_of(from_stream(_as_lambda_has_it(made)), lambda _: b"") == item


def _none(name: str, body: bytes) -> None:
    raise AssertionError(f"{name} needn't be kept")


def _as_lambda_has_it(attributes: dict[str, Any]) -> dict[str, Any]:
    return {
        name: {"B": b64encode(value["B"]).decode()} if "B" in value else value
        for name, value in attributes.items()
    }
