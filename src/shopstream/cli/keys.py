"""Commands for write and read keys."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from shopstream.cli.app import keys_app
from shopstream.cli.options import (
    DataDir,
    EngineName,
    Format,
    KeyId,
    KeyName,
    KeyTopics,
    ReadKey,
    topics_in,
)
from shopstream.cli.printing import say, settings_of, show
from shopstream.cli.tables import as_rows
from shopstream.errors import ConfigError
from shopstream.events import TOPICS

if TYPE_CHECKING:
    from shopstream.keys import KeyKind, Place


@keys_app.callback()
def keys() -> None:
    """Make, list and revoke the keys that senders and readers use.

    \b
    Examples:
      $ shopstream keys add --name web --topics clicks,carts
      $ shopstream keys list
    """


@keys_app.command("add")
def keys_add(
    name: KeyName = "",
    topics: KeyTopics = None,
    read: ReadKey = False,
    data_dir: DataDir = None,
    engine: EngineName = None,
) -> None:
    """Make a key and print it, once: only its hash is kept.

    With the first write key a collector takes no more events without one; with the
    first read key (--read) it answers no more look-ups without one. Revoking the
    last one of a kind doesn't undo that.

    \b
    Examples:
      $ shopstream keys add --name web --topics clicks,carts
      $ shopstream keys add --name segment --topics clicks,orders
      $ shopstream keys add --name crm --read
      $ shopstream keys add --name web --topics clicks,carts --engine aws
    """
    from shopstream.keys import add_key, list_keys

    if read and topics is not None:
        raise ConfigError("--topics: a read key has none; it may look up everything")
    place = _place(data_dir, engine)
    key, secret = add_key(
        place,
        kind="read" if read else "write",
        now=datetime.now(UTC),
        topics=TOPICS if topics is None else topics_in(topics),
        name=name,
    )
    if sum(other.kind == key.kind for other in list_keys(place)) == 1:
        say(f"the first {key.kind} key: {_first_key(key.kind, local=isinstance(place, Path))}")
    say(f"key {key.id}; keep what follows, it is shown this once:")
    print(secret)


@keys_app.command("list")
def keys_list(data_dir: DataDir = None, engine: EngineName = None, format: Format = None) -> None:
    """List the keys, the revoked ones too.

    \b
    Examples:
      $ shopstream keys list
    """
    from shopstream.keys import list_keys

    rows = as_rows(list_keys(_place(data_dir, engine)))
    show([{k: v for k, v in row.items() if k != "sha256"} for row in rows], format)


@keys_app.command("revoke")
def keys_revoke(id: KeyId, data_dir: DataDir = None, engine: EngineName = None) -> None:
    """Take a key back; a running collector refuses it within seconds.

    \b
    Examples:
      $ shopstream keys revoke 1f2e3d4c
    """
    from shopstream.keys import revoke_key

    revoked = revoke_key(_place(data_dir, engine), id, now=datetime.now(UTC))
    say(f"revoked {revoked.id}")


def _first_key(kind: "KeyKind", *, local: bool) -> str:
    """What it changes. On AWS, where anybody can ask, nothing was ever open."""
    done = "events are taken" if kind == "write" else "look-ups are answered"
    return f"from now on {done} only with one" if local else f"now {done}, only with one"


def _place(data_dir: Path | None, engine: str | None) -> "Place":
    """Where the keys of this engine are."""
    from shopstream.engine import open_aws_engine

    settings = settings_of(data_dir, engine=engine)
    return open_aws_engine(settings).keys() if settings.engine == "aws" else settings.data_dir
