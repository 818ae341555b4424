"""Arguments and options of the command line, each worded once."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import typer

from shopstream.errors import ConfigError
from shopstream.events import TOPICS, Topic

DataDir = Annotated[
    Path | None,
    typer.Option(
        "--data-dir",
        help="Where everything is kept: SHOPSTREAM_DATA_DIR, else ./shopstream-data.",
    ),
]
EngineName = Annotated[
    Literal["local", "aws"] | None,
    typer.Option("--engine", help="This machine or AWS: SHOPSTREAM_ENGINE, else local."),
]
Shown: TypeAlias = Literal["table", "json"]
Format = Annotated[
    Shown | None,
    typer.Option("--format", help="How to show it: a table on a terminal, JSON in a pipe."),
]
Host = Annotated[str | None, typer.Option(help="Address the collector listens on.")]
Port = Annotated[int | None, typer.Option(help="Port the collector listens on.")]
Shards = Annotated[
    int | None, typer.Option(help="Processor processes of a new data directory; see `reshard`.")
]
UntilIdle = Annotated[bool, typer.Option("--until-idle", help="Stop when nothing is left to do.")]
Where = Annotated[
    list[str] | None,
    typer.Option(
        "--where",
        metavar="FIELD=VALUE",
        help="Only rejections whose topic, reason, source, origin, field or id is VALUE;"
        " all that are given must hold.",
    ),
]
Limit = Annotated[int, typer.Option(min=1, help="Show at most this many.")]
OpenForS = Annotated[
    float,
    typer.Option(
        min=0, help="With --rate: how long the shop has been open when it begins, in seconds."
    ),
]
SupervisedBy = Annotated[
    int, typer.Option(hidden=True, help="Process id of a supervisor to end with; 0 is none.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress and no report.")]
User = Annotated[str, typer.Argument(metavar="USER", help="The user's id.")]

SimulatedKind = Annotated[
    Literal["clicks", "orders", "carts", "stock", "shop"],
    typer.Argument(help="What to make; `shop` is all of them, as one shop would."),
]
Count = Annotated[int, typer.Option(min=0, help="How many events; 0 is without end.")]
Rate = Annotated[float, typer.Option(min=0, help="Events a second; 0 is at once.")]
BatchSize = Annotated[
    int, typer.Option(min=1, help="Events a batch, or as many as the receiver takes.")
]
TargetKb = Annotated[
    int,
    typer.Option(min=0, help="Pad each event to about so many KB; of a shop each order. 0: don't."),
]
Seed = Annotated[int, typer.Option(help="The same seed and --start make the same events.")]
Start = Annotated[
    datetime | None,
    typer.Option(
        formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%SZ"],
        help="When the first event happens (UTC); by default at the midnight two days ago, with"
        " --rate now.",
    ),
]
InvalidPercent = Annotated[
    float, typer.Option(min=0, max=100, help="How many of 100 events to spoil.")
]
To = Annotated[
    str | None,
    typer.Option(
        metavar="WHERE",
        help="A collector's URL, a file or `-`; on AWS kinesis://STREAM, sqs://QUEUE,"
        " firehose://STREAM or s3://BUCKET/PREFIX. By default the engine's own log.",
    ),
]
Since = Annotated[
    datetime | None,
    typer.Option(
        formats=["%Y-%m-%d"],
        help="On AWS: compare what arrived on this day (UTC) and later; by default 7 days.",
    ),
]
WriteKey = Annotated[str, typer.Option(help="Write key, for a collector that wants one.")]

Files = Annotated[
    list[Path], typer.Argument(metavar="FILE...", help="CSV, NDJSON or Parquet; .gz, .zst too.")
]
Mapping = Annotated[
    str, typer.Option(metavar="NAME|FILE.toml", help="A bundled mapping or a mapping file.")
]
Live = Annotated[bool, typer.Option("--live", help="It is news: deliver offers and alerts.")]
SetFields = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Put VALUE in FIELD first, such as `lines[0].unit_price`; may be given again.",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only say what would happen.")]

KeyName = Annotated[str, typer.Option("--name", help="What you call it, such as its sender.")]
KeyTopics = Annotated[
    str | None,
    typer.Option(
        help="Topics it may write, comma-separated, by default all. Segment's SDKs need clicks"
        " and orders."
    ),
]
ReadKey = Annotated[bool, typer.Option("--read", help="A read key, for look-ups, instead.")]
KeyId = Annotated[str, typer.Argument(metavar="ID", help="The key's id, from `keys list`.")]


def topics_in(text: str) -> list[Topic]:
    """Comma-separated topics; raises ConfigError for a word that is none."""
    words = [word.strip() for word in text.split(",")]
    if unknown := [word for word in words if word not in TOPICS]:
        raise ConfigError(f"unknown topic {unknown[0]!r}; topics are {', '.join(TOPICS)}")
    return [topic for topic in TOPICS if topic in words]


def pairs(texts: Sequence[str] | None, option: str) -> dict[str, str]:
    """`FIELD=VALUE` options as a mapping; raises ConfigError for any other form."""
    found = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not name or not equals:
            raise ConfigError(f"{option} {text}: write it as FIELD=VALUE")
        if name in found:
            raise ConfigError(f"{option} {name}: given twice")
        found[name] = value
    return found
