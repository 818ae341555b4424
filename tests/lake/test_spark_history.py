"""What the Spark job knows of a table from its snapshots."""

from datetime import UTC, datetime, timedelta

import msgspec

from shopstream.lake.spark_history import (
    Checkpoint,
    History,
    Snapshot,
    days_of_offers,
    first_looked_into,
    new_folders,
    remembered,
)

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


def snapshot(
    number: int, *days: str, hours: int = 0, tidied: bool = False, foreign: bool = False
) -> Snapshot:
    """Each follows the one before; without days it wrote all."""
    said = Checkpoint(model="m", landed={"2026-11-20/09": f"{number}"}, days=[*days] or None)
    at = NOON - timedelta(hours=hours)
    known = None if tidied or foreign else said
    return Snapshot(number, number - 1 or None, at, tidied, known)


def days(*found: str) -> frozenset[str]:
    return frozenset(found)


def history(*snapshots: Snapshot) -> History:
    return History({s.id: s for s in snapshots}, snapshots[-1].id if snapshots else None)


def test_days_that_changed_are_those_of_all_snapshots_since() -> None:
    known = history(snapshot(1), snapshot(2, "2026-11-19"), snapshot(3, "2026-11-20"))
    assert known.days_since(1) == days("2026-11-19", "2026-11-20")
    assert known.days_since(3) == frozenset()
    assert known.current == 3


def test_what_was_never_seen_or_is_forgotten_means_every_day() -> None:
    known = history(snapshot(2, "2026-11-19"), snapshot(3, "2026-11-20"))
    assert known.days_since(1) is None
    assert known.days_since(0) is None
    assert history(snapshot(1), snapshot(2)).days_since(1) is None  # written whole


def test_a_table_that_is_not_there_has_no_days_and_says_nothing() -> None:
    none = history()
    assert (none.days_since(0), none.checkpoint, none.current) == (frozenset(), None, 0)


def test_files_put_together_by_others_change_no_day_and_hide_no_checkpoint() -> None:
    known = history(snapshot(1), snapshot(2, "2026-11-19"), snapshot(3, tidied=True))
    assert known.days_since(1) == days("2026-11-19")
    assert known.checkpoint is not None
    assert known.checkpoint.landed == {"2026-11-20/09": "2"}


def test_rows_written_by_others_may_be_of_every_day() -> None:
    assert history(snapshot(1), snapshot(2, foreign=True)).days_since(1) is None


def test_snapshots_of_another_line_do_not_count() -> None:
    undone = snapshot(2, "2026-11-19")
    known = History({1: snapshot(1), 2: undone, 3: snapshot(3)._replace(parent=1)}, current=3)
    assert known.days_since(2) is None


def test_what_changed_of_late_is_told_by_the_time() -> None:
    known = history(snapshot(1, hours=72), snapshot(2, "2026-11-19", hours=5))
    assert known.days_after(NOON - timedelta(hours=48)) == days("2026-11-19")
    assert known.days_after(NOON - timedelta(hours=96)) is None


def test_a_table_is_tidied_when_it_has_old_snapshots_besides_the_current_one() -> None:
    old = NOON - timedelta(days=6)
    assert not history(snapshot(1, hours=200)).older_than(old)
    assert history(snapshot(1, hours=200), snapshot(2)).older_than(old)


def test_a_checkpoint_is_read_as_it_was_written() -> None:
    said = Checkpoint("m", {"2026-11-20/09": "3:10:7"}, {"silver_clicks": 5}, ["2026-11-20"])
    assert msgspec.json.decode(said.encode(), type=Checkpoint) == said


def test_the_newest_folders_are_looked_into_again_and_all_when_none_is_known() -> None:
    assert first_looked_into(["2026-11-20/23", "2026-11-21/00"]) == "2026-11-18"
    assert first_looked_into([]) == ""


def test_a_folder_is_new_when_it_is_unknown_or_has_changed() -> None:
    arrived = {"2026-11-20/09": "2:10:7", "2026-11-20/10": "1:5:8", "2026-11-20/08": "1:1:1"}
    landed = {"2026-11-20/09": "1:5:6", "2026-11-20/08": "1:1:1"}
    assert new_folders(arrived, landed) == {"2026-11-20/09", "2026-11-20/10"}


def test_only_folders_that_are_looked_into_again_are_remembered() -> None:
    landed = {"2026-11-01/09": "a", "2026-11-18/09": "b", "2026-11-21/09": "c"}
    assert remembered(landed, all_days=False) == {"2026-11-18/09": "b", "2026-11-21/09": "c"}
    assert remembered(landed, all_days=True) == landed
    assert remembered({}, all_days=False) == {}


def test_offers_are_looked_for_on_days_of_events_and_the_two_after() -> None:
    changed = [frozenset({"2026-11-20"}), frozenset[str]()]
    assert days_of_offers(changed, []) == days("2026-11-20", "2026-11-21", "2026-11-22")
    assert days_of_offers([None], ["2026-10-01"]) == days("2026-10-01")
