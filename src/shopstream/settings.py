"""The one table of settings: name, default, help. The only reader of the environment.

A value comes from, last one wins: the default, `shopstream.toml` in the data directory, the
environment (`SHOPSTREAM_` + the name in capitals), the command line.
"""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields
from datetime import timedelta
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import msgspec

from shopstream.domain.currencies import CURRENCIES
from shopstream.errors import ConfigError

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


def _setting(default: Any, help: str, *, least: Any = None, most: Any = None) -> Any:
    metadata = {"help": help, "least": least, "most": most}
    if isinstance(default, dict | list):
        return field(default_factory=lambda: type(default)(default), metadata=metadata)
    return field(default=default, metadata=metadata)


SHARDS_MAX = 64
CACHED_EVENT_BYTES = 700
"""Measured: 970 where each user has one event, 340 with five, 200 with many."""
_SECOND, _HOUR = timedelta(seconds=1), timedelta(hours=1)
_PLAIN = (0, 1, 0 * _SECOND, _SECOND)
"""Least values that go without saying."""


class _OutOfRange(ConfigError):
    """Raised for the setting `name`; `load_settings` adds where its value stood."""

    def __init__(self, name: str, value: Any, wanted: str) -> None:
        shown = repr(value) if isinstance(value, str) else show(value)
        super().__init__(f"setting {name}: {shown} is not {wanted}")
        self.name = name


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every setting with its default. Durations are written `90s`, `30m`, `24h`, `30d`."""

    data_dir: Path = _setting(Path("shopstream-data"), "Where everything is kept.")
    engine: str = _setting("local", "The engine: `local` or `aws`.")

    aws_prefix: str = _setting(
        "shopstream", "What the names of everything on AWS begin with, as given to Terraform."
    )
    aws_account: str = _setting("", "The AWS account; asked for when empty.")
    aws_tracing: bool = _setting(False, "Functions on AWS trace what they do with X-Ray.")
    aws_clicks: str = _setting("sqs", "What carries clicks on AWS: `sqs` or `kinesis`.")

    host: str = _setting("127.0.0.1", "Address the collector listens on.")
    port: int = _setting(8080, "Port the collector listens on.", least=0, most=65_535)
    cors_origins: str = _setting("*", "Origins that browsers may send from, comma-separated.")
    body_bytes_max: int = _setting(4 * MIB, "Largest request body as sent.", least=1)
    inflated_bytes_max: int = _setting(16 * MIB, "Largest request body after gunzip.", least=1)
    batch_events_max: int = _setting(10_000, "Most events in one request.", least=1)
    event_bytes_max: int = _setting(
        256 * KIB, "Largest click, cart line or stock level.", least=1, most=8 * MIB
    )
    order_bytes_max: int = _setting(
        MIB + 256 * KIB, "Largest order, its payload included.", least=1, most=8 * MIB
    )
    header_bytes_max: int = _setting(32 * KIB, "Largest request head.", least=KIB)
    rate_events_per_s: int = _setting(
        0, "Events a second one write key may send; 0 is no limit.", least=0
    )
    connections_max: int = _setting(1_000, "Connections at once; more get 503.", least=1)
    request_timeout: timedelta = _setting(
        timedelta(seconds=30), "How long a client may take to send a request.", least=_SECOND
    )
    queue_events_max: int = _setting(
        200_000, "Events that may wait for the disk before 503.", least=1
    )

    shards: int = _setting(
        0,
        "Processor processes of a new data directory; 0 is as it is, at first 1."
        " `shopstream reshard` changes it.",
        least=0,
        most=SHARDS_MAX,
    )
    batch_events: int = _setting(
        10_000, "Most events the processor commits at once.", least=1, most=1_000_000
    )
    silent_max: timedelta = _setting(
        timedelta(minutes=2),
        "After so long without a sign of life `up` restarts a processor.",
        least=3 * _SECOND,
    )
    cached_events_max: int = _setting(
        2_000_000,
        f"Events of recent users that a processor keeps in mind (about {CACHED_EVENT_BYTES} bytes"
        " each).",
        least=1,
    )
    future_max: timedelta = _setting(
        timedelta(minutes=5),
        "How far ahead of its arrival an event's time may be.",
        least=0 * _SECOND,
    )
    session_gap: timedelta = _setting(
        timedelta(minutes=30),
        "Silence after which an event without a session id starts a new one, for live events and"
        " their offers; in the lake it is always 30 minutes.",
        least=_SECOND,
    )
    total_tolerance: Decimal = _setting(
        Decimal("0.01"),
        "An order's amount may differ from its lines by less than this.",
        least=Decimal("0.0001"),
    )
    on_bad_line: str = _setting(
        "reject_order",
        "`reject_order` rejects an order with a bad line; `quarantine_line` keeps the good lines.",
    )
    rules: Path | None = _setting(None, "Rules file; default `rules.toml` in the data directory.")

    intake_settle: timedelta = _setting(
        timedelta(seconds=5),
        "How long a file dropped into `raw/` must not have changed before it is taken.",
        least=0 * _SECOND,
    )
    intake_live: bool = _setting(
        False, "Dropped files are news: what comes of them is delivered, as by `load --live`."
    )

    order_alert_above: Decimal = _setting(
        Decimal(1000), "Alert on orders strictly above this amount.", least=Decimal(0)
    )
    order_alert_above_by_currency: dict[str, Decimal] = _setting(
        {}, "The same for single currencies, as a table: `{ JPY = 150000 }`."
    )
    notify: list[str] = _setting(
        ["console://"],
        "Where alerts go: `console://`, `file://PATH`, `http(s)://…` (webhook) or an Apprise URL.",
    )
    notify_tries_max: int = _setting(
        20, "Tries to deliver an alert before it is a dead letter.", least=1
    )
    notify_timeout: timedelta = _setting(
        timedelta(seconds=10), "How long a receiver may take.", least=_SECOND
    )
    notify_private_addresses: bool = _setting(
        False, "Let webhooks go to private and loopback addresses."
    )

    events_ttl: timedelta = _setting(
        timedelta(days=30),
        "How long an event stays in its table and a resend of it is recognised.",
        least=_HOUR,
    )
    offers_ttl: timedelta = _setting(
        timedelta(days=90), "How long an offer stays in its table.", least=_HOUR
    )
    orders_ttl: timedelta = _setting(
        timedelta(days=400), "How long an order stays in its table.", least=_HOUR
    )
    quarantine_ttl: timedelta = _setting(
        timedelta(days=90), "How long a rejected event can be replayed.", least=_HOUR
    )
    alerts_ttl: timedelta = _setting(timedelta(days=90), "How long an alert is kept.", least=_HOUR)
    archive_ttl: timedelta = _setting(
        timedelta(days=400),
        "How long archived offers are kept; archived orders go with theirs.",
        least=_HOUR,
    )
    build_every: timedelta = _setting(
        timedelta(seconds=60), "How often `up` builds the tables of what has landed.", least=_SECOND
    )
    build_memory: int = _setting(
        2 * GIB,
        "Memory of a build in bytes; what needs more is put on disk meanwhile.",
        least=64 * MIB,
    )
    snapshots_ttl: timedelta = _setting(
        timedelta(days=1),
        "How long older snapshots of the lake's tables can be looked at.",
        least=0 * _SECOND,
    )
    lake: bool = _setting(True, "`up` also lands what arrives in the lake and builds its tables.")
    land_every: timedelta = _setting(
        timedelta(seconds=60),
        "How long an event may wait before it is landed in the lake.",
        least=_SECOND,
    )
    land_events_max: int = _setting(
        500_000,
        "So many events that wait are landed at once; most events of a file in the lake.",
        least=1,
        most=5_000_000,
    )
    bronze_ttl: timedelta = _setting(
        timedelta(0),
        "How long landed files are kept; 0s is for ever. What is built from them stays.",
        least=0 * _SECOND,
    )
    log_ttl: timedelta = _setting(
        timedelta(days=7),
        "How long processed events stay in the log; 0s is not at all.",
        least=0 * _SECOND,
    )
    log_bytes_max: int = _setting(
        20 * GIB,
        "Largest log; old processed events go first, then the collector answers 503.",
        least=1,
    )
    disk_free_bytes_min: int = _setting(
        64 * MIB, "Free space below which the collector answers 503.", least=0
    )
    sql_timeout: timedelta = _setting(
        timedelta(seconds=60), "How long a SQL query may take.", least=_SECOND
    )
    sql_memory: int = _setting(GIB, "Memory of a SQL query, in bytes.", least=128 * MIB)
    sql_rows_max: int = _setting(
        1_000, "Most rows of a query shown as a table on a terminal.", least=1
    )
    log_level: str = _setting("warning", "What is logged: `debug`, `info`, `warning`, `error`.")

    def __post_init__(self) -> None:
        by_currency = self.order_alert_above_by_currency
        for name, wanted, good in (
            ("engine", "`local` or `aws`", self.engine in ("local", "aws")),
            ("aws_prefix", "2 to 24 of a-z, 0-9, -, a letter first", _is_prefix(self.aws_prefix)),
            ("aws_account", "12 digits", not self.aws_account or _is_account(self.aws_account)),
            ("aws_clicks", "`sqs` or `kinesis`", self.aws_clicks in ("sqs", "kinesis")),
            (
                "on_bad_line",
                "`reject_order` or `quarantine_line`",
                self.on_bad_line in ("reject_order", "quarantine_line"),
            ),
            (
                "log_level",
                "`debug`, `info`, `warning` or `error`",
                self.log_level in ("debug", "info", "warning", "error"),
            ),
            (
                "order_alert_above_by_currency",
                "a table of ISO 4217 codes, each with an amount of at least 0",
                all(c in CURRENCIES and n >= 0 for c, n in by_currency.items()),
            ),
        ):
            if not good:
                raise _OutOfRange(name, getattr(self, name), wanted)
        for f in fields(self):
            if not _within(getattr(self, f.name), f):
                raise _OutOfRange(f.name, getattr(self, f.name), _range(f))

    @property
    def rules_path(self) -> Path:
        return self.rules or self.data_dir / "rules.toml"


@dataclass(frozen=True)
class SettingHelp:
    name: str
    env: str
    default: str
    help: str


def setting_table() -> list[SettingHelp]:
    """All settings with their defaults, for the reference and `--help`."""
    rows = []
    for f in fields(Settings):
        default = f.default_factory() if callable(f.default_factory) else f.default
        told = f.metadata["most"] is not None or f.metadata["least"] not in (*_PLAIN, None)
        bounds = f" {_range(f).capitalize()}." if told else ""
        rows.append(SettingHelp(f.name, _env(f.name), show(default), f.metadata["help"] + bounds))
    return rows


def _within(value: Any, f: "Field[Any]") -> bool:
    least, most = f.metadata["least"], f.metadata["most"]
    return (least is None or value >= least) and (most is None or value <= most)


def _range(f: "Field[Any]") -> str:
    least, most = f.metadata["least"], f.metadata["most"]
    return f"at least {show(least)}" if most is None else f"{show(least)} to {show(most)}"


def show(value: Any) -> str:
    """A setting's value as a user writes it."""
    match value:
        case None:
            return ""
        case timedelta():
            return show_duration(value)
        case bool():
            return str(value).lower()
        case dict() | list():
            return msgspec.json.encode(value).decode()
        case _:
            return str(value)


_UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


def parse_duration(text: str) -> timedelta:
    """`90s`, `30m`, `24h`, `30d` -> timedelta; raises ValueError otherwise."""
    number, unit = text[:-1], text[-1:]
    if unit not in _UNITS or not number.isascii() or not number.isdigit():
        raise ValueError(f"{text!r} is not a duration such as 90s, 30m, 24h or 30d")
    if int(number) * _UNITS[unit] > 3_660 * 86_400:
        raise ValueError(f"{text!r} is not a duration of at most ten years")
    return timedelta(seconds=int(number) * _UNITS[unit])


def show_duration(value: timedelta) -> str:
    seconds = int(value.total_seconds())
    for unit, size in _UNITS.items():
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def load_settings(
    overrides: Mapping[str, Any] | None = None, environ: Mapping[str, str] | None = None
) -> Settings:
    """The settings in force. `overrides` come from the command line; None values don't count.

    Raises ConfigError naming the place, the key, the value and what was wanted.
    """
    environ = os.environ if environ is None else environ
    _ensure_known(environ)
    given = {k: v for k, v in (overrides or {}).items() if v is not None}
    data_dir = Path(given.get("data_dir") or environ.get(_env("data_dir")) or "shopstream-data")
    file = data_dir / "shopstream.toml"
    values = _from_toml(file)
    places = dict.fromkeys(values, str(file))
    for f in fields(Settings):
        text = environ.get(_env(f.name))
        if text is not None and not _is_no_path(f.type, text):
            places[f.name] = f"environment {_env(f.name)}"
            values[f.name] = _convert(f.name, f.type, text, places[f.name])
    for name, value in given.items():
        places[name] = f"option {name}"
        values[name] = _convert(name, _type_of(name), value, places[name])
    values["data_dir"] = data_dir
    try:
        return Settings(**values)
    except _OutOfRange as e:
        raise ConfigError(f"{places.get(e.name, 'here')}: {e}") from None


