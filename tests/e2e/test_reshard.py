"""`shopstream reshard`: the number of shards changes, and nothing else does."""

import json
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from tests.e2e.command import COMMAND, Shop

from shopstream.engine import open_engine
from shopstream.events import Entry
from shopstream.settings import Settings

pytestmark = pytest.mark.slow


def meta(shop: Shop) -> dict[str, object]:
    found: dict[str, object] = json.loads((shop.data_dir / "meta.json").read_text("utf-8"))
    return found


def a_shop(shop: Shop) -> None:
    shop.run("simulate", "shop", "--count", "3000", "--invalid-percent", "3", "--seed", "7")


def test_a_shop_that_grew_goes_on_with_more_shards_and_back(shop: Shop) -> None:
    a_shop(shop)
    copy = shutil.copytree(shop.data_dir / "tables", shop.data_dir / "tables-backup")
    before, offers = shop.json("check"), shop.json("quarantine")
    report = shop.json("reshard", "3")
    assert (report["before"], report["shards"]) == (1, 3)
    assert report["items"] > 1_000
    assert meta(shop) == {"version": 2, "shards": 3, "tables": "tables-2"}
    assert not (shop.data_dir / "tables").exists()
    assert (copy / "0").is_dir(), "somebody's own copy is not ours to delete"
    after = shop.json("check")
    assert after == before
    assert shop.json("quarantine") == offers
    shop.run("simulate", "shop", "--count", "3000", "--invalid-percent", "3", "--seed", "7")
    again = shop.json("check")
    assert again["balanced"]
    accepted = {topic: counts["accepted"] for topic, counts in again["topics"].items()}
    assert accepted == {topic: counts["accepted"] for topic, counts in before["topics"].items()}
    shop.run("build")
    shop.run("reshard", "2")
    shop.run("simulate", "clicks", "--count", "500", "--seed", "8")
    shop.run("build")
    assert shop.json("check")["balanced"]
    assert shop.json("reshard", "2") == {"shards": 2, "before": 2, "items": 0, "seconds": 0.0}


def test_what_waits_is_processed_first(shop: Shop) -> None:
    settings = Settings(data_dir=shop.data_dir)
    file = shop.data_dir.parent / "events.ndjson"
    shop.run("simulate", "clicks", "--count", "500", "--to", str(file))
    log = open_engine(settings).write_log()
    raws = file.read_bytes().splitlines()
    log.append([Entry(topic="clicks", events=raws, source="http", received_us=0, units=len(raws))])
    log.close()
    shop.run("reshard", "2")
    topics = shop.json("check")["topics"]
    assert topics["clicks"]["waiting"] == 0
    assert topics["clicks"]["received"] == 500


def test_it_refuses_while_something_runs_and_for_numbers_that_cannot_be(shop: Shop) -> None:
    none = shop.run("reshard", "2", code=2)
    assert "there is no data in" in none.stderr
    a_shop(shop)
    log = open_engine(Settings(data_dir=shop.data_dir)).write_log()
    busy = shop.run("reshard", "2", code=3)
    assert "end `shopstream up`" in busy.stderr
    log.close()
    assert "greater than or equal to 1" in shop.run("reshard", "0", code=2).stderr
    refused = shop.run("up", "--shards", "2", code=2)
    assert "shopstream reshard 2" in refused.stderr
    assert meta(shop)["shards"] == 1


def test_settings_may_already_say_what_is_wanted(shop: Shop) -> None:
    a_shop(shop)
    (shop.data_dir / "shopstream.toml").write_text("shards = 2\n", "utf-8")
    assert "shopstream reshard 2" in shop.run("processor", "--until-idle", code=2).stderr
    shop.run("reshard", "2")
    shop.run("processor", "--until-idle")


def test_a_disk_without_room_for_a_second_set_changes_nothing(shop: Shop) -> None:
    a_shop(shop)
    free = shutil.disk_usage(shop.data_dir).free
    (shop.data_dir / "shopstream.toml").write_text(f"disk_free_bytes_min = {free * 2}\n", "utf-8")
    refused = shop.run("reshard", "2", code=2)
    assert "are written anew beside the old" in refused.stderr
    assert sorted(path.name for path in shop.data_dir.glob("tables*")) == ["tables"]


def test_more_tables_are_open_at_a_time_than_a_shell_allows_at_first(shop: Shop) -> None:
    a_shop(shop)
    words = ["reshard", "16", "--data-dir", str(shop.data_dir)]
    done = subprocess.run(
        ["sh", "-c", 'ulimit -S -n 64; exec "$@"', "sh", *COMMAND, *words],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert shop.json("check")["balanced"]


def test_ctrl_c_leaves_all_as_it_was_or_done(shop: Shop) -> None:
    shop.run("simulate", "clicks", "--count", "40000")
    for pause_s in (0.8, 1.2, 1.6):
        process = subprocess.Popen(
            [*COMMAND, "reshard", "2", "--data-dir", str(shop.data_dir)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        try:
            process.wait(pause_s)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)[1].decode()
        assert process.returncode in (0, 130), said
        assert "Traceback" not in said
        assert shop.json("check")["balanced"]
    shop.run("reshard", "2")
    assert len(list(Path(shop.data_dir).glob("tables*"))) == 1
