"""CartProcessor and Promotions: cart lines that somebody drops into S3 as CSV.

`raw` carts/NAME.csv[.gz] -> the log, as events, each row once; and `processed`
abandoned_items/NAME.ndjson.gz (all that was left in carts, by customer) and abandoned_products/
NAME.csv (the 50 products most often left), which is put last and makes S3 tell Promotions, who
writes `consumption` promotions/NAME.csv: of each customer at most 10 products. NAME is the file's
without `.csv`; what ends otherwise (`.csv.gz`) keeps its end, so that no two files make one.

Only the file's own lines are looked at: what was bought meanwhile, the tables know
(`gold_abandoned_products`). Read as a stream; what is told twice is done twice, to the same end.
"""

from __future__ import annotations

import gzip
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import msgspec

from shopstream.aws.cart_csv import write_products, write_promotions
from shopstream.aws.cart_files import Found, examined, opened, put, room, unpacked
from shopstream.aws.cart_states import CartStates
from shopstream.aws.clients import asked
from shopstream.cells import Clock
from shopstream.domain.canonical import content_id, settle
from shopstream.domain.left_in_carts import LeftItem, left_by_customer, most_left
from shopstream.domain.validation import read_event
from shopstream.errors import ShopstreamError, SourceError
from shopstream.events import CartLine, Entry
from shopstream.flow_settings import limits_of
from shopstream.mapped_rows import Item, MappedRows
from shopstream.mapping import Mapping as FileMapping
from shopstream.mapping import find_mapping
from shopstream.records import CsvFile

if TYPE_CHECKING:
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
LINE_BYTES = 400
"""On disk, of a line: its cart's state, its id, and sorting them. About half of it was measured."""
STATES_SHARE = 0.6
"""Of what is free on disk; the rest is for sorting and what is put."""
_encode = msgspec.json.Encoder(decimal_format="string").encode
_decode_item = msgspec.json.Decoder(LeftItem).decode


class OutOfTime(ShopstreamError):
    """A file takes longer than a run may; the next run goes on where this one stopped. There are
    three; later ones begin when the file is put again.
    """


def process_carts(
    engine: AwsEngine, event: Mapping[str, Any], time_left_s: Callable[[], float]
) -> dict[str, Any]:
    """The function CartProcessor, told of an object in the raw bucket. Returns what it did.

    A file that can't be read, lacks a column, or has more lines than there is room for, adds
    nothing: why is put beside it, as `failed/carts/NAME.csv.error`. So it is when the room was too
    small after all; its rows may be in the log then. Raises OutOfTime, AwsError, LogFull: then try
    again.
    """
    key = _key(event)
    if not key.startswith(RAW) or not key.lower().endswith(SUFFIXES):
        return {"skipped": key}
    s3, names = engine.clients.s3, engine.names
    bucket = names.bucket("raw")
    try:
        found = examined(s3, bucket, key, lambda: time_left_s() >= STOP_S)
        loading = _Loading(engine, found, time_left_s)
        with (
            tempfile.TemporaryDirectory() as folder,
            room(key, found.lines, LINE_BYTES, folder) as free,
            CartStates(Path(folder), int(free * STATES_SHARE)) as states,
        ):
            counts = loading.run(states)
            counts |= _put_left(s3, names.bucket("processed"), _name(key), states, Path(folder))
    except SourceError as e:
        advice = f"Mend it and put it into {RAW} again."
        _tell(s3, bucket, f"failed/{key}.error", f"{e}\n\n{advice}\n")
        return {"failed": key, "error": str(e)}
    return {"file": key} | counts


def promote(
    engine: AwsEngine, event: Mapping[str, Any], time_left_s: Callable[[], float]
) -> dict[str, Any]:
    """The function Promotions, told of an object in the processed bucket. Returns what it did.

    Where there is no room for its file, `promotions/NAME.csv.error` says so.
    """
    key = _key(event)
    if not key.startswith(PRODUCTS) or not key.endswith(".csv"):
        return {"skipped": key}
    s3, names = engine.clients.s3, engine.names
    name = key.removeprefix(PRODUCTS).removesuffix(".csv")
    items, made = f"{ITEMS}{name}.ndjson.gz", f"{PROMOTIONS}{name}.csv"
    bucket, into = names.bucket("processed"), names.bucket("consumption")
    try:
        with (
            opened(s3, bucket, items) as body,
            room(made, 0, 0, tempfile.gettempdir()),
            tempfile.TemporaryFile() as out,
        ):
            with gzip.GzipFile(fileobj=body) as lines:
                as_of = lines.readline().decode().strip()
                found = (_decode_item(line) for line in _checked(lines, time_left_s))
                customers, rows = write_promotions(out, left_by_customer(found), as_of)
            put(s3, into, made, out)
    except SourceError as e:
        _tell(s3, into, f"{made}.error", f"{e}\n")
        return {"failed": made, "error": str(e)}
    return {"file": made, "customers": customers, "rows": rows}


def _tell(s3: S3Client, bucket: str, key: str, text: str) -> None:
    with asked(f"put s3://{bucket}/{key}"):
        s3.put_object(Bucket=bucket, Key=key, Body=text.encode())


def _checked(lines: IO[bytes] | gzip.GzipFile, time_left_s: Callable[[], float]) -> Iterator[bytes]:
    for n, line in enumerate(lines):
        if n % 10_000 == 0 and time_left_s() < STOP_S:
            raise OutOfTime("there are more carts than fit into one run; give Promotions more time")
        yield line


class _Loading:
    """A file on its way into the log and into the states of its carts."""

    def __init__(self, engine: AwsEngine, found: Found, time_left_s: Callable[[], float]) -> None:
        self._engine, self._found, self._time_left_s = engine, found, time_left_s
        self._settings = engine.settings
        self._mapping: FileMapping = find_mapping("carts_csv")
        self._limits = limits_of(self._settings)
        self._clock = Clock(_now_us() + self._limits.future_us)
        self._progress = f"load:{found.digest}:{self._mapping.fingerprint}"
        self._counts = {"rows": 0, "sent": 0, "unreadable": 0, "invalid": 0}

    def run(self, states: CartStates) -> dict[str, int]:
        """Every row is in the log when this returns; `states` has seen all that are valid."""
        log = self._engine.clicks_log()
        found = self._found
        with opened(self._engine.clients.s3, found.bucket, found.key, found.etag) as body:
            stream = unpacked(found.key, body)
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
            raise OutOfTime(
                f"{self._found.key}: {sent:,} rows of some {self._found.lines:,} are in the log; it"
                " is gone on with twice by itself, then when it is put again"
            )
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
        put(s3, bucket, f"{ITEMS}{name}.ndjson.gz", out)
    with (folder / "products.csv").open("w+b") as out:
        products = write_products(out, most_left(states.by_product()), as_of)
        put(s3, bucket, f"{PRODUCTS}{name}.csv", out)
    return {"items": items, "products": products}


def _key(event: Mapping[str, Any]) -> str:
    """The object that EventBridge tells of; `{"key": …}` is for those who ask by hand."""
    found = event.get("detail", {}).get("object", {}).get("key") or event.get("key") or ""
    return str(found)


def _name(key: str) -> str:
    return key.removeprefix(RAW).removesuffix(".csv")


def _now_us() -> int:
    return time.time_ns() // 1_000
