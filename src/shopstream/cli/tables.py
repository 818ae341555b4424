"""What commands show: rows for people, JSON for programs. Nothing prints here."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from shopstream.cli.layout import Rows, shown_text
from shopstream.domain.plurals import counted
from shopstream.settings import show_duration

if TYPE_CHECKING:
    from rich.table import Table

    from shopstream.ask.tables import Table as KnownTable
    from shopstream.cloud_check import CloudCheck
    from shopstream.domain.rule import Rule
    from shopstream.events import Offer
    from shopstream.flows.replaying import ReplayReport
    from shopstream.ledger import CheckReport
    from shopstream.monitoring import CloudStatus, Standing

MESSAGE_MOST = 120
COLUMN_LEAST = 20
"""Columns of an answer are made no narrower than this."""


def as_json(value: Any) -> str:
    """Indented JSON; amounts and ids are strings, times RFC 3339."""
    return msgspec.json.format(msgspec.json.encode(value, enc_hook=str), indent=2).decode()


def as_rows(value: Any) -> list[dict[str, Any]]:
    """Structs or mappings as plain rows; a single one as rows of field and value."""
    plain = msgspec.to_builtins(value, enc_hook=str)
    if isinstance(plain, Mapping):
        return [{"field": name, "value": found} for name, found in plain.items()]
    return [dict(row) for row in plain]


def check_rows(report: "CheckReport") -> list[dict[str, Any]]:
    """What `check` counted, by topic."""
    return [{"topic": topic} | msgspec.to_builtins(c) for topic, c in report.topics.items()]


def cloud_check_rows(report: "CloudCheck") -> list[dict[str, Any]]:
    """What `check` counted on AWS: topics, then what is held where."""
    rows = [{"what": topic} | _without(c, "waiting") for topic, c in report.topics.items()]
    for place, held in (("table", report.tables), ("bronze", report.bronze)):
        rows += [
            {"what": f"{place}: {name}", "expected": h.expected, "found": h.found}
            for name, h in held.items()
        ]
    offers = report.offers
    rows.append({"what": "archive: offers", "expected": offers.expected, "found": offers.found})
    rows += [
        {"what": f"queue: {queue.name}", "found": queue.waiting + queue.in_flight}
        for queue in report.queues
    ]
    return rows


def _without(value: Any, name: str) -> dict[str, Any]:
    return {k: v for k, v in msgspec.to_builtins(value).items() if k != name}


def cloud_rows(status: "CloudStatus") -> list[dict[str, Any]]:
    """How a deployment stands: what waits and how long, alarms, the day's counts, the build."""
    standing = status.standing
    ages = {one.name: one.age_s for one in standing.ages}
    rows: list[dict[str, Any]] = []
    for queue in standing.queues:
        state = "given up" if queue.dead and queue.waiting else "dead letters" * queue.dead
        rows.append(
            {
                "what": queue.name,
                "waiting": queue.waiting,
                "age_s": ages.pop(queue.name, None),
                "detail": state or (f"{queue.in_flight:,} in flight" * bool(queue.in_flight)),
            }
        )
    rows += [{"what": name, "age_s": age_s, "detail": "behind"} for name, age_s in ages.items()]
    for topic, counts in status.today.items():
        said = ", ".join(f"{units:,} {outcome}" for outcome, units in counts.items())
        rows.append({"what": f"today: {topic}", "detail": said})
    if (build := status.build) is not None:
        failed = f"; not published: {', '.join(build.failed)}" * bool(build.failed)
        rows.append(
            {
                "what": f"build {build.build}",
                "age_s": round((status.at - build.built_at).total_seconds()),
                "detail": f"{build.built_at:%Y-%m-%d %H:%M:%S}{failed}",
            }
        )
    rows += [
        {"what": alarm.name, "detail": f"ALARM since {alarm.since:%H:%M:%S}: {_cut(alarm.reason)}"}
        for alarm in standing.alarms
    ]
    return rows


def replay_rows(report: "ReplayReport") -> list[dict[str, Any]]:
    """What a replay did; of a dry run also what it would have sent."""
    counts = msgspec.to_builtins(report)
    examples, reasons = counts.pop("examples"), counts.pop("reasons")
    rows = [
        {"field": name.replace("_", " "), "value": n} for name, n in counts.items() if n is not None
    ]
    rows += [{"field": f"not {r['id']}", "value": r["why"]} for r in reasons]
    if report.dry_run:
        rows += [{"field": "would send", "value": example["event"]} for example in examples]
    return rows


def rejection_rows(rejections: Rows) -> list[dict[str, Any]]:
    """Rejections with where each came from in one column; the JSON and `show` have all of it."""
    return [
        {
            "id": r["id"],
            "at": r["at"].replace("T", " ").removesuffix("Z"),
            "topic": r["topic"],
            "reason": r["reason"],
            "message": _cut(r["message"]),
            "from": f"{r['origin']}:{r['line']}" if r["origin"] and r["line"] else r["source"],
            "resolved": "yes" if r["resolved"] else "",
        }
        for r in rejections
    ]


def rejection_fields(rejection: Mapping[str, Any]) -> list[dict[str, Any]]:
    """One rejection as rows of field and value: its failures as sentences, the raw bytes last."""
    plain = dict(rejection)
    failures, raw = plain.pop("failures"), plain.pop("raw")
    rows = as_rows(plain)
    rows += [{"field": "failure", "value": f"{f['message']} ({f['reason']})"} for f in failures]
    return [
        row for row in [*rows, {"field": "raw", "value": raw}] if row["value"] not in ("", None)
    ]


