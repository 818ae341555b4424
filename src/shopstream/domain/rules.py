"""The offer rules a user declares in TOML: parsed, checked, and documented from one description."""

import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

import msgspec
from msgspec import Struct

from shopstream.domain.durations import show_us
from shopstream.domain.offers import RuleSet
from shopstream.domain.rule import CART_ACTIVITY, Gift, Rule, Who
from shopstream.domain.rule_keys import OFFER_KEYS, REQUIRED, RULE_KEYS, WHO_KEYS, Key
from shopstream.errors import ConfigError

__all__ = ["RuleSet", "as_declared", "parse_rules", "rules_reference"]

RULES_MAX = 200


@dataclass
class _Problems:
    """What is wrong in a file, each as "file: rule: key: …"."""

    file: str
    lines: list[str] = field(default_factory=list)

    def add(self, rule: str, key: str, what: str) -> None:
        self.lines.append(": ".join(part for part in (self.file, rule, key, what) if part))


def parse_rules(text: str, file: str) -> RuleSet:
    """The rules that `text`, the content of `file`, declares. It may declare none.

    Raises ConfigError with one line for each thing wrong: file, rule, key, value, what is wanted.
    """
    try:
        document = tomllib.loads(text, parse_float=Decimal)
    except (tomllib.TOMLDecodeError, RecursionError, ArithmeticError) as e:
        raise ConfigError(f"{file}: not TOML: {e}") from None
    problems = _Problems(file)
    for name in document:
        if name != "rule":
            problems.add("", name, f"unknown key; {_suggest(name, ['rule'], '[[rule]] is wanted')}")
    declared = document.get("rule", [])
    if not isinstance(declared, list) or not all(isinstance(d, dict) for d in declared):
        problems.add("", "rule", "is not a list of tables; write [[rule]] above each")
        declared = []
    if len(declared) > RULES_MAX:
        problems.add("", "rule", f"{len(declared)} rules are more than {RULES_MAX}")
    rules: list[Rule] = []
    names: list[str] = []
    for number, table in enumerate(declared, 1):
        name = table.get("name")
        if isinstance(name, str) and name in names:
            problems.add(name, "name", f"{name!r} is taken by an earlier rule")
        names.append(name if isinstance(name, str) else "")
        if (rule := _read_rule(table, number, problems)) is not None:
            rules.append(rule)
    if problems.lines:
        raise ConfigError("\n".join(problems.lines))
    return RuleSet(rules)


def _read_rule(table: dict[str, Any], number: int, problems: _Problems) -> Rule | None:
    name = table.get("name")
    label = name if isinstance(name, str) and name.isprintable() and name else f"#{number}"
    before = len(problems.lines)
    values = _read_table(table, RULE_KEYS, label, "", problems)
    for key, keys, kind in (("who", WHO_KEYS, Who), ("gift", OFFER_KEYS, Gift)):
        if key in values:
            shown = "offer" if key == "gift" else key
            part = values.pop(key)
            if not isinstance(part, dict):
                problems.add(label, shown, f"{_show(part)} is not a table such as {{ … }}")
                continue
            known = len(problems.lines)
            fields = _read_table(part, keys, label, f"{shown}.", problems)
            if len(problems.lines) == known:
                values[key] = kind(**fields)
    for key, what in _clashes(values):
        problems.add(label, key, what)
    if len(problems.lines) > before:
        return None
    return msgspec.convert(values, Rule)


def _read_table(
    table: dict[str, Any], keys: tuple[Key, ...], label: str, prefix: str, problems: _Problems
) -> dict[str, Any]:
    known = {key.name: key for key in keys}
    values: dict[str, Any] = {}
    for name, value in table.items():
        if (key := known.get(name)) is None:
            hint = _suggest(name, list(known), f"known are {', '.join(known)}")
            problems.add(label, f"{prefix}{name}", f"unknown key; {hint}")
            continue
        try:
            values[key.field or name] = key.read(value)
        except ValueError:
            problems.add(label, f"{prefix}{name}", f"{_show(value)} is not {key.wanted}")
    for key in keys:
        if key.default == REQUIRED and key.name not in table:
            problems.add(label, f"{prefix}{key.name}", f"missing; {key.wanted} is wanted")
    return values


def _clashes(values: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Keys that are good each by itself and make no sense together."""
    on, without = values.get("on", ()), values.get("without", ())
    if both := [word for word in on if word in without]:
        yield "without", f"{both[0]} is also in `on`; leave it out of one of them"
    if "idle_us" in values:
        if values.get("count", 1) > 1:
            yield "idle", "excludes `count` above 1; make two rules of it"
        if "within_us" in values:
            yield "idle", "excludes `within`: an idle rule looks back to the first activity"
        if values.get("same") == "cart" and (odd := [w for w in on if w not in CART_ACTIVITY]):
            activity = ", ".join(sorted(CART_ACTIVITY))
            yield "on", f"{odd[0]} is nothing done to a cart; with `idle` wanted: {activity}"
    gift = values.get("gift")
    if isinstance(gift, Gift):
        if (gift.percent is None) == (gift.amount is None):
            yield "offer", "needs exactly one of `percent` and `amount`"
        if gift.amount is not None and gift.currency is None:
            yield "offer.currency", "missing; `amount` needs one, such as EUR"
        if gift.amount is None and gift.currency is not None:
            yield "offer.currency", "goes with `amount` only"


def as_declared(rule: Rule) -> dict[str, Any]:
    """A rule as a file declares it: the same names, durations as they are written; what is left out
    is absent.
    """
    return _declared(rule, RULE_KEYS)


def _declared(part: Struct, keys: tuple[Key, ...]) -> dict[str, Any]:
    found = {key.name: getattr(part, key.field or key.name) for key in keys}
    written: dict[str, Any] = {
        name: duration(value) if (duration := _DURATIONS.get(name)) else value
        for name, value in found.items()
        if value not in (None, ())
    }
    for name, inner in (("who", WHO_KEYS), ("offer", OFFER_KEYS)):
        if name in written:
            written[name] = _declared(written[name], inner)
    return {name: value for name, value in written.items() if value != {}}


_DURATIONS: dict[str, Callable[[Any], str]] = {
    "within": show_us,
    "idle": show_us,
    "cooldown": show_us,
    "expires": lambda value: show_us(value // timedelta(microseconds=1)),
}


def _suggest(name: str, known: list[str], otherwise: str) -> str:
    close = get_close_matches(name, known, 1)
    return f"did you mean {close[0]}?" if close else otherwise


def _show(value: Any) -> str:
    text = str(value) if isinstance(value, Decimal) else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}…"


def rules_reference() -> str:
    """Markdown tables of all keys of a rules file, from what the parser itself uses."""
    parts = []
    for title, keys in (
        ("`[[rule]]`", RULE_KEYS),
        ("`who = { … }`", WHO_KEYS),
        ("`offer = { … }`", OFFER_KEYS),
    ):
        rows = [f"| `{k.name}` | {k.wanted} | {k.default} | {k.help} |" for k in keys]
        head = ["| key | value | default | meaning |", "|---|---|---|---|"]
        parts.append("\n".join([f"### {title}", "", *head, *rows, ""]))
    return "\n".join(parts)
