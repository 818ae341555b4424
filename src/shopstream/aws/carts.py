"""CartProcessor and Promotions: cart lines that somebody drops into S3 as CSV.

`raw` carts/NAME.csv[.gz] -> the log, as events, each row once; and `processed`
abandoned_items/NAME.ndjson.gz (all that was left in carts, by customer) and abandoned_products/
NAME.csv (the 50 products most often left), which is put last and makes S3 tell Promotions, who
writes `consumption` promotions/NAME.csv: of each customer at most 10 products.

Only the file's own lines are looked at: what was bought meanwhile, the tables know
(`gold_abandoned_products`). Read as a stream; what is told twice is done twice, to the same end.
"""

from __future__ import annotations

import gzip
import io
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import msgspec

from shopstream.aws.cart_csv import write_products, write_promotions
from shopstream.aws.cart_states import CartStates
from shopstream.aws.clients import asked
from shopstream.cells import Clock
from shopstream.domain.canonical import content_id, settle
from shopstream.domain.failures import Limits
from shopstream.domain.left_in_carts import LeftItem, left_by_customer, most_left
from shopstream.domain.validation import read_event
from shopstream.errors import ShopstreamError, SourceError
from shopstream.events import CartLine, Entry
from shopstream.mapped_rows import Item, MappedRows
from shopstream.mapping import Mapping as FileMapping
from shopstream.mapping import find_mapping
from shopstream.records import CsvFile

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3.client import S3Client

    from shopstream.aws.engine import AwsEngine
    from shopstream.ports import AppendLog

RAW, ITEMS, PRODUCTS, PROMOTIONS = (
    "carts/",
    "abandoned_items/",
    "abandoned_products/",
    "promotions/",
)
SUFFIXES = (".csv", ".csv.gz")
BATCH_ITEMS, BATCH_BYTES = 2_000, 1024 * 1024
STOP_S = 30.0
"""With so little time left nothing more is begun."""
_CHUNK = 1 << 20
_encode = msgspec.json.Encoder(decimal_format="string").encode
_decode_item = msgspec.json.Decoder(LeftItem).decode


class OutOfTime(ShopstreamError):
    """A file takes longer than a run may; the next run goes on where this one stopped."""


class _Object(NamedTuple):
    bucket: str
    key: str
    etag: str


def process_carts(
    engine: AwsEngine, event: Mapping[str, Any], time_left_s: Callable[[], float]
) -> dict[str, Any]:
    """The function CartProcessor, told of an object in the raw bucket. Returns what it did.

    A file that can't be read, or lacks a column, adds nothing: why is put beside it, as
    `failed/carts/NAME.csv.error`. Raises OutOfTime, AwsError, LogFull: then try again.
    """
    key = _key(event)
    if not key.startswith(RAW) or not key.lower().endswith(SUFFIXES):
        return {"skipped": key}
    s3, names = engine.clients.s3, engine.names
    bucket = names.bucket("raw")
    try:
        found, digest = _examined(s3, bucket, key)
        loading = _Loading(engine, found, digest, time_left_s)
        with tempfile.TemporaryDirectory() as folder, CartStates(Path(folder)) as states:
            counts = loading.run(states)
            counts |= _put_left(s3, names.bucket("processed"), _name(key), states, Path(folder))
    except SourceError as e:
        failed = f"failed/{key}.error"
        advice = f"Mend it and put it into {RAW} again.\n"
        with asked(f"put s3://{bucket}/{failed}"):
            s3.put_object(Bucket=bucket, Key=failed, Body=f"{e}\n\n{advice}".encode())
        return {"failed": key, "error": str(e)}
    return {"file": key} | counts


