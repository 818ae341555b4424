"""What silver holds against the bronze that it was made of, and against the ledger.

Nothing here is taken from the models: what each event is and says is worked out anew, by other SQL.
"""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from msgspec import Struct

from shopstream.engine import Engine
from shopstream.errors import DataDirError
from shopstream.lake.bind import AS_WRITTEN, OBJECT_BYTES_MAX
from shopstream.lake.catalog import lake_folder, pointers
from shopstream.lake.current import read_current
from shopstream.lake.damage import metadata_at
from shopstream.lake.inputs import ARCHIVE, Archived
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


@contextmanager
def comparing(what: str, found: Compared) -> Iterator[None]:
    """What hinders one comparison hinders no other, and is told of. Too little memory does so each
    time: that is no proof, and so a difference.
    """
    import duckdb

    try:
        yield
    except duckdb.OutOfMemoryException as e:
        found.differences.append(
            f"lake: {what} could not be compared: it needs more memory than the setting"
            f" build_memory allows: {str(e).splitlines()[0]}"
        )
    except duckdb.IOException as e:
        # All files were whole a moment ago: one went meanwhile.
        found.uncompared.append(f"{what}: {str(e).splitlines()[0]}")


# --- silver against bronze -----------------------------------------------------------------------


class _Identity(NamedTuple):
    """What makes a row of bronze one of silver: the columns that name it; `made_of` is the table
    whose checkpoint says of what bronze. `says` are other columns of both, by their types: an id
    that comes again says what it said first.
    """

    topic: str
    key: str
    made_of: str
    says: Mapping[str, str] = {}


_NEAR_DAYS = 7
"""So many days apart an id is still that of the same event."""
_PRICED = {"currency": "VARCHAR"}
_IDENTITIES = {
    "silver_clicks": _Identity(
        "clicks",
        "user_id, event_id",
        "silver_clicks",
        {"event_type": "VARCHAR", "product_id": "VARCHAR", "price": "DECIMAL(18,4)"}
        | {"quantity": "BIGINT", "order_id": "VARCHAR", **_PRICED},
    ),
    "silver_carts": _Identity(
        "carts",
        "user_id, event_id",
        "silver_carts",
        {"product_id": "VARCHAR", "quantity": "BIGINT", "unit_price": "DECIMAL(18,4)", **_PRICED},
    ),
    "silver_stock": _Identity(
        "stock",
        "product_id, event_id",
        "silver_stock",
        {"stock_on_hand": "BIGINT", "unit_price": "DECIMAL(18,4)", **_PRICED},
    ),
    "silver_offers": _Identity("offers", "offer_id", "silver_offers"),
    "silver_orders": _Identity("orders", "source, order_id, status", "silver_order_lines"),
}


def compare_silver(
    con: "duckdb.DuckDBPyConnection",
    engine: Engine,
    landed: "Landed",
    broken: Collection[str],
    shown: Mapping[str, Shown],
    found: Compared,
) -> None:
    """Every event of bronze is one row of silver, which says what it says; topics in `broken` can't
    be read.
    """
    # Silver may hold what has expired from bronze since.
    all_kept = not engine.settings.bronze_ttl
    for name, identity in _IDENTITIES.items():
        if name not in shown or identity.topic in broken:
            continue
        if not made_of(engine, name, identity.made_of, shown, found):
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
        counted = _compare_events if identity.says else _compare_identities
        with comparing(f"{name} with bronze", found):
            lacks, extra, other = counted(con, identity, files, shown[name].files)
            for count, what in (
                (lacks, f"of bronze are not in {name}"),
                (extra * (all_kept and not offers), f"of {name} are not in bronze"),
                (other * all_kept, f"have another day, price, quantity … in {name} than in bronze"),
            ):
                if count:
                    found.differences.append(f"lake: {count:,} {identity.topic} {what}")
    lines = shown.get("silver_order_lines")
    if lines is not None and lines.files and all_kept and "orders" not in broken:
        with comparing("silver_order_lines with bronze", found):
            found.differences += _compare_lines(
                con, _landed(engine, landed, "orders", lines.landed), lines
            )