def _is_prefix(text: str) -> bool:
    """The longest bucket's name has 38 more characters, and S3 allows 63."""
    return re.fullmatch(r"[a-z][a-z0-9-]{0,22}[a-z0-9]", text) is not None


def _is_account(text: str) -> bool:
    return re.fullmatch(r"[0-9]{12}", text) is not None


_OF_TESTS = "SHOPSTREAM_TEST_"
"""How variables begin that only the tests read."""
_OF_KUBERNETES = re.compile(
    r"SHOPSTREAM_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?"
    r"|PORT_\d+_(?:TCP|UDP|SCTP)(?:_(?:ADDR|PORT|PROTO))?)"
)
"""What it sets in every container for a Service called shopstream, beside SHOPSTREAM_PORT:
https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
"""


def _env(name: str) -> str:
    return f"SHOPSTREAM_{name.upper()}"


def _ensure_known(environ: Mapping[str, str]) -> None:
    """Raises ConfigError for a variable that reads like a setting and is none."""
    if (port := environ.get(_env("port"), "")).startswith("tcp://"):
        raise ConfigError(
            f"environment {_env('port')}: {port!r} is not a port: Kubernetes sets it for a Service"
            " called shopstream; give the pods enableServiceLinks: false, or the Service another"
            " name"
        )
    known = {f.name: _env(f.name) for f in fields(Settings)}
    for name in sorted(environ):
        ours = name.startswith(_env("")) and not name.startswith(_OF_TESTS)
        if ours and name not in known.values() and not _OF_KUBERNETES.fullmatch(name):
            near = get_close_matches(name.removeprefix(_env("")).lower(), known, n=1)
            hint = f"did you mean {known[near[0]]}?" if near else "see `shopstream settings`"
            raise ConfigError(f"environment {name}: there is no such setting; {hint}")


