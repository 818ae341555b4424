"""What any Tables must do: the guarantees of `ports.Tables`, on every engine."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shopstream.ports import Tables

OpenTables = Callable[[Path], Tables]


@pytest.fixture
def tables(open_tables: OpenTables, tmp_path: Path) -> Iterator[Tables]:
    opened = open_tables(tmp_path / "tables")
    yield opened
    opened.close()


def put(tables: Tables, *items: tuple[str, str, str, bytes]) -> None:
    batch = tables.batch()
    for table, pk, sk, item in items:
        batch.put(table, pk, sk, item)
    tables.write(batch)


def put_days(tables: Tables) -> None:
    put(tables, *(("offers", "u1", f"2026-01-0{day}", b"%d" % day) for day in (3, 1, 5, 2, 4)))


def days(found: Iterator[tuple[str, bytes]]) -> list[int]:
    return [int(item) for _, item in found]


def test_an_item_comes_back_and_one_that_is_not_there_is_none(tables: Tables) -> None:
    put(tables, ("offers", "u1", "a", b"one"), ("products", "p1", "", b""))
    assert tables.get("offers", "u1", "a") == b"one"
    assert tables.get("products", "p1") == b"", "an empty item is an item"
    assert tables.get("offers", "u1", "b") is None
    assert tables.get("offers", "u1") is None
    assert tables.get("orders", "u1", "a") is None, "another table"


def test_putting_again_replaces_and_deleting_twice_does_no_harm(tables: Tables) -> None:
    put(tables, ("offers", "u1", "a", b"one"))
    put(tables, ("offers", "u1", "a", b"two"))
    assert tables.get("offers", "u1", "a") == b"two"
    for _ in range(2):
        batch = tables.batch()
        batch.delete("offers", "u1", "a")
        tables.write(batch)
        assert tables.get("offers", "u1", "a") is None


def test_items_of_a_partition_come_in_the_order_of_their_sort_keys(tables: Tables) -> None:
    put_days(tables)
    assert days(tables.query("offers", "u1")) == [1, 2, 3, 4, 5]
    assert days(tables.query("offers", "u1", reverse=True)) == [5, 4, 3, 2, 1]
    assert [sk for sk, _ in tables.query("offers", "u1", limit=1)] == ["2026-01-01"]


def test_a_range_includes_its_beginning_and_excludes_its_end(tables: Tables) -> None:
    put_days(tables)
    query = tables.query
    assert days(query("offers", "u1", after="2026-01-02", before="2026-01-04")) == [2, 3]
    assert days(query("offers", "u1", after="2026-01-04")) == [4, 5]
    assert days(query("offers", "u1", before="2026-01-03")) == [1, 2]
    assert days(query("offers", "u1", after="2026-01-02x", before="2026-01-03")) == []
    found = query("offers", "u1", after="2026-01-02", before="2026-01-05", reverse=True)
    assert days(found) == [4, 3, 2]


def test_a_limit_takes_from_the_end_that_the_order_begins_at(tables: Tables) -> None:
    put_days(tables)
    assert days(tables.query("offers", "u1", limit=2)) == [1, 2]
    assert days(tables.query("offers", "u1", limit=2, reverse=True)) == [5, 4]
    assert days(tables.query("offers", "u1", after="2026-01-03", limit=1)) == [3]
    assert days(tables.query("offers", "u1", limit=0)) == [1, 2, 3, 4, 5]
    assert days(tables.query("offers", "u1", limit=99)) == [1, 2, 3, 4, 5]


def test_sort_keys_are_ordered_by_their_bytes(tables: Tables) -> None:
    sort_keys = ["Z", "a", "a\x01", "aa", "é", "€", "😀", "\uffff", " ", "~"]
    put(tables, *(("offers", "u1", sk, sk.encode()) for sk in sort_keys))
    in_order = sorted(sort_keys, key=str.encode)
    assert [sk for sk, _ in tables.query("offers", "u1")] == in_order


@pytest.mark.parametrize(
    "others",
    [
        ["u10", "u", "u1 ", "u1\x01", "u2", "U1"],
        ["u1é", "ü1", "u1\uffff", "u1😀"],
        ["u1/", "u1#paid", "u1\x7f"],
    ],
)
def test_partitions_do_not_bleed_into_each_other(tables: Tables, others: list[str]) -> None:
    for pk in ["u1", *others]:
        put(tables, *(("offers", pk, sk, pk.encode()) for sk in ("", "0", "é", "~")))
    for pk in ["u1", *others]:
        for reverse in (False, True):
            found = list(tables.query("offers", pk, reverse=reverse))
            assert [item for _, item in found] == [pk.encode()] * 4
    assert list(tables.query("offers", "u1x")) == []


@pytest.mark.parametrize("pk", ["Ünï", "用户一", "😀", "u 1", "a/b#c", "'; DROP TABLE offers"])
def test_any_text_without_nul_is_a_partition(tables: Tables, pk: str) -> None:
    put(tables, ("offers", pk, "é", b"1"), ("offers", pk, "z", b"2"))
    assert tables.get("offers", pk, "é") == b"1"
    assert dict(tables.query("offers", pk)) == {"é": b"1", "z": b"2"}
    assert sorted(tables.scan("offers")) == [(pk, "z", b"2"), (pk, "é", b"1")]


def test_tables_do_not_bleed_into_each_other(tables: Tables) -> None:
    for name in ("state", "ledger", "offers", "orders", "alerts"):
        put(tables, (name, "k", "s", name.encode()))
    for name in ("state", "ledger", "offers", "orders", "alerts"):
        assert list(tables.scan(name)) == [("k", "s", name.encode())]
    assert list(tables.scan("products")) == []


def test_nothing_of_a_batch_shows_before_it_is_written_and_all_of_it_after(
    tables: Tables,
) -> None:
    put(tables, ("offers", "u1", "old", b"0"))
    batch = tables.batch()
    batch.put("offers", "u1", "new", b"1")
    batch.put("state", "checkpoint", "", b"2")
    batch.delete("offers", "u1", "old")
    assert dict(tables.query("offers", "u1")) == {"old": b"0"}
    tables.write(batch)
    assert dict(tables.query("offers", "u1")) == {"new": b"1"}
    assert tables.get("state", "checkpoint") == b"2"


def test_a_batch_that_is_never_written_changes_nothing(
    open_tables: OpenTables, tmp_path: Path
) -> None:
    tables = open_tables(tmp_path / "tables")
    tables.batch().put("offers", "u1", "a", b"1")
    tables.close()
    again = open_tables(tmp_path / "tables")
    assert list(again.scan("offers")) == []
    again.close()


def test_the_last_change_of_a_key_in_a_batch_holds(tables: Tables) -> None:
    batch = tables.batch()
    batch.put("offers", "u1", "put then deleted", b"1")
    batch.delete("offers", "u1", "put then deleted")
    batch.delete("offers", "u1", "deleted then put")
    batch.put("offers", "u1", "deleted then put", b"2")
    batch.put("offers", "u1", "put twice", b"3")
    batch.put("offers", "u1", "put twice", b"4")
    tables.write(batch)
    assert dict(tables.query("offers", "u1")) == {"deleted then put": b"2", "put twice": b"4"}


def test_put_each_puts_an_item_in_each_partition(tables: Tables) -> None:
    batch = tables.batch()
    batch.put_each("offers", "s1", [("u1", b"1"), ("ü2", b"2"), ("u1", b"3")])
    batch.put_each("offers", "s2", [])
    tables.write(batch)
    assert sorted(tables.scan("offers")) == [("u1", "s1", b"3"), ("ü2", "s1", b"2")]


def test_an_empty_batch_may_be_written(tables: Tables) -> None:
    tables.write(tables.batch())
    assert list(tables.scan("offers")) == []


def test_items_may_be_deleted_and_put_while_they_are_listed(tables: Tables) -> None:
    put_days(tables)
    seen = []
    for sk, item in tables.query("offers", "u1"):
        seen.append(int(item))
        batch = tables.batch()
        batch.delete("offers", "u1", sk)
        tables.write(batch)
    assert seen == [1, 2, 3, 4, 5]
    assert list(tables.query("offers", "u1")) == []


def test_an_item_of_400_kb_fits(tables: Tables) -> None:
    item = bytes(n % 251 for n in range(400 * 1024))
    put(tables, ("orders", "o1", "", item))
    assert tables.get("orders", "o1") == item


def test_tables_opened_again_have_everything(open_tables: OpenTables, tmp_path: Path) -> None:
    tables = open_tables(tmp_path / "tables")
    put_days(tables)
    tables.sync()
    tables.close()
    again = open_tables(tmp_path / "tables")
    assert days(again.query("offers", "u1")) == [1, 2, 3, 4, 5]
    again.close()


_texts = st.sampled_from(["", "a", "ab", "b", "u1", "u10", "é", "\x01", "~", "😀", "\uffff"])
_change = st.tuples(
    st.sampled_from(["put", "put", "put", "delete"]),
    st.sampled_from(["offers", "orders"]),
    _texts,
    _texts,
    st.binary(max_size=4),
)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    batches=st.lists(st.lists(_change, max_size=6), max_size=6),
    after=_texts,
    before=_texts,
    limit=st.integers(0, 4),
)
def test_tables_behave_as_a_sorted_dict(
    tables: Tables,
    batches: list[list[tuple[str, str, str, str, bytes]]],
    after: str,
    before: str,
    limit: int,
) -> None:
    _empty(tables)
    model: dict[tuple[str, str, str], bytes] = {}
    for changes in batches:
        batch = tables.batch()
        for kind, table, pk, sk, item in changes:
            if kind == "put":
                batch.put(table, pk, sk, item)
                model[table, pk, sk] = item
            else:
                batch.delete(table, pk, sk)
                model.pop((table, pk, sk), None)
        tables.write(batch)
        _compare(tables, model, after, before, limit)


def _empty(tables: Tables) -> None:
    batch = tables.batch()
    for table in ("offers", "orders"):
        for pk, sk, _ in tables.scan(table):
            batch.delete(table, pk, sk)
    tables.write(batch)


def _compare(
    tables: Tables,
    model: dict[tuple[str, str, str], bytes],
    after: str,
    before: str,
    limit: int,
) -> None:
    for (table, pk, sk), item in model.items():
        assert tables.get(table, pk, sk) == item
    for table in ("offers", "orders"):
        expected = {(pk, sk): item for (t, pk, sk), item in model.items() if t == table}
        assert {(pk, sk): item for pk, sk, item in tables.scan(table)} == expected
        for wanted in {pk for pk, _ in expected} | {"u1"}:
            rows = sorted(
                ((sk, item) for (pk, sk), item in expected.items() if pk == wanted),
                key=lambda row: row[0].encode(),
            )
            rows = [
                (sk, item)
                for sk, item in rows
                if sk.encode() >= after.encode() and (not before or sk.encode() < before.encode())
            ]
            for reverse in (False, True):
                found = tables.query(
                    table, wanted, after=after, before=before, reverse=reverse, limit=limit
                )
                ordered = rows[::-1] if reverse else rows
                assert list(found) == (ordered[:limit] if limit else ordered)
