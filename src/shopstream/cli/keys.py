"""Commands for write and read keys."""

from datetime import UTC, datetime

from shopstream.cli.app import keys_app
from shopstream.cli.options import (
    DataDir,
    Format,
    KeyId,
    KeyName,
    KeyTopics,
    ReadKey,
    topics_in,
)
from shopstream.cli.printing import say, settings_of, show
from shopstream.cli.tables import as_rows


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
    topics: KeyTopics = "clicks,orders,carts,stock",
    read: ReadKey = False,
    data_dir: DataDir = None,
) -> None:
    """Make a key and print it, once: only its hash is kept.

    \b
    Examples:
      $ shopstream keys add --name web --topics clicks,carts
      $ shopstream keys add --name crm --read
    """
    from shopstream.keys import add_key

    key, secret = add_key(
        settings_of(data_dir).data_dir,
        kind="read" if read else "write",
        now=datetime.now(UTC),
        topics=topics_in(topics),
        name=name,
    )
    say(f"key {key.id}; keep what follows, it is shown this once:")
    print(secret)


@keys_app.command("list")
def keys_list(data_dir: DataDir = None, format: Format = None) -> None:
    """List the keys, the revoked ones too.

    \b
    Examples:
      $ shopstream keys list
    """
    from shopstream.keys import list_keys

    rows = as_rows(list_keys(settings_of(data_dir).data_dir))
    show([{k: v for k, v in row.items() if k != "sha256"} for row in rows], format)


@keys_app.command("revoke")
def keys_revoke(id: KeyId, data_dir: DataDir = None) -> None:
    """Take a key back; a running collector refuses it within seconds.

    \b
    Examples:
      $ shopstream keys revoke 1f2e3d4c
    """
    from shopstream.keys import revoke_key

    revoked = revoke_key(settings_of(data_dir).data_dir, id, now=datetime.now(UTC))
    say(f"revoked {revoked.id}")
