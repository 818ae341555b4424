"""GET /metrics: the collector's counts and what the processors say, as Prometheus reads them."""

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from shopstream.collector.counts import DURATION_BUCKETS_S, Counts
from shopstream.collector.watch import Watch
from shopstream.collector.writer import Writer

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_OF_PROCESSORS = {
    "processed": "Events taken from the log.",
    "accepted": "Events that were accepted.",
    "duplicate": "Events that had come before.",
    "quarantined": "Events that were rejected.",
    "offers": "Offers decided.",
    "alerts": "Alerts raised.",
}


class Metrics(Collector):
    """Made anew for each scrape from plain counts, so that counting costs nothing."""

    def __init__(self, counts: Counts, writer: Writer, watch: Watch) -> None:
        self._counts = counts
        self._writer = writer
        self._watch = watch
        self._registry = CollectorRegistry()
        self._registry.register(self)

    async def page(self, _request: Request) -> Response:
        """GET /metrics."""
        return Response(self.render(), headers={"content-type": CONTENT_TYPE})

    def render(self) -> bytes:
        return generate_latest(self._registry)

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        yield from self._of_requests()
        yield from self._of_log()
        yield from self._of_processors()

    def _of_requests(self) -> Iterator[Metric]:
        received = CounterMetricFamily(
            "shopstream_received_events",
            "Events made durable, rejected ones too.",
            labels=["topic"],
        )
        for topic, count in self._counts.received.items():
            received.add_metric([topic], count)
        yield received
        rejected = CounterMetricFamily(
            "shopstream_rejected_events",
            "Events that could not be taken apart.",
            labels=["topic", "reason"],
        )
        for (topic, reason), count in self._counts.rejected.items():
            rejected.add_metric([topic, reason], count)
        yield rejected
        responses = CounterMetricFamily(
            "shopstream_responses", "Answers to requests with events.", labels=["code"]
        )
        for code, count in self._counts.responses.items():
            responses.add_metric([str(code)], count)
        yield responses
        total = 0
        buckets: list[tuple[str, float]] = []
        bounds = [*map(str, DURATION_BUCKETS_S), "+Inf"]
        for bound, count in zip(bounds, self._counts.durations, strict=True):
            total += count
            buckets.append((bound, total))
        yield HistogramMetricFamily(
            "shopstream_request_duration_seconds",
            "From a request's head to its answer, the fsync included.",
            buckets=buckets,
            sum_value=self._counts.duration_sum_s,
        )

    def _of_log(self) -> Iterator[Metric]:
        writer = self._writer
        health = self._watch.health
        yield CounterMetricFamily("shopstream_log_appends", "Group commits.", value=writer.appends)
        yield CounterMetricFamily(
            "shopstream_log_appended_events", "Events in them.", value=writer.appended_events
        )
        yield CounterMetricFamily(
            "shopstream_log_append_seconds", "Time spent in them.", value=writer.append_s
        )
        yield _gauge(
            "shopstream_queue_events", "Events waiting for the disk.", writer.waiting_events
        )
        yield _gauge("shopstream_log_end", "The position after the last event.", writer.end)
        yield _gauge("shopstream_disk_free_bytes", "Free on the disk.", health.disk_free_bytes)
        yield _gauge("shopstream_lag_events", "Events not processed yet.", health.lag_events)
        yield _gauge("shopstream_lag_seconds", "How long the oldest has waited.", health.lag_s)
        if (lander := health.stages.get("lander")) and lander.lag_events is not None:
            yield _gauge("shopstream_not_landed_events", "Events not landed.", lander.lag_events)
        yield _gauge("shopstream_delivering", "1 while events are delivered.", health.delivering)

    def _of_processors(self) -> Iterator[Metric]:
        beats = {n: b for n, b in self._watch.heartbeats.items() if n.startswith("processor-")}
        lag = GaugeMetricFamily(
            "shopstream_processor_lag_events", "Events it has not processed.", labels=["stage"]
        )
        for name, stage in self._watch.health.stages.items():
            if name in beats and stage.lag_events is not None:
                lag.add_metric([name], stage.lag_events)
        yield lag
        for field, meaning in _OF_PROCESSORS.items():
            family = CounterMetricFamily(f"shopstream_processor_{field}", meaning, labels=["stage"])
            for name, beat in beats.items():
                if isinstance(value := beat.get(field), int):
                    family.add_metric([name], value)
            yield family


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(name, meaning, value=value)
