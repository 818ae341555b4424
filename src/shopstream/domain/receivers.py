"""Who gets alerts, read from the `notify` setting without contacting anyone.

A receiver's URL may hold a token or a password. Nothing but the code that connects sees the URL:
logs, heartbeats and the outbox know the receiver by its `name`.
"""

import hashlib
import ipaddress
import re
import unicodedata
from collections.abc import Iterable
from typing import Literal, NamedTuple, TypeAlias
from urllib.parse import unquote, urlsplit

from shopstream.errors import ConfigError

ReceiverKind: TypeAlias = Literal["console", "file", "webhook", "apprise"]

WAIT_S_MIN = 1.0
WAIT_S_MAX = 15 * 60.0
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
# Apprise's own generic webhooks follow redirects and resolve the host again when they connect.
_UNGUARDED = {"json", "jsons", "xml", "xmls", "form", "forms", "apprise", "apprises"}
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


class Receiver(NamedTuple):
    """One place that alerts go to. `name` is safe to show and the same for the same URL."""

    name: str
    kind: ReceiverKind
    url: str

    @property
    def path(self) -> str:
        """Where a file receiver writes; relative to the data directory unless absolute."""
        return unquote(self.url.partition("://")[2])


def read_receivers(urls: Iterable[str], *, private_addresses: bool = False) -> list[Receiver]:
    """The receivers of a `notify` setting, each once, in order.

    Raises ConfigError naming the (redacted) URL and what was wanted. Whether Apprise knows a
    service is found out by `shopstream doctor` and when the notifier starts.
    """
    found = [_read(url, private_addresses) for url in urls]
    return list({receiver.name: receiver for receiver in found}.values())


def _read(url: str, private_addresses: bool) -> Receiver:
    scheme = _scheme(url)
    if not scheme:
        raise ConfigError(
            f"notify: {redact(url)} has no scheme; write console://, file://PATH, https://… or an"
            " Apprise URL such as mailto://…"
        )
    if scheme in ("http", "https"):
        _check_webhook(url)
    elif scheme == "file" and not url.partition("://")[2]:
        raise ConfigError("notify: file:// names no file; write file://alerts.ndjson")
    elif scheme in _UNGUARDED and not private_addresses:
        raise ConfigError(
            f"notify: {redact(url)} can't be kept away from private addresses; write http(s)://…"
            " instead, or set notify_private_addresses"
        )
    kinds: dict[str, ReceiverKind] = {
        "console": "console",
        "file": "file",
        "http": "webhook",
        "https": "webhook",
    }
    name = redact(url)
    if name != url:
        name += "#" + hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return Receiver(name, kinds.get(scheme, "apprise"), url)


def _check_webhook(url: str) -> None:
    wanted = "a web address in printable ASCII (percent-encode the rest)"
    try:
        parts = urlsplit(url)
        good = bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or not all("\x21" <= c <= "\x7e" for c in url):
        raise ConfigError(f"notify: {redact(url)} is not {wanted}")


def redact(url: str) -> str:
    """`url` without anything that could be a secret: `slack://…`, `https://host/…`.

    A file's path is kept; user, password, path, query and fragment of all else are not, and a
    host only of web addresses, for elsewhere it may be a token.
    """
    scheme = _scheme(url)
    if scheme == "console":
        return "console://"
    if scheme == "file":
        return one_line(url)
    if scheme in ("http", "https"):
        try:
            parts = urlsplit(url)
            host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname or ""
            port = f":{parts.port}" if parts.port is not None else ""
        except ValueError:
            host = port = ""
        return one_line(f"{scheme}://{host}{port}/…") if host else f"{scheme}://…"
    return f"{scheme}://…" if scheme else "…"


def _scheme(url: str) -> str:
    found = _SCHEME.match(url)
    return found[1].lower() if found else ""


def one_line(text: str, chars_max: int = 1_000) -> str:
    """`text` on one line: control, bidi and other invisible characters are shown as escapes."""
    shown = "".join(c if _visible(c) else _escape(c) for c in text[:chars_max])
    return shown if len(text) <= chars_max else shown + "…"


def _visible(char: str) -> bool:
    return unicodedata.category(char)[0] != "C" and unicodedata.category(char) not in ("Zl", "Zp")


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode()


def header_line(text: str, chars_max: int = 200) -> str:
    """`text` fit for a subject: runs of blanks, CR, LF and invisible characters become a blank."""
    shown = " ".join("".join(c if _visible(c) else " " for c in text).split())
    return shown if len(shown) <= chars_max else shown[: chars_max - 1] + "…"


def refusal(address: str) -> str | None:
    """Why a webhook may not go to this IP address; None when it may.

    Only addresses of the public internet pass (IANA's special-purpose registries as Python's
    `ipaddress` has them), also when wrapped in IPv6 (mapped, 6to4, Teredo, NAT64).
    """
    ip = ipaddress.ip_address(address)
    inner: list[ipaddress.IPv4Address] = []
    if isinstance(ip, ipaddress.IPv6Address):
        inner = [v4 for v4 in (ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())) if v4]
        if ip in _NAT64:
            inner.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
        if ip.ipv4_mapped is not None:
            return refusal(str(ip.ipv4_mapped))
    for one in (ip, *inner):
        if not one.is_global or one.is_multicast:
            return f"{one} is no address of the public internet"
    return None


def wait_s(tries: int, chance: float) -> float:
    """Seconds before the next try, after `tries` failed ones; `chance` is uniform in [0, 1).

    Exponential backoff with full jitter (Marc Brooker, "Exponential Backoff And Jitter", AWS
    Architecture Blog, 2015), from 1 s to 15 minutes.
    """
    ceiling = min(WAIT_S_MAX, WAIT_S_MIN * 2.0 ** min(tries, 32))
    return max(WAIT_S_MIN, ceiling * chance)
