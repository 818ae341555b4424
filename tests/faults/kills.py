"""Kill a stage at a system call, go on, and compare all there is with a run that was not killed."""

import shutil
import signal
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import NamedTuple

from tests.faults.shop import Request, click, entries, poison, rounds
from tests.faults.snapshot import Difference, Snapshot, compare, event_ids, snapshot
from tests.faults.stages import (
    Client,
    RunningCollector,
    Wrap,
    events_of,
    make_shop,
    run,
    shopstream,
)
from tests.faults.strace import Point, counted, counts_in, killed_at

from shopstream.engine import open_engine
from shopstream.events import Entry
from shopstream.local.datadir import make_data_dir, open_data_dir
from shopstream.notify import run_notifier
from shopstream.processor import run_processor
from shopstream.settings import load_settings

KILLED = -signal.SIGKILL


class Outcome(NamedTuple):
    """What became of one point: how often the stage was killed, and what differs afterwards."""

    kills: int
    difference: Difference


class Victim(ABC):
    """A stage to be killed. Subclasses say how it is prepared, run once, and brought to its end.

    `folder` is where data directories are made; each is removed after its point.
    """

    name: str

    def __init__(self, folder: Path) -> None:
        self._folder = folder / self.name
        self._folder.mkdir(parents=True)
        self._made = 0

    @cached_property
    def template(self) -> Path:
        """A data directory as it stands before the stage starts."""
        return self.prepare(make_shop(self._folder / "template"))

    @cached_property
    def wanted(self) -> Snapshot:
        """What there is after a run without any kill."""
        data_dir = self._copy()
        self.finish(data_dir)
        found = snapshot(data_dir)
        assert not found.differences, found.differences
        return found

    @cached_property
    def counts(self) -> dict[str, int]:
        """How often each system call is made in a run without any kill."""
        return self._count(self._copy())

    @cached_property
    def counts_in_recovery(self) -> dict[str, int]:
        """The same for a start after a kill half-way through the writes."""
        data_dir = self._copy()
        call = "write" if "write" in self.counts else max(self.counts)
        self.run_once(data_dir, partial(killed_at, Point(call, self.counts[call] // 2)))
        return self._count(data_dir)

    def kill(self, *points: Point) -> Outcome:
        """Run the stage to each of `points` in turn, then to its end, and compare."""
        data_dir = self._copy()
        kills, seen = 0, list[str]()
        for point in points:
            kills += self.run_once(data_dir, partial(killed_at, point)) == KILLED
            seen += self.readers_see(data_dir)
        self.finish(data_dir)
        difference = self.judge(data_dir)
        outcome = Outcome(kills, difference._replace(unbalanced=[*difference.unbalanced, *seen]))
        if outcome.difference:
            self.keep(data_dir)
        else:
            shutil.rmtree(data_dir)
        return outcome

    def keep(self, data_dir: Path) -> None:  # noqa: B027  # it stays where it is
        """Leave a data directory that differs for someone to look at."""

    def judge(self, data_dir: Path) -> Difference:
        return compare(self.wanted, snapshot(data_dir))

    def readers_see(self, data_dir: Path) -> list[str]:
        """What is wrong with what readers see right after a kill; most stages have no readers."""
        return []

    def _count(self, data_dir: Path) -> dict[str, int]:
        trace = self._folder / "trace"
        self.run_once(data_dir, partial(counted, trace=trace))
        return counts_in(trace)

    def _copy(self) -> Path:
        self._made += 1
        return shutil.copytree(self.template, self._folder / str(self._made))

    @abstractmethod
    def prepare(self, data_dir: Path) -> Path: ...

    @abstractmethod
    def run_once(self, data_dir: Path, wrap: Wrap) -> int:
        """Run the real process until it has nothing to do or is killed; returns its exit code."""
        ...

    @abstractmethod
    def finish(self, data_dir: Path) -> None:
        """Go on without any fault until all is done."""
        ...


class ProcessorVictim(Victim):
    """A processor that goes on in the middle of the log, so that it restores users and flushes
    what it finds in RocksDB's write-ahead log.
    """

    name = "processor"
    command: Sequence[str] = shopstream("processor", "--until-idle")

    def rows(self) -> list[list[Entry]]:
        """What it is to process."""
        return list(entries(14))

    def prepare(self, data_dir: Path) -> Path:
        rows = self.rows()
        append(data_dir, rows[: len(rows) // 3])
        run([*self.command, "--data-dir", str(data_dir)]).check_returncode()
        append(data_dir, rows[len(rows) // 3 :])
        return data_dir

    def run_once(self, data_dir: Path, wrap: Wrap) -> int:
        return run(wrap([*self.command, "--data-dir", str(data_dir)])).returncode

    def finish(self, data_dir: Path) -> None:
        run_processor(load_settings({"data_dir": data_dir}), until_idle=True)


class PoisonedProcessorVictim(ProcessorVictim):
    """A processor that meets events which make the rules raise, and so takes rows one by one."""

    name = "poisoned processor"
    command = (sys.executable, "-m", "tests.faults.poisoned", "processor", "--until-idle")

    def rows(self) -> list[list[Entry]]:
        return [*entries(3), *poison(6), *entries(6)]

    def finish(self, data_dir: Path) -> None:
        run([*self.command, "--data-dir", str(data_dir)]).check_returncode()


class ReshardVictim(Victim):
    """A change of the number of shards, of tables that have something of everything and a log of
    which some is yet to be processed.
    """

    name = "reshard"

    def prepare(self, data_dir: Path) -> Path:
        make_data_dir(data_dir, 2)
        rows = list(entries(14))
        append(data_dir, rows[: len(rows) // 2])
        for shard in range(2):
            run_processor(load_settings({"data_dir": data_dir}), shard, until_idle=True)
        append(data_dir, rows[len(rows) // 2 :])
        return data_dir

    def run_once(self, data_dir: Path, wrap: Wrap) -> int:
        return run(wrap(shopstream("reshard", "3", "--data-dir", str(data_dir)))).returncode

    def finish(self, data_dir: Path) -> None:
        done = run(shopstream("reshard", "3", "--data-dir", str(data_dir)))
        assert done.returncode == 0, done.stdout + done.stderr
        assert open_data_dir(data_dir).shards == 3
        assert len(list(data_dir.glob("tables*"))) == 1


class NotifierVictim(Victim):
    """A notifier that finds a day's alerts, for a file and the console."""

    name = "notifier"

    def prepare(self, data_dir: Path) -> Path:
        append(data_dir, list(entries(60)))
        run_processor(load_settings({"data_dir": data_dir}), until_idle=True)
        return data_dir

    def run_once(self, data_dir: Path, wrap: Wrap) -> int:
        command = shopstream("notifier", "--until-idle", "--data-dir", str(data_dir))
        return run(wrap(command)).returncode

    def finish(self, data_dir: Path) -> None:
        run_notifier(
            load_settings({"data_dir": data_dir}), until_idle=True, write=lambda _line: None
        )


class CollectorVictim(Victim):
    """A collector with a client that sends what was not acknowledged again."""

    name = "collector"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._clients: dict[Path, Client] = {}

    def prepare(self, data_dir: Path) -> Path:
        return data_dir

    def _client(self, data_dir: Path) -> Client:
        return self._clients.setdefault(data_dir, Client(requests()))

    def run_once(self, data_dir: Path, wrap: Wrap) -> int:
        with RunningCollector(data_dir, wrap, wait=False) as collector:
            if collector.wait_for_start() and collector.address:
                self._client(data_dir).send(collector.address)
            return collector.end()

    def finish(self, data_dir: Path) -> None:
        client = self._client(data_dir)
        with RunningCollector(data_dir) as collector:
            assert client.send(collector.wait_until_serving()), client.statuses
            assert collector.end() == 0, collector.said
        run_processor(load_settings({"data_dir": data_dir}), until_idle=True)

    def judge(self, data_dir: Path) -> Difference:
        client, found = self._clients.pop(data_dir), snapshot(data_dir)
        difference = compare(self.wanted, found, client.sent)
        ids = event_ids(found)
        promised = Counter(pair for request in client.acknowledged for pair in request.ids)
        for pair, times in promised.items():
            assert times == 1, f"{pair} was sent again after it was acknowledged"
            if ids[pair] != 1:
                difference.lost.append(f"acknowledged event {pair} is there {ids[pair]} times")
        return difference


def append(data_dir: Path, rows: Sequence[Sequence[Entry]]) -> None:
    """Put rows into the log of a data directory that no collector runs on."""
    log = open_engine(load_settings({"data_dir": data_dir})).write_log()
    for row in rows:
        log.append(row)
    log.close()


def requests() -> list[list[Request]]:
    """The shop's requests one after the other, and in between eight at once."""
    groups = [[request] for request in rounds(6)]
    for n in range(4):
        at_once = [
            Request(
                "/v1/events/clicks",
                click(5, f"crowd{n}-{i}", "view", f"crowd{n}-{i}"),
                ((f"crowd{n}-{i}", f"crowd{n}-{i}"),),
            )
            for i in range(8)
        ]
        groups.insert(9 * (n + 1), at_once)
    assert all(events_of(r) or r.path == "/v1/batch" for group in groups for r in group)
    return groups