def promote(
    engine: AwsEngine, event: Mapping[str, Any], time_left_s: Callable[[], float]
) -> dict[str, Any]:
    """The function Promotions, told of an object in the processed bucket. Returns what it did."""
    key = _key(event)
    if not key.startswith(PRODUCTS) or not key.endswith(".csv"):
        return {"skipped": key}
    s3, names = engine.clients.s3, engine.names
    name = key.removeprefix(PRODUCTS).removesuffix(".csv")
    items, made = f"{ITEMS}{name}.ndjson.gz", f"{PROMOTIONS}{name}.csv"
    bucket = names.bucket("processed")
    with _object(s3, bucket, items) as body, tempfile.TemporaryFile() as out:
        with gzip.GzipFile(fileobj=body) as unpacked:
            as_of = unpacked.readline().decode().strip()
            lines = (_decode_item(line) for line in _checked(unpacked, time_left_s))
            customers, rows = write_promotions(out, left_by_customer(lines), as_of)
        _put(s3, names.bucket("consumption"), made, out)
    return {"file": made, "customers": customers, "rows": rows}


def _checked(lines: IO[bytes] | gzip.GzipFile, time_left_s: Callable[[], float]) -> Iterator[bytes]:
    for n, line in enumerate(lines):
        if n % 10_000 == 0 and time_left_s() < STOP_S:
            raise OutOfTime("there are more carts than fit into one run; give Promotions more time")
        yield line


class _Loading:
    """A file on its way into the log and into the states of its carts."""

    def __init__(
        self, engine: AwsEngine, found: _Object, digest: str, time_left_s: Callable[[], float]
    ) -> None:
        self._engine, self._found, self._time_left_s = engine, found, time_left_s
        self._settings = engine.settings
        self._mapping: FileMapping = find_mapping("carts_csv")
        future_us = round(self._settings.future_max.total_seconds() * 1e6)
        self._limits = Limits(future_us, self._settings.total_tolerance)
        self._clock = Clock(_now_us() + future_us)
        self._progress = f"load:{digest}:{self._mapping.fingerprint}"
        self._counts = {"rows": 0, "sent": 0, "unreadable": 0, "invalid": 0}

    def run(self, states: CartStates) -> dict[str, int]:
        """Every row is in the log when this returns; `states` has seen all that are valid."""
        log = self._engine.clicks_log()
        with _object(self._engine.clients.s3, *self._found) as body:
            stream = _unpacked(self._found.key, body)
            csv = CsvFile(Path(self._found.key), stream, self._mapping.format, tabbed=False)
            rows = MappedRows(
                self._mapping,
                csv.columns,
                self._clock,
                self._settings.event_bytes_max,
                self._found.key,
            )
            self._send(log, rows.items(csv.records()), states)
        return self._counts

    def _send(self, log: AppendLog, items: Iterator[Item], states: CartStates) -> None:
        known, done, batch, size = log.progress(self._progress), 0, [], 0
        for item in items:
            self._see(item, states)
            done += 1
            if done <= known:
                continue
            batch.append(item)
            size += len(item.raw)
            if len(batch) >= BATCH_ITEMS or size >= BATCH_BYTES:
                self._append(log, batch, done)
                batch, size = [], 0
        if batch:
            self._append(log, batch, done)
        self._counts["rows"] = done

    def _see(self, item: Item, states: CartStates) -> None:
        if item.rejected:
            self._counts["unreadable"] += 1
            return
        read = read_event("carts", item.raw, _now_us(), self._limits)
        if not isinstance(read, CartLine):
            self._counts["invalid"] += 1  # whoever takes it from the log says why
            return
        settle(read, item.raw)
        read.event_id = read.event_id or content_id(read)
        states.take(read)

    def _append(self, log: AppendLog, batch: list[Item], done: int) -> None:
        if self._time_left_s() < STOP_S:
            sent = done - len(batch)
            raise OutOfTime(f"{self._found.key}: {sent:,} rows are in the log; the rest follows")
        entries = [
            self._entry([item for item in batch if item.rejected is rejected], rejected)
            for rejected in (False, True)
        ]
        log.append([e for e in entries if e.events], progress={self._progress: done})
        self._counts["sent"] += len(batch)

    def _entry(self, items: list[Item], rejected: bool) -> Entry:
        return Entry(
            topic=self._mapping.topic,
            events=[item.raw for item in items],
            source=self._mapping.source,
            received_us=_now_us(),
            units=sum(item.units for item in items),
            dialect="rejected" if rejected else "shopstream",
            historical=not self._settings.intake_live,
            origin=Path(self._found.key).name,
            lines=[item.line for item in items],
            watermark_us=self._clock.latest_us,
        )


