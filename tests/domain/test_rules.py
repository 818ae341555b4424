"""A rules file is read as written, or refused with every fault named."""

from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from shopstream.domain.rule_keys import OFFER_KEYS, RULE_KEYS, WHO_KEYS
from shopstream.domain.rules import parse_rules, rules_reference
from shopstream.errors import ConfigError
from shopstream.rules_file import default_rules, default_rules_text, load_rules, rules_in_force
from shopstream.settings import Settings

MINIMAL = """
[[rule]]
name = "a"
on = ["view"]
offer = { percent = 10, expires = "24h" }
"""


def faults(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_rules(text, "rules.toml")
    return str(caught.value).splitlines()


def test_a_rule_needs_a_name_events_and_an_offer_and_nothing_else() -> None:
    (rule,) = parse_rules(MINIMAL, "rules.toml").rules
    assert (rule.name, rule.version, rule.on, rule.count, rule.same) == (
        "a",
        1,
        ("view",),
        1,
        "any",
    )
    assert rule.gift.percent == 10
    assert rule.gift.expires == timedelta(days=1)
    assert rule.cooldown_us == rule.holdout == 0
    assert rule.cap_per_user is None


def test_every_key_is_read() -> None:
    (rule,) = parse_rules(
        """
        [[rule]]
        name = "all-of-it"
        version = 2
        on = ["view", "click"]
        count = 3
        same = "category"
        within = "30m"
        without = ["purchase"]
        min_value = 99.90
        who = { user_type = ["new"], device_type = ["mobile", "tablet"], consent = "marketing" }
        offer = { amount = 5.5, currency = "EUR", expires = "90s" }
        cooldown = "7d"
        cap_per_user = 5
        cap_per_user_per_day = 1
        budget_per_day = 1000
        holdout = 0.1
        """,
        "rules.toml",
    ).rules
    assert rule.within_us == 30 * 60 * 1_000_000
    assert rule.min_value == Decimal("99.90")
    assert rule.who.user_type == ("new",)
    assert rule.who.device_type == ("mobile", "tablet")
    assert rule.who.consent == "marketing"
    assert (rule.gift.amount, rule.gift.currency) == (Decimal("5.5"), "EUR")
    assert rule.cooldown_us == 7 * 86_400 * 1_000_000
    assert (rule.cap_per_user, rule.cap_per_user_per_day, rule.budget_per_day) == (5, 1, 1000)
    assert rule.holdout == Decimal("0.1")


def test_a_file_without_rules_makes_no_offers() -> None:
    assert parse_rules("", "rules.toml").rules == ()


def test_all_faults_are_named_each_with_file_rule_key_value_and_what_was_wanted() -> None:
    assert faults(
        """
        [[rule]]
        name = "a"
        on = ["looked"]
        count = 0
        wihtin = "30m"
        offer = { percent = 110, expires = "1 day" }
        [[rule]]
        on = ["view"]
        who = { devise_type = ["mobile"] }
        """
    ) == [
        "rules.toml: a: on: ['looked'] is not a list of: view, click, add_to_cart, "
        "remove_from_cart, begin_checkout, purchase, search",
        "rules.toml: a: count: 0 is not a whole number from 1 to 100",
        "rules.toml: a: wihtin: unknown key; did you mean within?",
        "rules.toml: a: offer.percent: 110 is not a number above 0, at most 100",
        "rules.toml: a: offer.expires: '1 day' is not a duration such as 90s, 30m, 24h or 7d",
        "rules.toml: #2: name: missing; a unique name of 1 to 64 of a-z, 0-9 and - is wanted",
        "rules.toml: #2: offer: missing; a table is wanted",
        "rules.toml: #2: who.devise_type: unknown key; did you mean device_type?",
    ]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('idle = "5m"\ncount = 2', "idle: excludes `count` above 1"),
        ('idle = "5m"\nwithin = "5m"', "idle: excludes `within`"),
        ('idle = "5m"\nsame = "cart"', "on: view is nothing done to a cart"),
        ('without = ["view"]', "without: view is also in `on`"),
        ("count = true", "count: True is not a whole number"),
        ("count = 2.0", "count: 2.0 is not a whole number"),
        ("min_value = nan", "min_value: NaN is not a number"),
        ("min_value = -1", "min_value: -1 is not a number from 0"),
        ("min_value = 1e400", "min_value: 1E+400 is not a number"),
        ("holdout = 1.01", "holdout: 1.01 is not a number from 0 to 1"),
        ('within = "0s"', "within: '0s' is not a duration"),
        ('cooldown = "99999999d"', "cooldown: '99999999d' is not a duration"),
        ("without = [[]]", "without: [[]] is not a list of"),
        ("who = 3", "who: 3 is not a table"),
    ],
)
def test_keys_that_make_no_sense_are_refused(line: str, fault: str) -> None:
    text = MINIMAL.replace("offer", f"{line}\noffer")
    assert any(f.startswith(f"rules.toml: a: {fault}") for f in faults(text)), faults(text)


