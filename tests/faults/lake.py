"""What the lake of a data directory holds: bronze, its tally, and the tables that readers see."""

import io
import json
from collections.abc import Iterator
from pathlib import Path

import duckdb
import zstandard

from shopstream.engine import open_engine
from shopstream.errors import DataDirError
from shopstream.settings import Settings

Thing = tuple[str, ...]
"""What kind of thing it is, then what it is."""


def in_lake(data_dir: Path) -> Iterator[Thing]:
    """Every line of bronze in its folder, what the lander counted, every row of the tables."""
    yield from _in_bronze(data_dir / "bronze")
    yield from _tallied(data_dir)
    yield from in_tables(data_dir)


def in_tables(data_dir: Path) -> Iterator[Thing]:
    """The rows that readers see now, with all their columns; positions and arrival times too, as
    bronze is the same however often its making was interrupted.
    """
    current = data_dir / "lake" / "current.json"
    if not current.exists():
        return
    con = duckdb.connect()
    con.execute("SET TimeZone = 'UTC'")
    for table, found in sorted(json.loads(current.read_text("utf-8"))["tables"].items()):
        files = [str(data_dir / "lake" / file) for file in found["files"]]
        if files:
            rows = con.execute(
                "SELECT CAST(t AS VARCHAR) FROM read_parquet(?, union_by_name = true) AS t", [files]
            )
            yield from (("row", table, text) for (text,) in rows.fetchall())
    con.close()


def _in_bronze(bronze: Path) -> Iterator[Thing]:
    for path in bronze.rglob("*.zst"):
        folder = str(path.parent.relative_to(bronze))
        with path.open("rb") as file:
            lines = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)
            for line in io.TextIOWrapper(lines, "utf-8"):
                yield "bronze", folder, line.rstrip("\n")


def _tallied(data_dir: Path) -> Iterator[Thing]:
    try:
        landed = open_engine(Settings(data_dir=data_dir), create=False).read_landed()
    except DataDirError:
        return
    try:
        for tally in landed.tally():
            yield "tally", *map(str, tally)
    finally:
        landed.close()
