"""A data directory with tables made by hand: what each column holds is plain to see."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb

from shopstream.ask.box import Box
from shopstream.ask.tables import published
from shopstream.lake.model import load_models
from shopstream.local.datadir import make_data_dir
from shopstream.settings import Settings, load_settings

Rows = Sequence[dict[str, Any]]


def publish(data_dir: Path, tables: dict[str, Rows] | None = None, *, build: int = 1) -> None:
    """Publish all tables of the models, with the given rows; a column not named is NULL."""
    if not (data_dir / "meta.json").exists():
        make_data_dir(data_dir, None)
    lake = data_dir / "lake"
    current = {}
    for number, (name, model) in enumerate(load_models().items()):
        rows = (tables or {}).get(name, ())
        files = [f"warehouse/{name}/data/{build}.parquet"] if rows else []
        for file in files:
            (lake / file).parent.mkdir(parents=True, exist_ok=True)
            _write(lake / file, model.types, rows)
        current[name] = {"snapshot": 100 * build + number, "files": files, "rows": len(rows)}
    lake.mkdir(exist_ok=True)
    values = {"build": build, "built_at": "2026-11-21T12:00:00Z", "tables": current}
    (lake / "current.json").write_text(json.dumps(values))


def _write(path: Path, types: dict[str, str], rows: Rows) -> None:
    with duckdb.connect() as con:
        columns = ", ".join(f'"{name}" {kind}' for name, kind in types.items())
        con.execute(f"CREATE TABLE rows ({columns})")
        for row in rows:
            names = ", ".join(f'"{name}"' for name in row)
            marks = ", ".join("?" for _ in row)
            con.execute(f"INSERT INTO rows ({names}) VALUES ({marks})", list(row.values()))
        con.execute(f"COPY rows TO '{path}' (FORMAT parquet)")


def box_of(data_dir: Path, **settings: Any) -> Box:
    found = settings_of(data_dir, **settings)
    return Box(found, published(found))


def settings_of(data_dir: Path, **settings: Any) -> Settings:
    return load_settings({"data_dir": data_dir, **settings}, {})


def rows(box: Box, sql: str) -> list[tuple[Any, ...]]:
    """All rows that a query gives."""
    return [
        row
        for batch in box.ask(sql).batches()
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True)
    ]


SALES: Rows = [
    {"day": "2026-11-20", "category": "shoes", "product_id": "p1", "amount": "100.1000"},
    {"day": "2026-11-21", "category": "shoes", "product_id": "p2", "amount": "0.2000"},
    {"day": "2026-11-21", "category": "kitchen", "product_id": "=2+3", "amount": "-7.5000"},
]
