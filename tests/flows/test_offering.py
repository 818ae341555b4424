"""Offers made of a chunk that comes twice, or by processes that die or race, are those of one."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.flows.cloud import Cloud
from tests.flows.pipeline import MINUTE_US, NOW_US, Pipeline, click, entry, order

from shopstream.domain import offers as offers_domain
from shopstream.flows import offering

Opener = Callable[..., Cloud]
RULES = """
[[rule]]
name = "twice"
on = ["view"]
count = 2
same = "product"
within = "1h"
offer = { percent = 10, expires = "8h" }

[[rule]]
name = "left"
on = ["add_to_cart"]
same = "product"
idle = "10m"
without = ["purchase"]
cap_per_user = 1
offer = { percent = 5, expires = "8h" }

[[rule]]
name = "looked"
on = ["view"]
same = "product"
idle = "20m"
cooldown = "1h"
offer = { percent = 5, expires = "8h" }
"""


@pytest.fixture
def open_cloud(tmp_path: Path) -> Iterator[Opener]:
    opened: list[Cloud] = []

    def open_one(**options: Any) -> Cloud:
        opened.append(Cloud(tmp_path / str(len(opened)), **{"rules": RULES} | options))
        return opened[-1]

    yield open_one
    for cloud in opened:
        cloud.tables.close()


@pytest.fixture
def cloud(open_cloud: Opener) -> Cloud:
    return open_cloud()


def view(minutes: float, product: str = "p1", **fields: Any) -> dict[str, Any]:
    return click("u1", minutes, product_id=product, event_id=f"v{product}{minutes}", **fields)


def add(minutes: float, product: str = "p1") -> dict[str, Any]:
    return view(minutes, product, event_type="add_to_cart")


def bought(minutes: float, product: str = "p1") -> dict[str, Any]:
    return view(minutes, product, event_type="purchase")


STORY = [
    [view(-200), view(-199), add(-198, "p1"), add(-197, "p2")],
    [bought(-190, "p1"), view(-150, "p2"), view(-149, "p2"), bought(-148, "p2")],
    [view(-120, "p3"), view(-119, "p3"), view(-118, "p4"), view(-117, "p4"), add(-116, "p4")],
    [view(-60, "p5"), view(-59, "p5"), bought(-58, "p3")],
    [add(-30, "p6"), view(-29, "p6")],
]


def tell(cloud: Cloud, each: Callable[[Callable[[], Any]], Any] | None = None) -> None:
    each = each or (lambda process: process())
    for n, events in enumerate(STORY):
        cloud.ingest(entry(*events), f"r{n}")
        while cloud.tables.inserted:
            user_id, sk, item = cloud.tables.inserted[0]
            each(lambda u=user_id, c=(sk, item): cloud.make_offers(u, c))  # type: ignore[misc]  # bound now
            cloud.tables.inserted.pop(0)
    for until_us in (NOW_US - 25 * MINUTE_US, NOW_US):
        each(lambda u=until_us: cloud.fire(u, False))  # type: ignore[misc]  # bound now


def chunks_of(cloud: Cloud) -> list[tuple[str, bytes]]:
    return [(sk, item) for _, sk, item in cloud.tables.scan("browsing_events")]


def test_a_process_that_dies_before_any_of_its_writes_changes_no_decision(
    open_cloud: Opener,
) -> None:
    once, dying = open_cloud(), open_cloud()
    tell(once)
    tell(dying, dying.each_death)
    assert dying.snapshot() == once.snapshot()
    made = once.offers()
    assert [offer.rule for offer in made].count("left") == 1
    assert any(offer.moot for offer in made)
    assert any(not offer.moot for offer in made)


def test_a_budget_is_never_overspent_and_what_was_made_of_it_stays_made(
    open_cloud: Opener,
) -> None:
    """A process that dies after it took from a budget may leave a part of it unspent."""
    rules = RULES.replace(
        'same = "product"\nwithin', 'same = "product"\nbudget_per_day = 4\nwithin'
    )
    once, dying = open_cloud(rules=rules), open_cloud(rules=rules)
    tell(once)
    assert len(once.offers("twice")) == 4
    tell(dying, dying.each_death)
    assert 0 < len(dying.offers("twice")) <= 4
    spent = dict(dying.budget.spent)
    for chunk in chunks_of(dying):
        dying.make_offers("u1", chunk)
    assert dying.budget.spent == spent, "deciding again takes nothing from it"


def test_chunks_that_come_again_out_of_order_change_nothing(open_cloud: Opener) -> None:
    once, again = open_cloud(), open_cloud()
    tell(once)
    tell(again)
    chunks = chunks_of(again)
    for seed in range(5):
        shuffled = [*chunks, *chunks]
        Random(seed).shuffle(shuffled)
        for chunk in shuffled:
            again.make_offers("u1", chunk)
        again.make_offers("u1", *shuffled[:3])
        again.fire(NOW_US, False)
        assert again.snapshot() == once.snapshot()


def test_a_chunk_that_a_later_one_has_overtaken_is_not_passed_over(open_cloud: Opener) -> None:
    """One that was given up, say, and is sent again or never: timers that move on leave no gap."""
    once, overtaken = open_cloud(), open_cloud()
    for cloud in (once, overtaken):
        cloud.take(entry(add(-30)))
        cloud.ingest(entry(view(-9), view(-8)), "first")
        cloud.ingest(entry(add(-7)), "second")
    first, second = chunks_of(overtaken)[-2:]
    overtaken.make_offers("u1", second)
    overtaken.make_offers("u1", first)
    once.look()
    for cloud in (once, overtaken):
        cloud.fire(NOW_US, False)
    assert overtaken.snapshot() == once.snapshot()
    assert "twice" in {offer.rule for offer in once.offers()}


def test_many_chunks_at_once_make_what_they_make_one_by_one(open_cloud: Opener) -> None:
    once, together = open_cloud(), open_cloud()
    tell(once)
    for n, events in enumerate(STORY):
        together.ingest(entry(*events), f"r{n}")
    together.make_offers("u1", *chunks_of(together))
    together.fire(NOW_US, False)
    assert together.snapshot()["offers"] == once.snapshot()["offers"]
    assert together.snapshot()["timers"] == once.snapshot()["timers"]


def test_what_falls_due_waits_for_the_rules_to_see_what_was_added(open_cloud: Opener) -> None:
    """The clock may come by while a chunk is still on its way to the rules."""
    once, late = open_cloud(), open_cloud()
    for cloud in (once, late):
        cloud.take(entry(add(-30)))
        cloud.ingest(entry(view(-5), view(-4), bought(-3)), "r")
    once.look()
    for cloud in (once, late):
        cloud.fire(NOW_US, False)
    late.look()
    assert late.snapshot() == once.snapshot()
    assert [(o.rule, o.moot) for o in once.offers()] == [("left", True), ("twice", True)]


@pytest.mark.parametrize("first", ["clock", "stream"])
def test_the_clock_and_the_stream_may_look_at_a_user_at_the_same_time(
    open_cloud: Opener, first: str
) -> None:
    """One is overtaken by the other between its look and its writes; a cap of one stays one."""
    for moment in range(12):
        cloud = open_cloud()
        cloud.take(entry(add(-60), add(-59, "p2"), view(-58, "p3")))
        cloud.ingest(entry(view(-5), view(-4), add(-3, "p9")), "r")
        (_, sk, item) = cloud.tables.inserted.pop()
        looks: dict[str, Callable[[], Any]] = {
            "clock": partial(cloud.fire, NOW_US - 40 * MINUTE_US, False),
            "stream": partial(cloud.make_offers, "u1", (sk, item)),
        }
        other = looks["stream" if first == "clock" else "clock"]
        cloud.life.write = _between(moment, other)  # type: ignore[method-assign]  # the other comes between
        looks[first]()
        cloud.life.write = lambda: None  # type: ignore[method-assign]  # no more
        for look in looks.values():
            look()
        rules = sorted(offer.rule for offer in cloud.offers())
        assert rules == ["left", "looked", "twice"], f"overtaken before write {moment}"
        assert len(cloud.archived()) == 3


def _between(moment: int, other: Callable[[], Any]) -> Callable[[], None]:
    """Has `other` happen before the write number `moment`, once."""
    left = [moment]

    def write() -> None:
        left[0] -= 1
        if left[0] == -1:
            other()

    return write


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rules fail for clicks on the page /poison."""
    observe = offers_domain.RuleSet.observe

    def failing(self: Any, shopper: Any, click: Any, *rest: Any) -> Any:
        if click.page == "/poison":
            raise ZeroDivisionError("by what it says")
        return observe(self, shopper, click, *rest)

    monkeypatch.setattr(offers_domain.RuleSet, "observe", failing)


