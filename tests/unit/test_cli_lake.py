"""Commands of the lake refuse what can't be meant, in a line and before anything is done."""

from pathlib import Path

import pytest
from tests.unit.test_cli import shopstream

from shopstream.engine import open_engine
from shopstream.settings import Settings


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--since", "2020-01-01", "--until", "2019-01-01"], "2019-01-01 is before --since"),
        (["--full", "--since", "2020-01-01"], "--full builds every day"),
        (["--full", "--until", "2020-01-01"], "--full builds every day"),
    ],
)
def test_a_range_that_holds_no_day_or_all_is_a_usage_error(
    words: list[str], why: str, tmp_path: Path
) -> None:
    open_engine(Settings(data_dir=tmp_path))
    done = shopstream("build", *words, "--data-dir", str(tmp_path))
    assert done.returncode == 2
    assert why in " ".join(done.stderr.split())
    assert not (tmp_path / "lake").exists()


@pytest.mark.parametrize("words", [["build"], ["build", "--dry-run"]])
def test_a_mistyped_data_dir_is_not_made_and_built(words: list[str], tmp_path: Path) -> None:
    done = shopstream(*words, "--data-dir", str(tmp_path / "typo"))
    assert done.returncode == 2
    assert "there is no data in" in done.stderr
    assert not (tmp_path / "typo").exists()


def test_stages_make_their_data_dir(tmp_path: Path) -> None:
    for stage in ("lander", "builder"):
        data_dir = tmp_path / stage
        done = shopstream(stage, "--until-idle", "--data-dir", str(data_dir))
        assert done.returncode == 0, done.stderr
        assert (data_dir / "meta.json").exists()


def test_a_rebuild_of_no_table_says_which_there_are(tmp_path: Path) -> None:
    open_engine(Settings(data_dir=tmp_path))
    done = shopstream("lake", "rebuild", "nosuch", "--data-dir", str(tmp_path))
    assert done.returncode == 2
    assert "TABLE nosuch: there is no such table" in done.stderr
    assert "silver_clicks, " in done.stderr
    assert "--select" not in done.stderr
