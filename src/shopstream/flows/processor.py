"""One shard's processor: log rows in, one batch of effects out, with the checkpoint in it."""

from itertools import islice

import msgspec

from shopstream.domain.offers import RuleSet, Timer
from shopstream.errors import ShopstreamError
from shopstream.events import Entry
from shopstream.flows.archive import Archive
from shopstream.flows.checkpoint import read_checkpoint
from shopstream.flows.clicks import Clicks
from shopstream.flows.entries import Entries, singly
from shopstream.flows.people import People
from shopstream.flows.retention import forget_expired
from shopstream.flows.timers import Timers
from shopstream.flows.tries import TRIES_MAX, Tries
from shopstream.flows.work import ARCHIVED, STORED, Feed, FlowConfig, Ledger, Work
from shopstream.ports import Lake, Row, Tables

_encode = msgspec.json.Encoder().encode
_NOT_POISON = (ShopstreamError, OSError, MemoryError)
"""What is the machine's fault, not the event's."""
MADE_BYTES_MAX = 128 * 1024 * 1024
"""Events made of messages of other dialects in one micro-batch; in memory they are several times as
much. Ordinary ones come to far less: twice what is read at once.
"""
SWEEP_US = 10_000_000
"""Expired items are looked for this often."""
TIMERS_MAX = 10_000
"""Timers fired in one micro-batch of none but timers."""


class Budgets:
    """Daily budgets of rules, split evenly over the shards: `offers.Budget`."""

    def __init__(self, tables: Tables, config: FlowConfig) -> None:
        self._config = config
        self._spent: dict[tuple[str, int], int] = {}
        # What had been spent before this batch, of the budgets that it took from.
        self._before: dict[tuple[str, int], int] = {}
        for rule, day, item in tables.scan("budgets"):
            self._spent[rule, int(day)] = int(item)

    def take(self, rule: str, day: int, limit: int) -> bool:
        shards, shard = self._config.shards, self._config.shard
        share = limit // shards + (shard < limit % shards)
        spent = self._spent.get((rule, day), 0)
        if spent >= share:
            return False
        self._spent[rule, day] = spent + 1
        self._before.setdefault((rule, day), spent)
        return True

    def write(self, work: Work) -> None:
        for (rule, day), before in self._before.items():
            if before == 0:
                work.expire("budgets", self._config.offers_ttl_us, rule, str(day))
            work.put("budgets", rule, str(day), str(self._spent[rule, day]).encode())
        self._before.clear()