def _cut(text: str) -> str:
    """The beginning and the end of a long message: its end says what was wanted."""
    if len(text) <= MESSAGE_MOST:
        return text
    half = MESSAGE_MOST // 2
    return f"{text[:half]} … {text[-half:]}"


def offer_rows(offers: Iterable["Offer"]) -> list[dict[str, Any]]:
    """Offers as a person asks about them; the JSON has every field."""
    return [
        {
            "rule": offer.rule,
            "gives": f"{offer.percent or offer.amount} {offer.currency or '%'}",
            "reason": offer.reason,
            "made": f"{offer.made_at:%Y-%m-%d %H:%M:%S}",
            "expires": f"{offer.expires_at:%Y-%m-%d %H:%M:%S}",
            "state": _state(offer),
        }
        for offer in offers
    ]


def _state(offer: "Offer") -> str:
    if offer.moot:
        return "moot"
    if offer.held_out:
        return "held out"
    return "historical" if offer.historical else "delivered"


def known_table_rows(tables: Iterable["KnownTable"]) -> list[dict[str, Any]]:
    """Tables as a person looks for one; a live one has neither rows nor a snapshot."""
    return [
        {
            "table": table.table,
            "rows": table.rows,
            "built": f"{table.built_at:%Y-%m-%d %H:%M:%S}" if table.built_at else "",
            "snapshot": "" if table.snapshot is None else str(table.snapshot),
            "description": table.description,
        }
        for table in tables
    ]


def rule_rows(rules: Iterable["Rule"]) -> list[dict[str, Any]]:
    """Offer rules as sentences, one row a rule; the JSON has every key as a file has it."""
    return [
        {
            "name": rule.name,
            "when": _when(rule),
            "gives": f"{rule.gift.percent or rule.gift.amount} {rule.gift.currency or '%'}"
            f" for {show_duration(rule.gift.expires)}",
        }
        for rule in rules
    ]


def _when(rule: "Rule") -> str:
    parts = [f"{rule.count} x {' or '.join(rule.on)}" if rule.count > 1 else " or ".join(rule.on)]
    if rule.same != "any":
        parts.append(f"same {rule.same}")
    for word, us in (("within", rule.within_us), ("then idle for", rule.idle_us)):
        if us is not None:
            parts.append(f"{word} {show_duration(timedelta(microseconds=us))}")
    if rule.without:
        parts.append(f"without {' or '.join(rule.without)}")
    if rule.min_value is not None:
        parts.append(f"worth {rule.min_value} or more")
    return ", ".join(parts)


def answer_table(names: Sequence[str], rows: Sequence[Sequence[Any]], width: int) -> "Table":
    """The answer to a query: every digit as it is, NULL told from empty text. Where its columns
    don't fit into `width` characters each row is a list of its own: column and value.
    """
    from rich.box import SIMPLE_HEAD
    from rich.markup import escape
    from rich.table import Table

    heads = [escape(shown_text(name)) for name in names]
    cells = [list(map(_answer_cell, row)) for row in rows]
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    least = [min(COLUMN_LEAST, max(map(len, (h, *c)))) for h, *c in zip(heads, *cells, strict=True)]
    if sum(least) + 2 * len(least) <= width or len(heads) <= 2:
        for place, head in enumerate(heads):
            found = [row[place] for row in rows if row[place] is not None]
            numbers = bool(found) and all(isinstance(v, int | float | Decimal) for v in found)
            table.add_column(head, justify="right" if numbers else "left", overflow="fold")
        for row in cells:
            table.add_row(*row)
        return table
    table.add_column("column", overflow="fold")
    table.add_column("value", overflow="fold")
    for row in cells:
        for head, cell in zip(heads, row, strict=True):
            table.add_row(head, cell)
        table.add_section()
    return table


def _answer_cell(value: Any) -> str:
    """A value as markup."""
    from rich.markup import escape

    match value:
        case None:
            return "[dim]NULL[/dim]"
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case datetime():
            return f"{value:%Y-%m-%d %H:%M:%S}" + (f".{value:%f}" if value.microsecond else "")
        case str():
            return escape(shown_text(value))
        case date() | time() | Decimal():
            return str(value)
        case _:
            return escape(shown_text(msgspec.json.encode(value, enc_hook=str).decode()))


def status_line(standing: "Standing") -> str:
    """How the stages stand, on one line."""
    parts = [
        f"{standing.events_per_s:,.0f} events/s",
        f"{standing.received:,} received",
        f"{standing.lag:,} waiting",
        counted(standing.offers, "offers"),
        counted(standing.alerts, "alerts"),
        f"{standing.quarantined:,} quarantined",
    ]
    if standing.down:
        parts.append(f"down: {', '.join(standing.down)}")
    return " | ".join(parts)


class Progress(Protocol):
    """Told how much is done of how much, 0 when unknown; and the events, when these are others."""

    def __call__(self, done: int, total: int, events: int | None = None, /) -> None: ...


@contextmanager
def progress_bar(doing: str, *, hidden: bool = False) -> Iterator[Progress]:
    """A bar on standard error when that is a terminal, else nothing."""
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    events_column = TextColumn("{task.fields[events]:,} events")
    with Bars(
        *columns,
        events_column,
        TimeRemainingColumn(),
        console=console,
        disable=hidden or not console.is_terminal,
    ) as bars:
        task = bars.add_task(doing, total=None, events=0)

        def told(done: int, total: int, events: int | None = None, /) -> None:
            shown = done if events is None else events
            bars.update(task, completed=done, total=total or None, events=shown)

        yield told
