"""Write and read keys: 256 random bits each, kept only as SHA-256 in `keys.json` (mode 0600).

A fast hash is right here: nobody can guess 256 random bits, so there is nothing to slow down.
Revoked keys stay listed, so that revoking the last one never opens a collector. On AWS the same
file is `config/keys.json` in the lake's bucket.
"""

import fcntl
import hmac
import os
import secrets
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Literal, Protocol, TypeAlias

import msgspec
from msgspec import Struct

from shopstream.errors import ConfigError, ShopstreamError
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


class KeyFile(Protocol):
    """Where the keys are kept; `place` is what messages call it."""

    place: str

    def read(self) -> bytes | None:
        """The file as it is now, None when there is none. Raises OSError or a ShopstreamError."""
        ...

    def stamp(self) -> Hashable | None:
        """What differs once the file does; None when it can't be told or there is no file."""
        ...

    def change(self, edit: Callable[[bytes | None], bytes]) -> None:
        """Replace the file by what `edit` makes of it, durably, whole or not at all. Of two changes
        at once the second sees the first; `edit` may therefore be called more than once.
        """
        ...


Place: TypeAlias = Path | KeyFile
"""A data directory, or where else the keys are."""


def add_key(
    place: Place,
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
    file = _file(place)

    def added(body: bytes | None) -> bytes:
        keys = parse_keys(body, file.place)
        if len(keys) >= _KEYS_MAX:
            raise ConfigError(f"{file.place}: there are {_KEYS_MAX} keys, the most kept")
        return _written([*keys, key])

    file.change(added)
    return key, secret


def list_keys(place: Place) -> list[Key]:
    """All keys, the revoked ones too, oldest first; [] when there is no file.

    Raises ConfigError when the file is not one that `add_key` wrote.
    """
    file = _file(place)
    try:
        body = file.read()
    except OSError as e:
        raise ConfigError(f"{file.place}: not a readable file of keys: {e}") from None
    return parse_keys(body, file.place)


def parse_keys(body: bytes | None, place: str) -> list[Key]:
    """The keys in a file's bytes, none when there is no file. Raises ConfigError naming `place`."""
    if body is None:
        return []
    try:
        return msgspec.json.decode(body, type=_File).keys
    except (msgspec.MsgspecError, UnicodeDecodeError) as e:
        raise ConfigError(f"{place}: not a readable file of keys: {e}") from None


def revoke_key(place: Place, key_id: str, *, now: datetime) -> Key:
    """Revoke the key with this id; a running collector refuses it once its ring is refreshed."""
    file = _file(place)
    revoked: list[Key] = []

    def without(body: bytes | None) -> bytes:
        keys = parse_keys(body, file.place)
        found = next((k for k in keys if k.id == key_id), None)
        if found is None:
            raise ConfigError(f"there is no key with id {key_id!r}; see `shopstream keys list`")
        revoked[:] = [msgspec.structs.replace(found, revoked_at=found.revoked_at or now)]
        return _written([revoked[0] if k.id == key_id else k for k in keys])

    file.change(without)
    return revoked[0]


class KeyRing:
    """The keys in force in a running collector. `refresh` takes up a changed file."""

    def __init__(self, place: Place) -> None:
        self._file = _file(place)
        self._stamp = self._file.stamp()
        self._keys = list_keys(place)
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
        stamp = self._file.stamp()
        if stamp == self._stamp or stamp is None:
            return
        try:
            self._keys = list_keys(self._file)
        except ShopstreamError:
            return
        self._found = {}
        self._stamp = stamp


class LocalKeyFile:
    """`keys.json` in a data directory, changed under a lock."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._path = data_dir / KEYS_FILE
        self.place = str(self._path)

    def read(self) -> bytes | None:
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None

    def stamp(self) -> Hashable | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino

    def change(self, edit: Callable[[bytes | None], bytes]) -> None:
        with _locked(self._data_dir):
            write_private(self._path, edit(self.read()))


def _file(place: Place) -> KeyFile:
    return LocalKeyFile(place) if isinstance(place, Path) else place


def _written(keys: list[Key]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(_File(keys=keys)))


@contextmanager
def _locked(data_dir: Path) -> Iterator[None]:
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (data_dir / "keys.lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


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