def _compare_identities(
    con: "duckdb.DuckDBPyConnection", identity: _Identity, files: list[str], held: list[str]
) -> tuple[int, int, int]:
    """How many identities are in bronze alone and in silver alone. A row that is in silver twice is
    one too many there.
    """
    fields = dict.fromkeys(identity.key.split(", "), "VARCHAR")
    wanted = f"SELECT DISTINCT hash({identity.key}) AS k FROM {bronze(files, fields)}"
    found = (
        f"SELECT hash({identity.key}) AS k FROM {data(held)}"
        if held
        else "SELECT 0::UBIGINT AS k WHERE FALSE"
    )
    row = con.execute(
        f"WITH wanted AS MATERIALIZED ({wanted}), held AS MATERIALIZED ({found}) SELECT"
        " (SELECT count(*) FROM wanted ANTI JOIN held USING (k)),"
        " (SELECT count(*) FROM held ANTI JOIN wanted USING (k))"
        " + (SELECT count(*) - count(DISTINCT k) FROM held), 0"
    ).fetchone()
    return row or (0, 0, 0)


def _compare_events(
    con: "duckdb.DuckDBPyConnection", identity: _Identity, files: list[str], held: list[str]
) -> tuple[int, int, int]:
    """How many events are in bronze alone and in silver alone, and how many say in silver what the
    first arrival in bronze doesn't. Of two rows near each other with one id one is too many; where
    ids come again long after, which rows there are is not judged.
    """
    fields = {**dict.fromkeys(identity.key.split(", "), "VARCHAR"), **identity.says}
    fields |= {"timestamp": "TIMESTAMP", "position": "BIGINT", "n": "BIGINT"}
    says = f'"day", {", ".join(identity.says)}'
    found = (
        f'SELECT hash({identity.key}) AS k, "day", hash({says}) AS says FROM {data(held)}'
        if held
        else "SELECT 0::UBIGINT AS k, NULL::DATE AS day, 0::UBIGINT AS says WHERE FALSE"
    )
    row = con.execute(
        f"""
        WITH arrived AS (
            SELECT hash({identity.key}) AS k, position::HUGEINT * 4294967296 + n AS arrival,
                CAST(timestamp AS DATE) AS "day", {", ".join(identity.says)}
            FROM {bronze(files, fields)}
        ), wanted AS MATERIALIZED (
            SELECT k, arg_min(hash({says}), arrival) AS says,
                max("day") - min("day") <= {_NEAR_DAYS} AS near
            FROM arrived GROUP BY k
        ), held AS MATERIALIZED ({found}), several AS (
            SELECT k, "day" - lag("day") OVER (PARTITION BY k ORDER BY "day") AS since
            FROM held SEMI JOIN (SELECT k FROM held GROUP BY k HAVING count(*) > 1) USING (k)
        )
        SELECT (SELECT count(*) FROM wanted ANTI JOIN held USING (k)),
            (SELECT count(*) FROM held ANTI JOIN wanted USING (k))
            + (SELECT count(*) FROM several WHERE since <= {_NEAR_DAYS}),
            (SELECT count(*) FROM wanted JOIN held USING (k)
                WHERE near AND wanted.says <> held.says)
        """
    ).fetchone()
    return row or (0, 0, 0)


