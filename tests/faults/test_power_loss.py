"""After a power cut at any moment all that was acknowledged is there."""

import shutil
import sys
from contextlib import closing
from functools import partial
from pathlib import Path
from random import Random

import apsw
import msgspec
import pytest
from tests.faults.kills import Victim, append
from tests.faults.lake_kills import BuilderVictim, land, process
from tests.faults.powerloss import Call, Disk, calls_in, traced
from tests.faults.shop import entries
from tests.faults.snapshot import compare, snapshot
from tests.faults.stages import make_shop, run
from tests.faults.victims import VICTIMS

from shopstream.engine import open_engine
from shopstream.errors import ShopstreamError
from shopstream.local.log import SqliteLog
from shopstream.ports import Row
from shopstream.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("strace")]

KEEP = (0.0, 0.5, 0.9, 1.0)
"""Which share of what was not synced the disk has kept all the same."""


CUTS = 12
"""Power cuts for each run of a stage; every one is followed by a whole recovery."""
CUTS_OF_LAKE = 6
"""The same for builds and maintenance, which take longer."""


def appended(root: Path, synchronous: str) -> tuple[Disk, list[Call]]:
    """A fresh data directory, and the calls of two processes that append to its log in turn."""
    data_dir = root / "data"
    open_engine(Settings(data_dir=data_dir))
    disk = Disk(data_dir)
    calls: list[Call] = []
    for n in range(2):
        trace = root / f"trace{n}"
        program = [sys.executable, "-m", "tests.faults.appending", str(data_dir / "log"), "25"]
        run(traced([*program, synchronous], trace)).check_returncode()
        calls += calls_in(trace, data_dir)
    return disk, calls


def lost_after_cuts(root: Path, synchronous: str, cuts: int) -> list[str]:
    """What of the acknowledged rows is missing after `cuts` power cuts, evenly spread."""
    disk, calls = appended(root, synchronous)
    assert sum(call.path == "" for call in calls) == 50
    chance, lost, acknowledged = Random(1), [], -1
    at = {round(i * len(calls) / cuts): KEEP[i % len(KEEP)] for i in range(1, cuts + 1)}
    for number, call in enumerate(calls, 1):
        if call.path == "":
            acknowledged = int(call.data)
        else:
            disk.do(call)
        if (keep := at.get(number)) is not None:
            place = root / "after"
            disk.cut(chance, keep, place)
            lost += [f"cut {number}: {what}" for what in missing(place / "log", acknowledged)]
            shutil.rmtree(place)
    return lost


def missing(folder: Path, acknowledged: int) -> list[str]:
    """What is wrong with the log in `folder`, of which so much was acknowledged."""
    try:
        log = SqliteLog(folder)
    except (ShopstreamError, apsw.Error) as e:
        return [f"the log can't be opened: {e}"]
    with closing(log):
        try:
            rows = read_all(log)
            read, received = log.progress("test"), sum(log.received().values())
        except Exception as e:  # noqa: BLE001  # a torn log may fail in any way
            return [f"the log can't be read: {e}"]
    numbers = [msgspec.json.decode(row.entries[0].events[0])["n"] for row in rows]
    if not len(rows) == read == received or numbers != list(range(len(rows))):
        return [f"rows {numbers}, {read} read, {received} received"]
    if len(rows) <= acknowledged:
        return [f"{acknowledged + 1} rows were acknowledged, {len(rows)} are there"]
    return []


def read_all(log: SqliteLog) -> list[Row]:
    rows: list[Row] = []
    while found := log.read(rows[-1].next if rows else 0):
        rows += found
    return rows


def test_after_a_power_cut_every_acknowledged_row_is_in_the_log(tmp_path: Path) -> None:
    assert lost_after_cuts(tmp_path, "shipped", 200) == []


# A log that is too torn to be opened leaves its lock file to the garbage collector.
@pytest.mark.filterwarnings("ignore:.*writer.lock")
@pytest.mark.parametrize("weaker", ["normal", "off"])
def test_weaker_syncing_is_seen_to_lose_acknowledged_rows(weaker: str, tmp_path: Path) -> None:
    """The control: a test that can't fail proves nothing."""
    assert lost_after_cuts(tmp_path, weaker, 60)


@pytest.fixture(
    params=[
        "processor's first run",
        "processor",
        "notifier",
        "builder's first run",
        "builder",
        "maintenance",
    ]
)
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Victim, Path]:
    """A stage and the data directory that it is about to run on."""
    victim = VICTIMS[request.param.partition("'")[0]](tmp_path)
    if "first" not in request.param:
        return victim, victim._copy()
    data_dir = make_shop(tmp_path / "data")
    append(data_dir, list(entries(14)))
    if isinstance(victim, BuilderVictim):
        process(data_dir)
        land(data_dir)
    return victim, data_dir


def test_after_a_power_cut_a_stage_catches_up(stage: tuple[Victim, Path], tmp_path: Path) -> None:
    """In the place where it was: what is in the lake names whole paths."""
    victim, data_dir = stage
    disk, trace, chance = Disk(data_dir), tmp_path / "trace", Random(2)
    assert victim.run_once(data_dir, partial(traced, trace=trace)) == 0
    calls = list(calls_in(trace, data_dir))
    victim.finish(data_dir)
    wanted = snapshot(data_dir)
    number_of = CUTS_OF_LAKE if isinstance(victim, BuilderVictim) else CUTS
    keep_of = KEEP[:3] if isinstance(victim, BuilderVictim) else KEEP
    cuts = {
        round(i * len(calls) / number_of): keep_of[i % len(keep_of)]
        for i in range(1, number_of + 1)
    }
    for number, call in enumerate(calls, 1):
        if call.path:
            disk.do(call)
        if (keep := cuts.get(number)) is not None:
            shutil.rmtree(data_dir)
            disk.cut(chance, keep, data_dir)
            victim.finish(data_dir)
            difference = compare(wanted, snapshot(data_dir))
            assert not difference, f"cut {number} of {len(calls)}, {keep} kept"