@pytest.mark.usefixtures("poison")
def test_an_event_at_which_the_rules_fail_is_quarantined_and_its_neighbours_pass(
    cloud: Cloud,
) -> None:
    cloud.ingest(entry(view(-9), view(-8, page="/poison"), view(-7)), "r")
    ((_, sk, item),) = cloud.tables.inserted
    cloud.each_death(lambda: cloud.make_offers("u1", (sk, item)))
    assert [offer.trigger for offer in cloud.offers()] == ["vp1-7"]
    (record,) = cloud.rejections()
    assert "ZeroDivisionError: by what it says" in record.rejection.failures[0].message
    assert b"/poison" in record.rejection.raw
    cells = {place: n for place, n in cloud.cells().items() if place[0] == "clicks"}
    assert cells["clicks", "", "derived"] == cells["clicks", "", "quarantined:poison"] == 1
    cloud.take(entry(view(-1, "p2"), view(0, "p2")))
    assert len(cloud.offers()) == 2, "the user goes on"


def test_an_event_that_spoils_the_fold_is_passed_over_for_good(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.take(entry(view(-9), view(-8, page="/poison")))
    fold = offers_domain.RuleSet._fold

    def failing(self: Any, made: Any, shopper: Any, click: Any, *rest: Any) -> Any:
        if self.rules and click.page == "/poison":
            raise ZeroDivisionError
        return fold(self, made, shopper, click, *rest)

    monkeypatch.setattr(offers_domain.RuleSet, "_fold", failing)
    before = len(cloud.offers())
    cloud.take(entry(view(-2, "p2"), view(-1, "p2")))
    cloud.fire(NOW_US + 60 * MINUTE_US, False)
    assert len(cloud.offers()) > before
    assert cloud.rejections() == [], "it was accepted, and looked at, when it came"


def test_someone_with_too_many_offers_gets_no_new_ones(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(offering, "OFFERS_MAX", 2)
    for n in range(4):
        cloud.take(entry(view(n - 9, f"p{n}"), view(n - 8.5, f"p{n}")))
    assert len(cloud.offers()) == 2
    cloud.take(entry(bought(-1, "p0")))
    assert [offer.moot for offer in cloud.offers()] == [True, False]


def test_offers_of_history_are_never_delivered(cloud: Cloud) -> None:
    cloud.take(entry(view(-30), view(-29), add(-28), historical=True, source="load:x"))
    cloud.take(entry(click("u2", -1), historical=True, source="load:x", watermark_us=NOW_US))
    cloud.watch()
    found = cloud.offers()
    assert sorted(offer.rule for offer in found) == ["left", "looked", "twice"]
    assert all(offer.historical and not offer.delivered for offer in found)


def test_a_purchase_finds_what_was_due_before_it_in_the_same_row_too(tmp_path: Path) -> None:
    """On one machine as well: it makes no difference where rows are cut."""
    events = [add(-60), bought(-30), add(-29, "p2"), view(-5, "p2", event_type="add_to_cart")]
    with (
        Pipeline(tmp_path / "a", rules=RULES) as whole,
        Pipeline(tmp_path / "b", rules=RULES) as cut,
    ):
        whole.give(*events)
        for event in events:
            cut.give(event)
        assert [(o.rule, o.moot) for o in whole.offers()] == [("left", True)]
        assert whole.snapshot() == cut.snapshot()


def test_a_timer_that_is_woken_early_fires_again_before_the_next_event(tmp_path: Path) -> None:
    """p1 is touched once more before its timer is due, and then left for long."""
    rules = RULES.replace("cap_per_user = 1\n", "")
    events = [add(-60), view(-55, event_type="add_to_cart"), add(-5)]
    with (
        Pipeline(tmp_path / "a", rules=rules) as whole,
        Pipeline(tmp_path / "b", rules=rules) as cut,
    ):
        whole.give(*events)
        for event in events:
            cut.give(event)
        assert len(whole.offers("left")) == 1
        assert whole.snapshot() == cut.snapshot()


def test_an_order_makes_its_customers_offers_moot(cloud: Cloud) -> None:
    cloud.take(entry(view(-9), view(-8)))
    cloud.take(entry(order("o1", 10, customer_id="u1"), topic="orders"))
    assert [offer.moot for offer in cloud.offers()] == [True]


def test_a_user_who_comes_back_after_all_was_forgotten_is_seen_again(cloud: Cloud) -> None:
    """Their timers and offers may be kept for longer than their history."""
    cloud.take(entry(view(-60), view(-59), add(-58)))
    cloud.take(entry(view(-57, "p2"), view(-56, "p2")))
    cloud.watch()
    batch = cloud.tables.batch()
    for user_id, sk, _ in cloud.tables.scan("browsing_events"):
        batch.delete("browsing_events", user_id, sk)
    cloud.tables.write(batch)
    before = len(cloud.offers())
    days = 40 * 24 * 60
    cloud.now_us += days * MINUTE_US
    cloud.take(entry(view(days - 2, "p3"), view(days - 1, "p3"), received_us=cloud.now_us))
    assert len(cloud.offers()) == before + 1
    cloud.take(entry(add(days - 1, "p4"), received_us=cloud.now_us))
    cloud.fire(cloud.now_us + 60 * MINUTE_US, False)
    assert len(cloud.offers("left")) == 1, "a cap counts the offers that are kept"
