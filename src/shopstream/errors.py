"""Everything that shopstream raises on purpose. Each message says what to do next.

ShopstreamError
├── ConfigError          a setting, rule or mapping is wrong: names file, key, value
├── DataDirError         the data directory is missing, of another version, or unusable
│   └── Busy             another process holds what this one needs
│       └── Resharded    another process has changed the number of shards
├── LogError             the log could not take or give events
│   ├── LogFull          no room: try again later (503)
│   └── LogBroken        a write or fsync failed: nothing was acknowledged, the process must end
├── SourceError          a file or URL to load from or send to is unusable
├── SqlError             a query can't be answered: it is wrong, not allowed or over a limit
├── AwsError             AWS refused a call, or could not be reached: names the call
├── NotDelivered         a receiver did not take an alert; it stays in the outbox
└── NotRunning           a command needs a running `shopstream up` and there is none
"""


class ShopstreamError(Exception):
    """The root: `except ShopstreamError` catches all of ours and nothing else."""


class ConfigError(ShopstreamError):
    """A setting, rule or mapping is wrong."""


class DataDirError(ShopstreamError):
    """The data directory cannot be used."""


class Busy(DataDirError):
    """Another process holds what this one needs."""


class Resharded(Busy):
    """Another process has changed the number of shards since this one read it: start again."""


class LogError(ShopstreamError):
    """The log could not take or give events."""


class LogFull(LogError):
    """There is no room for more events; retry after `retry_after_s` seconds."""

    def __init__(self, message: str, retry_after_s: int = 5) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class LogBroken(LogError):
    """A write or fsync failed. Nothing of it was acknowledged; the process must end and recover."""


class SourceError(ShopstreamError):
    """A file or URL to load from or send to is unusable."""


class SqlError(ShopstreamError):
    """A query can't be answered: it is wrong, not allowed, or over a limit (which it names)."""


class AwsError(ShopstreamError):
    """AWS refused a call, or could not be reached. `code` is AWS's own word for it, or empty;
    `busy` says that trying again later may do.
    """

    def __init__(self, message: str, *, code: str = "", busy: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.busy = busy


class NotDelivered(ShopstreamError):
    """A receiver did not take an alert.

    `retry_after_s` is how long the receiver asked to be left alone, 0 if it didn't.
    `receiver_down` says that the next alert would fare no better (no connection, time-out, 5xx).
    """

    def __init__(
        self, message: str, *, retry_after_s: float = 0.0, receiver_down: bool = True
    ) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s
        self.receiver_down = receiver_down


class NotRunning(ShopstreamError):
    """A command needs a running `shopstream up` on this data directory."""
