"""A change of the number of shards is done or it isn't, whatever happens around it."""

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.flows.pipeline import Pipeline, click, entry, order

from shopstream import quarantine
from shopstream.domain.partition import shard_of_key
from shopstream.engine import Engine, open_engine
from shopstream.errors import Busy, DataDirError, Resharded
from shopstream.feed import Feed, open_feed
from shopstream.ledger import check
from shopstream.local import datadir
from shopstream.local.tables import RocksTables
from shopstream.monitoring import standing, status
from shopstream.notify import list_alerts, run_notifier
from shopstream.processor import run_processor
from shopstream.quarantine import replay, summary
from shopstream.reshard import change_shards
from shopstream.settings import Settings

USERS = [f"u{n}" for n in range(12)]
OF_SHARD_1 = next(user_id for user_id in USERS if shard_of_key(user_id, 2) == 1)
"""When there are two."""
BAD = [click(user_id, event_type="nonsense") for user_id in USERS]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Of a small shop with two shards."""
    with Pipeline(tmp_path / "data", shards=2) as pipeline:
        pipeline.now_us = time.time_ns() // 1_000  # or all would have expired
        pipeline.give(*(click(user_id, event_id="e") for user_id in USERS))
        return Settings(data_dir=pipeline.settings.data_dir)


def reshard(settings: Settings, shards: int) -> int:
    return change_shards(settings, shards, lambda _: None).items


def give(settings: Settings, *events: dict[str, Any], topic: str = "clicks") -> None:
    engine = open_engine(settings)
    with closing(engine.write_log()) as log:
        log.append([entry(*events, topic=topic, received_us=time.time_ns() // 1_000)])
    for shard in range(engine.shards):
        run_processor(settings, shard, until_idle=True)


def folders(settings: Settings) -> list[str]:
    return sorted(path.name for path in settings.data_dir.glob("tables*"))


def test_who_read_the_number_of_shards_before_it_changed_writes_nothing_after(
    settings: Settings,
) -> None:
    """A log cut for other shards than the tables have could never be processed."""
    engine = open_engine(settings)
    reshard(settings, 4)
    for begin in (engine.write_log, lambda: engine.write_tables(0)):
        with pytest.raises(Busy, match=r"number of shards of .* was just changed; start again"):
            begin()
    assert folders(settings) == ["tables-2"], "what was deleted is not made anew"
    with open_feed(settings) as feed:
        assert feed.direct
        feed.append([entry(click("u1", 1, event_id="f"))])
    reshard(settings, 1)
    assert check(settings).differences == []


def test_what_was_left_by_a_switch_that_failed_goes_next_time(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The new number may be in force or may not be: nothing is deleted before that is sure."""
    sync = datadir.sync_folder

    def failing(folder: Path) -> None:
        if datadir.open_data_dir(settings.data_dir).shards == 3:
            raise OSError(5, "Input/output error")
        sync(folder)

    monkeypatch.setattr(datadir, "sync_folder", failing)
    with pytest.raises(DataDirError, match="Input/output error"):
        reshard(settings, 3)
    assert folders(settings) == ["tables", "tables-2"]
    with pytest.raises(DataDirError, match="Input/output error"):
        reshard(settings, 3)
    assert folders(settings) == ["tables", "tables-2"]
    monkeypatch.undo()
    reshard(settings, 3)
    assert folders(settings) == ["tables-2"]
    assert check(settings).differences == []


def test_copies_that_somebody_made_beside_the_tables_stay(settings: Settings) -> None:
    """Whatever they are called: also as ours would be."""
    copies = [
        shutil.copytree(settings.data_dir / "tables", settings.data_dir / name)
        for name in ("tables-2", "tables-20261122", "tables-backup", "tables-1")
    ]
    for shards in (3, 2):
        reshard(settings, shards)
        assert all((copy / "1" / "CURRENT").exists() for copy in copies)
    assert len(folders(settings)) == 1 + len(copies)
    assert check(settings).differences == []


