"""What any Lake must do: the guarantees of `ports.Lake`, on every engine."""

from pathlib import Path

import pytest
from tests.engines.engines import EnginePorts

from shopstream.errors import DataDirError
from shopstream.ports import Lake


@pytest.fixture
def lake(engine: EnginePorts, tmp_path: Path) -> Lake:
    return engine.lake(tmp_path)


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
    engine: EnginePorts, tmp_path: Path
) -> None:
    engine.lake(tmp_path).put("archive/a.json", b"one")
    assert engine.lake(tmp_path).get("archive/a.json") == b"one"


@pytest.mark.parametrize("name", ["../a.json", "archive/../../a.json", "/etc/passwd"])
def test_a_name_outside_the_lake_is_refused(lake: Lake, name: str) -> None:
    with pytest.raises(DataDirError, match="not a name inside the lake"):
        lake.put(name, b"x")
    with pytest.raises(DataDirError, match="not a name inside the lake"):
        lake.get(name)


def test_no_half_file_is_ever_listed(lake: Lake, tmp_path: Path) -> None:
    lake.put("archive/a.json", b"one")
    (tmp_path / "archive" / ".b.json.tmp").write_bytes(b"half")
    assert list(lake.names("archive")) == ["archive/a.json"]
