"""The flows' part of the settings, in their terms."""

from datetime import timedelta

from shopstream.domain.failures import Limits
from shopstream.flows.work import FlowConfig
from shopstream.settings import Settings


def limits_of(settings: Settings) -> Limits:
    """What validation depends on."""
    return Limits(_us(settings.future_max), settings.total_tolerance)


def flow_config(settings: Settings, shard: int, shards: int) -> FlowConfig:
    """The settings as the flows of one shard take them."""
    return FlowConfig(
        shard=shard,
        shards=shards,
        limits=limits_of(settings),
        session_gap_us=_us(settings.session_gap),
        events_ttl_us=_us(settings.events_ttl),
        offers_ttl_us=_us(settings.offers_ttl),
        orders_ttl_us=_us(settings.orders_ttl),
        quarantine_ttl_us=_us(settings.quarantine_ttl),
        alerts_ttl_us=_us(settings.alerts_ttl),
        archive_ttl_us=_us(settings.archive_ttl),
        order_alert_above=settings.order_alert_above,
        order_alert_above_by_currency=settings.order_alert_above_by_currency,
        cached_events_max=settings.cached_events_max,
    )


def _us(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1)
