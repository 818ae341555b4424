"""CSV files dropped into `raw/` go into the log once, and say so by where they are afterwards."""

import gzip
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from shopstream import loader
from shopstream.engine import open_engine
from shopstream.errors import Busy, ConfigError, NotRunning
from shopstream.events import Entry
from shopstream.heartbeats import read_heartbeats
from shopstream.intake import Dropped, IntakeReport, Patience, free_path, run_intake
from shopstream.settings import Settings

CARTS = (
    "user_id,cart_id,product_id,quantity,unit_price,currency,timestamp,shelf\n"
    "u1,c1,p1,2,9.90,EUR,2026-03-01T12:00:00Z,7\n"
    "u2,,p2,1,,,2026-03-01 12:01:00,\n"
)
ORDERS = (
    "order_id,customer_id,status,currency,timestamp,product_id,quantity,unit_price,amount\n"
    "o1,u1,placed,EUR,2026-03-01T12:00:00Z,p1,2,1.50,4.00\n"
    "o2,,paid,EUR,2026-03-01T12:01:00Z,p3,1,3,\n"
    "o1,u1,placed,EUR,2026-03-01T12:00:00Z,p2,1,1.00,4.00\n"
    "o1,u1,paid,EUR,2026-03-01T13:00:00Z,p1,2,1.50,4.00\n"
    "o1,u1,paid,EUR,2026-03-01T13:00:00Z,p2,1,1.00,4.00\n"
)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path / "data", intake_settle=timedelta(0))


def drop(settings: Settings, topic: str, name: str, body: str | bytes) -> Path:
    path = settings.data_dir / "raw" / topic / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body.encode() if isinstance(body, str) else body)
    return path


def take_all(settings: Settings) -> IntakeReport:
    return run_intake(settings, until_idle=True)


def names_in(settings: Settings, *folders: str) -> list[str]:
    return sorted(p.name for p in settings.data_dir.joinpath("raw", *folders).glob("*"))


def entries_of(settings: Settings) -> list[Entry]:
    log = open_engine(settings).read_log()
    found, position = [], log.start()
    while rows := log.read(position):
        found += [entry for row in rows for entry in row.entries]
        position = rows[-1].next
    log.close()
    return found


def events_of(settings: Settings) -> list[Any]:
    return [msgspec.json.decode(raw) for entry in entries_of(settings) for raw in entry.events]


def test_cart_lines_are_loaded_and_the_file_is_moved_to_done(settings: Settings) -> None:
    drop(settings, "carts", "night.csv", CARTS)
    report = take_all(settings)
    assert [str(loaded) for loaded in report.loaded] == ["night.csv: 2 carts"]
    assert events_of(settings) == [
        {
            "user_id": "u1",
            "cart_id": "c1",
            "product_id": "p1",
            "quantity": 2,
            "unit_price": 9.9,
            "currency": "EUR",
            "timestamp": "2026-03-01T12:00:00Z",
            "extra": {"shelf": "7"},
        },
        {"user_id": "u2", "product_id": "p2", "quantity": 1, "timestamp": "2026-03-01T12:01:00Z"},
    ]
    assert names_in(settings, "carts") == []
    assert names_in(settings, "done", "carts") == ["night.csv"]
    (entry,) = entries_of(settings)
    assert (entry.source, entry.origin, entry.historical) == ("load:carts_csv", "night.csv", True)


def test_rows_of_an_order_are_its_lines_and_placed_and_paid_are_two_orders(
    settings: Settings,
) -> None:
    drop(settings, "orders", "o.csv", ORDERS)
    take_all(settings)
    orders = {(o["order_id"], o["status"]): o for o in events_of(settings)}
    assert set(orders) == {("o1", "placed"), ("o1", "paid"), ("o2", "paid")}
    for status in ("placed", "paid"):
        lines = orders["o1", status]["lines"]
        assert [(n["line"], n["product_id"]) for n in lines] == [(1, "p1"), (2, "p2")]
        assert orders["o1", status]["amount"] == 4
    assert orders["o2", "paid"]["lines"][0]["line"] == 1


