"""The tables of what has landed, as a catalog has to know them: JSON lines in folders of S3.

Terraform makes them of `terraform/modules/catalog/catalog.json`, which is written by `shopstream
lake catalog` and never by hand. Times are text there: the reader of JSON takes text with a zone for
no timestamp. The SQL of a build makes them what they are.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from shopstream.lake.compiled import landed_table
from shopstream.lake.dialect import hive_type
from shopstream.lake.model import Column, Source, load_sources

FILE = "terraform/modules/catalog/catalog.json"
_QUARANTINE = (
    ("position", "bigint", "Place of the message in the log; the order of arrival."),
    ("n", "bigint", "Number of the event among those made of one message, from 0."),
    ("received_at", "string", "When it arrived."),
    ("source", "string", "Where it came from."),
    ("topic", "string", "clicks, orders, carts or stock."),
    ("reason", "string", "The code of the first thing that is wrong."),
    ("failures", "string", "All that is wrong: reason, field, value, wanted. JSON."),
    ("line", "bigint", "Its line in the file that it came from."),
    ("origin", "string", "That file's name."),
    ("units", "bigint", "What the ledger counts it as."),
    ("raw", "string", "The bytes that were sent, in base64."),
)


class LandedColumn(Struct, frozen=True):
    """A column in Hive's words."""

    name: str
    type: str
    comment: str


class LandedTable(Struct, frozen=True, rename={"place": "in"}):
    """A table of JSON lines: in the bucket `lake` or `archive`, under `prefix`, by `partitions`."""

    description: str
    place: str
    prefix: str
    partitions: list[str]
    columns: list[LandedColumn]


def landed_tables() -> dict[str, LandedTable]:
    """All of them by name."""
    return dict(_landed_tables())


def catalog_json() -> bytes:
    """The tables as Terraform reads them."""
    return msgspec.json.format(msgspec.json.encode(landed_tables()), indent=2) + b"\n"


def _landed_tables() -> Iterator[tuple[str, LandedTable]]:
    for source in load_sources().values():
        name = landed_table(source)
        if source.tally or (name != source.name and source.name != "bronze_order_lines"):
            continue
        if source.name == "bronze_orders":
            continue  # the source with the orders' lines has all of their fields
        prefix = "offers/" if source.archive else f"bronze/{source.topic}/"
        yield (
            name,
            LandedTable(
                description=_description(source),
                place="archive" if source.archive else "lake",
                prefix=prefix,
                partitions=["dt"] if source.archive else ["dt", "hour"],
                columns=[*_columns(source)],
            ),
        )
    yield (
        "bronze_quarantine",
        LandedTable(
            description="Events that were rejected, as they arrived, with the reason.",
            place="lake",
            prefix="bronze/quarantine/",
            partitions=["dt", "hour"],
            columns=[LandedColumn(*column) for column in _QUARANTINE],
        ),
    )


def _description(source: Source) -> str:
    if source.name == "bronze_order_lines":
        return "Orders as they arrived, with their lines, repeated ones included."
    return " ".join(source.description.split())


def _columns(source: Source) -> Iterator[LandedColumn]:
    said: dict[str, Column] = {column.name: column for column in source.columns}
    if source.name == "bronze_order_lines":
        said |= {column.name: column for column in load_sources()["bronze_orders"].columns}
    for name, kind in source.raw.items():
        comment = said[name].description if name in said else "The lines of the order."
        written = "string" if kind == "TIMESTAMP" else hive_type(kind)
        yield LandedColumn(name, written, " ".join(comment.split()))