def _put_left(
    s3: S3Client, bucket: str, name: str, states: CartStates, folder: Path
) -> dict[str, int]:
    """Put what was left; the file that is waited for comes last."""
    as_of, items = states.as_of, 0
    with (folder / "items.ndjson.gz").open("w+b") as out:
        # No name and no time in it: the same lines, the same bytes.
        with gzip.GzipFile(filename="", mode="wb", fileobj=out, mtime=0) as packed:
            packed.write(f"{as_of:%Y-%m-%dT%H:%M:%S.%fZ}\n".encode())
            for item in states.by_customer():
                packed.write(_encode(item) + b"\n")
                items += 1
        _put(s3, bucket, f"{ITEMS}{name}.ndjson.gz", out)
    with (folder / "products.csv").open("w+b") as out:
        products = write_products(out, most_left(states.by_product()), as_of)
        _put(s3, bucket, f"{PRODUCTS}{name}.csv", out)
    return {"items": items, "products": products}


def _key(event: Mapping[str, Any]) -> str:
    """The object that EventBridge tells of; `{"key": …}` is for those who ask by hand."""
    found = event.get("detail", {}).get("object", {}).get("key") or event.get("key") or ""
    return str(found)


def _name(key: str) -> str:
    bare = key.removeprefix(RAW)
    suffix = next(s for s in reversed(SUFFIXES) if bare.lower().endswith(s))
    return bare[: -len(suffix)]


def _examined(s3: S3Client, bucket: str, key: str) -> tuple[_Object, str]:
    """The object as it is, read to its end, with the SHA-256 of its bytes. Raises SourceError."""
    digest = sha256()
    with asked(f"get s3://{bucket}/{key}"):
        etag = s3.head_object(Bucket=bucket, Key=key)["ETag"]
    found = _Object(bucket, key, etag)
    with _object(s3, *found) as body:
        empty = True
        stream = _unpacked(key, io.BufferedReader(_Hashed(body, digest.update), _CHUNK))
        try:
            while stream.read(_CHUNK):
                empty = False
        except (OSError, EOFError, zlib.error) as e:
            if isinstance(e, OSError) and not isinstance(e, gzip.BadGzipFile):
                raise
            raise SourceError(f"{key}: its gzip data is damaged: {e}") from None
    if empty:
        raise SourceError(f"{key}: is empty: nothing to load")
    return found, digest.hexdigest()


def _unpacked(key: str, body: IO[bytes]) -> IO[bytes]:
    if not key.lower().endswith(".gz"):
        return body
    return io.BufferedReader(gzip.GzipFile(fileobj=body), _CHUNK)


class _Body(io.RawIOBase):
    """An answer of S3 as a stream. A connection that breaks is an OSError: try again."""

    def __init__(self, body: StreamingBody, where: str) -> None:
        self._body, self._where = body, where

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with asked(f"read {self._where}"):
            chunk = self._body.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)


class _Hashed(io.RawIOBase):
    """A stream that tells what is read of it."""

    def __init__(self, stream: IO[bytes], tell: Callable[[bytes], None]) -> None:
        self._stream, self._tell = stream, tell

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        chunk = self._stream.read(len(buffer))
        buffer[: len(chunk)] = chunk
        self._tell(chunk)
        return len(chunk)


@contextmanager
def _object(s3: S3Client, bucket: str, key: str, etag: str = "") -> Iterator[io.BufferedReader]:
    """The bytes of an object, as it was when it had this ETag."""
    where = f"s3://{bucket}/{key}"
    with asked(f"get {where}"):
        same: Any = {"IfMatch": etag} if etag else {}
        body = s3.get_object(Bucket=bucket, Key=key, **same)["Body"]
    try:
        yield io.BufferedReader(_Body(body, where), _CHUNK)
    finally:
        body.close()


def _put(s3: S3Client, bucket: str, key: str, file: IO[bytes]) -> None:
    file.flush()
    file.seek(0)
    with asked(f"put s3://{bucket}/{key}"):
        s3.put_object(Bucket=bucket, Key=key, Body=file)


def _now_us() -> int:
    return time.time_ns() // 1_000
