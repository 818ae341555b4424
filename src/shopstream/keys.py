"""Write and read keys: 256 random bits each, kept only as SHA-256 in `keys.json` (mode 0600).

A fast hash is right here: nobody can guess 256 random bits, so there is nothing to slow down.
Revoked keys stay listed, so that revoking the last one never opens a collector.
"""

import fcntl
import hmac
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec
from msgspec import Struct

from shopstream.errors import ConfigError
from shopstream.events import TOPICS, Topic

KeyKind: TypeAlias = Literal["write", "read"]
KEYS_FILE = "keys.json"
_PREFIX: dict[str, str] = {"write": "ssw_", "read": "ssr_"}
_KEYS_MAX = 1_000


class Key(Struct, frozen=True, omit_defaults=True, kw_only=True):
    """One key as stored: what it may do, never what it is. Read keys have no topics."""

    id: str
    kind: KeyKind
    name: str
    sha256: str
    topics: list[Topic] = []
    created_at: datetime
    revoked_at: datetime | None = None

    @property
    def live(self) -> bool:
        return self.revoked_at is None


class _File(Struct, kw_only=True):
    version: Literal[1] = 1
    keys: list[Key] = []


def add_key(
    data_dir: Path,
    *,
    kind: KeyKind,
    now: datetime,
    topics: Sequence[Topic] = TOPICS,
    name: str = "",
) -> tuple[Key, str]:
    """Store a new key durably; returns it and its secret, which is shown nowhere again."""
    if unknown := [t for t in topics if t not in TOPICS]:
        raise ConfigError(f"key: unknown topic {unknown[0]!r}; topics are {', '.join(TOPICS)}")
    if kind == "write" and not topics:
        raise ConfigError("key: a write key needs at least one topic")
    secret = _PREFIX[kind] + secrets.token_urlsafe(32)
    key = Key(
        id=secrets.token_hex(4),
        kind=kind,
        name=name,
        sha256=sha256(secret.encode()).hexdigest(),
        topics=list(topics) if kind == "write" else [],
        created_at=now,
    )
    with _locked(data_dir):
        keys = list_keys(data_dir)
        if len(keys) >= _KEYS_MAX:
            raise ConfigError(f"{data_dir / KEYS_FILE}: there are {_KEYS_MAX} keys, the most kept")
        _store(data_dir, [*keys, key])
    return key, secret


def list_keys(data_dir: Path) -> list[Key]:
    """All keys, the revoked ones too, oldest first; [] when there is no file.

    Raises ConfigError when the file is not one that `add_key` wrote.
    """
    path = data_dir / KEYS_FILE
    try:
        return msgspec.json.decode(path.read_bytes(), type=_File).keys
    except FileNotFoundError:
        return []
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: not a readable file of keys: {e}") from None


def revoke_key(data_dir: Path, key_id: str, *, now: datetime) -> Key:
    """Revoke the key with this id; a running collector refuses it within about a second."""
    with _locked(data_dir):
        keys = list_keys(data_dir)
        found = next((k for k in keys if k.id == key_id), None)
        if found is None:
            raise ConfigError(f"there is no key with id {key_id!r}; see `shopstream keys list`")
        revoked = msgspec.structs.replace(found, revoked_at=found.revoked_at or now)
        _store(data_dir, [revoked if k.id == key_id else k for k in keys])
    return revoked


class KeyRing:
    """The keys in force in a running collector. `refresh` takes up a changed file."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._stamp = self._read_stamp()
        self._keys = list_keys(data_dir)
        self._found: dict[bytes, Key] = {}

    def has(self, kind: KeyKind) -> bool:
        """Whether keys of this kind are configured, be they revoked."""
        return any(k.kind == kind for k in self._keys)

    def find(self, secret: bytes) -> Key | None:
        """The live key with this secret. All digests are compared, each in constant time."""
        digest = sha256(secret).digest()
        known = self._found.get(digest)
        if known is not None:
            return known
        shown = digest.hex()
        found = None
        for key in self._keys:
            if hmac.compare_digest(key.sha256, shown) and key.live:
                found = key
        if found is not None:
            self._found[digest] = found
        return found

    def refresh(self) -> None:
        """Read the file again if it changed. A file that vanished or broke changes nothing."""
        stamp = self._read_stamp()
        if stamp == self._stamp or stamp is None:
            return
        try:
            self._keys = list_keys(self._data_dir)
        except ConfigError:
            return
        self._found = {}
        self._stamp = stamp

    def _read_stamp(self) -> tuple[int, int, int] | None:
        try:
            stat = (self._data_dir / KEYS_FILE).stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino


@contextmanager
def _locked(data_dir: Path) -> Iterator[None]:
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "keys.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _store(data_dir: Path, keys: list[Key]) -> None:
    body = msgspec.json.format(msgspec.json.encode(_File(keys=keys)))
    write_private(data_dir / KEYS_FILE, body)


def write_private(path: Path, body: bytes) -> None:
    """Replace a file durably, whole or not at all, readable by its owner only (0600)."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    unfinished.unlink(missing_ok=True)
    fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(body)
        file.flush()
        os.fsync(fd)
    unfinished.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