def _compare_lines(con: "duckdb.DuckDBPyConnection", files: list[str], lines: Shown) -> list[str]:
    """The differences between the order lines of bronze and those of silver."""
    wanted, wanted_says = _wanted_lines(con, files)
    held, held_says, wrong = con.execute(
        "SELECT count(*), coalesce(sum(hash(product_id, quantity, unit_price)::HUGEINT), 0),"
        " count_if(amount <> CAST(quantity AS DECIMAL(18,0)) * unit_price)"
        f" FROM {data(lines.files)}"
    ).fetchone() or (0, 0, 0)
    if wanted != held:
        return [f"lake: {wanted:,} order lines in bronze, {held:,} in silver_order_lines"]
    if wanted_says != held_says:
        return [
            "lake: products, quantities or prices of silver_order_lines are not those of bronze"
        ]
    if wrong:
        return [f"lake: {wrong:,} amounts of silver_order_lines are not quantity x unit_price"]
    return []


def _wanted_lines(con: "duckdb.DuckDBPyConnection", files: list[str]) -> tuple[int, int]:
    """How many order lines there should be, and the sum of the hashes of what they say: of an order
    that came whole, all lines of its first arrival; of one whose lines were judged one by one, the
    first arrival of each number.
    """
    fields = {
        **dict.fromkeys(("source", "order_id", "status"), "VARCHAR"),
        "position": "BIGINT",
        "n": "BIGINT",
        "by_line": "BOOLEAN",
        "lines": "STRUCT(line VARCHAR, product_id VARCHAR, quantity BIGINT,"
        " unit_price DECIMAL(18,4))[]",
    }
    says = "hash(item.product_id, item.quantity, item.unit_price)::HUGEINT"
    row = con.execute(
        f"""
        WITH arrived AS MATERIALIZED (
            SELECT source, order_id, status, coalesce(by_line, FALSE) AS by_line, lines,
                position::HUGEINT * 4294967296 + n AS arrival
            FROM {bronze(files, fields)}
        ), whole AS (
            SELECT source, order_id, status,
                arg_min({{'lines': len(lines), 'says':
                    list_sum(list_transform(lines, lambda item: {says}))}}, arrival) AS first
            FROM arrived WHERE NOT by_line GROUP BY ALL
        ), taken_apart AS (
            SELECT source, order_id, status, arrival,
                unnest(list_transform(lines, lambda item, place: {{
                    'number': coalesce(try_cast(item.line AS BIGINT), place), 'says': {says}
                }})) AS line
            FROM arrived WHERE by_line
        ), repeated AS (
            SELECT source, order_id, status, line.number AS number, arrival, count(*) AS lines,
                sum(line.says) AS says
            FROM taken_apart GROUP BY ALL
        ), apart AS (
            SELECT source, order_id, status, number,
                arg_min({{'lines': lines, 'says': says}}, arrival) AS first
            FROM repeated ANTI JOIN whole USING (source, order_id, status) GROUP BY ALL
        )
        SELECT coalesce(sum(first.lines), 0), coalesce(sum(first.says), 0)
        FROM (SELECT first FROM whole UNION ALL SELECT first FROM apart)
        """,
    ).fetchone()
    return (int(row[0]), int(row[1])) if row else (0, 0)


def lost_to_bronze(
    con: "duckdb.DuckDBPyConnection", name: str, files: list[str], held: list[str]
) -> int:
    """How many of the events that data files `held` of silver table `name` are made of are in none
    of these bronze files.
    """
    key = next(identity.key for identity in _IDENTITIES.values() if identity.made_of == name)
    if not held:
        return 0
    fields = dict.fromkeys(key.split(", "), "VARCHAR")
    return _one(
        con,
        f"SELECT count(*) FROM (SELECT DISTINCT hash({key}) AS k FROM {data(held)}) ANTI JOIN"
        f" (SELECT DISTINCT hash({key}) AS k FROM {bronze(files, fields)}) USING (k)",
    )


