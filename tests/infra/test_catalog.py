"""The tables that Terraform makes of what lands are those that the builds read."""

from pathlib import Path

import msgspec

from shopstream.aws.names import BRONZE_TOPICS
from shopstream.lake.compiled import TALLIED, compile_lake
from shopstream.lake.landed_tables import FILE, catalog_json, landed_tables

ROOT = Path(__file__).resolve().parents[2]


def test_terraform_reads_the_tables_as_they_are_now() -> None:
    written = (ROOT / FILE).read_bytes()
    assert written == catalog_json(), f"stale: shopstream lake catalog -o {FILE}"


def test_every_topic_that_firehose_lands_has_a_table_with_its_partitions() -> None:
    tables = landed_tables()
    for topic in BRONZE_TOPICS:
        table = tables[f"bronze_{topic}"]
        assert (table.place, table.prefix) == ("lake", f"bronze/{topic}/")
        assert table.partitions == ["dt", "hour"]
    assert set(TALLIED) == set(BRONZE_TOPICS)


def test_a_build_reads_no_column_that_its_table_lacks() -> None:
    tables = landed_tables()
    for source in compile_lake().sources.values():
        names = {column.name for column in tables[source.landed].columns}
        assert source.landed in tables
        if source.name != "bronze_order_lines":
            assert set(source.types) <= names


def test_what_is_kept_of_a_rejection_can_be_read() -> None:
    from shopstream.domain.landing import QuarantineLine

    fields = [field.name for field in msgspec.structs.fields(QuarantineLine)]
    columns = [column.name for column in landed_tables()["bronze_quarantine"].columns]
    assert sorted(columns) == sorted(fields)


def test_types_and_comments_are_what_glue_takes() -> None:
    for table in landed_tables().values():
        for column in table.columns:
            assert len(column.comment) <= 255
            assert " " not in column.type