class Processor:
    """Processes log rows. All it knows it can load from the tables again at any time.

    `failed` are the timers at which the code failed and why, for whoever tells of them.
    """

    def __init__(
        self,
        tables: Tables,
        lake: Lake,
        rules: RuleSet,
        config: FlowConfig,
        tries: Tries | None = None,
    ) -> None:
        self._tables = tables
        self._lake = lake
        self._rules = rules
        self.config = config
        self._tries = tries or Tries()
        self.failed: list[tuple[Timer, Exception]] = []
        self._load()
        self._swept_us = 0

    def begin(self) -> None:
        """Count this start: an event at which the process dies again and again is given up."""
        self._tries.begin(self.checkpoint.position, self.checkpoint.done)

    def end(self) -> None:
        """The process ends of its own accord."""
        self._tries.end()

    def _load(self) -> None:
        tables, config = self._tables, self.config
        self.checkpoint = read_checkpoint(tables)
        self.ledger = Ledger(tables.scan("ledger"))
        self._people = People(tables, self._rules, config.cached_events_max)
        self._timers = Timers(item for _, _, item in tables.scan("timers"))
        self._budgets = Budgets(tables, config)
        self._alert_feed = Feed(tables, "alert_feed", config.shard)
        self._archive_feed = Feed(tables, "archive_feed", config.shard)
        self._archive = Archive(
            tables, self._lake, self._archive_feed, config.shard, config.archive_ttl_us
        )
        self._clicks = Clicks(tables, self._people, self._timers, self._rules, config)
        self._entries = Entries(tables, self._lake, self._clicks, config)

    def process(self, rows: list[Row], now_us: int) -> None:
        """Process `rows`, which follow the checkpoint; when this returns they are committed.

        An event that makes the code fail, or the process die, is quarantined as poison and its
        neighbours are not. Rows of more than MADE_BYTES_MAX are processed event by event too.
        """
        if not rows:
            return
        at = self.checkpoint
        if at.done == 0 and not self._tries.suspicious(at.position, 0):
            try:
                work = self._work(now_us)
                work.made_bytes_max = MADE_BYTES_MAX
                for row in rows:
                    self._row(row.entries, row.watermark_us, work)
            except _NOT_POISON:
                raise
            except Exception:  # noqa: BLE001  # which event failed is found out one by one
                self._load()
            else:
                self._commit(work, rows[-1].next, 0)
                return
        for row in rows:
            self._carefully(row, now_us)

    def _carefully(self, row: Row, now_us: int) -> None:
        """One event at a time; the checkpoint counts those done."""
        done = self.checkpoint.done
        for n, entry in enumerate(islice(singly(row.entries), done, None), done + 1):
            work = self._work(now_us)
            try:
                if self._tries.again(row.position, n - 1):
                    self._row([entry], 0, work)
                else:
                    self._entries.give_up(entry, f"the process ended {TRIES_MAX} times at it", work)
            except _NOT_POISON:
                raise
            except Exception as e:  # noqa: BLE001  # poison: whatever it raises
                self._load()
                work = self._work(now_us)
                self._entries.give_up(entry, f"{type(e).__name__}: {e}", work)
            self._commit(work, row.position, n)
        work = self._work(now_us)
        self._row([], row.watermark_us, work)
        self._commit(work, row.next, 0)

    def _work(self, now_us: int) -> Work:
        work = Work(self._tables, self.ledger, self.config, f"{self.checkpoint.batches:020d}")
        work.now_us = now_us
        return work

    def _row(self, entries: list[Entry], watermark_us: int, work: Work) -> None:
        """Take the entries of one row, apply them in event time, fire what is then due."""
        received_us = 0
        for entry in entries:
            received_us = max(received_us, entry.received_us)
            self._entries.take(entry, work)
        live_us, history_us = self._clicks.apply(work, self._budgets)
        at = self.checkpoint
        at.live_us = max(at.live_us, min(live_us, received_us))
        at.history_us = max(at.history_us, watermark_us or history_us)
        self._fire(work)

    def _fire(self, work: Work, clock_us: int = 0, at_most: int = 2**63) -> int:
        """Fire what is due at the watermarks; returns how many timers fired.

        A live stream's watermark also advances with the clock, which is not kept: a clock that
        once stood wrong must not make timers early for ever.
        """
        at = self.checkpoint
        fired = 0
        for historical, due_us in ((False, max(at.live_us, clock_us)), (True, at.history_us)):
            while fired < at_most:
                timer = self._timers.next_due(due_us, historical=historical, batch=work.batch)
                if timer is None:
                    break
                self._clicks.fire(timer, self._budgets, work)
                fired += 1
        return fired

    def _commit(self, work: Work, position: int, done: int, *, force_archive: bool = False) -> None:
        self._clicks.finish(work)
        self._entries.finish()
        self._budgets.write(work)
        self._archive.settle(work)
        work.finish(self._alert_feed, self._archive_feed)
        self._archive.prepare(work, work.now_us, force=force_archive)
        at = self.checkpoint
        at.position, at.done, at.batches = position, done, at.batches + 1
        work.put("state", "checkpoint", "", _encode(at))
        self._tables.write(work.batch)
        self.failed += work.failed
        for name in work.files_gone:
            self._lake.delete(name)
        self._archive.roll()

    def idle(self, now_us: int, *, last: bool = False) -> bool:
        """What there is to do when the log has nothing new: fire live timers by the clock, roll the
        archive, forget what expired. Returns whether there may be more. `last` rolls all now.
        """
        at = self.checkpoint
        work = self._work(now_us)
        busy = self._fire(work, now_us, TIMERS_MAX) > 0
        # Not with offers just made: whether anything is left of a user is asked of the tables.
        if not busy and not 0 <= now_us - self._swept_us < SWEEP_US:
            expired = forget_expired(
                self._tables, self._lake, work, self._people, self._timers, now_us
            )
            self._swept_us = self._swept_us if expired else now_us
            busy = expired
        if busy or (self._archive.waiting and (last or self._archive.due(now_us))):
            self._commit(work, at.position, at.done, force_archive=last)
            return busy or last
        return False

    @property
    def unfiled(self) -> int:
        """Offers made that are not known to be in an archive file."""
        cells = self.ledger.cells
        made = sum(
            units
            for (topic, rule, outcome), units in cells.items()
            if topic == "offers" and rule and outcome != "moot"
        )
        return made - cells.get((ARCHIVED, "", STORED), 0)

    def file_offers(self, now_us: int) -> None:
        """Roll the archive until every offer made so far is in a file: before an end that others
        go on from. Nothing else is done, no timer fires. Takes at most three commits, two of them
        with a file: of a range that a kill left decided on, and of what came after it.
        """
        at = self.checkpoint
        while self._archive.waiting:
            self._commit(self._work(now_us), at.position, at.done, force_archive=True)
