"""Where a data directory may be: any path that all libraries of the lake take for that path."""

from pathlib import Path

import pytest
from tests.lake.real_lake import RealLake, click

from shopstream.engine import open_engine
from shopstream.errors import ConfigError
from shopstream.settings import Settings


@pytest.mark.parametrize("name", ["a#b", "a?b", "a%20b", "50%", "a*b", "a[b]", "a\nb", "a\tb"])
def test_a_path_that_a_library_takes_for_another_is_refused(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name / "data"
    for create in (True, False):
        with pytest.raises(ConfigError, match=r"setting data_dir: .* name another --data-dir"):
            open_engine(Settings(data_dir=folder), create=create)
    assert list(tmp_path.iterdir()) == []


def test_the_path_behind_a_link_counts(tmp_path: Path) -> None:
    (tmp_path / "a#b").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a#b")
    with pytest.raises(ConfigError, match="#"):
        open_engine(Settings(data_dir=tmp_path / "link" / "data"))


@pytest.mark.slow
def test_a_lake_is_made_where_a_path_has_any_other_character(tmp_path: Path) -> None:
    folder = tmp_path / "]{}()&;=+@!,:$~^|\\\"'`<> é日"
    lake = RealLake(folder / "data")
    for n in (1, 2):
        lake.arrive("clicks", click(f"e{n}", 18))
        lake.build()
    assert [row["event_id"] for row in lake.rows("silver_clicks")] == ["e1", "e2"]
    assert (lake.folder / "catalog.db").exists()
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]
    assert [path.name for path in folder.iterdir()] == ["data"]
