"""What tables hold against what they were made of: silver against bronze, gold against silver.

Nothing here is taken from the models: identities and sums are counted anew, by other SQL.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
from msgspec import Struct

from shopstream.engine import Engine
from shopstream.lake.current import read_current
from shopstream.lake.inputs import ARCHIVE
from shopstream.lake.maintain import only_tended

if TYPE_CHECKING:
    import duckdb

    from shopstream.local.landed import Landed


_BUILD_MAX_S = 3_600
"""A build that was published began no longer before than that."""
_LISTED_MAX = 5


class Shown(NamedTuple):
    """A table as readers see it: the paths of its files, its snapshot, how far it has read its
    source and which snapshots of which tables it was made of.
    """

    files: list[str]
    rows: int
    snapshot: int
    landed: str
    upstream: Mapping[str, int]


class Compared(Struct):
    """`differences` between tables, and `uncompared`: what could not be compared now, and why."""

    uncompared: list[str] = []
    differences: list[str] = []


# --- silver against bronze -----------------------------------------------------------------------


class _Identity(NamedTuple):
    """What makes a row of bronze one of silver: the columns that name it, with its day where the
    same id may come again on another; `made_of` is the table whose checkpoint says of what bronze.
    """

    topic: str
    key: str
    time: str
    made_of: str


_IDENTITIES = {
    "silver_clicks": _Identity("clicks", "user_id, event_id", "timestamp", "silver_clicks"),
    "silver_carts": _Identity("carts", "user_id, event_id", "timestamp", "silver_carts"),
    "silver_stock": _Identity("stock", "product_id, event_id", "timestamp", "silver_stock"),
    "silver_offers": _Identity("offers", "offer_id", "made_at", "silver_offers"),
    "silver_orders": _Identity("orders", "source, order_id, status", "", "silver_order_lines"),
}


def compare_silver(
    con: "duckdb.DuckDBPyConnection",
    engine: Engine,
    landed: "Landed",
    broken: Collection[str],
    shown: Mapping[str, Shown],
    found: Compared,
) -> None:
    """Every identity of bronze is one row of silver; topics in `broken` can't be read."""
    # Silver may hold what has expired from bronze since.
    all_kept = not engine.settings.bronze_ttl
    for name, identity in _IDENTITIES.items():
        if name not in shown or identity.topic in broken:
            continue
        if not _made_of(engine, name, identity.made_of, shown, found):
            continue
        offers = identity.topic == "offers"
        checkpoint = shown[identity.made_of].landed
        files = (
            _archived(engine, checkpoint)
            if offers
            else _landed(engine, landed, identity.topic, checkpoint)
        )
        if offers:
            _find_unread(engine, checkpoint, found)
        lacks, extra = _compare_identities(con, identity, files, shown[name].files)
        for count, what in (
            (lacks, f"of bronze are not in {name}"),
            (extra * (all_kept and not offers), f"of {name} are not in bronze"),
        ):
            if count:
                found.differences.append(f"lake: {count:,} {identity.topic} {what}")
    lines = shown.get("silver_order_lines")
    if lines is not None and all_kept and "orders" not in broken:
        wanted = _count_lines(con, _landed(engine, landed, "orders", lines.landed))
        held = _one(con, f"SELECT count(*) FROM {_data(lines.files)}") if lines.files else 0
        if wanted != held:
            found.differences.append(
                f"lake: {wanted:,} order lines in bronze, {held:,} in silver_order_lines"
            )


def _compare_identities(
    con: "duckdb.DuckDBPyConnection", identity: _Identity, files: list[str], held: list[str]
) -> tuple[int, int]:
    """How many identities are in bronze alone and in silver alone. A row that is in silver twice is
    one too many there.
    """
    fields = dict.fromkeys(identity.key.split(", "), "VARCHAR")
    if identity.time:
        fields[identity.time] = "TIMESTAMP"
    day = f"CAST({identity.time} AS DATE), " if identity.time else ""
    wanted = f"SELECT DISTINCT hash({day}{identity.key}) AS k FROM {_bronze(files, fields)}"
    held_day = '"day", ' if identity.time else ""
    found = (
        f"SELECT hash({held_day}{identity.key}) AS k FROM {_data(held)}"
        if held
        else "SELECT 0::UBIGINT AS k WHERE FALSE"
    )
    row = con.execute(
        f"WITH wanted AS MATERIALIZED ({wanted}), held AS MATERIALIZED ({found}) SELECT"
        " (SELECT count(*) FROM wanted ANTI JOIN held USING (k)),"
        " (SELECT count(*) FROM held ANTI JOIN wanted USING (k))"
        " + (SELECT count(*) - count(DISTINCT k) FROM held)"
    ).fetchone()
    return row or (0, 0)


