"""Who may do what: the key a request presents, what it is bound to, how much it may send."""

import base64
import binascii
import ipaddress
import time
from collections.abc import Iterable, Mapping
from typing import Protocol
from urllib.parse import parse_qs

from shopstream.collector.refusal import Refusal
from shopstream.errors import ConfigError
from shopstream.keys import Key, KeyKind

OPEN_NOTICE = (
    "No write key is configured: this collector takes events from anyone on this machine. "
    "Make one with `shopstream keys add`."
)
_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
_QUERY_BYTES_MAX = 8_192


def is_loopback(host: str) -> bool:
    """Whether an address is reachable from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Keys(Protocol):
    """The keys in force, wherever they are kept."""

    def has(self, kind: KeyKind) -> bool:
        """Whether keys of this kind are configured, be they revoked."""
        ...

    def find(self, secret: bytes) -> Key | None:
        """The live key with this secret."""
        ...

    def refresh(self) -> None:
        """Take up keys that were added or revoked."""
        ...


def ensure_guarded(keys: Keys, host: str) -> None:
    """Raises ConfigError when others can reach `host` and anyone could write."""
    if not keys.has("write") and not is_loopback(host):
        raise ConfigError(
            f"setting host: {host!r} can be reached by others and there is no write"
            " key; make one with `shopstream keys add`, or listen on 127.0.0.1"
        )


class Access:
    """Decides on keys. Where only this machine can ask (`loopback`) and there is no write key,
    writing is open, and so is reading without a read key; elsewhere nothing ever is.
    """

    def __init__(self, keys: Keys, *, rate_events_per_s: int, loopback: bool) -> None:
        self._keys = keys
        self._loopback = loopback
        self._rates = Rates(rate_events_per_s)
        self.limited = self._rates.per_s > 0
        self.open = False
        self.refresh()

    def refresh(self) -> None:
        """Take up added and revoked keys. Once there was a key, it never opens again."""
        self._keys.refresh()
        self.open = not self._keys.has("write") and self._loopback
        self.read_open = not self._keys.has("read") and self._loopback

    def presented(self, headers: Mapping[bytes, bytes], query: bytes = b"") -> bytes:
        """The secret in a request's head, b"" when there is none."""
        return _presented(headers, query)

    def writer(self, secret: bytes) -> Key | None:
        """The live write key with this secret, None where none is needed. Raises Refusal 401."""
        return None if self.open else self._live(secret, "write")

    def reader(self, headers: Mapping[bytes, bytes]) -> None:
        """Raises Refusal 401 without a live read key; 403 when a web page asks by another name."""
        if not self.read_open:
            self._live(_presented(headers, b""), "read")
        elif _host_name(headers.get(b"host", b"")) not in _LOCAL_HOSTS:
            # A page that has its own name resolve to 127.0.0.1 could read everything otherwise.
            raise Refusal(403, "forbidden_host", "without a read key, ask by the name localhost")

    def _live(self, secret: bytes, kind: KeyKind) -> Key:
        key = self._keys.find(secret) if secret else None
        if key is None or key.kind != kind:
            what = "is wrong, revoked or of another kind" if secret else "is missing"
            raise Refusal(401, "unauthorized", f"the {kind} key {what}")
        return key

    def bind(self, key: Key | None, topics: Iterable[str]) -> None:
        """Raises Refusal 403 for a topic that the key isn't bound to."""
        wanted = list(topics)
        for topic in wanted:
            if key is not None and topic not in key.topics:
                both = f"; here it must be to {' and '.join(wanted)}" * (len(wanted) > 1)
                raise Refusal(403, "forbidden", f"this key is not bound to the topic {topic}{both}")

    def spend(self, key: Key | None, events: int) -> None:
        """Raises Refusal 429 when the key sends more than its rate."""
        if self.limited:
            self._rates.take(key.id if key else "", events)


def _host_name(host: bytes) -> str:
    name = host.decode("latin-1").lower()
    return name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]


def _presented(headers: Mapping[bytes, bytes], query: bytes) -> bytes:
    if authorization := headers.get(b"authorization"):
        scheme, _, value = authorization.partition(b" ")
        match scheme.lower():
            case b"bearer":
                return value.strip()
            case b"basic":
                return _basic_user(value)
    if key := headers.get(b"x-write-key"):
        return key
    if b"writeKey=" in query and len(query) <= _QUERY_BYTES_MAX:
        found = parse_qs(query.decode("latin-1")).get("writeKey")
        return found[0].encode() if found else b""
    return b""


def _basic_user(value: bytes) -> bytes:
    try:
        return base64.b64decode(value.strip(), validate=True).partition(b":")[0]
    except binascii.Error:
        return b"\0"


class Rates:
    """A token bucket for each key: `per_s` events a second, one second's worth at once.

    A batch larger than the bucket passes when the bucket is full and leaves it in debt, so that
    the rate holds and no batch within the limits is refused for ever.
    """

    def __init__(self, per_s: int) -> None:
        self.per_s = per_s
        self._levels: dict[str, tuple[float, float]] = {}

    def take(self, name: str, events: int) -> None:
        now = time.monotonic()
        level, then = self._levels.get(name, (float(self.per_s), now))
        level = min(float(self.per_s), level + (now - then) * self.per_s)
        if level < min(events, self.per_s):
            self._levels[name] = (level, now)
            wait_s = (min(events, self.per_s) - level) / self.per_s
            raise Refusal(
                429,
                "rate_limited",
                f"over {self.per_s:,} events a second; try again",
                retry_after_s=int(wait_s) + 1,
            )
        self._levels[name] = (level - events, now)
