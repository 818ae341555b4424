"""What any Lake must do: the guarantees of `ports.Lake`, on every engine."""

from collections.abc import Callable
from pathlib import Path

import pytest

from shopstream.errors import DataDirError
from shopstream.ports import Lake

OpenLake = Callable[[Path], Lake]


@pytest.fixture
def lake(open_lake: OpenLake, tmp_path: Path) -> Lake:
    return open_lake(tmp_path)


def test_a_file_comes_back_as_it_was_put(lake: Lake) -> None:
    body = bytes(range(256)) * 100
    lake.put("archive/orders/dt=2026-11-21/a.json", body)
    assert lake.get("archive/orders/dt=2026-11-21/a.json") == body


def test_an_empty_file_is_a_file(lake: Lake) -> None:
    lake.put("archive/empty.json", b"")
    assert lake.get("archive/empty.json") == b""


def test_a_missing_file_is_named(lake: Lake) -> None:
    with pytest.raises(DataDirError, match=r"archive/none\.json is missing"):
        lake.get("archive/none.json")


def test_the_same_file_may_be_put_again(lake: Lake) -> None:
    for _ in range(2):
        lake.put("archive/a.json", b"one")
    assert list(lake.names("archive")) == ["archive/a.json"]
    assert lake.get("archive/a.json") == b"one"


def test_names_are_those_under_a_prefix_in_order(lake: Lake) -> None:
    for name in ("archive/offers/dt=2/b.json", "archive/offers/dt=1/a.json", "archive/o/x.json"):
        lake.put(name, b"{}")
    offers = ["archive/offers/dt=1/a.json", "archive/offers/dt=2/b.json"]
    assert list(lake.names("archive/offers")) == offers
    assert list(lake.names("archive/offers/dt=2")) == offers[1:]
    assert list(lake.names("archive")) == ["archive/o/x.json", *offers]


def test_a_folder_that_was_never_made_has_no_names(lake: Lake) -> None:
    assert list(lake.names("archive/offers")) == []


def test_what_was_put_is_there_for_whoever_opens_the_lake_next(
    open_lake: OpenLake, tmp_path: Path
) -> None:
    open_lake(tmp_path).put("archive/a.json", b"one")
    assert open_lake(tmp_path).get("archive/a.json") == b"one"


@pytest.mark.parametrize("name", ["../a.json", "archive/../../a.json", "/etc/passwd"])
def test_a_name_outside_the_lake_is_refused(lake: Lake, name: str) -> None:
    with pytest.raises(DataDirError, match="not a name inside the lake"):
        lake.put(name, b"x")
    with pytest.raises(DataDirError, match="not a name inside the lake"):
        lake.get(name)


def test_a_deleted_file_is_gone_and_deleting_it_again_is_no_error(lake: Lake) -> None:
    for name in ("archive/a.json", "archive/offers/dt=1/a.json"):
        lake.put(name, b"one")
        for _ in range(2):
            lake.delete(name)
        assert list(lake.names("archive")) == []
        with pytest.raises(DataDirError, match="is missing"):
            lake.get(name)


def test_all_files_are_under_the_name_of_nothing(lake: Lake) -> None:
    for name in ("archive/offers/dt=1/a.json", "archive/orders/a.json", "z.json"):
        lake.put(name, b"{}")
    assert list(lake.names("")) == [
        "archive/offers/dt=1/a.json",
        "archive/orders/a.json",
        "z.json",
    ]


def test_a_folder_whose_name_only_begins_alike_is_another(lake: Lake) -> None:
    lake.put("archive/orders/a.json", b"{}")
    lake.put("archive/orders2/b.json", b"{}")
    assert list(lake.names("archive/orders")) == ["archive/orders/a.json"]
