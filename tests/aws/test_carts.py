"""CartProcessor and Promotions: a file of cart lines, and what the local engine makes of it."""

import csv
import gzip
import io
import json
import random
import tempfile
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.aws.conftest import Stack
from tests.e2e.command import Shop
from tests.models.test_gold_abandoned import HELD, Done, left_in_carts, top_10, top_50

from shopstream.aws import carts
from shopstream.aws.carts import OutOfTime, process_carts, promote
from shopstream.aws.engine import AwsEngine
from shopstream.aws.wire import Raw, from_text, read
from shopstream.collector.splitting import BodyLimits
from shopstream.events import Entry
from shopstream.settings import load_settings

COLUMNS = (
    *("event_id", "user_id", "cart_id", "product_id", "name", "category", "quantity"),
    *("unit_price", "currency", "timestamp", "shelf"),
)
NIGHT = datetime(2026, 3, 1, 22)


def lots_of_rows(count: int) -> list[dict[str, str]]:
    """Cart lines of a month, with ties, removals, repeated ids, two currencies, no prices."""
    choose = random.Random(11)
    rows = []
    for n in range(count):
        at = NIGHT - timedelta(minutes=choose.choice((0, 10, 29, 30, 31, 600, 40_000, 44_000)))
        product = choose.randrange(90)
        rows.append(
            {
                "event_id": choose.choice(("", f"e{n}", f"e{n // 3}")),
                "user_id": f"u{choose.randrange(120)}",
                "cart_id": choose.choice(("", "", "c1", "c2")),
                "product_id": f"p{product}",
                "name": choose.choice(("", f"Product {product}", '=cmd|"/c calc"!A1', "@sum, 2")),
                "category": choose.choice(("", "kitchen", "-1+1", "garden")),
                "quantity": str(choose.choice((0, 1, 2, 3, 1_000_000_000))),
                "unit_price": choose.choice(("", "2.5", "0.1", "9999.9999")),
                "currency": choose.choice(("EUR", "EUR", "EUR", "GBP")),
                "timestamp": (at - timedelta(seconds=choose.randrange(3))).isoformat() + "Z",
                "shelf": "top",
            }
        )
    return rows


def as_csv(rows: list[dict[str, str]], *bad: str) -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    return (out.getvalue() + "".join(f"{line}\r\n" for line in bad)).encode()


BAD = ("x1,u1,,p1,,,many,,,2026-03-01T10:00:00Z,", "too,few", "x2,,,p1,,,1,,,2026-03-01T10:00:00Z,")


@pytest.fixture(scope="module")
def shelves(stack: Stack) -> Stack:
    for name in ("raw", "processed", "consumption"):
        stack.clients.s3.create_bucket(
            Bucket=stack.names.bucket(name),
            CreateBucketConfiguration={"LocationConstraint": "eu-central-1"},
        )
    return stack


@pytest.fixture
def engine(shelves: Stack) -> AwsEngine:
    return AwsEngine(load_settings(), shelves.clients)


def told(bucket: str, key: str) -> dict[str, Any]:
    """What EventBridge says of a new object."""
    return {
        "detail-type": "Object Created",
        "detail": {"bucket": {"name": bucket}, "object": {"key": key}},
    }


def plenty() -> float:
    return 900.0


def dropped(stack: Stack, key: str, body: bytes) -> dict[str, Any]:
    stack.clients.s3.put_object(Bucket=stack.names.bucket("raw"), Key=key, Body=body)
    return told(stack.names.bucket("raw"), key)


def file_of(stack: Stack, bucket: str, key: str) -> bytes:
    found = stack.clients.s3.get_object(Bucket=stack.names.bucket(bucket), Key=key)
    body: bytes = found["Body"].read()
    return body


def rows_of(body: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(body.decode())))


def keys_of(stack: Stack, bucket: str) -> list[str]:
    found = stack.clients.s3.list_objects_v2(Bucket=stack.names.bucket(bucket))
    return [entry["Key"] for entry in found.get("Contents", [])]


