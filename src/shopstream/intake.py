"""The intake stage: CSV files dropped into `raw/carts/` and `raw/orders/` go into the log, once.

A file is loaded, then moved to `raw/done/<topic>/`; one that can't be, to `raw/failed/<topic>/`
with a `.error` text beside it. Nothing is remembered here: how far a file's bytes are in the log is
stored in the log with them (see `loader`). So a kill before the move only means that the same file
is found again, adds nothing but what it lacks, and is moved then.
"""

import fcntl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import structlog

from shopstream.engine import open_engine
from shopstream.errors import Busy, ConfigError, LogFull, NotRunning, ShopstreamError, SourceError
from shopstream.events import Topic
from shopstream.heartbeats import alive, read_heartbeats, write_heartbeat
from shopstream.loader import LoadedFile, load_files
from shopstream.mapping import Mapping, find_mapping, parse_mapping
from shopstream.settings import Settings
from shopstream.stopping import stopped_by_signals

DROPPED_TOPICS: tuple[Topic, ...] = ("carts", "orders")
SUFFIXES = (".csv", ".csv.gz", ".csv.zst")
LOOK_S = 0.5
BEAT_S = 1.0
NAME_BYTES_MAX = 230
"""Of a moved file's name before its `.csv`, so that a number and `.error` fit behind it."""
RESULTS_MAX = 10_000
"""Results are for who waits for the end; an intake that runs for months keeps no more."""

_log = structlog.get_logger("shopstream.intake")


class Dropped(NamedTuple):
    """A file as it was when it was looked at."""

    path: Path
    topic: Topic
    size: int
    mtime_ns: int


class Failed(NamedTuple):
    """A file that could not be loaded, where it is now, and why."""

    path: Path
    error: str

    def __str__(self) -> str:
        return f"failed, moved to {self.path}: {self.error}"


@dataclass
class IntakeReport:
    """What became of the files. `direct`: this process wrote the log itself, or could have."""

    loaded: list[LoadedFile] = field(default_factory=list)
    failed: list[Failed] = field(default_factory=list)
    direct: bool = False

    def __str__(self) -> str:
        return "\n".join(map(str, [*self.loaded, *self.failed])) or "no files are waiting"


class _Stopped(Exception):
    """Asked to stop in the middle of a file; it goes on there next time."""


def run_intake(
    settings: Settings,
    *,
    until_idle: bool = False,
    supervised: bool = False,
    stop: threading.Event | None = None,
) -> IntakeReport:
    """Take files until SIGTERM, SIGINT or `stop`; with `until_idle` until none waits.

    Each file's rows are in the log once, whatever is killed when. `supervised`: beside a collector,
    which writes the log; while it is away, files wait. Raises Busy when another intake runs,
    ConfigError for a `raw/<topic>.toml` that is no mapping, and with `until_idle` LogFull,
    NotRunning, Busy or OSError where otherwise it would try again later.
    """
    engine = open_engine(settings)
    stop = stop or threading.Event()
    with _alone(engine.dir.run / "intake.lock"), stopped_by_signals(stop):
        intake = _Intake(settings, stop, supervised=supervised)
        with suppress(_Stopped):
            while not stop.is_set():
                try:
                    waiting = intake.look()
                except (LogFull, NotRunning, Busy, OSError) as e:
                    if until_idle:
                        raise
                    waiting = True
                    intake.put_off(e)
                if until_idle and not waiting:
                    break
                intake.beat()
                stop.wait(LOOK_S)
        intake.beat(last=True)
    return intake.report


