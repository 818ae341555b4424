"""Mappings are checked whole: every fault is named with its file, key and what was wanted."""

from dataclasses import replace
from pathlib import Path

import pytest

from shopstream.errors import ConfigError
from shopstream.mapping import bundled_mappings, find_mapping, parse_mapping
from shopstream.mapping_options import (
    FIELD_OPTIONS,
    FORMAT_OPTIONS,
    MAPPING_OPTIONS,
    WHEN_OPTIONS,
    mapping_reference,
)

GOOD = """
topic = "clicks"
[fields]
user_id = "user"
event_type = { column = "what", values = { cart = "add_to_cart" } }
timestamp = { column = "at", format = "epoch_ms" }
"""


def faults_of(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        parse_mapping(text, "my.toml", "my")
    return str(caught.value).splitlines()


def test_the_bundled_mappings_are_in_order() -> None:
    assert {name: find_mapping(name).topic for name in bundled_mappings()} == {
        "carts_csv": "carts",
        "northwind_products": "stock",
        "orders_csv": "orders",
        "rees46": "clicks",
        "uci_online_retail": "orders",
    }


def test_a_mapping_made_before_lines_could_be_numbered_has_the_fingerprint_that_it_had() -> None:
    assert find_mapping("uci_online_retail").fingerprint == "499d4ee994a63a4b"


def test_a_field_is_a_column_or_a_table_and_knows_its_type() -> None:
    mapping = parse_mapping(GOOD, "my.toml", "my")
    assert mapping.source == "load:my"
    assert mapping.fields["user_id"].column == "user"
    assert mapping.fields["user_id"].type == "text"
    assert mapping.fields["timestamp"].type == "time"
    assert mapping.columns == {"user": False, "what": False, "at": False}


def test_all_faults_are_said_at_once() -> None:
    faults = faults_of(
        'topic = "clicks"\ngroup_by = "x"\n[format]\ndelimiter = "ab"\n[fields]\nuser = "a"\n'
        'price = { colum = "x", type = "dec" }\nsession_id = 3\n'
    )
    assert faults == [
        "my.toml: [fields]: user is not a field of it; did you mean 'user_id'?",
        "my.toml: [fields]: price: unknown key 'colum'; did you mean 'column'?",
        "my.toml: [fields]: price: type = 'dec' is not one of text, decimal, integer, flag, time",
        "my.toml: [fields]: price: wanted either a column or a constant",
        "my.toml: [fields]: session_id = 3 is not a column's name or a table",
        "my.toml: [fields]: user_id is missing; every event of this topic needs one",
        "my.toml: [fields]: event_type is missing; every event of this topic needs one",
        "my.toml: [fields]: timestamp is missing; every event of this topic needs one",
        "my.toml: group_by is for topic orders, this mapping's is clicks",
        "my.toml: [format]: delimiter = 'ab' is not one character",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("topic = ", "my.toml: not TOML: "),
        ('topic = "click"\n[fields]\n', "topic = 'click' is not one of clicks, orders, carts"),
        ("[fields]\n", "my.toml: topic is missing; wanted one of clicks"),
        ('topic = "clicks"\n', "my.toml: fields is missing; wanted table"),
        (GOOD + "page = { column = 'p', timezone = 'Mars' }", "timezone = 'Mars' is not known"),
        (GOOD + "[[when]]\ncolumn = 'x'\nset = { prize = 1 }", "wanted either equals or"),
        (
            GOOD + "[[when]]\ncolumn = 'x'\nequals = 'y'\nset = { prize = 1 }",
            "prize is not a field",
        ),
        (GOOD + "[format]\nencoding = 'utf-16'", "encoding = 'utf-16' is not one of utf-8-sig"),
        ("look_back_lines = 0\n" + GOOD, "look_back_lines = 0 is not at least 1, a whole number"),
    ],
)
def test_a_fault_names_the_key_the_value_and_what_was_wanted(text: str, fault: str) -> None:
    assert any(fault in line for line in faults_of(text))


def test_an_unknown_name_is_answered_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'rees46'"):
        find_mapping("ress46")
    with pytest.raises(ConfigError, match=r"no-such\.toml: can't be read"):
        find_mapping(tmp_path / "no-such.toml")


def test_a_file_of_latin_1_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_bytes(b'about = "caf\xe9"')
    with pytest.raises(ConfigError, match="not UTF-8 at byte 12"):
        find_mapping(path)


def test_the_fingerprint_changes_with_what_decides_the_events_only() -> None:
    mapping = parse_mapping(GOOD, "my.toml", "my")
    commented = parse_mapping("# hello\nabout = 'x'\n" + GOOD, "elsewhere.toml", "my")
    assert commented.fingerprint == mapping.fingerprint
    assert replace(mapping, name="other").fingerprint != mapping.fingerprint
    assert parse_mapping(GOOD + "page = 'p'", "", "my").fingerprint != mapping.fingerprint


def test_the_name_of_a_topic_takes_our_own_events_as_they_are() -> None:
    assert find_mapping("orders").as_is


def test_the_reference_has_every_key() -> None:
    reference = mapping_reference()
    for options in (MAPPING_OPTIONS, FORMAT_OPTIONS, FIELD_OPTIONS, WHEN_OPTIONS):
        for option in options:
            assert f"| `{option.name}` |" in reference