def test_the_same_file_under_another_name_adds_nothing(settings: Settings) -> None:
    drop(settings, "carts", "a.csv", CARTS)
    take_all(settings)
    drop(settings, "carts", "b.csv", CARTS)
    drop(settings, "carts", "a.csv", CARTS)
    assert [f.already_loaded for f in take_all(settings).loaded] == [True, True]
    assert len(events_of(settings)) == 2
    assert names_in(settings, "done", "carts") == ["a-2.csv", "a.csv", "b.csv"]


def test_a_kill_before_the_move_loads_nothing_again(settings: Settings) -> None:
    path = drop(settings, "carts", "a.csv", CARTS)
    take_all(settings)
    (settings.data_dir / "raw" / "done" / "carts" / "a.csv").rename(path)
    (loaded,) = take_all(settings).loaded
    assert loaded.already_loaded
    assert len(events_of(settings)) == 2
    assert names_in(settings, "done", "carts") == ["a.csv"]


@pytest.mark.parametrize(
    ("name", "body", "why"),
    [
        ("empty.csv", b"", "is empty"),
        ("other.csv", b"a,b\n1,2\n", "has no column 'user_id'"),
        ("cut.csv.gz", b"\x1f\x8b\x08\x00", "data ends too early"),
        ("utf16.csv", CARTS.encode("utf-16"), "is UTF-16"),
        ("twice.csv", b"user_id,user_id\n1,2\n", "more than once"),
    ],
)
def test_a_file_that_cannot_be_loaded_is_set_aside_with_its_reason(
    settings: Settings, name: str, body: bytes, why: str
) -> None:
    drop(settings, "carts", name, body)
    drop(settings, "carts", "good.csv", CARTS)
    report = take_all(settings)
    assert len(report.failed) == len(report.loaded) == 1
    assert names_in(settings, "failed", "carts") == [name, f"{name}.error"]
    said = (settings.data_dir / "raw" / "failed" / "carts" / f"{name}.error").read_text("utf-8")
    assert why in said
    assert "raw/carts" in said
    assert names_in(settings, "done", "carts") == ["good.csv"]


def test_bad_rows_go_to_the_quarantine_and_the_file_is_done(settings: Settings) -> None:
    drop(settings, "carts", "ragged.csv", CARTS + "u3,only,three\n")
    (loaded,) = take_all(settings).loaded
    assert (loaded.events, loaded.rejected) == (2, 1)
    assert names_in(settings, "done", "carts") == ["ragged.csv"]


def test_unfinished_hidden_and_foreign_files_are_left_alone(settings: Settings) -> None:
    names = [".a.csv", "a.csv.part", "a.csv.tmp", "notes.txt"]
    for name in names:
        drop(settings, "carts", name, CARTS)
    (settings.data_dir / "raw" / "carts" / "folder.csv").mkdir()
    assert str(take_all(settings)) == "no files are waiting"
    assert names_in(settings, "carts") == sorted([*names, "folder.csv"])


def test_gzipped_and_shouted_names_are_csv_too(settings: Settings) -> None:
    drop(settings, "carts", "a.csv.gz", gzip.compress(CARTS.encode()))
    drop(settings, "carts", "B.CSV", CARTS.replace("u1", "u9"))
    assert len(take_all(settings).loaded) == 2
    assert names_in(settings, "done", "carts") == ["B.CSV", "a.csv.gz"]


def test_a_mapping_beside_the_folder_says_what_the_columns_are(settings: Settings) -> None:
    drop(settings, "carts", "a.csv", "who;what;n;at\nu1;p1;3;2026-03-01T12:00:00Z\n")
    mapping = settings.data_dir / "raw" / "carts.toml"
    mapping.write_text(
        'topic = "carts"\n[format]\ndelimiter = ";"\n[fields]\nuser_id = "who"\n'
        'product_id = "what"\nquantity = "n"\ntimestamp = "at"\n',
        "utf-8",
    )
    take_all(settings)
    assert events_of(settings)[0]["quantity"] == 3
    assert entries_of(settings)[0].source == "load:carts_csv"
    mapping.write_text('topic = "stock"\n', "utf-8")
    with pytest.raises(ConfigError, match=r"carts\.toml"):
        take_all(settings)


