"""The stages of the lake as victims: the intake before it, the lander, builds and maintenance."""

import hashlib
import shutil
from collections import Counter
from functools import cached_property
from pathlib import Path

from tests.faults.kills import Outcome, Victim, append
from tests.faults.lake import Thing, in_tables
from tests.faults.shop import entries
from tests.faults.snapshot import Difference, Snapshot, compare, snapshot
from tests.faults.stages import Wrap, make_shop, run, shopstream
from tests.faults.strace import Point

from shopstream import stages
from shopstream.lake.build import build as build_tables
from shopstream.processor import run_processor
from shopstream.settings import load_settings

CARTS = "user_id,cart_id,product_id,quantity,unit_price,currency,timestamp\n"
ORDERS = "order_id,status,currency,timestamp,product_id,quantity,unit_price\n"


class _OfTheLake(Victim):
    """Runs one command, again and again until it is done."""

    words: tuple[str, ...]
    settings = ""

    def set(self, data_dir: Path) -> None:
        with (data_dir / "shopstream.toml").open("a", encoding="utf-8") as file:
            file.write(self.settings)

    def run_once(self, data_dir: Path, wrap: Wrap) -> int:
        return run(wrap(shopstream(*self.words, "--data-dir", str(data_dir)))).returncode

    def finish(self, data_dir: Path) -> None:
        done = run(shopstream(*self.words, "--data-dir", str(data_dir)))
        assert done.returncode == 0, done.stdout + done.stderr


class IntakeVictim(_OfTheLake):
    """An intake that finds files: good ones, one under two names, one that can't be loaded."""

    name = "intake"
    words = ("intake", "--until-idle")
    settings = 'intake_settle = "0s"\n'

    def prepare(self, data_dir: Path) -> Path:
        self.set(data_dir)
        carts, orders = data_dir / "raw" / "carts", data_dir / "raw" / "orders"
        for folder in (carts, orders):
            folder.mkdir(parents=True)
        for n in range(4):
            rows = [
                f"u{i},c{n},p{i % 7},{1 + i % 3},9.90,EUR,2026-03-0{n + 1}T12:{i % 60:02}:00Z\n"
                for i in range(200)
            ]
            (carts / f"{n}.csv").write_text("".join([CARTS, *rows]), "utf-8")
        (carts / "again.csv").write_bytes((carts / "0.csv").read_bytes())
        (carts / "bad.csv").write_text("a,b\n1,2\n", "utf-8")
        lines = [f"o{i // 2},paid,EUR,2026-03-01T12:00:00Z,p{i % 7},1,19.90\n" for i in range(100)]
        (orders / "0.csv").write_text("".join([ORDERS, *lines]), "utf-8")
        return data_dir

    def finish(self, data_dir: Path) -> None:
        # 1: that it set the bad file aside, unless it did so before it was killed.
        assert run(shopstream(*self.words, "--data-dir", str(data_dir))).returncode in (0, 1)

    @cached_property
    def wanted(self) -> Snapshot:
        data_dir = self._copy()
        self.finish(data_dir)
        return _with_files(data_dir)

    def judge(self, data_dir: Path) -> Difference:
        return compare(self.wanted, _with_files(data_dir))


def _with_files(data_dir: Path) -> Snapshot:
    """A snapshot with the dropped files, where they are now."""
    found = snapshot(data_dir)
    raw = data_dir / "raw"
    for path in raw.rglob("*.csv*"):
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        # The text beside a file that failed names the data directory.
        shown = "" if path.suffix == ".error" else digest
        found.things["dropped", str(path.relative_to(raw)), shown] += 1
    return found


class LanderVictim(_OfTheLake):
    """A lander that has landed some of a log and finds more: good events, rejects, all topics."""

    name = "lander"
    words = ("lander", "--until-idle")
    settings = "land_events_max = 25\n"

    def prepare(self, data_dir: Path) -> Path:
        self.set(data_dir)
        rows = list(entries(24))
        append(data_dir, rows[: len(rows) // 3])
        super().finish(data_dir)
        append(data_dir, rows[len(rows) // 3 :])
        process(data_dir)
        return data_dir


class BuilderVictim(_OfTheLake):
    """A build of all tables with news in them, on tables built before.

    Iceberg writes whole paths into its metadata, so every point has the same data directory, made
    anew each time.
    """

    name = "builder"
    words: tuple[str, ...] = ("build",)

    @cached_property
    def template(self) -> Path:
        made = self.prepare(make_shop(self._folder / "data"))
        return made.rename(self._folder / "template")

    def _copy(self) -> Path:
        template, here = self.template, self._folder / "data"
        shutil.rmtree(here, ignore_errors=True)
        return shutil.copytree(template, here)

    def finish(self, data_dir: Path) -> None:
        build(data_dir)

    def kill(self, *points: Point) -> Outcome:
        assert self.states  # before the data directory is this point's
        return super().kill(*points)

    def keep(self, data_dir: Path) -> None:
        self._made += 1
        data_dir.rename(self._folder / f"differs-{self._made}")

    def prepare(self, data_dir: Path) -> Path:
        rows = list(entries(24))
        for n, part in enumerate((rows[: len(rows) // 2], rows[len(rows) // 2 :])):
            if n:
                build(data_dir)
            append(data_dir, part)
            process(data_dir)
            land(data_dir)
        return data_dir

    @cached_property
    def states(self) -> list[Counter[Thing]]:
        """What readers may see: all tables as before the build, or all as after it."""
        after = Counter({t: n for t, n in self.wanted.things.items() if t[0] == "row"})
        return [Counter(in_tables(self.template)), after]

    def readers_see(self, data_dir: Path) -> list[str]:
        found = Counter(in_tables(data_dir))
        return [] if found in self.states else ["readers see neither build, or some of both"]


class MaintenanceVictim(BuilderVictim):
    """Maintenance after several builds: snapshots and their files to let go. There is nothing to
    merge: a build writes each day that it touches anew, in one file.
    """

    name = "maintenance"
    words = ("lake", "maintain")
    settings = 'snapshots_ttl = "0s"\n'
    builds = 6

    def prepare(self, data_dir: Path) -> Path:
        self.set(data_dir)
        rows = list(entries(24))
        for n in range(self.builds):
            append(data_dir, rows[n :: self.builds])
            process(data_dir)
            land(data_dir)
            build(data_dir)
        return data_dir

    def finish(self, data_dir: Path) -> None:
        """And one more build with news, which needs all that maintenance must not take away."""
        _OfTheLake.finish(self, data_dir)
        append(data_dir, list(entries(26))[-12:])
        process(data_dir)
        land(data_dir)
        build(data_dir)

    @cached_property
    def states(self) -> list[Counter[Thing]]:
        return [Counter(in_tables(self.template))]


def process(data_dir: Path) -> None:
    run_processor(load_settings({"data_dir": data_dir}), until_idle=True)


def land(data_dir: Path) -> None:
    settings = load_settings({"data_dir": data_dir})
    stages.land(settings)


def build(data_dir: Path) -> None:
    report = build_tables(load_settings({"data_dir": data_dir}))
    assert not report.failed, report.tables
