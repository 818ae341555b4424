"""Look-ups for a person at a terminal: a user's offers, and why the rules decided as they did."""

import time

import msgspec

from shopstream.domain.explain import Explanation
from shopstream.domain.failures import micros
from shopstream.domain.offers import RuleSet
from shopstream.domain.partition import shard_of_key
from shopstream.engine import open_aws_engine, open_engine
from shopstream.events import Offer
from shopstream.flows.people import stored_clicks
from shopstream.ports import Tables
from shopstream.rules_file import rules_in_force
from shopstream.settings import Settings

_decode_offer = msgspec.json.Decoder(Offer).decode


def offers_of(settings: Settings, user_id: str) -> list[Offer]:
    """All offers stored for a user, newest first: held-out, moot and historical ones too."""
    tables = _tables_of(settings, user_id)
    try:
        found = [_decode_offer(item) for _, item in tables.query("offers", user_id)]
    finally:
        tables.close()
    return sorted(found, key=lambda offer: (offer.made_at, offer.offer_id), reverse=True)


def explain(settings: Settings, user_id: str) -> list[Explanation]:
    """For each rule in force, why it made this user an offer or did not."""
    rules = _rules(settings)
    tables = _tables_of(settings, user_id)
    try:
        offers = [_decode_offer(item) for _, item in tables.query("offers", user_id)]
        events = [
            (click, click.event_id or "", micros(click.timestamp), False)
            for _, click in stored_clicks(tables, user_id)
        ]
    finally:
        tables.close()
    return list(rules.explain(user_id, events, offers, time.time_ns() // 1000))


def _rules(settings: Settings) -> RuleSet:
    if settings.engine == "aws":
        return open_aws_engine(settings).deployed().rules()
    return rules_in_force(settings)


def _tables_of(settings: Settings, user_id: str) -> Tables:
    if settings.engine == "aws":
        return open_aws_engine(settings).deployed().tables()
    engine = open_engine(settings, create=False)
    return engine.read_tables(shard_of_key(user_id, engine.shards))
