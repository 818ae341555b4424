"""What could go wrong here, and what to do about it, before it does."""

import errno
import importlib.metadata
import ipaddress
import logging
import resource
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import urlsplit

import apsw
import msgspec

from shopstream import machine
from shopstream.domain.plurals import counted
from shopstream.domain.receivers import Receiver, read_receivers, refusal
from shopstream.engine import open_engine
from shopstream.errors import ConfigError, DataDirError, ShopstreamError
from shopstream.heartbeats import alive, read_heartbeats
from shopstream.keys import KEYS_FILE, list_keys
from shopstream.rules_file import rules_in_force
from shopstream.settings import CACHED_EVENT_BYTES, Settings

Level: TypeAlias = Literal["ok", "warning", "error"]

PYTHONS = ((3, 11), (3, 13))
SQLITE_MIN = (3, 51, 3)
OPEN_FILES_MIN = 1_024
OPEN_FILES_WANTED = 4_096
FSYNC_S_SLOW = 0.05
FSYNC_S_UNBELIEVABLE = 0.000_015
CLOCK_SLACK_US = 5 * 60 * 1_000_000
CLOCK_US_MIN = 1_767_225_600 * 1_000_000  # 2026-01-01: no machine that installed this is older
_SHARD_BYTES = 256 * 1024 * 1024
_STAGES_BYTES = 256 * 1024 * 1024
_LIBRARIES = ("apsw", "msgspec", "rocksdict", "zstandard", "uvicorn", "starlette", "apprise")


class Finding(msgspec.Struct, frozen=True):
    """One thing looked at: `ok`, `warning` (goes on) or `error` (won't work), and what to do."""

    level: Level
    what: str
    advice: str = ""


Findings: TypeAlias = Iterator[Finding]


def diagnose(settings: Settings, *, now_us: int | None = None) -> list[Finding]:
    """All findings, in the order a person would look. Changes nothing and takes 2 s at most.

    A measurement that fails is itself a finding; raises nothing of the machine's.
    """
    now_us = time.time_ns() // 1_000 if now_us is None else now_us
    checks: tuple[Callable[[], Findings], ...] = (
        _python,
        _libraries,
        lambda: _data_dir(settings),
        lambda: _disk(settings),
        lambda: _memory(settings),
        _open_files,
        lambda: _clock(settings, now_us),
        lambda: _port(settings, now_us),
        lambda: _keys(settings),
        lambda: _rules(settings),
        lambda: _receivers(settings),
        lambda: _stages(settings, now_us),
        lambda: _locks(settings, now_us),
        lambda: _tables(settings),
    )
    findings: list[Finding] = []
    for check in checks:
        try:
            findings += check()
        except (OSError, ShopstreamError) as e:
            findings.append(Finding("error", str(e), "Mend this first; then ask again."))
    return findings


def _python() -> Findings:
    version = sys.version_info
    shown = f"Python {version.major}.{version.minor}.{version.micro}"
    if PYTHONS[0] <= version[:2] <= PYTHONS[1]:
        yield Finding("ok", shown)
    else:
        yield Finding("warning", f"{shown} is not tested", "Use Python 3.11, 3.12 or 3.13.")


def _libraries() -> Findings:
    sqlite = apsw.sqlite_lib_version()
    if tuple(int(part) for part in sqlite.split(".")[:3]) < SQLITE_MIN:
        yield Finding(
            "error",
            f"SQLite {sqlite} can corrupt a log that is read while it is written",
            "Install apsw 3.51.3 or later, which brings its own SQLite.",
        )
    else:
        yield Finding("ok", f"SQLite {sqlite}")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _LIBRARIES)
    yield Finding("ok", versions)


def _data_dir(settings: Settings) -> Findings:
    root = settings.data_dir
    if root.exists() and not root.is_dir():
        yield Finding("error", f"{root} is no folder", "Choose another --data-dir.")
        return
    try:
        shards = open_engine(settings, create=False).shards
    except DataDirError as e:
        if (root / "meta.json").exists():
            yield Finding("error", str(e), "Use the shopstream that made it, or another folder.")
        else:
            yield Finding("ok", f"{root} is new: it is made at the first start")
    else:
        yield Finding("ok", f"{root} holds data in {counted(shards, 'shards')}")
        if settings.shards not in (0, shards):
            yield Finding(
                "error",
                f"the setting shards is {settings.shards}, the data has {shards}",
                f"Leave the setting out, or run `shopstream reshard {settings.shards}`.",
            )
    yield from _filesystem(machine.filesystem_of(_existing(root)))
    yield from _fsync(_existing(root))