def test_with_intake_live_the_events_are_news(settings: Settings) -> None:
    live = Settings(
        data_dir=settings.data_dir, intake_settle=settings.intake_settle, intake_live=True
    )
    drop(live, "carts", "a.csv", CARTS)
    take_all(live)
    assert not entries_of(live)[0].historical


def file_at(seconds: float, size: int = 1) -> Dropped:
    return Dropped(Path("a.csv"), "carts", size, int(seconds * 1e9))


def test_a_file_is_whole_when_its_time_is_long_enough_ago() -> None:
    patience = Patience(timedelta(seconds=5))
    assert patience.whole([file_at(100)], int(104.9e9), 0) == []
    assert patience.whole([file_at(100)], int(105e9), 0.1) == [file_at(100)]


def test_a_file_from_the_future_is_whole_when_it_was_seen_unchanged_long_enough() -> None:
    patience = Patience(timedelta(seconds=5))
    assert patience.whole([file_at(900)], int(100e9), 50.0) == []
    assert patience.whole([file_at(900, size=2)], int(104e9), 54.0) == []
    assert patience.whole([file_at(900, size=2)], int(106e9), 56.0) == []
    assert patience.whole([file_at(900, size=2)], int(109e9), 59.0) == [file_at(900, size=2)]


def test_until_idle_waits_for_a_file_that_is_still_being_written(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data", intake_settle=timedelta(seconds=1))
    path = drop(settings, "carts", "a.csv", CARTS[:90])

    def write_the_rest() -> None:
        time.sleep(0.5)
        with path.open("a") as file:
            file.write(CARTS[90:])

    writer = threading.Thread(target=write_the_rest)
    writer.start()
    (loaded,) = take_all(settings).loaded
    writer.join()
    assert loaded.events == 2


def test_a_file_written_to_while_it_was_loaded_stays_and_is_taken_again(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = drop(settings, "carts", "a.csv", CARTS)
    load, loads = loader.load_files, list[Any]()

    def load_while_written(*given: Any, **options: Any) -> Any:
        report = load(*given, **options)
        loads.append(report)
        if len(loads) == 1:
            with path.open("a") as file:
                file.write("u3,,p3,1,,,2026-03-01 12:02:00,\n")
        return report

    monkeypatch.setattr("shopstream.intake.load_files", load_while_written)
    take_all(settings)
    assert len(loads) == 2
    assert events_of(settings)[-1]["user_id"] == "u3"
    assert names_in(settings, "done", "carts") == ["a.csv"]


def test_names_are_made_unique_and_short_enough_for_what_is_added(tmp_path: Path) -> None:
    name = "ü" * 125 + ".csv"
    path = free_path(tmp_path, name)
    path.touch()
    again = free_path(tmp_path, name)
    assert again != path
    again.with_name(f"{again.name}.error").touch()


def test_a_second_intake_is_told_that_one_runs(settings: Settings) -> None:
    stop = threading.Event()
    running = threading.Thread(target=run_intake, args=(settings,), kwargs={"stop": stop})
    running.start()
    try:
        while "intake" not in read_heartbeats(settings.data_dir / "run"):
            time.sleep(0.01)
        with pytest.raises(Busy, match="an intake runs"):
            take_all(settings)
    finally:
        stop.set()
        running.join()
    assert read_heartbeats(settings.data_dir / "run")["intake"]["ended"] is True


def test_beside_a_collector_files_wait_until_it_is_there(settings: Settings) -> None:
    drop(settings, "carts", "a.csv", CARTS)
    with pytest.raises(NotRunning, match="wait for the collector"):
        run_intake(settings, until_idle=True, supervised=True)
    assert names_in(settings, "carts") == ["a.csv"]


def test_files_that_cannot_be_moved_stay_where_they_are(settings: Settings) -> None:
    (settings.data_dir / "raw").mkdir(parents=True)
    (settings.data_dir / "raw" / "done").write_text("in the way", "utf-8")
    drop(settings, "carts", "a.csv", CARTS)
    with pytest.raises(OSError, match="done"):
        take_all(settings)
    assert names_in(settings, "carts") == ["a.csv"]
