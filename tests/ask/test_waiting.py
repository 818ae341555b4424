"""Who asks is told what the tables don't have yet, and which of them are old."""

import json
from pathlib import Path

import pytest
from tests.ask.test_command import shopstream
from tests.lake.real_lake import RealLake, click, entry

from shopstream.ask.waiting import events_waiting
from shopstream.lake.build import build

pytestmark = pytest.mark.slow


def test_events_wait_until_a_build_has_taken_them_in(tmp_path: Path) -> None:
    lake = RealLake(tmp_path / "data")
    lake.append(entry("clicks", click("a", 18), click("b", 18)))
    assert events_waiting(lake.settings) == 2, "nothing was ever landed"
    lake.land()
    assert events_waiting(lake.settings) == 2, "nothing was ever built"
    lake.build()
    assert events_waiting(lake.settings) == 0
    lake.arrive("clicks", click("c", 18))
    lake.append(entry("clicks", click("d", 18)))
    assert events_waiting(lake.settings) == 2, "one landed, one not"


def test_tables_that_a_failed_build_left_old_are_told(tmp_path: Path) -> None:
    lake = RealLake(tmp_path / "data")
    lake.arrive("clicks", click("a", 18))
    lake.build()
    assert "notice" not in shopstream(lake.settings.data_dir, "tables").stderr
    lake.arrive("clicks", click("b", 18))
    landed = max((lake.settings.data_dir / "bronze" / "clicks").rglob("*.zst"))
    body = landed.read_bytes()
    landed.write_bytes(body[:-1])
    data_dir = lake.settings.data_dir
    built = shopstream(data_dir, "build", code=1)
    assert "model_failed" in built.stderr
    (alert,) = json.loads(shopstream(data_dir, "alerts").stdout)
    assert (alert["kind"], alert["state"]) == ("model_failed", "delivered")
    for words in (["tables"], ["describe", "gold_traffic"], ["sql", "SELECT 1"]):
        said = shopstream(data_dir, *words).stderr
        assert "notice: silver_clicks is as it was before its last build" in said
        assert "gold_traffic" in said
    assert "1 event is not in the tables" in said
    (stage,) = (
        one
        for one in json.loads(shopstream(data_dir, "status").stdout)
        if one["stage"] == "builder"
    )
    assert "silver_clicks fails its tests" in stage["detail"]
    landed.write_bytes(body)
    assert build(lake.settings).failed == []
    assert shopstream(data_dir, "sql", "SELECT 1").stderr == ""


def test_a_dry_run_says_what_it_does_not_know_of(tmp_path: Path) -> None:
    lake = RealLake(tmp_path / "data")
    lake.append(entry("clicks", click("a", 18), click("b", 18)))
    planned = shopstream(lake.settings.data_dir, "build", "--dry-run")
    assert "notice: 2 events of the log are not landed" in planned.stderr
    lake.build()
    lake.land()
    assert "notice" not in shopstream(lake.settings.data_dir, "build", "--dry-run").stderr
