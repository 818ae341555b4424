"""Numbers of things, as a person reads them."""

import pytest

from shopstream.domain.plurals import counted


@pytest.mark.parametrize(
    ("number", "things", "shown"),
    [
        (0, "orders", "0 orders"),
        (1, "orders", "1 order"),
        (2_000, "orders", "2,000 orders"),
        (1, "new files", "1 new file"),
        (1, "stock", "1 stock"),
    ],
)
def test_one_thing_has_no_s(number: int, things: str, shown: str) -> None:
    assert counted(number, things) == shown
