"""How the collector says no: a status, a code for programs, a message for people."""

import msgspec


class Refusal(Exception):
    """A request that is not taken. `retry_after_s` becomes the header Retry-After; `close` ends
    the connection after the answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        retry_after_s: int = 0,
        close: bool = False,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after_s = retry_after_s
        self.close = close

    @property
    def body(self) -> bytes:
        return msgspec.json.encode({"code": self.code, "message": self.message})

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        found = [
            (b"content-type", b"application/json"),
            (b"x-content-type-options", b"nosniff"),
        ]
        if self.retry_after_s:
            found.append((b"retry-after", b"%d" % self.retry_after_s))
        if self.status == 401:
            found.append((b"www-authenticate", b'Basic realm="shopstream"'))
        if self.close:
            found.append((b"connection", b"close"))
        return found


class ClientGone(Exception):
    """The client went away (or was timed out) before its request was whole."""
