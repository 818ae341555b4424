"""What the builder remembers; an alert for a model that begins to fail, delivered once."""

import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from shopstream.engine import open_engine
from shopstream.errors import Busy, DataDirError
from shopstream.events import Alert
from shopstream.lake.files import data_file
from shopstream.lake.quality import TestFailure
from shopstream.local.builds import BUILDS_KEPT, Builds
from shopstream.local.delivery import run_notifier
from shopstream.local.outbox import Outbox
from shopstream.settings import Settings

AT = datetime(2026, 11, 21, 12, tzinfo=UTC)
NULLS = TestFailure("silver_clicks", "not_null", "user_id", 3, {"event_id": "'e1'"}, "3 rows …")
TWICE = TestFailure("silver_clicks", "unique", "user_id, event_id", 1, {}, "1 row too many")


def test_builds_are_numbered_and_the_newest_are_kept(tmp_path: Path) -> None:
    with Builds(tmp_path) as builds:
        first = builds.begin("build", 1)
        builds.end(first, 2, b'{"ok":true}')
        assert builds.begin("maintain", 3, after=41) == 42
        assert builds.begin("build", 4) == 43
        assert (builds.last(), builds.last("maintain"), builds.last("other")) == (43, 42, 0)
        assert builds.history()[-1] == (1, "build", 1, 2, b'{"ok":true}')
        for n in range(BUILDS_KEPT + 50):
            builds.begin("build", n)
        assert len(builds.history(10_000)) <= BUILDS_KEPT + 1


def test_what_readers_saw_at_a_time_is_what_the_last_build_then_had_left(tmp_path: Path) -> None:
    with Builds(tmp_path) as builds:
        assert builds.published_by(7) == 7
        for kind, began, ended in (("build", 10, 20), ("maintain", 21, 25), ("build", 30, 40)):
            builds.end(builds.begin(kind, began), ended)
        builds.begin("build", 50)  # and was killed
        found = {at: builds.published_by(at) for at in (5, 15, 20, 28, 35, 40, 60)}
        assert found == {5: 5, 15: 10, 20: 20, 28: 20, 35: 20, 40: 40, 60: 40}


def test_there_is_one_builder_and_anyone_may_read(tmp_path: Path) -> None:
    with pytest.raises(DataDirError, match="shopstream build"):
        Builds.reader(tmp_path)
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "builds.db").touch()  # as the first builder begins
    with pytest.raises(DataDirError, match="shopstream build"):
        Builds.reader(tmp_path)
    with Builds(tmp_path) as builds:
        with pytest.raises(Busy, match="runs on"):
            Builds(tmp_path, wait_s=0.2)
        builds.begin("build", 1)
        with Builds.reader(tmp_path) as reader:
            assert reader.last() == 1
    Builds(tmp_path).close()


def test_data_files_are_remembered_with_their_hash(tmp_path: Path) -> None:
    name = "warehouse/t/data/a.parquet"
    (tmp_path / "lake" / name).parent.mkdir(parents=True)
    (tmp_path / "lake" / name).write_bytes(b"abc")
    file = data_file(tmp_path / "lake", name, rows=7)
    assert (file.bytes, file.sha256[:8], file.rows) == (3, "ba7816bf", 7)
    with Builds(tmp_path) as builds:
        builds.record_files([file])
        builds.record_files([file])
        assert builds.files() == {name: file}
        builds.forget_files([name])
        assert builds.files() == {}


def test_files_nobody_needs_keep_the_time_since_when(tmp_path: Path) -> None:
    with Builds(tmp_path) as builds:
        builds.set_unneeded({"a", "b"}, 1)
        builds.set_unneeded({"b", "c"}, 2)
        assert builds.unneeded() == {"b": 1, "c": 2}


def test_a_failed_test_alerts_once_until_it_was_good_again(tmp_path: Path) -> None:
    with Builds(tmp_path) as builds:
        first = builds.audited("silver_clicks", [NULLS], 1, AT)
        assert first is not None
        assert first.kind == "model_failed"
        assert first.subject == "Table silver_clicks failed its tests: not_null"
        assert "silver_clicks.user_id: not_null: 3 rows …; e.g. event_id='e1'" in first.body
        assert builds.audited("silver_clicks", [NULLS], 2, AT) is None
        also = builds.audited("silver_clicks", [NULLS, TWICE], 3, AT)
        assert also is not None
        assert also.subject.endswith(": unique")
        assert builds.failing() == {
            "silver_clicks": ["not_null:user_id", "unique:user_id, event_id"]
        }
        assert builds.audited("silver_clicks", [], 4, AT) is None
        assert builds.failing() == {}
        again = builds.audited("silver_clicks", [NULLS], 5, AT)
        assert again is not None
        assert len({first.alert_id, also.alert_id, again.alert_id}) == 3
        assert [msgspec.json.decode(body, type=Alert) for _, body in builds.alerts()] == [
            first,
            also,
            again,
        ]


def test_the_notifier_delivers_the_builders_alerts_once(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, notify=["file://alerts.ndjson"])
    with open_engine(settings).write_builds() as builds:
        builds.audited("silver_clicks", [NULLS], 1, AT)
        for _ in range(2):
            run_notifier(settings, until_idle=True, write=print)
        builds.audited("silver_clicks", [], 2, AT)
        builds.audited("silver_clicks", [TWICE], 3, AT)
    run_notifier(settings, until_idle=True, write=print)
    lines = (tmp_path / "alerts.ndjson").read_bytes().splitlines()
    assert [msgspec.json.decode(line, type=Alert).subject for line in lines] == [
        "Table silver_clicks failed its tests: not_null",
        "Table silver_clicks failed its tests: unique",
    ]


def test_a_builder_that_lost_its_memory_is_heard_from_the_start(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path, notify=["file://alerts.ndjson"])
    for build in (1, 2):
        with open_engine(settings).write_builds() as builds:
            builds.audited("silver_clicks", [NULLS], build, AT)
        run_notifier(settings, until_idle=True, write=print)
        for file in (tmp_path / "lake").glob("builds.db*"):
            file.unlink()
    outbox = Outbox.reader(tmp_path)
    assert outbox.counts()["delivered"] == 2
    outbox.close()


KILLED = """
import os, sys
from datetime import UTC, datetime
from pathlib import Path
from shopstream.lake.quality import TestFailure
from shopstream.local.builds import Builds
builds = Builds(Path(sys.argv[1]))
build = builds.begin("build", 1)
print("begun", flush=True)
failure = TestFailure("silver_clicks", "not_null", "user_id", 3, {}, "3 rows are NULL")
for _ in range(1000):
    builds.audited("silver_clicks", [failure], build, datetime(2026, 1, 1, tzinfo=UTC))
"""


def test_a_killed_builder_alerts_once(tmp_path: Path) -> None:
    for _ in range(5):
        run = subprocess.Popen(
            [sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert run.stdout is not None
        assert run.stdout.readline() == "begun\n"
        os.kill(run.pid, signal.SIGKILL)
        run.communicate()
    with Builds(tmp_path) as builds:
        builds.audited("silver_clicks", [NULLS], 9, AT)
        assert len(builds.alerts()) == 1
        assert builds.last() == 5
