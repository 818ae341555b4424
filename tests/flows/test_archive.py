"""When a processor ends in order all its offers are in files, each once; however it ends after."""

import errno
import json
from collections import Counter
from collections.abc import Callable
from threading import Event
from typing import Any

import pytest
from tests.flows.pipeline import HOUR_US, Opener, Pipeline, click

from shopstream.heartbeats import read_heartbeats
from shopstream.local.lake import FolderLake
from shopstream.processor import run_processor


class Killed(BaseException):
    """The process is gone; no `except Exception` may notice."""


def views(user: str) -> list[dict[str, Any]]:
    return [click(user, -m, product_id="p1", event_id=f"{user}-{m}") for m in range(3)]


def in_files(pipeline: Pipeline) -> Counter[bytes]:
    lake = pipeline.engine.lake()
    names = lake.names("archive/offers")
    return Counter(line for name in names for line in lake.get(name).splitlines())


def file_offers(pipeline: Pipeline) -> None:
    for processor in pipeline.processors:
        processor.file_offers(pipeline.now_us)


def test_all_offers_are_in_files_and_no_timer_has_fired(pipeline: Pipeline) -> None:
    pipeline.give(click("u9", event_type="add_to_cart", product_id="p2", event_id="cart"))
    pipeline.give(*views("u1"))  # the first has its file at once, the others wait ten seconds
    pipeline.give(*views("u2"))
    pipeline.give(*views("u3"))
    assert pipeline.processors[0].unfiled == 2
    pipeline.now_us += HOUR_US
    file_offers(pipeline)
    assert pipeline.processors[0].unfiled == 0
    assert sorted(in_files(pipeline).values()) == [1, 1, 1]
    assert pipeline.items("archive_feed") == []
    assert pipeline.offers("cart-abandoned") == [], "that is for the next start"
    batches = pipeline.processors[0].checkpoint.batches
    file_offers(pipeline)
    assert pipeline.processors[0].checkpoint.batches == batches, "nothing is left to do"
    assert pipeline.check().balanced


def killed(then: Callable[..., None], *, before: bool, left: list[int]) -> Callable[..., None]:
    """`then`, which at the last of the calls `left` is the last thing that the process does."""

    def call(*arguments: Any) -> None:
        left[0] -= 1
        if before and not left[0]:
            raise Killed
        then(*arguments)
        if not left[0]:
            raise Killed

    return call


@pytest.mark.parametrize("before", [True, False])
@pytest.mark.parametrize("nth", range(1, 6))
def test_a_kill_as_it_files_them_loses_and_doubles_nothing(
    open_pipeline: Opener, monkeypatch: pytest.MonkeyPatch, nth: int, before: bool
) -> None:
    pipeline = open_pipeline()
    for user in ("u1", "u2"):
        pipeline.give(*views(user))
    left = [nth]
    with monkeypatch.context() as patched:
        lake, tables = pipeline.processors[0]._lake, pipeline.tables[0]
        for where, name in ((tables, "write"), (tables, "sync"), (lake, "put")):
            doing = killed(getattr(where, name), before=before, left=left)
            patched.setattr(where, name, doing)
        try:
            file_offers(pipeline)
        except Killed:
            done = False
        else:
            done = True
    assert done == (left[0] > 0)
    pipeline.restart()
    pipeline.give(*views("u3"))
    file_offers(pipeline)
    assert sorted(in_files(pipeline).values()) == [1, 1, 1]
    users = {json.loads(line)["user_id"] for line in in_files(pipeline)}
    assert users == {"u1", "u2", "u3"}
    assert pipeline.items("archive_feed") == []
    assert pipeline.check().balanced


def test_a_disk_that_takes_no_file_keeps_nobody_from_stopping(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.give(*views("u1"))
    pipeline.give(*views("u2"))
    for tables in pipeline.tables:
        tables.close()
    stop = Event()
    stop.set()
    with monkeypatch.context() as patched:
        patched.setattr(FolderLake, "put", refuse)
        run_processor(pipeline.settings, stop=stop)
    assert unfiled(pipeline) == 1
    run_processor(pipeline.settings, stop=stop)
    assert unfiled(pipeline) == 0
    pipeline.start()
    assert sorted(in_files(pipeline).values()) == [1, 1]
    assert pipeline.check().balanced


def refuse(_lake: FolderLake, _name: str, _body: bytes) -> None:
    raise OSError(errno.ENOSPC, "no space left on device")


def unfiled(pipeline: Pipeline) -> int:
    """As the last heartbeat says it."""
    return int(read_heartbeats(pipeline.engine.dir.run)["processor-0"]["unfiled"])