def _filesystem(kind: str | None) -> Findings:
    if kind in machine.NETWORK_FILESYSTEMS:
        yield Finding(
            "error",
            f"the data directory is on a network file system ({kind})",
            "Put it on a local disk: SQLite's and RocksDB's files don't survive sharing.",
        )
    elif kind in machine.MEMORY_FILESYSTEMS:
        yield Finding(
            "warning",
            f"the data directory is in memory ({kind})",
            "All of it is gone at power-off; put it on a disk.",
        )
    elif kind == "overlay":
        yield Finding(
            "warning",
            "the data directory is in a container's own layer (overlay)",
            "It goes when the container goes; mount a volume there.",
        )
    else:
        yield Finding("ok", f"file system: {kind or 'unknown'}")


def _fsync(folder: Path) -> Findings:
    try:
        seconds = machine.fsync_seconds(folder)
    except OSError as e:
        yield Finding(
            "error",
            f"{folder} can't be written: {e.strerror}",
            "Give this user the right to write there, free space, or choose another --data-dir.",
        )
        return
    shown = f"a synced write takes {seconds * 1_000:.2f} ms"
    if seconds > FSYNC_S_SLOW:
        yield Finding("warning", shown, "Answers wait for it; a local SSD takes 0.1 to 5 ms.")
    elif seconds < FSYNC_S_UNBELIEVABLE:
        yield Finding("warning", shown, "Too fast for a disk: it may not survive power loss.")
    else:
        yield Finding("ok", shown)


def _disk(settings: Settings) -> Findings:
    free = machine.free_bytes(_existing(settings.data_dir))
    log = settings.data_dir / "log" / "log.db"
    to_come = settings.log_bytes_max - (log.stat().st_size if log.exists() else 0)
    shown = f"{_gib(free)} free for data"
    if free < settings.disk_free_bytes_min:
        yield Finding("error", shown, "Free some: the collector answers 503 until then.")
    elif free < to_come:
        yield Finding(
            "warning",
            f"{shown}, and the log may still grow by {_gib(to_come)}",
            "Lower log_bytes_max or use a larger disk; when it is full the collector answers 503.",
        )
    else:
        yield Finding("ok", shown)


def _memory(settings: Settings) -> Findings:
    available = machine.memory_bytes()
    if available is None:
        return
    try:
        shards = open_engine(settings, create=False).shards
    except DataDirError:  # a new one
        shards = max(1, settings.shards)
    wanted = _STAGES_BYTES + shards * (
        _SHARD_BYTES + settings.cached_events_max * CACHED_EVENT_BYTES
    )
    shown = f"{_gib(available)} of memory available, up to {_gib(wanted)} may be used"
    if available < wanted:
        yield Finding("warning", shown, "Lower cached_events_max or use fewer shards.")
    else:
        yield Finding("ok", shown)


def _open_files() -> Findings:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= OPEN_FILES_WANTED:
        yield Finding("ok", f"open files: {'no limit' if soft < 0 else soft}")
        return
    level: Level = "error" if soft < OPEN_FILES_MIN else "warning"
    advice = f"Allow {OPEN_FILES_WANTED} (ulimit -n, or LimitNOFILE= in systemd)."
    yield Finding(level, f"only {soft} files may be open", advice)


def _clock(settings: Settings, now_us: int) -> Findings:
    advice = "Set the clock (timedatectl set-ntp true): event times are compared with it."
    if now_us < CLOCK_US_MIN:
        yield Finding("error", "the clock stands before 2026", advice)
        return
    written = [
        path.stat().st_mtime_ns // 1_000
        for name in ("log/log.db", "log/log.db-wal", "outbox.db", "meta.json")
        if (path := settings.data_dir / name).exists()
    ]
    ahead_us = max(written, default=0) - now_us
    if ahead_us > CLOCK_SLACK_US:
        shown = f"data was written {ahead_us // 60_000_000:,} minutes from now"
        yield Finding("error", shown, advice)
    else:
        yield Finding("ok", "the clock is not behind the data")


def _port(settings: Settings, now_us: int) -> Findings:
    shown = f"{settings.host}:{settings.port}"
    beat = read_heartbeats(settings.data_dir / "run").get("collector", {})
    if alive(beat, now_us) and beat.get("port") == settings.port:
        yield Finding("ok", f"{shown} is taken by the collector of this data directory")
        return
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)
        family, kind, protocol, _, address = found[0]
        with socket.socket(family, kind, protocol) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except OSError as e:
        advice = {
            errno.EADDRINUSE: "Another program listens there; choose another --port.",
            errno.EACCES: "Ports below 1024 need privileges; choose another --port.",
        }.get(e.errno or 0, "Set host to an address of this machine.")
        yield Finding("error", f"{shown} can't be listened on: {e.strerror}", advice)
    else:
        yield Finding("ok", f"{shown} is free")


