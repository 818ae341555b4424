"""Messages that are made into many events are taken a few at a time, with the same outcome."""

import io
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import zstandard
from tests.flows.pipeline import Opener, at, entry

from shopstream.domain.failures import Limits
from shopstream.domain.landing import Range, land
from shopstream.events import Entry
from shopstream.flows import processor
from shopstream.flows.landing import PIECE_EVENTS, land_range
from shopstream.local.lake import FolderLake
from shopstream.ports import Row


def decompress(body: bytes) -> bytes:
    return zstandard.ZstdDecompressor().stream_reader(io.BytesIO(body)).read()


def completed(n: int, products: int, path: str = "/thanks") -> dict[str, Any]:
    return {
        "type": "track",
        "event": "Order Completed",
        "messageId": f"m{n}",
        "userId": f"u{n % 7}",
        "timestamp": at(n / 1_000),
        "context": {"page": {"path": path}},
        "properties": {
            "order_id": f"o{n}",
            "currency": "EUR",
            "products": [{"product_id": "p1", "price": 2}] * products,
        },
    }


def purchases(count: int, products: int, path: str = "/thanks") -> Entry:
    messages = (completed(n, products, path) for n in range(count))
    return entry(*messages, dialect="segment")


def test_more_events_than_a_micro_batch_may_hold_are_processed_message_by_message(
    open_pipeline: Opener, monkeypatch: pytest.MonkeyPatch
) -> None:
    together, apart = open_pipeline(), open_pipeline()
    entries = [purchases(30, 3), purchases(2, 1), entry({"type": "track"}, dialect="segment")]
    together.take_all(*entries)
    monkeypatch.setattr(processor, "MADE_BYTES_MAX", 20_000)
    apart.take_all(*entries)
    assert together.processors[0].checkpoint.batches == 1
    assert apart.processors[0].checkpoint.batches > 30
    assert apart.snapshot() == together.snapshot()
    assert apart.check().balanced
    few = open_pipeline()
    few.take_all(purchases(5, 3))
    assert few.processors[0].checkpoint.batches == 1


def test_landing_holds_a_few_messages_events_at_a_time(tmp_path: Path) -> None:
    many = purchases(20 * PIECE_EVENTS, 20, "/" * 2_000)
    whole = Range(0, len(many.events))
    lake = FolderLake(tmp_path)
    tracemalloc.start()
    landing = land_range(whole, [Row(*whole, [many], 0)], lake, Limits())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    made = land(many, 0, Limits()).lines
    texts = {file.topic: decompress(lake.get(file.name)) for file in landing.files}
    assert texts == {topic: lines.text for topic, lines in made.items()}
    assert peak < sum(map(len, texts.values())) * 0.75
