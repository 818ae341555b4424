"""All that a data directory holds, in a form in which two of them can be compared.

Left out is what may differ between a run that was killed and one that was not: positions, arrival
times, the numbers of micro-batches and of feed items, and into which archive file an offer went.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from tests.faults.lake import Thing, in_lake

from shopstream.errors import DataDirError
from shopstream.ledger import check
from shopstream.local.datadir import open_data_dir
from shopstream.local.outbox import Outbox
from shopstream.local.tables import _CODES, RocksTables
from shopstream.settings import Settings

_PLAIN = _CODES.keys() - {
    "state", "ledger", "expiry", "browsing_events", "quarantine", "alert_feed", "archive_feed",
}  # fmt: skip
"""All tables but those that are read in their own way, or hold positions and times only."""

_OF_REPETITIONS = ("duplicate", "derived", "quarantined")
"""Outcomes that the ledger counts for each sending of an event, also of one without an answer."""


class Snapshot(NamedTuple):
    """How often each thing is there, the ledger, and what `shopstream check` has against it."""

    things: Counter[Thing]
    ledger: dict[Thing, int]
    differences: list[str]


class Difference(NamedTuple):
    """What is missing from a snapshot and what is there too often, each thing as text."""

    lost: list[str]
    doubled: list[str]
    unbalanced: list[str]

    def __bool__(self) -> bool:
        return bool(self.lost or self.doubled or self.unbalanced)


def snapshot(data_dir: Path) -> Snapshot:
    """What tables, archive, outbox and lake in `data_dir` hold; no stage may be running."""
    things: Counter[Thing] = Counter()
    ledger: dict[Thing, int] = {}
    made = open_data_dir(data_dir)
    for folder in filter(Path.exists, map(made.tables, range(made.shards))):
        tables = RocksTables.reader(folder)
        try:
            things.update(_in_tables(tables))
            for topic, sk, item in tables.scan("ledger"):
                cell = (topic, *sk.split("\x1f"))
                ledger[cell] = ledger.get(cell, 0) + int(item)
        finally:
            tables.close()
    things.update(_in_archive(data_dir / "archive"))
    things.update(_in_outbox(data_dir))
    things.update(in_lake(data_dir))
    return Snapshot(things, ledger, check(Settings(data_dir=data_dir)).differences)


def compare(wanted: Snapshot, found: Snapshot, sent: Counter[bytes] | None = None) -> Difference:
    """What `found` lacks of `wanted` and has too much.

    `sent` says how often each event was sent until it was acknowledged. One that can't be told
    from its repetition, as it isn't valid, may be in the quarantine once for each; and the ledger
    counts what was sent again.
    """
    lost, doubled = [], []
    for thing in wanted.things.keys() | found.things.keys():
        least, count = wanted.things[thing], found.things[thing]
        most = least
        if sent and thing[0] == "quarantine":
            most = least * max(1, sent[bytes.fromhex(thing[-1])])
        if count < least:
            lost.append(_shown(thing, f"{least - count} missing"))
        if count > most:
            doubled.append(_shown(thing, f"{count - most} too many"))
    for cell in wanted.ledger.keys() | found.ledger.keys():
        if sent and (cell[2].startswith(_OF_REPETITIONS) or cell[0] == "quarantine"):
            continue
        least, count = wanted.ledger.get(cell, 0), found.ledger.get(cell, 0)
        if count != least:
            (lost if count < least else doubled).append(f"ledger {cell}: {count}, not {least}")
    return Difference(sorted(lost), sorted(doubled), found.differences)


def event_ids(found: Snapshot) -> Counter[tuple[str, str]]:
    """How often each event with an id is in its user's history."""
    ids: Counter[tuple[str, str]] = Counter()
    for thing, count in found.things.items():
        if thing[0] == "event":
            ids[thing[1], msgspec.json.decode(thing[2])["event_id"]] += count
    return ids


def _in_tables(tables: RocksTables) -> Iterator[Thing]:
    for user, _, chunk in tables.scan("browsing_events"):
        for line in chunk.decode().split("\n"):
            yield "event", user, line
    for table in _PLAIN:
        for pk, sk, item in tables.scan(table):
            # The item of an alert is its number in the feed.
            yield table, pk, sk, "" if table == "alerts" else item.decode()
    for _, _, item in tables.scan("alert_feed"):
        yield "alert", _without_arrival(msgspec.json.decode(item))
    for _, _, item in tables.scan("archive_feed"):
        for line in item.decode().split("\n"):
            yield "offer not archived", line
    for topic, _, item in tables.scan("quarantine"):
        record = msgspec.json.decode(item)
        rejection = record["rejection"]
        raw = msgspec.convert(rejection["raw"], bytes, strict=False)
        reasons = ",".join(failure["reason"] for failure in rejection["failures"])
        yield "quarantine", topic, record["source"], reasons, raw.hex()


def _without_arrival(alert: dict[str, Any]) -> str:
    """An alert about an order that isn't valid is of the time at which that arrived."""
    if alert["kind"] in ("invalid_order", "total_mismatch"):
        del alert["at"]
    return msgspec.json.encode(alert).decode()


def _in_archive(archive: Path) -> Iterator[Thing]:
    for path in (archive / "offers").rglob("*.json"):
        day = path.parent.name
        for line in path.read_text("utf-8").splitlines():
            yield "archived offer", day, line
    for path in (archive / "orders").rglob("*.json"):
        name = str(path.relative_to(archive))
        yield "archived order", name, hashlib.sha256(path.read_bytes()).hexdigest()


def _in_outbox(data_dir: Path) -> Iterator[Thing]:
    try:
        outbox = Outbox.reader(data_dir)
    except DataDirError:
        return
    try:
        for state in ("pending", "delivered", "dead", "historical"):
            for row in outbox.rows(state, rows_max=1_000_000):
                yield "outbox", row.alert.alert_id, row.receiver, state
    finally:
        outbox.close()
    for path in sorted(data_dir.glob("*.ndjson")):
        for line in path.read_text("utf-8").splitlines():
            yield "told", path.name, _without_arrival(msgspec.json.decode(line))


def _shown(thing: Thing, what: str) -> str:
    return f"{' '.join(thing)[:200]}: {what}"
