"""Look-ups beside other commands."""

import time
from pathlib import Path

import pytest
from tests.flows.pipeline import Pipeline, click

from shopstream.engine import Engine
from shopstream.errors import Resharded
from shopstream.local.tables import RocksTables
from shopstream.lookups import offers_of
from shopstream.reshard import change_shards


def test_who_looks_for_tables_of_before_the_shards_were_changed_is_told_to_start_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Pipeline(tmp_path / "data", shards=2) as pipeline:
        pipeline.now_us = time.time_ns() // 1_000
        pipeline.give(*(click("u1", product_id="p1", event_id=f"e{n}") for n in range(3)))
        settings = pipeline.settings
    read_tables = Engine.read_tables

    def read_later(engine: Engine, shard: int) -> RocksTables:
        if engine.shards == 2:
            change_shards(settings, 3, lambda _: None)
        return read_tables(engine, shard)

    monkeypatch.setattr(Engine, "read_tables", read_later)
    with pytest.raises(Resharded, match="start again"):
        offers_of(settings, "u1")
    assert len(offers_of(settings, "u1")) == 1
