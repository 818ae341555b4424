"""Browsers that send from another origin: what they ask before, and what each answer tells them."""

from collections.abc import Mapping

Headers = list[tuple[bytes, bytes]]
_MAX_AGE_S = b"86400"


class Cors:
    """Echoes the origin, so that SDKs that send credentials work as well as those that don't."""

    def __init__(self, origins: str) -> None:
        self._any = origins.strip() == "*"
        self._origins = {o.strip().lower().encode() for o in origins.split(",") if o.strip()}

    def headers(self, origin: bytes) -> Headers:
        """What an answer to `origin` needs; nothing when it isn't allowed."""
        if not self._any and origin.lower() not in self._origins:
            return []
        return [
            (b"access-control-allow-origin", origin),
            (b"access-control-allow-credentials", b"true"),
            (b"access-control-expose-headers", b"Retry-After"),
            (b"vary", b"Origin"),
        ]

    def preflight(self, asked: Mapping[bytes, bytes]) -> Headers:
        """The answer to OPTIONS: the methods, and whichever headers the browser wants to send."""
        found: Headers = [(b"allow", b"POST, OPTIONS"), (b"content-length", b"0")]
        allowed = self.headers(asked[b"origin"]) if b"origin" in asked else []
        if allowed:
            wanted = asked.get(b"access-control-request-headers", b"authorization, content-type")
            found += allowed
            found += [
                (b"access-control-allow-methods", b"POST, OPTIONS"),
                (b"access-control-allow-headers", wanted),
                (b"access-control-max-age", _MAX_AGE_S),
            ]
        return found
