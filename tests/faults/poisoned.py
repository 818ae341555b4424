"""`shopstream` with a fault in its code: events whose id begins with `poison` make it raise.

Run as `python -m tests.faults.poisoned processor --until-idle …`. The rules raise on a view and the
decoder on a search, so that both ways are seen.
"""

from typing import Any

from shopstream.cli import main
from shopstream.domain import validation
from shopstream.domain.offers import RuleSet
from shopstream.events import Click
from shopstream.flows import clicks


def poison() -> None:
    """Put the fault in, for as long as this process lives."""
    decode, observe = validation.decode_click, RuleSet.observe

    def decode_or_raise(raw: bytes) -> Click:
        if b'"poison' in raw and b'"search"' in raw:
            raise RuntimeError("the decoder failed on purpose")
        return decode(raw)

    def observe_or_raise(rules: RuleSet, shopper: Any, click: Click, *rest: Any) -> Any:
        if (click.event_id or "").startswith("poison"):
            raise ZeroDivisionError("the rules failed on purpose")
        return observe(rules, shopper, click, *rest)

    faults = (clicks, "decode_click", decode_or_raise), (RuleSet, "observe", observe_or_raise)
    for owner, name, fault in faults:
        setattr(owner, name, fault)


if __name__ == "__main__":
    poison()
    main()
