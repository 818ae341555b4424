"""The lake's part of `shopstream check`: every file is as it was written, and every step holds what
the step before gave it.

- bronze and the tables' files against the SHA-256 that was remembered when they were written;
- what was landed against the processors' ledger, where both have passed the same log positions;
- silver against bronze: each event is there once, of the day and with the price, quantity and so on
  of its first arrival, worked out by other SQL than the models';
- silver against the processors' ledger: no more events than were accepted;
- gold against silver: sums of every table, where it was made of the silver that is shown.

All of it reads one `current.json`, so builds and maintenance may go on meanwhile.
"""

import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import Struct

from shopstream.bronze import Named, files_of_bronze
from shopstream.engine import Engine
from shopstream.errors import DataDirError
from shopstream.events import TOPICS
from shopstream.flows.work import ACCEPTED, DUPLICATE, QUARANTINED
from shopstream.lake.compare import Compared, Shown, compare_ledger, compare_silver, comparing
from shopstream.lake.compare_gold import compare_gold
from shopstream.lake.current import FILE, read_current
from shopstream.lake.duck import connect_duck
from shopstream.lake.files import sha256_of
from shopstream.lake.lost import find_lost, find_read_elsewhere
from shopstream.lake.verify_metadata import verify_metadata

if TYPE_CHECKING:
    from shopstream.local.landed import Landed


class Files(Struct):
    """How many files were read and compared with their hash, and their bytes."""

    files: int = 0
    bytes: int = 0


class LakeReport(Struct):
    """What `verify` found; `differences` is empty when all adds up.

    `build` is the build that readers see (0: none yet), `position` how far the log is landed,
    `rows` those of each table. `uncompared` says what could not be compared just now, and why.
    """

    build: int = 0
    position: int = 0
    bronze: Files = msgspec.field(default_factory=Files)
    data: Files = msgspec.field(default_factory=Files)
    rows: dict[str, int] = {}
    uncompared: list[str] = []
    differences: list[str] = []


class Processed(NamedTuple):
    """What the processors say: units by (topic, source, outcome), and each shard's position
    (None while it is inside a row).
    """

    cells: Mapping[tuple[str, str, str], int]
    positions: Sequence[int | None]


def verify(engine: Engine, processed: Processed) -> LakeReport | None:
    """Compare everything in the lake; None when there is no lake yet. Safe while stages run.

    `processed` must have been read before. Raises DataDirError when the lake can't be read at all.
    """
    report = LakeReport(differences=list(find_lost(engine)))
    lake = engine.dir.root / "lake"
    if not (lake / "landed.db").exists():
        return report if report.differences else None
    with engine.read_landed() as landed:
        accepted = _verify_counts(landed, processed, report)
        broken = _verify_bronze(engine.dir.root, landed, report)
        if elsewhere := find_read_elsewhere(engine, landed):
            report.differences.append(
                f"lake: {', '.join(elsewhere)} have read what another lake/landed.db said:"
                " `shopstream build` has them read what this one says"
            )
            broken |= set(elsewhere.values())  # not to be compared with this bronze
        if (lake / FILE).exists():
            _verify_tables(engine, landed, broken, accepted, report)
    return report


# --- bronze --------------------------------------------------------------------------------------


def _verify_bronze(root: Path, landed: "Landed", report: LakeReport) -> set[str]:
    """Compare bronze with its hashes; the topics that have a broken file."""
    broken = set()
    for topic in (*TOPICS, "quarantine"):
        files = landed.since(0, topic)
        for file in files:
            found = _difference(root / file.name, file.sha256)
            if found and file in landed.since(file.id - 1, topic, file.id):  # else it expired
                report.differences.append(f"{file.name} {found}")
                broken.add(topic)
        report.bronze.files += len(files)
        report.bronze.bytes += sum(file.bytes for file in files)
    for one in _not_known(root, landed):
        broken.add(one.topic)
        report.differences.append(
            f"{one.name} is not known to lake/landed.db: it was damaged when that was made anew,"
            " or is of events that other files have. Put a whole copy in its place and move"
            " lake/landed.db away, and `shopstream build` takes it over; or delete it, to give up"
            " what no other file has"
        )
    return broken


def _not_known(root: Path, landed: "Landed") -> list[Named]:
    """Files of bronze before the position landed up to that don't count."""
    there = files_of_bronze(root)
    position = landed.position()
    known = landed.names()  # read last: what was landed meanwhile is among them
    return [
        file
        for one, files in there.items()
        for file in files
        if one.first < position and file.name not in known and (root / file.name).exists()
    ]


def _difference(path: Path, sha256: str) -> str:
    try:
        if sha256_of(path) == sha256:
            return ""
    except FileNotFoundError:
        return "is missing"
    except OSError as e:
        return f"can't be read: {e.strerror}"
    return "is not what was written: its SHA-256 differs"