def _keys(settings: Settings) -> Findings:
    live = [key for key in list_keys(settings.data_dir) if key.live and key.kind == "write"]
    if live:
        yield Finding("ok", counted(len(live), "write keys"))
    elif _loopback(settings.host):
        yield Finding(
            "ok", f"no write key: events are taken without, from here only ({settings.host})"
        )
    else:
        yield Finding(
            "error",
            f"no write key, and {settings.host} can be reached from outside",
            "Make one with `shopstream keys add`; the collector won't start without.",
        )
    path = settings.data_dir / KEYS_FILE
    if path.exists() and path.stat().st_mode & 0o077:
        yield Finding("warning", f"others may read {path}", f"chmod 600 {path}")


def _loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _rules(settings: Settings) -> Findings:
    path = settings.rules_path
    if settings.rules is not None and not path.exists():
        yield Finding("error", f"there is no {path}", "Write it, or leave the setting rules out.")
        return
    try:
        rules_in_force(settings)
    except ConfigError as e:
        for fault in str(e).splitlines():
            yield Finding("error", fault, "See docs/rules.md and `shopstream rules check`.")
    else:
        yield Finding("ok", f"rules: {path if path.exists() else 'the defaults'}")


def _receivers(settings: Settings) -> Findings:
    advice = "Correct the setting notify; see docs/settings.md."
    for url in settings.notify:
        try:
            [receiver] = read_receivers([url], private_addresses=settings.notify_private_addresses)
        except ConfigError as e:
            yield Finding("error", str(e), advice)
            continue
        if why := refused(receiver, settings):
            yield Finding(
                "error",
                f"alerts can't go to {receiver.name}: {why}",
                "Set notify_private_addresses = true if you want them to go there.",
            )
        elif receiver.kind == "apprise" and not _apprise_knows(url):
            yield Finding("error", f"notify: Apprise can't use {receiver.name}", advice)
        else:
            yield Finding("ok", f"alerts go to {receiver.name}")
    if not settings.notify:
        yield Finding("warning", "alerts go nowhere", "Set notify, e.g. to console://.")


def refused(receiver: Receiver, settings: Settings) -> str:
    """Why no alert will ever be sent to a webhook, as far as its URL says: "" where it names a host
    that only a look-up could tell of.
    """
    if receiver.kind != "webhook" or settings.notify_private_addresses:
        return ""
    host = urlsplit(receiver.url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return f"{host} is this machine"
    try:
        # As numbers only, in all the ways that connecting to it would read them.
        found = socket.getaddrinfo(host, None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return ""
    return refusal(str(found[0][4][0])) or ""


def _apprise_knows(url: str) -> bool:
    # It logs URLs with their tokens.
    logging.getLogger("apprise").setLevel(logging.CRITICAL + 10)
    import apprise

    return apprise.Apprise.instantiate(url) is not None


def _stages(settings: Settings, now_us: int) -> Findings:
    beats = read_heartbeats(settings.data_dir / "run")
    for stage, beat in beats.items():
        if alive(beat, now_us):
            yield Finding("ok", f"{stage} runs (process {beat.get('pid')})")
        elif not beat.get("ended"):
            yield Finding(
                "warning",
                f"{stage} gave its last sign of life {_ago(beat.get('at_us'), now_us)}",
                "It crashed or hangs; start it again, it goes on where it was.",
            )
    if not beats:
        yield Finding("ok", "no stage runs")


def _locks(settings: Settings, now_us: int) -> Findings:
    """Locks end with their process, so only a living one that shows no life is a fault."""
    beats = read_heartbeats(settings.data_dir / "run").values()
    known = {beat.get("pid") for beat in beats if alive(beat, now_us)}
    for name in ("log/writer.lock", "outbox.lock", "lake/landed.lock", "lake/builds.lock"):
        holder = machine.flock_holder(settings.data_dir / name)
        if holder is not None and holder not in known:
            yield Finding(
                "warning",
                f"process {holder} holds {name} and runs no stage that gives a sign of life",
                "A load or build under way is fine; otherwise see what it is and end it.",
            )


def _tables(settings: Settings) -> Findings:
    if not (settings.data_dir / "lake" / "builds.db").exists():
        return
    with open_engine(settings, create=False).read_builds() as builds:
        try:
            failing = builds.failing()
        except apsw.Error as e:
            yield Finding("error", f"lake/builds.db: {e}", "See `shopstream check`.")
            return
    for model, tests in failing.items():
        yield Finding(
            "warning",
            f"{model} fails its tests: {', '.join(tests)}",
            "Readers keep the rows it had before; `shopstream build` says which rows are wrong.",
        )
    if not failing:
        yield Finding("ok", "all tables passed their tests")


def _existing(path: Path) -> Path:
    path = path.absolute()
    return next(folder for folder in (path, *path.parents) if folder.is_dir())


def _gib(size: int) -> str:
    return f"{size / 1024**3:,.1f} GiB"


def _ago(at_us: object, now_us: int) -> str:
    if not isinstance(at_us, int):
        return "at an unknown time"
    return f"{max(0, now_us - at_us) // 1_000_000:,} s ago"
