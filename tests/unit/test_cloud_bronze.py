"""Lines of bronze beside the ledger: what adds up, and what doesn't."""

import json
from typing import Any

import msgspec
import pytest

from shopstream.cloud_bronze import DAY_US, Judged, Lines, judged

DAY, NEXT = "2026-11-21", "2026-11-22"
NOON_US = 1_795_262_400_000_000
MIDNIGHT_US = NOON_US + DAY_US // 2


def line(position: int, **fields: Any) -> bytes:
    return json.dumps({"position": position, "n": 0, **fields}).encode()


def clicks(*positions: int) -> Lines:
    lines = Lines()
    for position in positions:
        lines.add("clicks", line(position))
    return lines


def adds_up(lines: Lines, day: str, **ledger: int) -> bool:
    wanted = Judged(**{"accepted": 0, "rejected": 0, "poison": 0} | ledger)
    return lines.of("clicks", day, wanted).adds_up


def test_as_many_lines_as_the_ledger_has_add_up_and_one_more_or_less_does_not() -> None:
    lines = clicks(NOON_US, NOON_US + 1)
    assert adds_up(lines, DAY, accepted=2)
    assert not adds_up(lines, DAY, accepted=1)
    assert not adds_up(lines, DAY, accepted=3)


def test_a_rejection_counts_for_the_topic_that_it_is_of() -> None:
    lines = clicks(NOON_US)
    lines.add("quarantine", line(NOON_US, topic="clicks", units=2))
    lines.add("quarantine", line(NOON_US, topic="orders", units=1))
    assert adds_up(lines, DAY, accepted=1, rejected=2)
    assert not adds_up(lines, DAY, accepted=3)


def test_poison_may_be_accepted_in_bronze() -> None:
    lines = clicks(NOON_US, NOON_US + 1)
    assert adds_up(lines, DAY, accepted=1, rejected=1, poison=1)
    assert not adds_up(lines, DAY, accepted=1, rejected=1)


def test_an_order_judged_by_line_counts_its_lines() -> None:
    lines = Lines()
    lines.add("orders", line(NOON_US, by_line=True, lines=[{}, {}, {}]))
    lines.add("orders", line(NOON_US, lines=[{}, {}]))
    assert lines.of("orders", DAY, Judged(4, 0, 0)).adds_up


def test_a_record_over_midnight_is_of_the_day_of_its_first_event() -> None:
    lines = clicks(MIDNIGHT_US - 1, MIDNIGHT_US, MIDNIGHT_US + 1)
    assert adds_up(lines, DAY, accepted=3)
    assert adds_up(lines, NEXT)
    assert not adds_up(clicks(MIDNIGHT_US + 1_000_000), NEXT)


def test_what_bronze_remembers_not_is_accepted_there() -> None:
    cells = {
        ("clicks", "http", "accepted"): 5,
        ("clicks", "http", "duplicate"): 2,
        ("clicks", "http", "quarantined:conflict"): 1,
        ("clicks", "http", "quarantined:price"): 4,
        ("clicks", "sqs", "quarantined:poison"): 1,
        ("clicks", "", "stored"): 5,
        ("orders", "http", "accepted"): 9,
    }
    assert judged(cells, "clicks") == Judged(accepted=8, rejected=5, poison=1)


def test_both_sides_are_told() -> None:
    text = str(clicks(NOON_US).of("clicks", DAY, Judged(1_234, 5, 0)))
    assert text == "1 accepted and 0 rejected in S3; the ledger has 1,234 and 5"


@pytest.mark.parametrize("text", [b"", b"[]", b'{"n":0}', b"no json"])
def test_a_line_that_is_none_is_told(text: bytes) -> None:
    with pytest.raises(msgspec.MsgspecError):
        Lines().add("clicks", text)