def _count_lines(con: "duckdb.DuckDBPyConnection", files: list[str]) -> int:
    """Order lines as they should be: of an order that came whole, all lines of its first arrival;
    of one whose lines were judged one by one, the first arrival of each number.
    """
    fields = {
        **dict.fromkeys(("source", "order_id", "status"), "VARCHAR"),
        "position": "BIGINT",
        "n": "BIGINT",
        "by_line": "BOOLEAN",
        "lines": "STRUCT(line BIGINT)[]",
    }
    return _one(
        con,
        f"""
        WITH arrived AS MATERIALIZED (
            SELECT source, order_id, status, coalesce(by_line, FALSE) AS by_line, lines,
                position::HUGEINT * 4294967296 + n AS arrival
            FROM {_bronze(files, fields)}
        ), whole AS (
            SELECT source, order_id, status, arg_min(len(lines), arrival) AS lines
            FROM arrived WHERE NOT by_line GROUP BY ALL
        ), numbered AS (
            SELECT source, order_id, status, arrival,
                unnest(list_transform(lines, lambda item, place: coalesce(item.line, place)))
                    AS number
            FROM arrived WHERE by_line
        ), repeated AS (
            SELECT source, order_id, status, number, arrival, count(*) AS lines
            FROM numbered GROUP BY ALL
        ), apart AS (
            SELECT source, order_id, status, number, arg_min(lines, arrival) AS lines
            FROM repeated ANTI JOIN whole USING (source, order_id, status) GROUP BY ALL
        )
        SELECT coalesce((SELECT sum(lines) FROM whole), 0)
            + coalesce((SELECT sum(lines) FROM apart), 0)
        """,
    )


def _landed(engine: Engine, landed: "Landed", topic: str, checkpoint: str) -> list[str]:
    """Bronze files of a topic up to the id in `checkpoint`."""
    until = int(checkpoint or "0")
    files = landed.since(0, topic, until) if until else []
    return [str(engine.dir.root / file.name) for file in files]


class _Filed(Struct):
    """How far a shard's archive was read: the last number, and the files that end there."""

    last: int
    names: list[str]


class _Archived(Struct):
    """The builder's checkpoint of the archive, as far as it is needed here."""

    shards: dict[str, _Filed] = {}


def _archived(engine: Engine, checkpoint: str) -> list[str]:
    """Files of the offers archive that had been read at `checkpoint`."""
    read = msgspec.json.decode(checkpoint or "{}", type=_Archived).shards
    found = []
    for name in engine.lake().names(ARCHIVE):
        shard, _, last = Path(name).stem.split("-")
        at = read.get(shard)
        if at and (int(last) < at.last or name.removeprefix(f"{ARCHIVE}/") in at.names):
            found.append(str(engine.dir.root / name))
    return found


def _find_unread(engine: Engine, checkpoint: str, found: Compared) -> None:
    """Archived offers that were there long before the last build and that it passed over."""
    with engine.read_builds() as builds:
        if "silver_offers" in builds.failing():
            return  # it waits, and that is said elsewhere
    root = engine.dir.root
    until_s = read_current(root).built_at.timestamp() - _BUILD_MAX_S
    read = set(_archived(engine, checkpoint))
    names = [name for name in engine.lake().names(ARCHIVE) if str(root / name) not in read]
    unread = sorted(name for name in names if _changed_s(root / name) < until_s)
    if unread:
        listed = ", ".join(unread[:_LISTED_MAX]) + ", …" * (len(unread) > _LISTED_MAX)
        found.differences.append(
            f"lake: {len(unread):,} archive files are not in silver_offers, which should have read"
            f" them (`shopstream lake rebuild silver_offers` does): {listed}"
        )


