"""Receivers: secrets never shown, bad URLs named, private addresses refused, waits bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shopstream.domain.receivers import (
    header_line,
    one_line,
    read_receivers,
    redact,
    refusal,
    wait_s,
)
from shopstream.errors import ConfigError


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("slack://tokenA/tokenB/tokenC/#shop", "slack://…"),
        ("mailto://joe:hunter2@example.com?to=a@b.example", "mailto://…"),
        ("tgram://123:secret/456", "tgram://…"),
        ("https://hooks.example.com/services/T0/B0/secret", "https://hooks.example.com/…"),
        ("https://joe:hunter2@example.com:8443/x?token=1#y", "https://example.com:8443/…"),
        ("http://[2001:db8::1]:80/secret", "http://[2001:db8::1]:80/…"),
        ("https://user:pass@host:notaport/secret", "https://…"),
        ("https://[broken/secret", "https://…"),
        ("file:///var/log/alerts.ndjson", "file:///var/log/alerts.ndjson"),
        ("file://a\nb", r"file://a\nb"),
        ("console://", "console://"),
        ("my-secret-token", "…"),
        ("pa ss://secret", "…"),
        ("", "…"),
    ],
)
def test_a_shown_url_holds_no_secret(url: str, shown: str) -> None:
    assert redact(url) == shown


@given(st.text("abc:/@?#[]%1.-\n", max_size=30))
def test_whatever_follows_the_scheme_of_a_service_is_not_shown(rest: str) -> None:
    assert redact(f"slack://{rest}") == "slack://…"
    assert "sEcReT" not in redact(f"https://sEcReT:sEcReT@h/{rest}sEcReT")


def test_receivers_are_read_in_order_and_each_once() -> None:
    urls = ["console://", "file://alerts.ndjson", "https://h/x", "slack://a/b/c", "https://h/x"]
    found = read_receivers(urls)
    assert [r.kind for r in found] == ["console", "file", "webhook", "apprise"]
    assert [r.name for r in found[:2]] == ["console://", "file://alerts.ndjson"]
    assert found[1].path == "alerts.ndjson"
    assert read_receivers(urls) == found


def test_two_tokens_of_one_service_are_two_receivers() -> None:
    first, second = read_receivers(["https://h/token-1", "https://h/token-2"])
    assert first.name != second.name
    assert "token" not in first.name + second.name


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("secret-token", "has no scheme"),
        ("file://", "names no file"),
        ("https:///secret", "is not a web address"),
        ("https://h:99999/secret", "is not a web address"),
        ("https://h/secret\r\nX: y", "is not a web address"),
        ("https://h/sécret", "is not a web address"),
        ("json://h/secret", "can't be kept away from private addresses"),
    ],
)
def test_a_bad_url_is_named_without_its_secret(url: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        read_receivers([url])
    assert "cret" not in str(caught.value)


def test_apprises_own_webhooks_are_let_through_when_private_addresses_are() -> None:
    assert read_receivers(["json://h/x"], private_addresses=True)[0].kind == "apprise"


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fe80::1%eth0",
        "fd00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
    ],
)
def test_addresses_that_are_not_of_the_public_internet_are_refused(address: str) -> None:
    assert refusal(address) is not None


@pytest.mark.parametrize("address", ["1.1.1.1", "8.8.8.8", "2606:4700::1111", "::ffff:1.1.1.1"])
def test_addresses_of_the_public_internet_pass(address: str) -> None:
    assert refusal(address) is None


def test_control_and_bidi_characters_are_shown_as_escapes() -> None:
    assert one_line("a\r\nb\x1b[31mc\u202ed\u2028é 漢") == r"a\r\nb\x1b[31mc\u202ed\u2028é 漢"
    assert one_line("x" * 9, chars_max=4) == "xxxx…"


def test_a_subject_is_one_line() -> None:
    assert header_line("Low stock\r\nBcc: all@example.com\x00 \t now") == (
        "Low stock Bcc: all@example.com now"
    )
    assert len(header_line("x" * 999)) == 200


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True))
def test_a_wait_is_between_a_second_and_a_quarter_of_an_hour(tries: int, chance: float) -> None:
    assert 1.0 <= wait_s(tries, chance) <= 900.0


def test_waits_double_until_a_quarter_of_an_hour() -> None:
    assert [wait_s(tries, 0.5) for tries in (1, 2, 3, 9, 10, 50)] == [1, 2, 4, 256, 450, 450]
