"""Users side by side."""

import threading

import pytest

from shopstream.aws.abreast import AT_ONCE, abreast


def test_what_came_of_each_is_told_in_their_order_and_a_failure_is_its_own_alone() -> None:
    found = abreast(lambda n: 60 // n, [3, 0, 2])
    assert [outcome.value for outcome in found] == [20, None, 30]
    assert [type(outcome.error) for outcome in found] == [type(None), ZeroDivisionError, type(None)]


def test_they_are_done_at_the_same_time() -> None:
    """Each waits until all of them have begun."""
    begun = threading.Barrier(AT_ONCE, timeout=30)
    found = abreast(lambda _: begun.wait() >= 0, range(AT_ONCE))
    assert [outcome.value for outcome in found] == [True] * AT_ONCE


@pytest.mark.parametrize("count", [1, 5])
def test_what_ends_the_process_ends_it(count: int) -> None:
    def end(_: int) -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        abreast(end, range(count))


def test_nobody_is_nothing() -> None:
    assert abreast(str, []) == []
