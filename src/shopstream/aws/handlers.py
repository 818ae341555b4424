"""What Lambda calls: each function opens its engine once and hands the event to who knows.

Imports that not every function needs are made where they are: a cold start pays for its own.
Settings come of the environment (`SHOPSTREAM_…`).
"""

from __future__ import annotations

import time
from datetime import datetime
from functools import cache, wraps
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.metrics import MetricUnit
from msgspec import to_builtins

from shopstream.aws.engine import AwsEngine
from shopstream.settings import load_settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from aws_lambda_powertools.utilities.typing import LambdaContext

    from shopstream.aws.alerting import Publisher
    from shopstream.aws.collector import CollectorFunction
    from shopstream.aws.ingestor import Ingestor
    from shopstream.aws.offers import CartWatcher, Offers
    from shopstream.flows.records import Recorded

    Event = dict[str, Any]
    Handler = Callable[[Event, LambdaContext], Any]

SERVICE = "shopstream"


class TimersFailed(Exception):
    """A run of CartWatcher did all that could be done, which was not all. Its failing is what the
    alarm sees.
    """


logger = Logger(service=SERVICE, serialize_stacktrace=False)


def _observed(handler: Handler) -> Handler:
    """`handler` with its log lines, trace and metrics told as its own."""

    @wraps(handler)
    def observed(event: Event, context: LambdaContext) -> Any:
        try:
            return _traced(handler)(event, context)
        finally:
            if _metrics().metric_set:
                _metrics().flush_metrics()

    logged: Handler = logger.inject_lambda_context(observed)
    return logged


@cache
def _metrics() -> Metrics:
    """Counts, which CloudWatch takes out of the log lines."""
    return Metrics(namespace=_engine().settings.aws_prefix, service=SERVICE)


@cache
def _traced(handler: Handler) -> Handler:
    if not _engine().settings.aws_tracing:
        return handler
    # X-Ray's library takes 0.3 s to load, also when it is told to do nothing.
    from aws_lambda_powertools import Tracer

    tracer = Tracer(service=SERVICE, patch_modules=["botocore"])
    traced: Handler = tracer.capture_lambda_handler(handler, capture_response=False)
    return traced


@cache
def _engine() -> AwsEngine:
    """The deployment; its clients live as long as this environment of Lambda."""
    return AwsEngine(load_settings())


@_observed
def collector(event: Event, _context: LambdaContext) -> dict[str, Any]:
    """API Gateway -> the log; look-ups and pages -> API Gateway."""
    answer, counts = _collector().answer(event)
    _count("Received", sum(counts.received.values()))
    _count("Rejected", sum(counts.rejected.values()))
    _count("Refused", answer["statusCode"] >= 500)
    return answer


@_observed
def ingestor(event: Event, context: LambdaContext) -> dict[str, Any]:
    """Kinesis or SQS -> tables, bronze, alerts, the quarantine."""
    return _take(event, context)


@_observed
def order_processor(event: Event, context: LambdaContext) -> dict[str, Any]:
    """SQS -> orders and stock levels, bronze, alerts, the quarantine."""
    return _take(event, context)


@_observed
def offer_generator(event: Event, context: LambdaContext) -> dict[str, Any]:
    """New clicks in the table's stream -> offers, their archive, timers."""
    from aws_lambda_powertools.utilities.batch import process_partial_response

    from shopstream.aws.batches import TableChanges
    from shopstream.aws.offers import user_of

    made: list[int] = []

    def make(changes: list[Any]) -> None:
        made.append(len(_offers().make(changes).made))

    inserted = [change for change in event["Records"] if change["eventName"] == "INSERT"]
    if not inserted:
        return {"batchItemFailures": []}
    processor = TableChanges(user_of, logger)
    answer = process_partial_response({"Records": inserted}, make, processor, context)
    _count("Offers", sum(made))
    _count("FailedRecords", len(processor.fail_messages))
    return dict(answer)