class _Intake:
    """Looks, loads and moves."""

    def __init__(self, settings: Settings, stop: threading.Event, *, supervised: bool) -> None:
        self._settings = settings
        self._stop = stop
        self._supervised = supervised
        self._raw = settings.data_dir / "raw"
        self._run_dir = settings.data_dir / "run"
        self._patience = Patience(settings.intake_settle)
        self.report = IntakeReport(direct=not supervised and not self._collector_runs())
        self._loaded = self._failed = self._waiting = 0
        self._error = ""
        self._beat_at = float("-inf")
        for topic in DROPPED_TOPICS:
            (self._raw / topic).mkdir(parents=True, exist_ok=True)
            mapping_for(self._raw, topic)

    def look(self) -> bool:
        """Take every file that is whole; True when others wait or more may have come."""
        found = sorted(dropped_files(self._raw), key=lambda file: (file.mtime_ns, file.path.name))
        whole = self._patience.whole(found, time.time_ns(), time.monotonic())
        self._waiting = len(found)
        if whole and self._supervised and not self._collector_runs():
            raise NotRunning("files wait for the collector")
        for file in whole:
            self._take(file)
            self._waiting -= 1
        self._error = ""
        return bool(found)

    def put_off(self, error: Exception) -> None:
        """Say, once, why files have to wait."""
        if str(error) != self._error:
            self._error = str(error)
            _log.warning("dropped files wait", error=self._error)

    def beat(self, *, last: bool = False) -> None:
        """About once a second: say how it stands."""
        now = time.monotonic()
        if not last and now - self._beat_at < BEAT_S:
            return
        self._beat_at = now
        values = {"loaded": self._loaded, "failed": self._failed, "waiting": self._waiting}
        write_heartbeat(self._run_dir, "intake", values | {"error": self._error, "ended": last})

    def _collector_runs(self) -> bool:
        beat = read_heartbeats(self._run_dir).get("collector", {})
        return alive(beat, time.time_ns() // 1000)

    def _take(self, file: Dropped) -> None:
        try:
            report = load_files(
                self._settings,
                [file.path],
                mapping_for(self._raw, file.topic),
                live=self._settings.intake_live,
                direct=not self._supervised,
                on_progress=self._progressed,
            )
        except SourceError as e:
            if file.path.exists():
                self._fail(file, str(e))
            return
        except (ShopstreamError, OSError, _Stopped):
            raise
        except Exception as e:  # noqa: BLE001  # whatever it is must not hold up the other files
            _log.exception("a dropped file made the intake fail", file=str(file.path))
            self._fail(file, f"{type(e).__name__}: {e}")
            return
        self.report.direct |= report.direct
        if _as_it_is(file.path, file.topic) != file:
            _log.warning(
                "a file was written to while it was loaded; it is loaded again when it is whole",
                file=str(file.path),
            )
            return
        self._done(file, report.files[0])

    def _progressed(self, _done_bytes: int, _total_bytes: int, _events: int) -> None:
        self.beat()
        if self._stop.is_set():
            raise _Stopped

    def _done(self, file: Dropped, loaded: LoadedFile) -> None:
        _moved(file.path, self._raw / "done" / file.topic)
        self._loaded += 1
        if len(self.report.loaded) < RESULTS_MAX:
            self.report.loaded.append(loaded)
        _log.info("dropped file loaded", file=file.path.name, result=str(loaded))

    def _fail(self, file: Dropped, error: str) -> None:
        """The text comes first: a file in `failed` always has one."""
        target = free_path(self._raw / "failed" / file.topic, file.path.name)
        advice = f"Mend it and move it back to {self._raw / file.topic}/.\n"
        target.with_name(f"{target.name}.error").write_text(f"{error}\n\n{advice}", "utf-8")
        file.path.rename(target)
        self._failed += 1
        if len(self.report.failed) < RESULTS_MAX:
            self.report.failed.append(Failed(target, error))
        _log.warning("dropped file failed", file=str(target), error=error)


class Patience:
    """Tells whole files from those still being written, whose size or time has just changed."""

    def __init__(self, settle: timedelta) -> None:
        self._settle_s = settle.total_seconds()
        self._since_s: dict[Dropped, float] = {}

    def whole(self, found: list[Dropped], now_ns: int, now_s: float) -> list[Dropped]:
        """Those of `found` that have not changed for `settle`, by their own time or as seen here
        (for a file whose time is wrong). `now_ns` is the clock's, `now_s` never goes back.
        """
        self._since_s = {file: self._since_s.get(file, now_s) for file in found}
        return [
            file
            for file, since_s in self._since_s.items()
            if now_ns - file.mtime_ns >= self._settle_s * 1e9 or now_s - since_s >= self._settle_s
        ]


def dropped_files(raw: Path) -> Iterator[Dropped]:
    """The files that wait in `raw`. Hidden and unfinished ones (`.x.csv`, `x.csv.part`) and what
    isn't called CSV are left alone.
    """
    for topic in DROPPED_TOPICS:
        for path in (raw / topic).iterdir():
            if path.name.startswith(".") or not path.name.lower().endswith(SUFFIXES):
                continue
            if (found := _as_it_is(path, topic)) is not None:
                yield found


def _as_it_is(path: Path, topic: Topic) -> Dropped | None:
    """None for what is no file, or no longer there."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return Dropped(path, topic, stat.st_size, stat.st_mtime_ns) if path.is_file() else None


def mapping_for(raw: Path, topic: Topic) -> Mapping:
    """`raw/<topic>.toml` if it is there, else the bundled mapping. Raises ConfigError.

    Both have one name, which is what the ledger knows the source by: an order is the same order
    whatever its file's columns are called.
    """
    name, path = f"{topic}_csv", raw / f"{topic}.toml"
    if not path.exists():
        return find_mapping(name)
    found = parse_mapping(path.read_text("utf-8"), str(path), name)
    if found.topic != topic:
        raise ConfigError(f"{path}: topic = {found.topic!r} is not {topic}")
    return found


def free_path(folder: Path, name: str) -> Path:
    """A path in `folder` that nothing has yet, named as `name` if it can be; makes the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    at = name.lower().rfind(".csv")
    stem, suffixes = name[:at].encode()[:NAME_BYTES_MAX].decode("utf-8", "ignore"), name[at:]
    path, number = folder / f"{stem}{suffixes}", 1
    while path.exists():
        number += 1
        path = folder / f"{stem}-{number}{suffixes}"
    return path


def _moved(path: Path, folder: Path) -> Path:
    # Not synced: after a power cut the file is found again, is known, and is moved again.
    return path.rename(free_path(folder, path.name))


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Busy(
                f"an intake runs on {path.parent.parent} already (`shopstream up` has one):"
                " it takes the files"
            ) from None
        yield
