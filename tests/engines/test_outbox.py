"""The outbox: taken once, delivered by row, dead letters kept, history never delivered."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest

from shopstream.errors import Busy, DataDirError
from shopstream.events import Alert
from shopstream.local.outbox import Cursor, Outbox, Outcome, retry_dead

NOW = 1_800_000_000_000_000
HOUR = 3_600_000_000


def alert(n: int, *, historical: bool = False) -> tuple[str, Alert]:
    made = Alert(
        alert_id=f"alert-{n}",
        kind="large_order",
        subject=f"Order {n}",
        body="",
        at=datetime(2026, 1, 1, tzinfo=UTC),
        historical=historical,
    )
    return f"{n:020d}", made


def due(outbox: Outbox, receiver: str, now_us: int = NOW) -> list[str]:
    rows = outbox.due(receiver, now_us, rows_max=100, wait_us_max=2 * HOUR)
    return [row.alert.alert_id for row in rows]


def seq_of(outbox: Outbox, receiver: str, alert_id: str) -> int:
    rows = outbox.due(receiver, 1 << 60, rows_max=100, wait_us_max=HOUR)
    return next(row.seq for row in rows if row.alert.alert_id == alert_id)


def test_an_alert_has_a_row_for_each_receiver_and_is_taken_once(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    assert outbox.take(0, [alert(1), alert(2)], ["a", "b"], NOW) == 2
    assert outbox.take(0, [alert(2), alert(3)], ["a", "b"], NOW) == 1
    assert due(outbox, "a") == due(outbox, "b") == ["alert-1", "alert-2", "alert-3"]
    assert outbox.counts() == {"pending": 6, "delivered": 0, "dead": 0, "historical": 0}
    outbox.close()


def test_cursors_are_kept_by_shard_together_with_what_was_taken(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    assert outbox.cursor(1) == Cursor()
    outbox.take(1, [alert(7)], ["a"], NOW)
    outbox.close()
    again = Outbox(tmp_path)
    assert again.cursor(1) == Cursor(f"{7:020d}", "alert-7")
    assert again.cursor(0) == Cursor()
    assert due(again, "a") == ["alert-7"]
    again.close()


def test_of_shards_that_are_no_more_the_cursors_are_forgotten(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    for shard in (-1, 0, 1, 2, 5):
        outbox.move(shard, Cursor(f"{shard:020d}", "alert"))
    outbox.forget_cursors(2)
    kept = [shard for shard in range(-1, 9) if outbox.cursor(shard) != Cursor()]
    assert kept == [-1, 0, 1], "the builder's is one of those that stay"
    outbox.close()


def test_alerts_about_history_are_recorded_and_never_due(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.take(0, [alert(1, historical=True), alert(2)], ["a"], NOW)
    assert due(outbox, "a", NOW + 10 * HOUR) == ["alert-2"]
    assert outbox.counts()["historical"] == 1
    assert outbox.rows("historical")[0].alert.alert_id == "alert-1"
    outbox.close()


def test_each_receiver_has_an_outcome_of_its_own(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.take(0, [alert(1)], ["a", "b"], NOW)
    seq = seq_of(outbox, "a", "alert-1")
    outbox.record(
        [Outcome(seq, "a", "delivered", 1), Outcome(seq, "b", "pending", 1, NOW + 50, "down")],
        NOW,
    )
    assert due(outbox, "a") == []
    assert due(outbox, "b", NOW + 49) == []
    assert due(outbox, "b", NOW + 50) == ["alert-1"]
    assert outbox.rows("pending")[0].error == "down"
    outbox.close()


def test_a_clock_set_back_by_a_year_holds_nothing_up(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.take(0, [alert(1)], ["a"], NOW)
    assert due(outbox, "a", NOW - HOUR) == []
    assert due(outbox, "a", NOW - 365 * 24 * HOUR) == ["alert-1"]
    outbox.close()


def test_dead_letters_are_listed_and_can_be_put_back_beside_the_notifier(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.take(0, [alert(1), alert(2)], ["a"], NOW)
    seq = seq_of(outbox, "a", "alert-1")
    outbox.record([Outcome(seq, "a", "dead", 12, 0, "the answer was 500")], NOW)
    [row] = outbox.rows("dead")
    assert (row.alert.alert_id, row.tries, row.error) == ("alert-1", 12, "the answer was 500")
    before = outbox.version()
    assert retry_dead(tmp_path, NOW + 5) == 1
    assert outbox.version() != before
    assert due(outbox, "a", NOW + 5) == ["alert-2", "alert-1"]
    assert outbox.due("a", NOW + 5, rows_max=9, wait_us_max=HOUR)[1].tries == 0
    outbox.close()


def test_what_waits_for_a_receiver_that_was_taken_away_becomes_a_dead_letter(
    tmp_path: Path,
) -> None:
    outbox = Outbox(tmp_path)
    outbox.take(0, [alert(1)], ["a", "b"], NOW)
    assert outbox.retire(["b"], NOW) == 1
    assert [row.receiver for row in outbox.rows("dead")] == ["a"]
    assert due(outbox, "b") == ["alert-1"]
    outbox.close()


def test_ended_rows_are_forgotten_in_chunks_and_pending_ones_never(tmp_path: Path) -> None:
    outbox = Outbox(tmp_path)
    outbox.take(0, [alert(n, historical=n > 2) for n in range(1, 8)], ["a"], NOW)
    outbox.record([Outcome(seq_of(outbox, "a", "alert-1"), "a", "delivered", 1)], NOW)
    rounds = 0
    while outbox.forget(NOW + 1, rows_max=2):
        rounds += 1
    assert rounds >= 3
    assert outbox.counts() == {"pending": 1, "delivered": 0, "dead": 0, "historical": 0}
    assert due(outbox, "a") == ["alert-2"]
    assert outbox.forget(NOW, rows_max=100) == 0
    outbox.close()


def test_a_second_notifier_is_refused_and_a_reader_is_not(tmp_path: Path) -> None:
    with pytest.raises(DataDirError, match="can't be opened"):
        Outbox.reader(tmp_path)
    outbox = Outbox(tmp_path)
    outbox.take(0, [alert(1)], ["a"], NOW)
    with pytest.raises(Busy, match="another notifier"):
        Outbox(tmp_path)
    reader = Outbox.reader(tmp_path)
    assert reader.counts()["pending"] == 1
    reader.close()
    outbox.close()
    Outbox(tmp_path).close()


_TAKE_FOREVER = """
import sys
from pathlib import Path
from datetime import UTC, datetime
from shopstream.events import Alert
from shopstream.local.outbox import Outbox

