"""Pipelines that are closed after their test."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.flows.pipeline import Opener, Pipeline


@pytest.fixture
def open_pipeline(tmp_path: Path) -> Iterator[Opener]:
    """Makes pipelines, each with a data directory of its own."""
    opened: list[Pipeline] = []

    def open_one(**options: Any) -> Pipeline:
        opened.append(Pipeline(tmp_path / str(len(opened)), **options))
        return opened[-1]

    yield open_one
    for pipeline in opened:
        pipeline.close()


@pytest.fixture
def pipeline(open_pipeline: Opener) -> Pipeline:
    """One with the default rules and settings."""
    return open_pipeline()