def _type_of(name: str) -> Any:
    return next(f.type for f in fields(Settings) if f.name == name)


def _from_toml(path: Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as e:
        raise ConfigError(f"{path}: not TOML: {e}") from None
    known = {f.name: f.type for f in fields(Settings)}
    values = {}
    for name, value in raw.items():
        if name not in known or name == "data_dir":
            raise ConfigError(f"{path}: unknown setting {name!r}; see `shopstream settings`")
        if not _is_no_path(known[name], value):
            values[name] = _convert(name, known[name], value, str(path))
    return values


def _is_no_path(wanted: Any, value: Any) -> bool:
    """Whether it stands for a path that isn't given: `DATA=${UNSET}` in a compose file is empty."""
    return value == "" and wanted in (Path, Path | None)


def _convert(name: str, wanted: Any, value: Any, where: str) -> Any:
    try:
        if wanted is timedelta:
            return value if isinstance(value, timedelta) else parse_duration(str(value))
        if wanted in (Path, Path | None):
            return Path(value)
        if isinstance(value, str) and wanted in (int, bool, list[str], dict[str, Decimal]):
            if wanted == list[str] and not value.startswith("["):
                return [part.strip() for part in value.split(",") if part.strip()]
            return msgspec.json.decode(value, type=wanted)
        if wanted is Decimal:
            number = Decimal(str(value))
            if not number.is_finite():
                raise ValueError("not a finite number")
            return number
        return msgspec.convert(value, wanted)
    except (TypeError, ValueError, ArithmeticError, msgspec.MsgspecError):
        raise ConfigError(f"{where}: {name} = {value!r} is not {_WANTED[wanted]}") from None


_WANTED: dict[Any, str] = {
    int: "a whole number",
    bool: "true or false",
    str: "a text",
    Path: "a path",
    Path | None: "a path",
    Decimal: "a number",
    timedelta: "a duration such as 90s, 30m, 24h or 30d, of at most ten years",
    list[str]: "a list of texts, in the environment comma-separated",
    dict[str, Decimal]: 'a table of numbers, in the environment JSON such as {"JPY": 150000}',
}
"""What a setting of each type is, for messages."""