@_observed
def cart_watcher(event: Event, context: LambdaContext) -> dict[str, Any]:
    """The clock -> offers for what did not happen; alerts that SNS did not take at once."""
    clock_us = time.time_ns() // 1_000
    if "time" in event:
        clock_us = round(datetime.fromisoformat(event["time"]).timestamp() * 1e6)
    time_left_s = _time_left_s(context)
    publisher = _publisher()
    publisher.begin(context)
    _count("AlertsWaiting", publisher.publish_waiting(time_left_s))
    watched = _cart_watcher().watch(
        clock_us, settled=event.get("settled") is True, time_left_s=time_left_s
    )
    _count("TimersFired", watched.live + watched.historical)
    _count("FailedUsers", watched.failed)
    if watched.failed:
        raise TimersFailed(f"the timers of {watched.failed} users could not be fired; see above")
    return _plain(watched)


@_observed
def replay(event: Event, context: LambdaContext) -> dict[str, Any]:
    """The quarantine -> the log."""
    from shopstream.aws.replay import replay as replayed

    return _plain(replayed(_engine(), event, _time_left_s(context)))


@_observed
def cart_processor(event: Event, context: LambdaContext) -> dict[str, Any]:
    """A file of carts in the raw zone -> the top products in the processed zone."""
    from shopstream.aws.carts import process_carts

    return process_carts(_engine(), event, _time_left_s(context))


@_observed
def promotions(event: Event, context: LambdaContext) -> dict[str, Any]:
    """Top products in the processed zone -> promotions for each customer."""
    from shopstream.aws.carts import promote

    return promote(_engine(), event, _time_left_s(context))


@_observed
def lake_builder(event: Event, context: LambdaContext) -> dict[str, Any]:
    """Bronze -> silver -> gold, on Athena."""
    from shopstream.aws.builder import run_builder

    return run_builder(_engine(), event, _time_left_s(context))


def _take(event: Event, context: LambdaContext) -> dict[str, Any]:
    from aws_lambda_powertools.utilities.batch import process_partial_response

    from shopstream.aws.batches import FifoQueue, Settlement, Shard
    from shopstream.aws.ingestor import quarantined
    from shopstream.aws.suspects import Notes, Suspects

    taking = _ingestor()
    _publisher().begin(context)

    suspects = Suspects(Notes(_engine().clients, _engine().names))
    settled: list[Recorded] = []

    def take(record: Any) -> list[Recorded]:
        return taking.take(record.raw_event, suspects.attempt(record.raw_event))

    def deliver(batch: list[list[Recorded]]) -> None:
        taking.deliver(record for together in batch for record in together)

    def settle(records: list[Recorded]) -> None:
        for record in records:
            taking.settle(record)
        settled.extend(records)

    streamed = event["Records"][0]["eventSource"] == "aws:kinesis"
    settlement = Settlement(deliver, settle)
    kind = Shard if streamed else FifoQueue
    processor = kind(settlement, suspects, logger)
    answer = process_partial_response(event, take, processor, context)
    _count("Records", len(settled))
    _count("Quarantined", sum(map(quarantined, settled)))
    _count("Alerts", sum(not alert.historical for record in settled for alert in record.alerts))
    _count("FailedRecords", len(processor.fail_messages))
    return dict(answer)


@cache
def _collector() -> CollectorFunction:
    from shopstream.aws.collector import CollectorFunction

    return CollectorFunction(_engine())


@cache
def _ingestor() -> Ingestor:
    from shopstream.aws.ingestor import Ingestor

    return Ingestor(_engine(), _publisher().publish)


@cache
def _publisher() -> Publisher:
    from shopstream.aws.alerting import Publisher

    return Publisher(_engine(), logger)


@cache
def _offers() -> Offers:
    from shopstream.aws.offers import Offers

    return Offers(_engine())


@cache
def _cart_watcher() -> CartWatcher:
    from shopstream.aws.offers import CartWatcher

    return CartWatcher(_engine(), logger)


def _count(name: str, value: int) -> None:
    if value:
        _metrics().add_metric(name=name, unit=MetricUnit.Count, value=value)


def _time_left_s(context: LambdaContext) -> Callable[[], float]:
    return lambda: context.get_remaining_time_in_millis() / 1_000


def _plain(result: Any) -> dict[str, Any]:
    found: dict[str, Any] = to_builtins(result)
    return found
