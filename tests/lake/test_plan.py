"""What a build does, decided from plain data."""

import pytest

from shopstream.errors import ConfigError
from shopstream.lake.model import load_models
from shopstream.lake.plan import (
    NO_DAYS,
    Standing,
    Step,
    Wanted,
    descendants,
    grown,
    last_days,
    plan,
    selected,
    union,
)

MODELS = load_models()
QUIET = Standing(published=True)
NEW = Wanted()
"""Whatever is new."""


def standing(**known: Standing) -> dict[str, Standing]:
    """All tables are published and nothing is new but what is said."""
    return {name: known.get(name, QUIET) for name in MODELS}


def new(*days: str) -> Standing:
    return Standing(published=True, files=1, days=frozenset(days))


def steps(wanted: Wanted = NEW, **known: Standing) -> dict[str, Step]:
    return {step.table: step for step in plan(MODELS, standing(**known), wanted)}


def test_nothing_new_is_nothing_to_do() -> None:
    assert steps() == {}


def test_new_clicks_touch_their_days_in_what_is_made_of_clicks_and_nothing_else() -> None:
    found = steps(silver_clicks=new("2026-11-20", "2026-11-21"))
    assert set(found) == {"silver_clicks", *descendants(MODELS, "silver_clicks")}
    assert "silver_orders" not in found
    funnel = found["gold_funnel"]
    assert (funnel.mode, funnel.days) == ("days", ["2026-11-20", "2026-11-21"])
    assert found["gold_offer_performance"].mode == "whole"


def test_what_is_new_touches_the_days_around_its_own_where_these_matter() -> None:
    """A purchase click may be on the other side of midnight, and one that speaks against it."""
    around = ["2026-11-19", "2026-11-20", "2026-11-21"]
    orders = steps(silver_order_lines=new("2026-11-20"))
    assert orders["gold_daily_sales"].days == ["2026-11-20"]
    assert orders["gold_product_performance"].days == around
    clicks = steps(silver_clicks=new("2026-11-20"))
    assert clicks["gold_funnel"].days == ["2026-11-20"]
    assert clicks["gold_product_performance"].days == around


def test_days_grow_as_far_as_the_calendar_goes() -> None:
    assert grown(frozenset({"0001-01-01"}), 1) == frozenset({"0001-01-01", "0001-01-02"})
    assert grown(frozenset({"9999-12-31"}), 1) == frozenset({"9999-12-30", "9999-12-31"})
    assert grown(None, 7) is None


def test_the_last_days_are_the_newest_and_so_many_before_it() -> None:
    assert last_days("2026-03-01", 0) == {"2026-03-01"}
    assert last_days("2026-03-01", 2) == {"2026-02-27", "2026-02-28", "2026-03-01"}
    assert last_days("0001-01-02", 9) == {"0001-01-01", "0001-01-02"}


def test_each_table_comes_after_those_it_is_made_of() -> None:
    order = [step.table for step in plan(MODELS, standing(), Wanted(full=True))]
    assert set(order) == set(MODELS)
    for name in order:
        made_of = [read for read in MODELS[name].reads if read in MODELS]
        assert all(order.index(read) < order.index(name) for read in made_of)


def test_a_table_that_is_not_there_is_built_in_full_even_when_nothing_landed() -> None:
    found = steps(gold_funnel=Standing(published=False))
    assert set(found) == {"gold_funnel"}
    assert (found["gold_funnel"].mode, found["gold_funnel"].why) == (
        "full",
        "not built by this model yet",
    )


def test_what_changed_in_a_build_that_did_not_come_to_an_end_is_made_up_for() -> None:
    found = steps(gold_funnel=Standing(True, pending=frozenset({"2026-11-01"})))
    assert found["gold_funnel"].days == ["2026-11-01"]


def test_a_table_whose_past_is_not_known_any_more_is_built_in_full() -> None:
    found = steps(gold_funnel=Standing(True, pending=None))
    assert found["gold_funnel"].mode == "full"


def test_what_depends_on_a_table_built_in_full_is_built_in_full() -> None:
    found = steps(silver_order_lines=Standing(published=False))
    assert found["silver_orders"].mode == found["gold_daily_sales"].mode == "full"
    assert found["gold_customer_lifetime_value"].mode == "whole"


def test_select_takes_one_table_or_all_that_is_made_of_it() -> None:
    clicks = new("2026-11-21")
    assert set(steps(Wanted(select=("silver_clicks",)), silver_clicks=clicks)) == {"silver_clicks"}
    assert set(steps(Wanted(select=("silver_stock+",)), silver_stock=clicks)) == {
        "silver_stock",
        "silver_products",
        "gold_inventory_health",
    }
    assert selected(MODELS, ()) == set(MODELS)


def test_an_unknown_table_is_an_error_that_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"--select silver_click\+: there is no such table.*silv"):
        selected(MODELS, ("silver_click+",))


def test_a_range_is_built_again_from_bronze_with_what_is_made_of_it() -> None:
    found = steps(Wanted(since="2026-11-20", until="2026-11-20"), silver_clicks=new("2026-11-20"))
    assert found["silver_clicks"].why == "asked for from bronze"
    assert found["gold_traffic"].days == ["2026-11-20"]
    assert found["gold_abandoned_items"].mode == "whole"
    assert "silver_orders" not in found


def test_a_range_of_one_table_is_made_again_of_what_it_reads() -> None:
    day = "2026-11-20"
    found = steps(
        Wanted(since=day, until=day, select=("gold_traffic",)),
        gold_traffic=Standing(True, days=frozenset({day})),
    )
    assert [(s.table, s.mode, s.days) for s in found.values()] == [("gold_traffic", "days", [day])]


def test_a_range_is_everything_for_what_is_made_of_a_table_that_was_not_there() -> None:
    found = steps(Wanted(since="2026-11-20"), silver_clicks=Standing(published=False))
    assert found["silver_clicks"].mode == found["gold_traffic"].mode == "full"


def test_every_day_together_with_some_days_is_every_day() -> None:
    assert union([{"a"}, {"b"}]) == frozenset("ab")
    assert union([{"a"}, None]) is None
    assert union([]) == NO_DAYS
