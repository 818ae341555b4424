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
    from shopstream.keys import Place


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

    \b
    Examples:
      $ shopstream keys add --name web --topics clicks,carts
      $ shopstream keys add --name segment --topics clicks,orders
      $ shopstream keys add --name crm --read
      $ shopstream keys add --name web --topics clicks,carts --engine aws
    """
    from shopstream.keys import add_key

    if read and topics is not None:
        raise ConfigError("--topics: a read key has none; it may look up everything")
    key, secret = add_key(
        _place(data_dir, engine),
        kind="read" if read else "write",
        now=datetime.now(UTC),
        topics=TOPICS if topics is None else topics_in(topics),
        name=name,
    )
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


def _place(data_dir: Path | None, engine: str | None) -> "Place":
    """Where the keys of this engine are."""
    from shopstream.engine import open_aws_engine

    settings = settings_of(data_dir, engine=engine)
    return open_aws_engine(settings).keys() if settings.engine == "aws" else settings.data_dir