@pytest.mark.parametrize(
    ("offer", "fault"),
    [
        ('{ expires = "1h" }', "offer: needs exactly one of `percent` and `amount`"),
        (
            '{ percent = 1, amount = 1, currency = "EUR", expires = "1h" }',
            "offer: needs exactly one of `percent` and `amount`",
        ),
        ('{ amount = 1, expires = "1h" }', "offer.currency: missing; `amount` needs one"),
        ('{ percent = 1, currency = "EUR", expires = "1h" }', "offer.currency: goes with `amount`"),
        ('{ amount = 1, currency = "eur", expires = "1h" }', "offer.currency: 'eur' is not an ISO"),
        ("{ percent = 1 }", "offer.expires: missing"),
    ],
)
def test_an_offer_gives_one_thing_for_a_time(offer: str, fault: str) -> None:
    text = MINIMAL.replace('{ percent = 10, expires = "24h" }', offer)
    assert [f for f in faults(text) if f.startswith(f"rules.toml: a: {fault}")]


def test_names_are_unique_and_plain() -> None:
    taken = "rules.toml: a: name: 'a' is taken by an earlier rule"
    assert faults(MINIMAL + MINIMAL) == [taken]
    assert taken in faults(MINIMAL.replace("on =", "un =") + MINIMAL), "also beside other faults"
    assert faults(MINIMAL.replace('"a"', '"A b"'))[0].startswith("rules.toml: A b: name: 'A b' is")


def test_what_is_not_a_rule_is_refused() -> None:
    assert faults("rules = 1") == ["rules.toml: rules: unknown key; did you mean rule?"]
    assert faults("rule = 1") == [
        "rules.toml: rule: is not a list of tables; write [[rule]] above each"
    ]
    assert faults("[[rule")[0].startswith("rules.toml: not TOML: ")


def test_the_fingerprint_changes_when_any_rule_does() -> None:
    one = parse_rules(MINIMAL, "a.toml")
    assert one.fingerprint == parse_rules(f"# same\n{MINIMAL}", "b.toml").fingerprint
    assert one.fingerprint != parse_rules(MINIMAL.replace("10", "11"), "a.toml").fingerprint


def test_observed_names_what_rules_and_carts_look_at() -> None:
    carts = {"add_to_cart", "remove_from_cart", "begin_checkout", "purchase"}
    assert parse_rules("", "rules.toml").observed == carts
    assert default_rules().observed == carts | {"view"}
    text = MINIMAL.replace("offer", 'without = ["search"]\noffer')
    assert parse_rules(text, "rules.toml").observed == carts | {"view", "search"}


def test_the_defaults_are_the_three_rules_every_shop_wants() -> None:
    names = [rule.name for rule in default_rules().rules]
    assert names == ["viewed-three-times", "cart-abandoned", "returning-high-value"]


def test_the_defaults_hold_only_where_no_rules_are_named(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    assert rules_in_force(settings).fingerprint == default_rules().fingerprint
    (tmp_path / "rules.toml").write_text(MINIMAL)
    assert [rule.name for rule in rules_in_force(settings).rules] == ["a"]

    absent = tmp_path / "absent.toml"
    with pytest.raises(ConfigError, match=f"setting rules: there is no file {absent}"):
        rules_in_force(Settings(data_dir=tmp_path, rules=absent))
    absent.write_text(MINIMAL.replace('"a"', '"b"'))
    named = rules_in_force(Settings(data_dir=tmp_path, rules=absent))
    assert [rule.name for rule in named.rules] == ["b"]


def test_a_file_is_read_and_one_that_is_not_text_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_bytes(b"\xef\xbb\xbf" + MINIMAL.encode())
    assert [rule.name for rule in load_rules(file).rules] == ["a"]
    file.write_bytes(b'name = "\xff"')
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_rules(file)
    for unreadable in (tmp_path, tmp_path / "absent.toml"):
        with pytest.raises(ConfigError, match="cannot be read"):
            load_rules(unreadable)


def test_the_reference_has_every_key_in_a_table_that_markdown_can_show() -> None:
    text = rules_reference()
    for key in (*RULE_KEYS, *WHO_KEYS, *OFFER_KEYS):
        assert f"| `{key.name}` |" in text
    assert all(line.count("|") == 5 for line in text.splitlines() if line.startswith("|"))
    assert "[[rule]]" in default_rules_text()