def _verify_counts(
    landed: "Landed", processed: Processed, report: LakeReport
) -> dict[str, int] | None:
    """The lander's tally against the ledger, by topic and source. Returns what silver can have of
    each topic, if the processors are as far as the lander.

    The lander judges as the processors do but remembers no events: what is a duplicate to them, a
    conflict or poison, is accepted to it (or, as poison may be anything, rejected).
    """
    tallied, position = _tally(landed)
    report.position = position
    if landed.gaps():
        report.uncompared.append(
            "bronze with the ledger: the log had forgotten events before they were landed"
        )
        return None
    positions = processed.positions
    if any(at is None for at in positions) or not positions:
        report.uncompared.append("bronze with the ledger: the processors are at work")
        return None
    low, high = min(at or 0 for at in positions), max(at or 0 for at in positions)
    if low < position < high or (low != high and position in (low, high)):
        report.uncompared.append("bronze with the ledger: the processors are at work")
        return None
    ledger = _ledger(processed.cells)
    for topic, source in sorted({*tallied, *ledger}):
        accepted, rejected = tallied.get((topic, source), (0, 0))
        judged = ledger.get((topic, source), _Judged())
        total = accepted + rejected
        if position == low == high:
            good = total == judged.total and 0 <= accepted - judged.accepted <= judged.poison
        else:
            good = total <= judged.total if position < low else total >= judged.total
        if not good:
            report.differences.append(
                f"bronze: {topic} from {source}: {accepted} landed and {rejected} rejected up to"
                f" position {position}; the ledger has {judged.accepted} and"
                f" {judged.total - judged.accepted} up to {low}"
            )
    return _accepted(processed.cells) if position == low == high else None


def _accepted(cells: Mapping[tuple[str, str, str], int]) -> dict[str, int]:
    """Units by topic that were accepted, or given up as poison after they had landed."""
    found: Counter[str] = Counter()
    for (topic, _, outcome), units in cells.items():
        if outcome in (ACCEPTED, f"{QUARANTINED}:poison"):
            found[topic] += units
    return found


class _Judged(NamedTuple):
    """Units of the ledger, `accepted` as the lander sees it."""

    accepted: int = 0
    poison: int = 0
    total: int = 0


def _ledger(cells: Mapping[tuple[str, str, str], int]) -> dict[tuple[str, str], _Judged]:
    found: dict[tuple[str, str], _Judged] = {}
    for (topic, source, outcome), units in cells.items():
        kind, _, reason = outcome.partition(":")
        if topic not in TOPICS or kind not in (ACCEPTED, DUPLICATE, QUARANTINED):
            continue
        before = found.get((topic, source), _Judged())
        taken = kind != QUARANTINED or reason == "conflict"
        found[topic, source] = _Judged(
            before.accepted + units * taken,
            before.poison + units * (reason == "poison"),
            before.total + units,
        )
    return found


def _tally(landed: "Landed") -> tuple[dict[tuple[str, str], tuple[int, int]], int]:
    """(accepted, rejected) units by topic and source, and the position they were read at."""
    while True:
        position = landed.position()
        counts: Counter[tuple[str, str, bool]] = Counter()
        for tally in landed.tally():
            counts[tally.topic, tally.source, not tally.reason] += tally.events
        if landed.position() == position:
            break
    keys = {(topic, source) for topic, source, _ in counts}
    return {(t, s): (counts[t, s, True], counts[t, s, False]) for t, s in keys}, position


# --- tables --------------------------------------------------------------------------------------


def _verify_tables(
    engine: Engine,
    landed: "Landed",
    broken_topics: set[str],
    accepted: dict[str, int] | None,
    report: LakeReport,
) -> None:
    lake = engine.dir.root / "lake"
    current = read_current(engine.dir.root)
    shown = {
        name: Shown(
            [str(lake / file) for file in now.files],
            now.rows,
            now.snapshot,
            now.landed,
            now.upstream,
        )
        for name, now in current.tables.items()
    }
    report.build = current.build
    report.rows = {name: table.rows for name, table in shown.items()}
    metadata = verify_metadata(engine.dir.root, current.tables)
    report.differences += metadata.differences
    report.uncompared += metadata.uncompared
    known = {name: table for name, table in shown.items() if name not in metadata.unknown}
    broken = _verify_data(engine, known, report) | metadata.broken
    compared = Compared()
    temp = lake / "tmp" / f"check-{uuid.uuid4().hex[:8]}"
    whole = {name: table for name, table in shown.items() if name not in broken}
    with connect_duck(engine.settings.build_memory, temp) as con:
        compare_silver(con, engine, landed, broken_topics, whole, compared)
        if accepted is not None:
            with comparing("silver with the ledger", compared):
                compare_ledger(con, accepted, landed.last(), whole, compared)
        with comparing("gold with silver", compared):
            compare_gold(con, engine, landed, whole, compared)
    report.uncompared += compared.uncompared
    report.differences += compared.differences


def _verify_data(engine: Engine, shown: Mapping[str, Shown], report: LakeReport) -> set[str]:
    """Compare the tables' files with their hashes; the tables that have a broken one. Files that
    the catalog knows nothing of may have gone rightly.
    """
    lake = engine.dir.root / "lake"
    try:
        with engine.read_builds() as builds:
            recorded = builds.files()
    except DataDirError:
        return set(shown)  # `find_lost` tells of it; nobody knows which are whole
    broken = set()
    for table, entry in shown.items():
        for path in map(Path, entry.files):
            name = path.relative_to(lake).as_posix()
            if name not in recorded:
                found = "was written by nobody that we know"
            else:
                found = _difference(path, recorded[name].sha256)
                report.data.files += 1
                report.data.bytes += recorded[name].bytes
            if found:
                broken.add(table)
                report.differences.append(
                    f"lake/{name} {found}; `shopstream lake rebuild {table}` makes it anew"
                )
    return broken