def entries_sent(stack: Stack) -> list[Entry]:
    """Takes all that waits in the queue of clicks and carts."""
    sqs = stack.clients.sqs
    url = sqs.get_queue_url(QueueName=stack.names.queue("clicks"))["QueueUrl"]
    raw = Raw("carts", "sqs", 1, "r", BodyLimits(10_000, 1 << 20))
    entries: list[Entry] = []
    while found := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        for message in found:
            records = read(from_text(message["Body"]), raw, fetch=stack.files.get)
            entries += [record.entry for record in records]
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return entries


def lines_sent(entries: list[Entry]) -> list[int]:
    return sorted(line for entry in entries for line in entry.lines)


def test_a_file_gives_the_files_that_the_local_engine_exports_to_the_byte(
    shelves: Stack, engine: AwsEngine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = lots_of_rows(1_500)
    body = as_csv(rows, *BAD)
    done = process_carts(engine, dropped(shelves, "carts/night.csv", body), plenty)
    assert (done["rows"], done["sent"], done["unreadable"]) == (1_503, 1_503, 1)
    assert (done["products"], done["invalid"]) == (50, 2)
    products = "abandoned_products/night.csv"
    promoted = promote(engine, told(shelves.names.bucket("processed"), products), plenty)
    assert promoted["rows"] > 500

    monkeypatch.setenv("SHOPSTREAM_ENGINE", "local")
    (tmp_path / "night.csv").write_bytes(body)
    shop = Shop(tmp_path / "data")
    shop.load(tmp_path / "night.csv", "carts_csv")
    shop.run("build")
    for name, bucket, key in (
        ("abandoned-products", "processed", products),
        ("promotions", "consumption", "promotions/night.csv"),
    ):
        shop.run("export", name, "-o", tmp_path / f"{name}.csv")
        made, wanted = file_of(shelves, bucket, key), (tmp_path / f"{name}.csv").read_bytes()
        # An export has the order of the grain, which for products isn't the place.
        assert sorted(made.splitlines()) == sorted(wanted.splitlines())
        places = [row["place"] for row in rows_of(made)]
        assert name == "promotions" or places == [str(n) for n in range(1, 51)]
    entries = entries_sent(shelves)
    assert lines_sent(entries) == list(range(2, 1_505))
    assert {e.source for e in entries} == {"load:carts_csv"}
    assert {e.origin for e in entries} == {"night.csv"}
    assert all(entry.historical for entry in entries)
    assert [e.dialect for e in entries].count("rejected") == 1


def test_the_files_are_what_going_through_the_lines_one_by_one_gives(
    shelves: Stack, engine: AwsEngine
) -> None:
    rows = [
        r | {"event_id": f"{n:05d}"}
        for n, r in enumerate(lots_of_rows(1_200))
        if r["quantity"] != "1000000000" and r["currency"] == "EUR"
    ]
    process_carts(
        engine, dropped(shelves, "carts/plain.csv.gz", gzip.compress(as_csv(rows))), plenty
    )
    promote(engine, {"key": "abandoned_products/plain.csv.gz.csv"}, plenty)
    left = left_in_carts([_done(row) for row in rows])
    made = csv.DictReader(
        io.StringIO(file_of(shelves, "processed", "abandoned_products/plain.csv.gz.csv").decode())
    )
    assert [(r["product_id"], r["carts"], r["users"], r["units"]) for r in made] == [
        (product, str(s.carts), str(s.users), str(s.units)) for product, s in top_50(left)
    ]
    made = csv.DictReader(
        io.StringIO(file_of(shelves, "consumption", "promotions/plain.csv.gz.csv").decode())
    )
    found: dict[str, list[str]] = {}
    for row in made:
        found.setdefault(row["customer_id"], []).append(row["product_id"])
    assert found == {
        user: [product for product, _ in items] for user, items in top_10(left).items()
    }
    entries_sent(shelves)


def _done(row: dict[str, str]) -> Done:
    from decimal import Decimal

    return Done(
        at=datetime.fromisoformat(row["timestamp"].removesuffix("Z")),
        kind=HELD,
        id=row["event_id"],
        user=row["user_id"],
        cart=row["cart_id"],
        product=row["product_id"],
        quantity=int(row["quantity"]),
        price=Decimal(row["unit_price"]) if row["unit_price"] else None,
    )


def test_a_file_told_of_again_sends_nothing_again_and_makes_the_same_files(
    shelves: Stack, engine: AwsEngine
) -> None:
    event = dropped(shelves, "carts/twice.csv", as_csv(lots_of_rows(60)))
    process_carts(engine, event, plenty)
    assert len(lines_sent(entries_sent(shelves))) == 60
    before = file_of(shelves, "processed", "abandoned_items/twice.ndjson.gz")
    assert process_carts(engine, event, plenty)["sent"] == 0
    renamed = dropped(shelves, "carts/renamed.csv", as_csv(lots_of_rows(60)))
    assert process_carts(engine, renamed, plenty)["sent"] == 0
    assert entries_sent(shelves) == []
    assert file_of(shelves, "processed", "abandoned_items/twice.ndjson.gz") == before


def test_a_file_that_takes_longer_than_a_run_is_gone_on_with(
    shelves: Stack, engine: AwsEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carts, "BATCH_ITEMS", 10)
    event = dropped(shelves, "carts/long.csv", as_csv(lots_of_rows(61)[:55]))
    with pytest.raises(OutOfTime, match="20 rows of some 56 are in the log"):
        process_carts(engine, event, running_out(after=3))
    assert "abandoned_products/long.csv" not in keys_of(shelves, "processed")
    assert process_carts(engine, event, plenty)["sent"] == 35
    assert lines_sent(entries_sent(shelves)) == list(range(2, 57))
    with pytest.raises(OutOfTime):
        promote(engine, {"key": "abandoned_products/long.csv"}, lambda: 1.0)


def running_out(after: int) -> Callable[[], float]:
    left: Iterator[float] = iter([900.0] * after)
    return lambda: next(left, 1.0)


@pytest.mark.parametrize(
    ("name", "body", "why"),
    [
        ("empty.csv", b"", "is empty"),
        ("columns.csv", b"user_id,quantity\r\nu1,1\r\n", "has no column 'product_id'"),
        ("not.csv.gz", b"user_id,quantity\r\n", "its gzip data is damaged"),
        ("cut.csv.gz", gzip.compress(as_csv(lots_of_rows(50)))[:-20], "its gzip data is damaged"),
    ],
)
def test_a_file_that_cannot_be_read_adds_nothing_and_says_why(
    shelves: Stack, engine: AwsEngine, name: str, body: bytes, why: str
) -> None:
    done = process_carts(engine, dropped(shelves, f"carts/{name}", body), plenty)
    assert why in done["error"]
    assert why in file_of(shelves, "raw", f"failed/carts/{name}.error").decode()
    assert entries_sent(shelves) == []
    assert f"abandoned_products/{name.partition('.')[0]}.csv" not in keys_of(shelves, "processed")


def test_a_file_with_more_lines_than_there_is_room_for_adds_nothing_and_says_the_limit(
    shelves: Stack, engine: AwsEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carts, "LINE_BYTES", 1 << 50)
    event = dropped(shelves, "carts/huge.csv", as_csv(lots_of_rows(20)).removesuffix(b"\r\n"))
    done = process_carts(engine, event, plenty)
    assert "has 21 lines, and there are" in done["error"]
    assert "for about 0 lines; split it" in done["error"]
    assert done["error"] in file_of(shelves, "raw", "failed/carts/huge.csv.error").decode()
    assert entries_sent(shelves) == []


def test_a_disk_that_is_full_all_the_same_is_told_and_not_tried_again(
    shelves: Stack, engine: AwsEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(carts, "STATES_SHARE", 0.0)
    done = process_carts(
        engine, dropped(shelves, "carts/full.csv", as_csv(lots_of_rows(200))), plenty
    )
    assert "carts/full.csv: is too large: there are" in done["error"]
    assert "too large" in file_of(shelves, "raw", "failed/carts/full.csv.error").decode()
    assert "abandoned_products/full.csv" not in keys_of(shelves, "processed")
    entries_sent(shelves)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
def test_promotions_that_no_disk_takes_are_told_too(
    shelves: Stack, engine: AwsEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    process_carts(engine, dropped(shelves, "carts/many.csv", as_csv(lots_of_rows(40))), plenty)
    monkeypatch.setattr(tempfile, "TemporaryFile", partial(Path("/dev/full").open, "w+b", 0))
    done = promote(engine, {"key": "abandoned_products/many.csv"}, plenty)
    assert "promotions/many.csv: is too large: there are" in done["error"]
    assert keys_of(shelves, "consumption").count("promotions/many.csv.error") == 1
    entries_sent(shelves)


def test_a_file_that_takes_too_long_to_read_says_so(shelves: Stack, engine: AwsEngine) -> None:
    event = dropped(shelves, "carts/slow.csv", as_csv(lots_of_rows(20)))
    done = process_carts(engine, event, running_out(after=0))
    assert "takes longer to read than there is time; split it" in done["error"]
    assert entries_sent(shelves) == []


def test_files_that_differ_in_their_ends_only_do_not_overwrite_each_others_results(
    shelves: Stack, engine: AwsEngine
) -> None:
    body = as_csv(lots_of_rows(40))
    names = []
    for key, packed in (("end.csv", body), ("end.CSV", body), ("end.csv.gz", gzip.compress(body))):
        process_carts(engine, dropped(shelves, f"carts/{key}", packed), plenty)
        names = [k for k in keys_of(shelves, "processed") if k.startswith("abandoned_products/end")]
    assert sorted(names) == [
        "abandoned_products/end.CSV.csv",
        "abandoned_products/end.csv",
        "abandoned_products/end.csv.gz.csv",
    ]
    entries_sent(shelves)


@pytest.mark.parametrize("key", ["failed/carts/x.csv", "carts/readme.txt", "other/x.csv", ""])
def test_other_objects_are_left_alone(engine: AwsEngine, key: str) -> None:
    assert process_carts(engine, {"key": key}, plenty) == {"skipped": key}
    assert promote(engine, {"key": key}, plenty) == {"skipped": key}


def test_numbers_are_written_as_in_the_tables_and_formulas_are_text(
    shelves: Stack, engine: AwsEngine
) -> None:
    row = dict.fromkeys(COLUMNS, "") | {
        "user_id": "=1+1",
        "product_id": "-p",
        "name": "+n",
        "category": "@c",
        "quantity": "2",
        "unit_price": "0.1",
        "currency": "EUR",
        "timestamp": "2026-03-01T20:00:00Z",
    }
    last = row | {"user_id": "u2", "timestamp": "2026-03-01T22:00:00.5Z"}
    process_carts(engine, dropped(shelves, "carts/formulas.csv", as_csv([row, last])), plenty)
    promote(engine, {"key": "abandoned_products/formulas.csv"}, plenty)
    made = file_of(shelves, "consumption", "promotions/formulas.csv").decode().splitlines()
    assert made[1] == (
        '"\'=1+1",1,"\'-p","\'+n","\'@c",1,2,0.2000,"EUR","2026-03-01T20:00:00.000000Z"'
        ',"2026-03-01T22:00:00.500000Z"'
    )
    entries = entries_sent(shelves)
    assert json.loads(entries[0].events[0])["user_id"] in ("=1+1", "u2")