def test_of_tables_that_are_a_link_only_the_link_goes(
    settings: Settings, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other_disk = tmp_path / "other"
    (settings.data_dir / "tables").rename(other_disk)
    (settings.data_dir / "tables").symlink_to(other_disk)
    reshard(settings, 3)
    assert folders(settings) == ["tables-2"]
    assert (other_disk / "1" / "CURRENT").exists()
    said = capsys.readouterr()
    assert str(other_disk) in said.out + said.err
    reshard(settings, 2)
    assert folders(settings) == ["tables-3"]
    assert check(settings).differences == []


def test_a_cut_is_done_though_what_was_before_cannot_be_deleted(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "rmtree", lambda *_, **__: None)
    assert reshard(settings, 3) > 0
    assert folders(settings) == ["tables", "tables-2"]
    monkeypatch.undo()
    reshard(settings, 3)
    assert folders(settings) == ["tables-2"]
    meta = json.loads((settings.data_dir / "meta.json").read_text("utf-8"))
    assert meta == {"version": 2, "shards": 3, "tables": "tables-2"}


@pytest.mark.slow
def test_readers_that_come_and_go_are_in_nobodys_way(settings: Settings) -> None:
    ended = threading.Event()

    def read() -> None:
        while not ended.is_set():
            with suppress(DataDirError, OSError):
                found = datadir.open_data_dir(settings.data_dir)
                RocksTables.reader(found.tables(0)).close()

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        for n in range(12):
            reshard(settings, 3 - n % 2)
    finally:
        ended.set()
        for reader in readers:
            reader.join()
    reshard(settings, 1)
    assert len(folders(settings)) == 1


def reshard_before_reading(
    shard: int, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> list[int]:
    """Change the shards once, when a reader is about to open the tables of `shard`; what is
    returned isn't empty any more when it has happened.
    """
    read_tables = Engine.read_tables
    changed: list[int] = []

    def read_later(engine: Engine, found: int) -> RocksTables:
        if found == shard and not changed:
            changed.append(0)
            reshard(settings, 3)
        return read_tables(engine, found)

    monkeypatch.setattr(Engine, "read_tables", read_later)
    return changed


def test_a_check_that_began_before_the_switch_begins_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed = reshard_before_reading(1, settings, monkeypatch)
    report = check(settings)
    assert changed
    assert report.differences == []
    assert report.topics["clicks"].accepted == len(USERS)


@pytest.mark.parametrize("shard", [0, 1])
def test_a_quarantine_of_which_only_a_part_was_seen_is_not_shown(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, shard: int
) -> None:
    give(settings, *BAD)
    changed = reshard_before_reading(shard, settings, monkeypatch)
    with pytest.raises(Resharded, match="start again"):
        summary(settings)
    assert changed
    assert [counts.events for counts in summary(settings)] == [len(BAD)]


def test_rejections_of_before_are_not_replayed_into_a_log_of_after(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their ids may be others by now: the mark that they were replayed would find none of them."""
    give(settings, *BAD)

    def open_later(settings: Settings) -> Feed:
        reshard(settings, 1)
        return open_feed(settings)

    with monkeypatch.context() as patch:
        patch.setattr(quarantine, "open_feed", open_later)
        with pytest.raises(Resharded, match="start again"):
            replay(settings, {}, {"event_type": "view"})
    report = replay(settings, {}, {"event_type": "view"})
    assert (report.replayed, report.already_resolved) == (len(BAD), 0)
    assert [counts.resolved for counts in summary(settings)] == [len(BAD)]


def test_a_shard_that_cannot_be_read_is_not_left_out_of_the_quarantine(
    settings: Settings, tmp_path: Path
) -> None:
    give(settings, *BAD)
    (settings.data_dir / "tables" / "1" / "CURRENT").write_text("?")
    with pytest.raises(DataDirError, match="tables/1 can't be read"):
        summary(settings)
    never_ran = Settings(data_dir=tmp_path / "new", shards=2)
    open_engine(never_ran)
    assert summary(never_ran) == []


@pytest.mark.parametrize("shards", [1, 4])
def test_status_tells_how_the_shards_stand_before_a_processor_has_run(
    settings: Settings, shards: int
) -> None:
    give(settings, *BAD)
    before = standing(open_engine(settings))
    reshard(settings, shards)
    engine = open_engine(settings)
    after = standing(engine)
    assert (after.quarantined, after.received) == (len(BAD), before.received)
    stages = [stage for stage in status(settings) if stage.stage.startswith("processor")]
    assert [stage.stage for stage in stages] == [f"processor-{n}" for n in range(shards)]
    for stage in stages:
        assert (stage.position, stage.lag) == (len(USERS) + len(BAD), 0)
        assert not stage.running
    with closing(engine.write_log()) as log:
        log.append([entry(click())])
    assert [stage.lag for stage in status(settings)[1 : shards + 1]] == [1] * shards


def test_a_disk_that_fails_is_told_of_as_the_data_directorys_trouble(settings: Settings) -> None:
    (settings.data_dir / "outbox.lock").mkdir()
    with pytest.raises(DataDirError, match=r"outbox\.lock can't be used: Is a directory"):
        reshard(settings, 3)
    assert folders(settings) == ["tables"]


def test_an_older_release_is_told_that_the_tables_are_elsewhere(settings: Settings) -> None:
    """By the version, as it wouldn't look for them: it would open empty ones."""
    file = settings.data_dir / "meta.json"
    before = json.loads(file.read_text("utf-8"))
    assert before == {"version": 1, "shards": 2, "tables": "tables"}
    reshard(settings, 1)
    after = json.loads(file.read_text("utf-8"))
    assert after == {"version": 2, "shards": 1, "tables": "tables-2"}
    file.write_text(json.dumps(after | {"version": 3}))
    with pytest.raises(DataDirError, match="is of version 3, this shopstream reads 1 and 2"):
        open_engine(settings)


@pytest.mark.parametrize(
    "found", [{"leftovers": [""]}, {"leftovers": ["../other"]}, {"tables": "log"}]
)
def test_no_folder_but_one_of_tables_is_taken_for_one(
    settings: Settings, found: dict[str, object]
) -> None:
    """What is left over is deleted: of a damaged file that could be anything."""
    file = settings.data_dir / "meta.json"
    file.write_text(json.dumps(json.loads(file.read_text("utf-8")) | found))
    with pytest.raises(DataDirError, match=r"meta\.json can't be read: .* is no folder of tables"):
        reshard(settings, 1)
    assert folders(settings) == ["tables"]


def test_a_shard_that_comes_again_delivers_its_alerts(settings: Settings) -> None:
    """Its number had a feed once, of which the outbox knows where it was: that feed is no more."""
    told = Settings(data_dir=settings.data_dir, notify=["file://alerts.ndjson"])

    def buy(order_id: str) -> None:
        # Long after the fact: as old as only history is.
        late = order(order_id, 5_000, customer_id=OF_SHARD_1, minutes=-60 * 24 * 60)
        give(settings, late, topic="orders")
        run_notifier(told, until_idle=True)

    buy("before")
    for shards in (1, 2):
        reshard(settings, shards)
    buy("after")
    alerts = list_alerts(settings, None, limit=9)
    assert sorted((a.subject, a.state) for a in alerts) == [
        ("Order after of 5000 EUR", "delivered"),
        ("Order before of 5000 EUR", "delivered"),
    ]


@contextmanager
def receiver_that_interrupts() -> Iterator[str]:
    """A receiver of alerts who presses Ctrl-C when the first one comes."""

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            os.kill(os.getpid(), signal.SIGINT)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_ctrl_c_while_alerts_go_out_ends_it(settings: Settings) -> None:
    log = open_engine(settings).write_log()
    log.append([entry(order("large", 5_000), topic="orders")])
    log.close()
    with receiver_that_interrupts() as url:
        told = Settings(data_dir=settings.data_dir, notify=[url], notify_private_addresses=True)
        with pytest.raises(KeyboardInterrupt):
            reshard(told, 3)
    assert open_engine(settings).shards == 2
    assert folders(settings) == ["tables"]
    assert check(settings).differences == []
