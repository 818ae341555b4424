"""`shopstream check` finds whatever doesn't add up, and names it."""

from collections.abc import Callable
from pathlib import Path

import pytest
from tests.e2e.command import Shop

from shopstream.local.tables import RocksTables

MAPPING = """
topic = "clicks"
[format]
type = "ndjson"
[fields]
user_id = "user_id"
event_type = "event_type"
timestamp = "timestamp"
product_id = "product_id"
"""


@pytest.fixture
def filled(shop: Shop) -> Shop:
    """A shop with clicks, one rejection, one duplicate and an archived offer."""
    mapping = shop.data_dir.parent / "clicks.toml"
    mapping.write_text(MAPPING, "utf-8")
    views = [
        {"user_id": "u1", "event_type": "view", "product_id": "p1"}
        | {"timestamp": f"2025-11-21T10:0{n}:00Z"}
        for n in range(4)
    ]
    file = shop.ndjson("clicks.ndjson", *views, views[0], {"user_id": "u2", "event_type": "fly"})
    shop.load(file, mapping)
    assert shop.counts("clicks") == {
        "received": 6,
        "accepted": 4,
        "duplicate": 1,
        "quarantined": 1,
    }
    return shop


def test_it_has_the_shape_that_scripts_rely_on(filled: Shop) -> None:
    report = filled.json("check")
    assert report["balanced"] is True
    assert report["topics"] == {
        "clicks": {"received": 6, "accepted": 4, "duplicate": 1, "quarantined": 1, "waiting": 0}
    }
    assert report["quarantine"] == {"clicks": {"value": 1}}
    assert report["sources"]["clicks"] == {"load:clicks": report["topics"]["clicks"]}
    assert report["tables"]["clicks"] == {"expected": 4, "found": 4}
    assert report["differences"] == []


def test_a_person_reads_that_everything_adds_up(filled: Shop) -> None:
    assert "adds up" in filled.run("check").stderr


def delete_from(table: str, pk: str) -> Callable[[Path], None]:
    def tamper(data_dir: Path) -> None:
        tables = RocksTables(data_dir / "tables" / "0")
        batch = tables.batch()
        for sk, _ in tables.query(table, pk):
            batch.delete(table, pk, sk)
        tables.write(batch)
        tables.close()

    return tamper


def cook_the_books(data_dir: Path) -> None:
    tables = RocksTables(data_dir / "tables" / "0")
    batch = tables.batch()
    batch.put("ledger", "clicks", "load:clicks\x1faccepted", b"5")
    tables.write(batch)
    tables.close()


def archive_of(data_dir: Path) -> Path:
    (path,) = (data_dir / "archive" / "offers").rglob("*.json")
    return path


def lose_the_archive(data_dir: Path) -> None:
    archive_of(data_dir).unlink()


def archive_twice(data_dir: Path) -> None:
    path = archive_of(data_dir)
    (path.parent / "copy.json").write_bytes(path.read_bytes())


@pytest.mark.parametrize(
    ("tamper", "difference"),
    [
        (
            delete_from("browsing_events", "u1"),
            "tables: 4 clicks were stored and have not expired, 0 are there",
        ),
        (
            delete_from("quarantine", "clicks"),
            "tables: 1 quarantine were stored and have not expired, 0 are there",
        ),
        (
            delete_from("offers", "u1"),
            "tables: 1 offers were stored and have not expired, 0 are there",
        ),
        (cook_the_books, "clicks from load:clicks: 6 received, 7 accounted for"),
        (lose_the_archive, "archive: 1 offers made, 0 archived, 0 waiting"),
        (archive_twice, "archive: 1 offers are archived twice"),
    ],
)
def test_what_was_tampered_with_is_named_and_the_exit_code_is_1(
    filled: Shop, tamper: Callable[[Path], None], difference: str
) -> None:
    tamper(filled.data_dir)
    report = filled.json("check", code=1)
    assert report["balanced"] is False
    assert difference in report["differences"]
    assert f"difference: {difference}" in filled.run("check", code=1).stderr


def test_without_data_it_says_what_to_do_and_makes_nothing(shop: Shop) -> None:
    done = shop.run("check", code=2)
    assert "there is no data in" in done.stderr
    assert not shop.data_dir.exists()
