"""The currencies that an amount may be in."""

import pytest

from shopstream.domain.currencies import CURRENCIES, MINOR_DIGITS


def test_every_code_is_three_capitals_and_there_once() -> None:
    assert all(len(c) == 3 and c.isascii() and c.isalpha() and c.isupper() for c in CURRENCIES)
    assert len(CURRENCIES) == 165


@pytest.mark.parametrize(
    "code", ["XXX", "XTS", "XAU", "XDR", "HRK", "BGN", "DEM", "eur", "BTC", ""]
)
def test_what_nobody_pays_with_is_no_currency(code: str) -> None:
    assert code not in CURRENCIES


@pytest.mark.parametrize(("code", "digits"), [("EUR", 2), ("JPY", 0), ("KWD", 3), ("XOF", 0)])
def test_a_currency_has_its_minor_digits(code: str, digits: int) -> None:
    assert MINOR_DIGITS[code] == digits
