"""A sample of `make faults`: stages killed at system calls lose and double nothing."""

from pathlib import Path

import pytest
from tests.faults.kills import Victim
from tests.faults.snapshot import compare
from tests.faults.strace import Point, why_not
from tests.faults.victims import VICTIMS

pytestmark = pytest.mark.slow

SAMPLE: dict[str, list[tuple[str, float]]] = {
    "collector": [("pwrite64", 0.3), ("fdatasync", 0.7), ("write", 0.5)],
    "processor": [("write", 0.3), ("write", 0.8), ("rename", 0.9), ("fsync", 1), ("fdatasync", 1)],
    "notifier": [("pwrite64", 0.4), ("write", 0.5), ("fsync", 0.8)],
    "poisoned processor": [("write", 0.6)],
    "reshard": [("write", 0.3), ("write", 0.8), ("rename", 0.95), ("unlink", 0.9)],
    "intake": [("rename", 0.3), ("write", 0.5)],
    "lander": [("pwrite64", 0.5), ("rename", 0.4), ("write", 0.6)],
    "builder": [("pwrite64", 0.4), ("fdatasync", 0.5), ("mkdir", 0.7)],
    "maintenance": [("pwrite64", 0.6), ("unlink", 0.5)],
}
"""Which system call, and how far into the run: 0.5 is the middle one of all such calls."""


@pytest.fixture(scope="module", params=SAMPLE)
def victim(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Victim:
    if why := why_not():
        pytest.skip(why)
    return VICTIMS[request.param](tmp_path_factory.mktemp("victim"))


def test_a_stage_killed_at_a_system_call_loses_and_doubles_nothing(victim: Victim) -> None:
    for call, part in SAMPLE[victim.name]:
        point = Point(call, max(1, round(part * victim.counts[call])))
        kills, difference = victim.kill(point)
        assert not difference, (point, difference)
        assert kills == 1 or part == 1, point


def test_a_stage_killed_again_as_it_recovers_loses_and_doubles_nothing(victim: Victim) -> None:
    first = Point("write", victim.counts["write"] // 2)
    kills, difference = victim.kill(first, Point("pwrite64", 2))
    assert not difference
    assert kills == 2


def test_the_comparison_sees_what_is_missing_and_what_is_there_twice(tmp_path: Path) -> None:
    wanted = VICTIMS["processor"](tmp_path).wanted
    found = wanted._replace(things=wanted.things.copy(), ledger=dict(wanted.ledger))
    offer, event = (next(t for t in found.things if t[0] == kind) for kind in ("offers", "event"))
    found.things[offer] += 1
    found.things[event] -= 1
    found.ledger["clicks", "http", "accepted"] -= 1
    difference = compare(wanted, found)
    assert len(difference.lost) == 2
    assert len(difference.doubled) == 1


def test_the_lander_of_the_comparison_lands_every_topic_and_rejects(tmp_path: Path) -> None:
    """Else a comparison of what it lands would prove little."""
    wanted = VICTIMS["lander"](tmp_path).wanted
    landed = {thing[1].partition("/")[0] for thing in wanted.things if thing[0] == "bronze"}
    assert landed == {"clicks", "orders", "carts", "stock", "quarantine"}
    assert sum(n for thing, n in wanted.things.items() if thing[0] == "bronze") > 300
    assert {thing[4] for thing in wanted.things if thing[0] == "tally"} >= {"", "json", "total"}


def test_the_shop_has_every_kind_of_effect(tmp_path: Path) -> None:
    """Else a comparison of its effects would prove little."""
    wanted = VICTIMS["poisoned processor"](tmp_path).wanted
    kinds = {thing[0] for thing in wanted.things}
    assert kinds >= {"event", "offers", "orders", "products", "alert", "archived offer",
                     "archived order", "quarantine", "budgets"}  # fmt: skip
    outcomes = {cell[2] for cell in wanted.ledger}
    assert outcomes >= {"accepted", "duplicate", "made", "held_out", "moot", "raised",
                        "historical_made", "historical_raised", "quarantined:poison",
                        "quarantined:conflict", "quarantined:total", "quarantined:lines",
                        "quarantined:json", "derived"}  # fmt: skip
    assert wanted.ledger["clicks", "http", "quarantined:poison"] == 6
