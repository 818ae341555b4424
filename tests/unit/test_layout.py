"""Tables for a person: what can be read at the width there is."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from shopstream.ask.tables import Table
from shopstream.cli.layout import as_table
from shopstream.cli.tables import (
    known_table_rows,
    offer_rows,
    rejection_fields,
    rejection_rows,
)
from shopstream.events import Offer

ID = "0-00000000000000000003-000001"
AT = "2026-11-22T05:45:54Z"
MESSAGE = "amount: 1500 is not 1499, the sum of its lines + shipping + tax - discount"
REJECTION = {
    "id": ID,
    "at": AT,
    "topic": "orders",
    "reason": "total",
    "message": MESSAGE,
    "source": "load:orders",
    "origin": "bad.ndjson",
    "line": 2,
    "resolved": False,
}


def lines(rows: list[dict[str, Any]], width: int, columns: tuple[str, ...] = ()) -> list[str]:
    """What a terminal of `width` characters shows, without the blanks that end its lines."""
    from rich.console import Console

    console = Console(width=width, force_terminal=False)
    with console.capture() as shown:
        console.print(as_table(rows, columns, width))
    found = [line.rstrip() for line in shown.get().split("\n")]
    assert max(map(len, found)) <= width
    return found


def test_where_there_is_room_each_row_is_one_line() -> None:
    (row,) = [line for line in lines(rejection_rows([REJECTION]), 200) if ID in line]
    place = [ID, "2026-11-22", "05:45:54", "orders", "total"]
    assert row.split() == [*place, *MESSAGE.split(), "bad.ndjson:2"]


@pytest.mark.parametrize("width", [72, 80, 100, 120, 140])
def test_ids_and_times_are_whole_and_sentences_are_not_cut_into_letters(width: int) -> None:
    shown = lines(rejection_rows([REJECTION]), width)
    text = "\n".join(shown)
    assert ID in text
    assert "2026-11-22 05:45:54" in text
    assert all(word in text for word in (*MESSAGE.split(), "bad.ndjson:2"))
    assert len(shown) <= 9


def test_what_has_no_room_beside_goes_below_its_row() -> None:
    assert lines(rejection_rows([REJECTION]), 80)[3:6] == [
        f" {ID}   2026-11-22 05:45:54   orders   total",
        f"    {MESSAGE}",
        "    from: bad.ndjson:2",
    ]


def test_only_what_there_is_goes_below_a_row() -> None:
    columns = ("at", "subject", "receiver", "state", "tries", "error")
    sent = {"at": AT, "subject": "Low stock: A blue cup that many people want", "tries": 1}
    good = sent | {"receiver": "console://", "state": "delivered", "error": ""}
    bad = good | {"receiver": "https://alerts.example.com/…", "error": "its answer is no HTTP (x)"}
    assert lines([good, bad], 80, columns)[3:8] == [
        f" {AT}   console://                     delivered       1",
        "    Low stock: A blue cup that many people want",
        f" {AT}   https://alerts.example.com/…   delivered       1",
        "    Low stock: A blue cup that many people want",
        "    error: its answer is no HTTP (x)",
    ]


@pytest.mark.parametrize("width", [80, 140])
def test_an_offer_has_its_times_whole(width: int) -> None:
    offer = Offer(
        offer_id="1",
        rule="returning-high-value",
        version=1,
        user_id="u1",
        key="p1",
        trigger="e1",
        percent=Decimal(10),
        reason="nothing done with cart cafc0b62b77cac773 for 30m",
        made_at=datetime(2026, 11, 20, 12, 30, 26, tzinfo=UTC),
        expires_at=datetime(2026, 11, 22, 12, 30, 26, tzinfo=UTC),
        delivered=True,
    )
    text = "\n".join(lines(list(offer_rows([offer])), width))
    for whole in ("2026-11-20 12:30:26", "2026-11-22 12:30:26", offer.reason, "delivered"):
        assert whole in text


@pytest.mark.parametrize("width", [80, 140])
def test_tables_are_shown_with_the_snapshot_and_when_it_was_made(width: int) -> None:
    at = datetime(2026, 11, 22, 5, 45, 58, tzinfo=UTC)
    built = Table("gold_funnel", "gold", 1_012, "How many came how far.", at, 4598356389842200028)
    live = Table("live.offers", "live", None, "Offers as they stand now.")
    text = "\n".join(lines(known_table_rows([built, live]), width))
    for told in ("1,012", "2026-11-22 05:45:58", "4598356389842200028", live.description):
        assert told in text


def test_a_rejection_is_shown_with_its_failures_as_sentences() -> None:
    failure = {"reason": "total", "field": "amount", "value": "1500", "message": MESSAGE}
    shown = rejection_fields({"id": ID, "origin": "", "failures": [failure] * 2, "raw": "{}"})
    assert [tuple(row.values()) for row in shown] == [
        ("id", ID),
        ("failure", f"{MESSAGE} (total)"),
        ("failure", f"{MESSAGE} (total)"),
        ("raw", "{}"),
    ]


def test_an_id_longer_than_any_terminal_is_folded_and_not_lost() -> None:
    text = "".join(lines([{"user": "u" * 250, "n": 1}, {"user": "v", "n": 2}], 80))
    assert text.count("u") == 250 + len("user") - 3


def test_a_terminal_of_80_columns_gets_no_wider_lines(tmp_path: Path) -> None:
    words = ["settings", "--data-dir", str(tmp_path)]
    main, end = pty.openpty()
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    env = {k: v for k, v in os.environ.items() if k not in ("COLUMNS", "LINES")} | {"TERM": "dumb"}
    with subprocess.Popen(
        [sys.executable, "-m", "shopstream", *words], stdin=end, stdout=end, stderr=end, env=env
    ):
        os.close(end)
        shown = b""
        try:
            while more := os.read(main, 65_536):
                shown += more
        except OSError:  # how a pseudo-terminal says that nobody has its other end any more
            pass
    os.close(main)
    found = shown.decode().replace("\r", "").split("\n")
    assert max(map(len, found)) <= 80
    assert any(line.startswith(" notify_private_addresses ") for line in found)
    assert "    Let webhooks go to private and loopback addresses." in map(str.rstrip, found)
