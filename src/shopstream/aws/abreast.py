"""Users side by side: what is done for one of them waits for AWS most of its time."""

from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, NamedTuple, TypeVar

AT_ONCE = 8
"""Threads. More would wait for the processor, of which a function has less than one."""

T = TypeVar("T")
R = TypeVar("R")


class Outcome(NamedTuple, Generic[R]):
    """What came of one: the `value`, or the `error` that kept it from its end."""

    value: R | None
    error: Exception | None


def abreast(do: Callable[[T], R], each: Collection[T]) -> list[Outcome[R]]:
    """`do` for each, AT_ONCE at a time; what came of them in their order, when all have ended.

    One that raises keeps no other from its end. What is no Exception is raised.
    """

    def tried(one: T) -> Outcome[R]:
        try:
            return Outcome(do(one), None)
        except Exception as e:  # noqa: BLE001  # the caller tells of it
            return Outcome(None, e)

    if len(each) <= 1:
        return [tried(one) for one in each]
    with ThreadPoolExecutor(min(AT_ONCE, len(each))) as threads:
        return list(threads.map(tried, each))
