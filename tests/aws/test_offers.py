"""OfferGenerator and CartWatcher, called as Lambda calls them."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.aws.conftest import Faults, Stack, forget_what_is_open
from tests.aws.events import Context, change, failed, queue_event
from tests.aws.test_ingestor import packed

from shopstream.aws import handlers
from shopstream.aws.wire import Record, as_text, pack
from shopstream.domain.offers import RuleSet
from shopstream.errors import ConfigError
from shopstream.events import Entry

TEN = datetime(2025, 11, 21, 10, tzinfo=UTC)

RULES = """
[[rule]]
name = "looked-twice"
on = ["view"]
count = 2
same = "product"
within = "1h"
offer = { percent = 10, expires = "24h" }

[[rule]]
name = "cart-left"
on = ["add_to_cart"]
same = "cart"
idle = "30m"
without = ["purchase"]
offer = { percent = 5, expires = "24h" }
"""


def event(user_id: str, minutes: float, kind: str = "view", product: str = "p1") -> bytes:
    at = (TEN + timedelta(minutes=minutes)).isoformat()
    found = {"user_id": user_id, "event_type": kind, "product_id": product, "timestamp": at}
    return json.dumps(found | {"event_id": f"{user_id}-{minutes}-{kind}"}).encode()


def ingest(stack: Stack, user_id: str, *events: bytes) -> list[dict[str, Any]]:
    """Take events of a user; what the table's stream then tells of them."""
    body = as_text(packed("clicks", *events))
    handlers.ingestor(queue_event(stack.names.queue("clicks"), [(user_id, body)]), Context())
    return changes_of(stack, user_id)


def changes_of(stack: Stack, user_id: str) -> list[dict[str, Any]]:
    found = stack.clients.dynamodb.query(
        TableName=stack.names.table("browsing_events"),
        KeyConditionExpression="pk = :user",
        ExpressionAttributeValues={":user": {"S": user_id}},
    )
    return [change(n, item) for n, item in enumerate(found["Items"])]


def numbered(*changes: dict[str, Any]) -> dict[str, Any]:
    """A batch of the stream, its sequence numbers 0, 1, …"""
    for n, one in enumerate(changes):
        one["dynamodb"]["SequenceNumber"] = str(n)
    return {"Records": list(changes)}


def offers_of(stack: Stack, user_id: str) -> list[dict[str, Any]]:
    return [json.loads(item) for _, item in stack.items.query("offers", user_id)]


def archived(stack: Stack) -> set[str]:
    s3, bucket = stack.clients.s3, stack.names.offers_archive
    found = s3.list_objects_v2(Bucket=bucket, Prefix="offers/").get("Contents", [])
    return {one["Key"].rpartition("/")[2] for one in found}


@pytest.fixture(autouse=True)
def _ten_oclock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time_ns", lambda: round(TEN.timestamp() * 1e9))


@pytest.fixture(autouse=True)
def _rules(stack: Stack) -> None:
    write_rules(stack, RULES)
    forget_what_is_open()


def write_rules(stack: Stack, text: str) -> None:
    s3, lake = stack.clients.s3, stack.names.lake
    s3.put_object(Bucket=lake, Key="config/rules.toml", Body=text.encode())


def test_new_clicks_make_an_offer_and_a_file_of_the_archive(stack: Stack) -> None:
    ingest(stack, "u1", event("u1", -9))
    changes = ingest(stack, "u1", event("u1", -5))
    assert failed(handlers.offer_generator(numbered(*changes), Context())) == []
    offers = offers_of(stack, "u1")
    assert [offer["rule"] for offer in offers] == ["looked-twice"]
    assert f"{offers[0]['offer_id']}.json" in archived(stack)


def test_a_batch_of_the_stream_that_comes_again_makes_nothing_more(stack: Stack) -> None:
    changes = ingest(stack, "u2", event("u2", -9), event("u2", -5))
    handlers.offer_generator(numbered(*changes), Context())
    offers, files = offers_of(stack, "u2"), archived(stack)
    handlers.offer_generator(numbered(*changes), Context())
    assert offers_of(stack, "u2") == offers
    assert archived(stack) == files


def test_only_new_items_count_and_what_expires_does_not(stack: Stack) -> None:
    changes = ingest(stack, "u3", event("u3", -9), event("u3", -5))
    gone = [one | {"eventName": "REMOVE"} for one in changes]
    assert failed(handlers.offer_generator(numbered(*gone), Context())) == []
    assert offers_of(stack, "u3") == []


def test_a_user_whose_offers_fail_does_not_keep_others_from_theirs(
    stack: Stack, faults: Faults
) -> None:
    bad = ingest(stack, "bad4", event("bad4", -9), event("bad4", -5))
    good = ingest(stack, "u4", event("u4", -9), event("u4", -5))
    batch = numbered(*bad, *good)
    faults.fail("PutItem", '"bad4"')
    assert failed(handlers.offer_generator(batch, Context())) == ["0"]
    assert offers_of(stack, "bad4") == []
    assert len(offers_of(stack, "u4")) == 1
    faults.heal()
    assert failed(handlers.offer_generator(batch, Context())) == []
    assert len(offers_of(stack, "bad4")) == 1
    assert len(offers_of(stack, "u4")) == 1