def compare_ledger(
    con: "duckdb.DuckDBPyConnection",
    accepted: Mapping[str, int],
    landed_until: int,
    shown: Mapping[str, Shown],
    found: Compared,
) -> None:
    """Silver has no more events of a topic than the processors accepted (or gave up as poison),
    where both have read the same. An id that came again long after counts once.
    """
    for name, identity in _IDENTITIES.items():
        if identity.topic == "offers" or name not in shown or identity.made_of not in shown:
            continue
        if shown[identity.made_of].landed != str(landed_until) or not shown[name].files:
            continue
        held = _one(
            con, f"SELECT count(DISTINCT hash({identity.key})) FROM {data(shown[name].files)}"
        )
        if held > (most := accepted.get(identity.topic, 0)):
            found.differences.append(
                f"lake: {held:,} {identity.topic} in {name}, {most:,} accepted by the processors"
            )


def _landed(engine: Engine, landed: "Landed", topic: str, checkpoint: str) -> list[str]:
    """Bronze files of a topic up to the id in `checkpoint`."""
    until = int(checkpoint or "0")
    files = landed.since(0, topic, until) if until else []
    return [str(engine.dir.root / file.name) for file in files]


def _archived(engine: Engine, checkpoint: str) -> list[str]:
    """Files of the offers archive that had been read at `checkpoint`."""
    read = Archived.of(checkpoint)
    names = engine.lake().names(ARCHIVE)
    return [str(engine.dir.root / n) for n in names if read.has(n.removeprefix(f"{ARCHIVE}/"))]


def _find_unread(engine: Engine, checkpoint: str, found: Compared) -> None:
    """Archived offers that were there long before the last build and that it passed over."""
    with suppress(DataDirError), engine.read_builds() as builds:
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


# --- what was made of what ------------------------------------------------------------------------


def made_of(
    engine: Engine, name: str, silver: str, shown: Mapping[str, Shown], found: Compared
) -> bool:
    """Whether `name` was made of the rows of `silver` that are shown now; else says so."""
    if name == silver:
        return True
    if silver not in shown:
        why = f"there is no whole {silver}"
    else:
        seen = shown[name].upstream.get(silver)
        try:
            if seen == shown[silver].snapshot or _same_rows(engine, silver, shown[silver], seen):
                return True
            why = f"readers see a {silver} that it was not made of"
        except DataDirError as e:
            why = str(e)
    found.uncompared.append(f"{name} with {silver}: {why}")
    return False


def _same_rows(engine: Engine, name: str, shown: Shown, seen: int | None) -> bool:
    """Whether only maintenance came between a table's snapshot `seen` and the one shown."""
    pointer = pointers(engine.dir.root).get(name)
    metadata = metadata_at(pointer, lake_folder(engine.dir.root)) if pointer else None
    newer = metadata.snapshot_by_id(shown.snapshot) if metadata else None
    if seen is None or metadata is None or newer is None:
        return False
    return only_tended(metadata, newer, seen)


# --- reading -------------------------------------------------------------------------------------


def bronze(files: list[str], fields: Mapping[str, str]) -> str:
    """Fields of NDJSON files as a relation; `.zst` files are compressed."""
    if not files:
        nulls = ", ".join(f"NULL::{type} AS {name}" for name, type in fields.items())
        return f"(SELECT {nulls} WHERE FALSE)"
    columns = ", ".join(f"{name}: '{type}'" for name, type in fields.items())
    compression = "zstd" if files[0].endswith(".zst") else "uncompressed"
    return (
        f"read_json({_listing(files)}, format = 'newline_delimited', columns = {{{columns}}},"
        f" maximum_object_size = {OBJECT_BYTES_MAX}, {AS_WRITTEN}, compression = '{compression}')"
    )


def data(files: list[str]) -> str:
    return f"read_parquet({_listing(files)}, hive_partitioning = false, union_by_name = true)"


def _listing(files: list[str]) -> str:
    return "[" + ", ".join("'" + file.replace("'", "''") + "'" for file in files) + "]"


def _one(con: "duckdb.DuckDBPyConnection", query: str) -> int:
    row = con.execute(query).fetchone()
    return int(row[0]) if row else 0
