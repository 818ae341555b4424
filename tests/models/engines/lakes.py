"""Bronze of real and made-up shops, and the tables of it on DuckDB, which others must make too."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import duckdb
import pytest
from tests.e2e.command import DATA, NORTHWIND, REES46, UCI, Shop

from shopstream.engine import open_engine
from shopstream.lake.bind import source_sql
from shopstream.lake.dialect import compile_model
from shopstream.lake.model import Model, load_models, load_sources
from shopstream.settings import load_settings

NAMES = ("simulated", "uci", "rees46")
MODELS = load_models()
SOURCES = load_sources()


class Lake(NamedTuple):
    """`con` has all tables, made by DuckDB, in a schema `duckdb`."""

    root: Path
    con: duckdb.DuckDBPyConnection

    @property
    def tally(self) -> Path:
        return self.root / "tally" / "tally.json"

    def rows(self) -> int:
        return sum(
            self.con.execute(f"SELECT COUNT(*) FROM duckdb.{name}").fetchall()[0][0]
            for name in MODELS
        )


def make_lake(name: str, folder: Path) -> Lake:
    """Fill a data directory by the command line, land it and build its tables on DuckDB."""
    shop = Shop(folder / "data")
    if name == "simulated":
        _simulate(shop)
    elif not DATA.is_dir():
        pytest.skip("real data files are absent; name their folder SHOPSTREAM_TEST_DATA")
    elif name == "uci":
        shop.load(UCI, "uci_online_retail")
    else:
        shop.load(REES46, "rees46")
        shop.load(NORTHWIND, "northwind_products")
    shop.run("lander", "--until-idle")
    lake = Lake(shop.data_dir, duckdb.connect())
    _write_tally(lake)
    _build(lake)
    return lake


def _simulate(shop: Shop) -> None:
    """Clicks of every third user come without a session and some of all twice."""
    shop.run("simulate", "shop", "--count", "4000", "--seed", "7", "--invalid-percent", "3")
    sent = shop.data_dir.parent / "again.ndjson"
    shop.run("simulate", "clicks", "--count", "1500", "--seed", "8", "--to", sent)
    events = [json.loads(line) for line in sent.read_text("utf-8").splitlines()]
    for event in events:
        if int(event["user_id"][-1]) % 3 == 0:
            del event["session_id"]
        event["amount_seen"] = 1.5e-7
        event["note"] = "Ünï\u2028code 'quoted' \\ \U0001f600"
    shop.load(shop.ndjson("once.ndjson", *events), "clicks")
    shop.load(shop.ndjson("twice.ndjson", *events[::5]), "clicks")


def _write_tally(lake: Lake) -> None:
    settings = load_settings({"data_dir": lake.root})
    landed = open_engine(settings).read_landed()
    lake.tally.parent.mkdir()
    with lake.tally.open("w", encoding="utf-8") as file:
        for row in landed.tally():
            file.write(json.dumps(row._asdict()) + "\n")
    landed.close()


def _build(lake: Lake) -> None:
    con = lake.con
    con.execute("SET TimeZone = 'UTC'")
    con.execute("SET enable_progress_bar = false")
    con.execute("CREATE SCHEMA duckdb; USE duckdb")
    for source in SOURCES.values():
        con.execute(
            f"CREATE TABLE {source.name} AS {source_sql(source, [*_files(lake, source.name)])}"
        )
    for model in MODELS.values():
        con.execute(f"CREATE TABLE {model.name} AS {compile_model(model, 'duckdb', str)}")


def _files(lake: Lake, name: str) -> Iterator[Path]:
    source = SOURCES[name]
    if source.tally:
        yield lake.tally
    elif source.archive:
        yield from sorted((lake.root / "archive" / "offers").glob("dt=*/*.json"))
    else:
        yield from sorted((lake.root / "bronze" / str(source.topic)).glob("dt=*/hour=*/*.zst"))


def compare(lake: Lake, model: Model, files: list[str]) -> None:
    """Asserts that the Parquet files another engine wrote hold exactly the rows of DuckDB's table,
    in any order: doubles to 1e-9, JSON as JSON, all else as it is.
    """
    con, types = lake.con, model.types
    wanted = f"duckdb.{model.name}"
    if not files:
        assert con.execute(f"SELECT COUNT(*) FROM {wanted}").fetchall() == [(0,)], model.name
        return
    found = f"read_parquet({files!r}, hive_partitioning = false, union_by_name = true)"
    exact = ", ".join(_plain(name, kind) for name, kind in types.items() if kind != "DOUBLE")
    for one, other, said in ((wanted, found, "lacks"), (found, wanted, "has in excess")):
        rows = con.execute(
            f"SELECT {exact} FROM {one} EXCEPT ALL SELECT {exact} FROM {other} LIMIT 3"
        )
        names = [column[0] for column in rows.description or ()]
        left = [dict(zip(names, row, strict=True)) for row in rows.fetchall()]
        assert not left, f"{model.name}: the engine {said} {left}"
    same = " AND ".join(f'a."{name}" IS NOT DISTINCT FROM b."{name}"' for name in model.grain)
    for name in (name for name, kind in types.items() if kind == "DOUBLE"):
        a, b = f'a."{name}"', f'b."{name}"'
        far = f"abs({a} - {b}) > 1e-12 + 1e-9 * abs({a}) OR ({a} IS NULL) <> ({b} IS NULL)"
        rows = con.execute(
            f"SELECT {a}, {b} FROM {wanted} a JOIN {found} b ON {same} WHERE {far} LIMIT 3"
        )
        assert not rows.fetchall(), f"{model.name}.{name} differs"


def _plain(name: str, kind: str) -> str:
    if name in ("extra", "order_extra", "payload", "consent"):
        return f'CAST(json("{name}") AS VARCHAR) AS "{name}"'
    return f'CAST("{name}" AS {kind}) AS "{name}"'
