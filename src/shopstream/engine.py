"""The one place that picks the engine. Imports of backends are lazy: a stage loads what it uses."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from shopstream.errors import ConfigError, DataDirError, Resharded
from shopstream.local.datadir import (
    DataDir,
    forget_other_tables,
    make_data_dir,
    open_data_dir,
    prepare_tables,
    switch_to,
)

if TYPE_CHECKING:
    import threading
    from collections.abc import Callable
    from pathlib import Path
    from typing import TypeVar

    from shopstream.aws.engine import AwsEngine
    from shopstream.local.builds import Builds
    from shopstream.local.landed import Landed
    from shopstream.local.log import SqliteLog
    from shopstream.local.outbox import Outbox
    from shopstream.local.outbox import Row as AlertRow
    from shopstream.local.tables import RocksTables
    from shopstream.ports import Lake
    from shopstream.settings import Settings

    _Held = TypeVar("_Held", SqliteLog, RocksTables)

_ODD = "#?%*["
"""URLs end or are decoded at the first three, DuckDB matches files with the other two (and `?`)."""


class Engine:
    """The local engine on one data directory: what each stage opens of it."""

    def __init__(self, settings: Settings, data_dir: DataDir) -> None:
        self.settings = settings
        self.dir = data_dir

    @property
    def shards(self) -> int:
        return self.dir.shards

    def is_current(self) -> bool:
        """Whether the data directory still has the shards and the tables that it had when this
        engine was opened. While this process writes the log, or any tables, it stays so.
        """
        return open_data_dir(self.dir.root) == self.dir

    def ensure_current(self) -> None:
        """Raises Resharded when the data directory has other shards than this engine knows."""
        if not self.is_current():
            raise Resharded(
                f"the number of shards of {self.dir.root} was just changed; start again"
            )

    def _held(self, opened: _Held) -> _Held:
        """What was opened and so locked: if the shards weren't changed before, they won't be."""
        try:
            self.ensure_current()
        except BaseException:
            opened.close()
            raise
        return opened

    def write_log(self) -> SqliteLog:
        """The log, this process being its one writer; raises Busy when another is, Resharded when
        it is to be cut for other shards than this engine knows.
        """
        from shopstream.local.log import SqliteLog

        return self._held(
            SqliteLog(
                self.dir.log,
                shards=self.shards,
                bytes_max=self.settings.log_bytes_max,
                disk_free_bytes_min=self.settings.disk_free_bytes_min,
            )
        )

    def read_log(self) -> SqliteLog:
        from shopstream.local.log import SqliteLog

        return SqliteLog.reader(self.dir.log, shards=self.shards)

    def write_tables(self, shard: int) -> RocksTables:
        """A shard's tables, this process being their one writer; raises Busy when another is,
        Resharded when they are no longer those of the data directory.
        """
        self.ensure_current()  # or tables that were deleted would be made anew
        return self._held(self.make_tables(shard))

    def read_tables(self, shard: int) -> RocksTables:
        """A shard's tables as any other process may read them; raises Resharded when they can't
        be because they are no longer those of the data directory.
        """
        from shopstream.local.tables import RocksTables

        try:
            return RocksTables.reader(self.dir.tables(shard))
        except (DataDirError, OSError):
            self.ensure_current()
            raise

    def find_tables(self, shard: int) -> RocksTables | None:
        """The same, or None where no processor ever ran."""
        try:
            return self.read_tables(shard)
        except DataDirError:
            if self.dir.tables(shard).exists():
                raise
            return None

    def prepare(self, shards: int) -> Engine:
        """This engine as it will be after `switch`: with other tables, which `make_tables` makes
        and nobody sees before.
        """
        return Engine(self.settings, prepare_tables(self.dir.root, shards))

    def make_tables(self, shard: int) -> RocksTables:
        """A shard's tables, whether or not they are those of the data directory."""
        from shopstream.local.tables import RocksTables

        return RocksTables(self.dir.tables(shard))

    def switch(self) -> None:
        """Make the tables of this engine those of the data directory, at once and durably. When it
        raises, it may have happened.
        """
        switch_to(self.dir)

    def forget_other_tables(self) -> None:
        """Delete tables that are left over from before a switch, or from one that didn't come."""
        forget_other_tables(self.dir.root)

    def lake(self) -> Lake:
        from shopstream.local.lake import FolderLake

        return FolderLake(self.dir.root)

    def write_builds(self, wait_s: float = 0.0) -> Builds:
        """The builder's memory, this process being the builder until it is closed; raises Busy
        when another is for longer than `wait_s`.
        """
        from shopstream.local.builds import Builds

        return Builds(self.dir.root, wait_s=wait_s)

    def read_builds(self) -> Builds:
        from shopstream.local.builds import Builds

        return Builds.reader(self.dir.root)

    def write_landed(self, wait_s: float = 0.0) -> Landed:
        """What is landed, this process being the lander until it is closed; raises Busy when
        another is for longer than `wait_s`.
        """
        from shopstream.local.landed import Landed

        return Landed(self.dir.root, wait_s=wait_s)

    def read_landed(self) -> Landed:
        """The same for reading, also while the lander writes. Raises DataDirError when nothing was
        ever landed here.
        """
        from shopstream.local.landed import Landed

        return Landed.reader(self.dir.root)

    def run_notifier(
        self,
        *,
        until_idle: bool,
        write: Callable[[str], None],
        stop: threading.Event | None = None,
    ) -> None:
        """Be the notifier; see `shopstream.notify`."""
        from shopstream.local.delivery import run_notifier

        run_notifier(self.settings, until_idle=until_idle, write=write, stop=stop)

    def write_outbox(self) -> Outbox:
        """The outbox, this process being the notifier; raises Busy when another is."""
        from shopstream.local.outbox import Outbox

        return Outbox(self.dir.root)

    def alerts(self, state: str | None, rows_max: int) -> list[AlertRow]:
        """Rows of the outbox, in one state or all, the last changed first; [] without an outbox."""
        from shopstream.local.outbox import STATES, Outbox

        if not (self.dir.root / "outbox.db").exists():
            return []
        outbox = Outbox.reader(self.dir.root)
        try:
            wanted = [found for found in STATES if state in (None, found)]
            rows = [row for found in wanted for row in outbox.rows(found, rows_max=rows_max)]
        finally:
            outbox.close()
        return sorted(rows, key=lambda row: row.changed_us, reverse=True)[:rows_max]

    def retry_dead_alerts(self) -> int:
        """Put all dead letters of the outbox back; returns how many."""
        from shopstream.local.outbox import retry_dead

        return retry_dead(self.dir.root, time.time_ns() // 1_000)


def open_engine(settings: Settings, *, create: bool = True) -> Engine:
    """The local engine; its data directory is made when `create`. Raises ConfigError when the
    settings ask for another: its caller is a stage, or looks at what only a data directory has.
    """
    if settings.engine != "local":
        raise ConfigError(
            f"setting engine: this works on the engine `local` only, not on {settings.engine!r}"
        )
    root = settings.data_dir
    _refuse_odd(root)
    if create:
        return Engine(settings, make_data_dir(root, settings.shards or None))
    return Engine(settings, open_data_dir(root))


def _refuse_odd(root: Path) -> None:
    """Raises ConfigError for a path that SQLAlchemy, Iceberg or DuckDB take for another: they'd
    write beside the data directory, or read what matches.
    """
    path = str(root.resolve())
    if odd := next((c for c in path if c in _ODD or not c.isprintable()), ""):
        raise ConfigError(
            f"setting data_dir: {path!r} has {odd!r} in it, which the path of a lake can't have;"
            " give the folder another name, or name another --data-dir"
        )


def ensure_receivers(settings: Settings) -> None:
    """Raises ConfigError when a receiver of alerts is not usable. Contacts none, writes nothing."""
    from shopstream.domain.receivers import read_receivers
    from shopstream.local.notifier import open_notifier

    for receiver in read_receivers(
        settings.notify, private_addresses=settings.notify_private_addresses
    ):
        open_notifier(receiver, settings, lambda _: None)


def open_aws_engine(settings: Settings) -> AwsEngine:
    """The deployment on AWS that the settings name. Asks AWS nothing yet."""
    try:
        import botocore  # noqa: F401  # as an extra it may be absent
    except ImportError:
        raise ConfigError(
            "the engine `aws` needs AWS's libraries: pip install 'shopstream[aws]'"
        ) from None
    from shopstream.aws.engine import AwsEngine

    return AwsEngine(settings)
