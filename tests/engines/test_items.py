"""What Items must do beyond Tables, for many writers: `ports.Items`, on every engine."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shopstream.ports import Items

SIZES = [0, 1, 1_000, 390_000]


@pytest.fixture
def items(open_tables: Callable[[Path], Items], tmp_path: Path) -> Iterator[Items]:
    opened = open_tables(tmp_path / "tables")
    yield opened
    opened.close()


def body(size: int, fill: bytes = b"\xff") -> bytes:
    return fill * size


def test_an_item_is_put_where_there_is_none(items: Items) -> None:
    assert items.put_new("offers", "u1", "a", b"one") is None
    assert items.get("offers", "u1", "a") == b"one"


def test_what_is_there_stays_and_is_told(items: Items) -> None:
    items.put_new("offers", "u1", "a", b"one")
    assert items.put_new("offers", "u1", "a", b"two") == b"one"
    assert items.get("offers", "u1", "a") == b"one"


@pytest.mark.parametrize("size", SIZES)
def test_whoever_puts_again_is_told_of_the_very_item(items: Items, size: int) -> None:
    for expected in (None, body(size)):
        assert items.put_new("offers", "u1", "", body(size)) == expected


def test_an_empty_item_is_there(items: Items) -> None:
    items.put_new("products", "u1", "", b"")
    assert items.put_new("products", "u1", "", b"x") == b""


def test_keys_beside_it_are_free(items: Items) -> None:
    items.put_new("offers", "u1", "a", b"one")
    assert items.put_new("offers", "u1", "b", b"two") is None
    assert items.put_new("offers", "u2", "a", b"two") is None
    assert items.put_new("orders", "u1", "a", b"two") is None


def test_a_deleted_item_can_be_put_anew(items: Items) -> None:
    items.put_new("offers", "u1", "a", b"one")
    batch = items.batch()
    batch.delete("offers", "u1", "a")
    items.write(batch)
    assert items.put_new("offers", "u1", "a", b"two") is None


@pytest.mark.parametrize("size", SIZES)
def test_an_item_is_swapped_by_whoever_knows_it(items: Items, size: int) -> None:
    items.put_new("offers", "u1", "a", body(size))
    assert items.swap("offers", "u1", "a", body(size), b"next")
    assert items.get("offers", "u1", "a") == b"next"
    assert items.swap("offers", "u1", "a", b"next", body(size))
    assert items.get("offers", "u1", "a") == body(size)


def test_an_item_that_has_changed_meanwhile_is_not_swapped(items: Items) -> None:
    items.put_new("offers", "u1", "a", b"one")
    assert items.swap("offers", "u1", "a", b"one", b"two")
    assert not items.swap("offers", "u1", "a", b"one", b"three")
    assert items.get("offers", "u1", "a") == b"two"


def test_swapping_once_more_after_an_answer_got_lost_is_told_as_done(items: Items) -> None:
    items.put_new("offers", "u1", "a", b"one")
    for _ in range(2):
        assert items.swap("offers", "u1", "a", b"one", b"two")


def test_nothing_is_swapped_where_there_is_nothing(items: Items) -> None:
    assert not items.swap("offers", "u1", "a", b"one", b"two")
    assert items.get("offers", "u1", "a") is None


def test_text_and_bytes_that_look_alike_are_told_apart(items: Items) -> None:
    items.put_new("offers", "u1", "a", "é".encode())
    assert not items.swap("offers", "u1", "a", "é".encode("latin-1"), b"two")
    assert items.swap("offers", "u1", "a", "é".encode(), b"two")