def _changed_s(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:  # it expired meanwhile
        return float("inf")


# --- gold against silver -------------------------------------------------------------------------

_SUMS = {
    "gold_daily_sales": (
        "silver_order_lines",
        "SELECT currency, sum(amount), sum(refunded), sum(units), sum(refunded_units)"
        " FROM {gold} GROUP BY currency ORDER BY currency",
        "SELECT currency,"
        " sum(if(counts_as = 'sold', amount, 0)), sum(if(counts_as = 'refunded', amount, 0)),"
        " sum(if(counts_as = 'sold', quantity, 0)), sum(if(counts_as = 'refunded', quantity, 0))"
        " FROM {silver} WHERE counts_as <> 'none' GROUP BY currency ORDER BY currency",
    ),
    "gold_funnel": (
        "silver_clicks",
        "SELECT step_name, sum(sessions) FROM {gold} WHERE sessions > 0"
        " GROUP BY step_name ORDER BY step_name",
        'SELECT event_type, count(DISTINCT hash("day", session_id)) FROM {silver}'
        " WHERE event_type IN ('view', 'add_to_cart', 'begin_checkout', 'purchase')"
        " GROUP BY event_type ORDER BY event_type",
    ),
    "silver_products": (
        "silver_stock",
        "SELECT count(*), count(DISTINCT product_id) FROM {gold}",
        "SELECT count(DISTINCT product_id), count(DISTINCT product_id) FROM {silver}",
    ),
}
"""Table -> the table it is made of, and two queries that must say the same of them."""


def compare_gold(
    con: "duckdb.DuckDBPyConnection",
    engine: Engine,
    shown: Mapping[str, Shown],
    found: Compared,
) -> None:
    """Sums of what was made of other tables are the sums of those."""
    for name, (silver, of_gold, of_silver) in _SUMS.items():
        if name not in shown or not _made_of(engine, name, silver, shown, found):
            continue
        has = _rows(con, of_gold.format(gold="t"), shown[name].files)
        wanted = _rows(con, of_silver.format(silver="t"), shown[silver].files)
        if has != wanted:
            found.differences.append(
                f"lake: sums of {name} are {_listed(has)}, those of {silver} {_listed(wanted)}"
            )


def _listed(rows: Sequence[Sequence[object]]) -> str:
    return "; ".join(" ".join(str(value) for value in row) for row in rows[:5]) or "nothing"


def _rows(
    con: "duckdb.DuckDBPyConnection", query: str, files: list[str]
) -> list[tuple[object, ...]]:
    """What `query` says of the rows of `files` as `t`; nothing and 0 are the same."""
    if not files:
        return []
    found = con.execute(f"WITH t AS (SELECT * FROM {_data(files)}) {query}").fetchall()
    return [row for row in found if any(value for value in row)]


def _made_of(
    engine: Engine, name: str, silver: str, shown: Mapping[str, Shown], found: Compared
) -> bool:
    """Whether `name` was made of the rows of `silver` that are shown now; else says so."""
    if name == silver:
        return True
    if silver not in shown:
        why = f"there is no whole {silver}"
    else:
        seen = shown[name].upstream.get(silver)
        if seen == shown[silver].snapshot or _same_rows(engine, silver, shown[silver], seen):
            return True
        why = f"readers see a {silver} that it was not made of"
    found.uncompared.append(f"{name} with {silver}: {why}")
    return False


def _same_rows(engine: Engine, name: str, shown: Shown, seen: int | None) -> bool:
    """Whether only maintenance came between a table's snapshot `seen` and the one shown."""
    from shopstream.lake.catalog import open_catalog
    from shopstream.lake.model import NAMESPACE

    table = open_catalog(engine.dir.root).load_table(f"{NAMESPACE}.{name}")
    newer = table.snapshot_by_id(shown.snapshot)
    return seen is not None and newer is not None and only_tended(table, newer, seen)


_OBJECT_BYTES_MAX = 64 << 20


# --- reading -------------------------------------------------------------------------------------


def _bronze(files: list[str], fields: Mapping[str, str]) -> str:
    """Fields of NDJSON files as a relation; `.zst` files are compressed."""
    if not files:
        nulls = ", ".join(f"NULL::{type} AS {name}" for name, type in fields.items())
        return f"(SELECT {nulls} WHERE FALSE)"
    columns = ", ".join(f"{name}: '{type}'" for name, type in fields.items())
    compression = "zstd" if files[0].endswith(".zst") else "uncompressed"
    return (
        f"read_json({_listing(files)}, format = 'newline_delimited', columns = {{{columns}}},"
        f" maximum_object_size = {_OBJECT_BYTES_MAX}, compression = '{compression}')"
    )


def _data(files: list[str]) -> str:
    return f"read_parquet({_listing(files)}, hive_partitioning = false, union_by_name = true)"


def _listing(files: list[str]) -> str:
    return "[" + ", ".join("'" + file.replace("'", "''") + "'" for file in files) + "]"


def _one(con: "duckdb.DuckDBPyConnection", query: str) -> int:
    row = con.execute(query).fetchone()
    return int(row[0]) if row else 0