def test_changed_rules_hold_after_a_minute(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    handlers.offer_generator(numbered(*ingest(stack, "u5", event("u5", -9))), Context())
    write_rules(stack, RULES.replace('"looked-twice"', '"looked-again"'))
    changes = ingest(stack, "v5", event("v5", -9), event("v5", -5))
    handlers.offer_generator(numbered(*changes), Context())
    assert [offer["rule"] for offer in offers_of(stack, "v5")] == ["looked-twice"]
    monkeypatch.setattr("shopstream.aws.lake_rules.LOOK_EVERY_S", 0.0)
    changes = ingest(stack, "w5", event("w5", -9), event("w5", -5))
    handlers.offer_generator(numbered(*changes), Context())
    assert [offer["rule"] for offer in offers_of(stack, "w5")] == ["looked-again"]


def test_without_a_file_of_rules_the_default_ones_hold(stack: Stack) -> None:
    stack.clients.s3.delete_object(Bucket=stack.names.lake, Key="config/rules.toml")
    looks = [event("u6", minute) for minute in (-9, -8, -7)]
    handlers.offer_generator(numbered(*ingest(stack, "u6", *looks)), Context())
    assert [offer["rule"] for offer in offers_of(stack, "u6")] == ["viewed-three-times"]


def test_rules_that_cannot_be_used_fail_all_and_name_the_file(stack: Stack) -> None:
    write_rules(stack, "[[rule]]\nname = 3\n")
    changes = ingest(stack, "u7", event("u7", -9), event("u7", -5))
    assert failed(handlers.offer_generator(numbered(*changes), Context())) == ["0"]
    with pytest.raises(ConfigError, match=r"config/rules\.toml"):
        handlers._offers().make(changes)
    write_rules(stack, RULES)
    assert failed(handlers.offer_generator(numbered(*changes), Context())) == []
    assert len(offers_of(stack, "u7")) == 1


def watch(minutes: float, *left_ms: int, **more: Any) -> dict[str, Any]:
    """What the watcher does so many minutes after ten o'clock."""
    at = (TEN + timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%SZ")
    found: dict[str, Any] = handlers.cart_watcher({"time": at, **more}, Context(*left_ms))
    return found


def left_cart(stack: Stack, user_id: str, *, historical: bool = False) -> None:
    entry = Entry(
        topic="clicks",
        events=[event(user_id, 0, "add_to_cart")],
        source="load:x" if historical else "http",
        received_us=round(TEN.timestamp() * 1e6),
        units=1,
        historical=historical,
        watermark_us=round((TEN + timedelta(hours=1)).timestamp() * 1e6) if historical else 0,
    )
    body = as_text(pack(Record(f"cart-{user_id}", entry)))
    handlers.ingestor(queue_event(stack.names.queue("clicks"), [(user_id, body)]), Context())
    handlers.offer_generator(numbered(*changes_of(stack, user_id)), Context())


def test_a_cart_left_alone_makes_an_offer_when_its_time_has_come(stack: Stack) -> None:
    left_cart(stack, "u8")
    watch(29)
    assert offers_of(stack, "u8") == []
    assert watch(31)["live"] == 1
    assert [offer["rule"] for offer in offers_of(stack, "u8")] == ["cart-left"]
    assert watch(32)["live"] == 0


def test_history_falls_due_when_its_watermark_has_stood_still_for_a_run(stack: Stack) -> None:
    watch(0)
    left_cart(stack, "u9", historical=True)
    assert watch(1) == {"live": 0, "historical": 0, "failed": 0, "finished": True}
    assert offers_of(stack, "u9") == []
    assert watch(2)["historical"] == 1
    assert [offer["historical"] for offer in offers_of(stack, "u9")] == [True]


def test_history_falls_due_at_once_when_the_caller_says_that_it_is_settled(stack: Stack) -> None:
    left_cart(stack, "u10", historical=True)
    assert watch(1, settled=True)["historical"] == 1


def test_a_run_without_time_leaves_the_rest_to_the_next(stack: Stack) -> None:
    left_cart(stack, "u11")
    assert watch(60, 9_000) == {"live": 0, "historical": 0, "failed": 0, "finished": False}
    assert offers_of(stack, "u11") == []
    assert watch(61)["live"] == 1


@pytest.mark.parametrize("historical", [False, True])
def test_a_user_whose_history_cannot_be_read_keeps_nobody_elses_carts(
    stack: Stack, faults: Faults, historical: bool
) -> None:
    bad, good = f"a-bad{historical}", f"b-good{historical}"
    left_cart(stack, bad, historical=historical)
    left_cart(stack, good, historical=historical)
    faults.fail("Query", f'"{bad}"')
    with pytest.raises(handlers.TimersFailed, match="of 1 users"):
        watch(61, settled=True)
    assert len(offers_of(stack, good)) == 1
    faults.heal()
    assert watch(62, settled=True)["failed"] == 0
    assert len(offers_of(stack, bad)) == 1


def test_a_timer_at_which_the_rules_fail_keeps_nobody_elses_carts_and_is_not_lost(
    stack: Stack,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    left_cart(stack, "a-bad12")
    left_cart(stack, "u12")
    left_cart(stack, "v12", historical=True)
    fire = RuleSet.fire

    def failing(self: Any, shopper: Any, timer: Any, budget: Any) -> Any:
        if timer.user_id == "a-bad12":
            raise ZeroDivisionError("by what was left")
        return fire(self, shopper, timer, budget)

    with monkeypatch.context() as patch:
        patch.setattr(RuleSet, "fire", failing)
        for minutes in (31, 32):
            with pytest.raises(handlers.TimersFailed, match="of 1 users"):
                watch(minutes, settled=True)
    assert len(offers_of(stack, "u12")) == 1
    assert len(offers_of(stack, "v12")) == 1, "and history's turn came too"
    assert any("'a-bad12'" in message for message in caplog.messages)
    told = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["FailedUsers"] for line in told if "FailedUsers" in line] == [[1.0], [1.0]]
    assert watch(33)["live"] == 1
    assert len(offers_of(stack, "a-bad12")) == 1