outbox = Outbox(Path(sys.argv[1]))
at = datetime(2026, 1, 1, tzinfo=UTC)
start = int(outbox.cursor(0).sk or 0)
for n in range(start + 1, start + 10_000, 3):
    batch = [
        (f"{i:020d}", Alert(alert_id=f"a{i}", kind="low_stock", subject="", body="", at=at))
        for i in range(n, n + 3)
    ]
    outbox.take(0, batch, ["a", "b"], 1)
    print(n, flush=True)
"""


def test_a_kill_between_any_two_takes_loses_and_doubles_no_row(tmp_path: Path) -> None:
    for commits in (1, 7, 3, 20):
        taker = subprocess.Popen(
            [sys.executable, "-c", _TAKE_FOREVER, str(tmp_path)], stdout=subprocess.PIPE
        )
        assert taker.stdout is not None
        with taker.stdout as out:
            for _ in range(commits):
                out.readline()
            os.kill(taker.pid, signal.SIGKILL)
            taker.wait()
    outbox = Outbox(tmp_path)
    last = int(outbox.cursor(0).sk)
    assert last >= 31 * 3
    for receiver in ("a", "b"):
        rows = outbox.due(receiver, 10, rows_max=100_000, wait_us_max=HOUR)
        assert [row.alert.alert_id for row in rows] == [f"a{i}" for i in range(1, last + 1)]
    outbox.close()
