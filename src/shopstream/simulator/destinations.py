"""Where simulated events go: a collector's URL, a file, standard output or the engine's log. Those
on AWS are in `shopstream.aws.destinations`.
"""

import gzip
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self
from urllib.parse import urlsplit

import httpx
import zstandard

from shopstream.errors import SourceError
from shopstream.events import Entry
from shopstream.feed import Feed
from shopstream.patience import BUSY_STATUSES, wait_s

MIB = 1024 * 1024
HTTP_BYTES_MAX = 4 * MIB
"""The collector's default limit on a body (setting `body_bytes_max`)."""
HTTP_EVENTS_MAX = 10_000
FEED_BYTES_MAX = 3 * MIB
FILE_BYTES_MAX = 8 * MIB
TRIES_MAX = 12
ANSWER_S = 30.0
BAD_REQUEST = 400
_TOPIC_OF_LINE = b'{"topic":"%s",'


class Destination(Protocol):
    """Takes batches. A batch has at most `bytes_max` bytes, line ends counted, unless it is one
    event; and at most `events_max` events. `direct`: this process writes a data directory's log.
    """

    direct: bool
    bytes_max: int
    events_max: int
    why: str
    """Why the first of the `failed` was not taken."""

    @property
    def failed(self) -> int:
        """Events that were sent and not taken, for good."""
        ...

    def send(self, topic: str, events: Sequence[bytes]) -> None:
        """Return when the batch is taken or on its way. Raises SourceError saying what to do."""
        ...

    def close(self) -> None:
        """Return when all is taken. Raises as `send` does, for what was on its way."""
        ...


class _Closing:
    direct = False
    events_max = 1 << 30
    failed = 0
    why = ""

    def close(self) -> None:
        """Nothing to close."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class HttpDestination(_Closing):
    """A collector's `/v1/events/{topic}`. A batch is sent again, after what `Retry-After` says or
    with backoff and jitter, until it is taken: at most `tries_max` times. Events sent twice so
    are one by their ids. `spoiled`: some are broken on purpose, so a 400, which the collector
    answers when it can read none of a body and has kept it, is no reason to stop.
    """

    bytes_max = HTTP_BYTES_MAX
    events_max = HTTP_EVENTS_MAX

    def __init__(
        self,
        url: str,
        write_key: str = "",
        *,
        spoiled: bool = False,
        tries_max: int = TRIES_MAX,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url = _events_url(url)
        self._spoiled = spoiled
        self._tries_max = tries_max
        self._sleep = sleep
        auth = httpx.BasicAuth(write_key, "") if write_key else None
        self._client = httpx.Client(
            timeout=ANSWER_S, auth=auth, headers={"Content-Type": "application/x-ndjson"}
        )

    def send(self, topic: str, events: Sequence[bytes]) -> None:
        url, body = f"{self._url}/{topic}", b"\n".join(events)
        why = ""
        for tries in range(1, self._tries_max + 1):
            headers = None
            try:
                answer = self._client.post(url, content=body)
            except httpx.TransportError as e:
                why = str(e) or type(e).__name__
            else:
                if answer.is_success or (self._spoiled and answer.status_code == BAD_REQUEST):
                    return
                why = f"{answer.status_code} {answer.text[:300]}".strip()
                if answer.status_code not in BUSY_STATUSES:
                    raise SourceError(f"{url}: {why}; {_advice(answer.status_code)}")
                headers = answer.headers
            if tries < self._tries_max:
                self._sleep(wait_s(tries, headers))
        raise SourceError(
            f"{url}: not taken in {self._tries_max} tries: {why};"
            " see that a collector runs there (`shopstream up`, `/health`) and try again"
        )

    def close(self) -> None:
        self._client.close()


def _events_url(url: str) -> str:
    parts = urlsplit(url)
    path = parts.path.rstrip("/").removesuffix("/v1/events")
    if not parts.hostname or parts.query or parts.fragment:
        raise SourceError(f"{url}: is not a collector's URL; wanted such as http://localhost:8080")
    return f"{parts.scheme}://{parts.netloc}{path}/v1/events"


def _advice(status: int) -> str:
    match status:
        case 401 | 403:
            return "give a write key for this topic with --write-key"
        case 404 | 405:
            return "is that a collector? wanted such as http://localhost:8080"
        case 413:
            return "send smaller batches with --batch-size or --target-kb"
        case _:
            return "the collector refuses these events"


class _Writable(Protocol):
    def write(self, data: bytes, /) -> int: ...

    def close(self) -> None: ...


class StreamDestination(_Closing):
    """Lines of NDJSON. Of a whole shop each line names its `topic` first. Written to the first of
    `streams`, closed one after the other.
    """

    bytes_max = FILE_BYTES_MAX

    def __init__(self, streams: Sequence[_Writable], name: str, *, name_topics: bool) -> None:
        self._streams = streams
        self._name = name
        self._name_topics = name_topics

    def send(self, topic: str, events: Sequence[bytes]) -> None:
        if self._name_topics:
            begin = _TOPIC_OF_LINE % topic.encode()
            events = [begin + e[1:] if e.startswith(b'{"') else e for e in events]
        try:
            self._streams[0].write(b"\n".join((*events, b"")))
        except BrokenPipeError:
            raise SourceError(f"{self._name}: the reader has gone away") from None
        except OSError as e:
            raise SourceError(f"{self._name}: can't be written: {e.strerror}") from None

    def close(self) -> None:
        try:
            for stream in self._streams:
                stream.close()
        except OSError as e:
            raise SourceError(f"{self._name}: can't be written: {e.strerror}") from None


class FeedDestination(_Closing):
    """The log of a data directory, through `feed`."""

    bytes_max = FEED_BYTES_MAX
    events_max = HTTP_EVENTS_MAX

    def __init__(self, feed: Feed, now_us: Callable[[], int]) -> None:
        self.direct = feed.direct
        self._feed = feed
        self._now_us = now_us

    def send(self, topic: str, events: Sequence[bytes]) -> None:
        entry = Entry(
            topic=topic,
            events=list(events),
            source="simulate",
            received_us=self._now_us(),
            units=len(events),
        )
        self._feed.append([entry])

    def close(self) -> None:
        self._feed.close()


def open_stream(to: str, *, name_topics: bool) -> StreamDestination:
    """`-` (standard output) or a file; `.gz` and `.zst` are compressed. Raises SourceError."""
    if to == "-":
        return StreamDestination(
            [open(1, "wb", closefd=False)],
            "standard output",
            name_topics=name_topics,
        )
    path = Path(to)
    try:
        file = path.open("wb")
    except OSError as e:
        raise SourceError(f"{to}: can't be written: {e.strerror}") from None
    streams: list[_Writable] = [file]
    if path.suffix == ".gz":
        # Without name and time in its header the same events are the same bytes.
        streams.insert(0, gzip.GzipFile("", "wb", compresslevel=5, fileobj=file, mtime=0))
    elif path.suffix == ".zst":
        writer = zstandard.ZstdCompressor(level=3).stream_writer(file, closefd=False)
        streams.insert(0, writer)
    return StreamDestination(streams, to, name_topics=name_topics)
