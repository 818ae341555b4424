"""The aws engine: what a function or a command opens of one deployment."""

from __future__ import annotations

import math
from functools import cached_property
from typing import TYPE_CHECKING

from shopstream.aws.clients import Clients, asked
from shopstream.aws.names import Names
from shopstream.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from shopstream.aws.asking import Asker
    from shopstream.aws.delivery import Delivery
    from shopstream.aws.destinations import Destination
    from shopstream.aws.key_file import S3KeyFile
    from shopstream.aws.lake import S3Lake
    from shopstream.aws.landed import Landed
    from shopstream.aws.log import AwsLog, KinesisLog, SqsLog
    from shopstream.aws.notifier import SnsNotifier
    from shopstream.aws.queues import Queue
    from shopstream.aws.standing import AwsStanding
    from shopstream.aws.tables import DynamoBudget, DynamoTables
    from shopstream.domain.offers import RuleSet
    from shopstream.lake.plan import Step, Wanted
    from shopstream.lake.report import BuildReport
    from shopstream.settings import Settings


BUILD_WINDOW_S = 900.0
"""So long at once a build keeps others out; then it takes its turn again."""


def _for_ever() -> float:
    return math.inf


class AwsEngine:
    """One deployment, in the region and with the credentials of the environment. Opening asks AWS
    nothing; each port is loaded when it is first opened.
    """

    def __init__(self, settings: Settings, clients: Clients | None = None) -> None:
        self.settings = settings
        self.clients = clients or Clients()

    @cached_property
    def names(self) -> Names:
        """What everything is called; asks for the account when the settings don't name it."""
        account = self.settings.aws_account or self.clients.account
        return Names(self.settings.aws_prefix, account)

    def write_log(self, until_s: Callable[[], float] = _for_ever) -> AwsLog:
        """Both ways in, entries going by their topic. An append has to end by `until_s` (of
        `time.monotonic`), asked when it begins.
        """
        from shopstream.aws.log import AwsLog

        return AwsLog(self.clicks_log(until_s), self._queue("orders", until_s))

    def clicks_log(self, until_s: Callable[[], float] = _for_ever) -> KinesisLog | SqsLog:
        """The way in of clicks and carts, as `aws_clicks` says."""
        from shopstream.aws.log import KinesisLog

        if self.settings.aws_clicks == "kinesis":
            stream = self.names.stream
            return KinesisLog(self.clients, stream, self.tables(), self.lake(), until_s=until_s)
        return self._queue("clicks", until_s)

    def orders_log(self) -> SqsLog:
        """The way in of orders and stock levels."""
        return self._queue("orders", _for_ever)

    def _queue(self, name: str, until_s: Callable[[], float]) -> SqsLog:
        from shopstream.aws.log import SqsLog

        queue = self.names.queue(name)
        return SqsLog(self.clients, queue, self.tables(), self.lake(), until_s=until_s)

    def tables(self) -> DynamoTables:
        from shopstream.aws.tables import DynamoTables, ttls_s

        return DynamoTables(self.clients, self.names, ttls_s(self.settings), lake=self.lake())

    def budget(self) -> DynamoBudget:
        from shopstream.aws.tables import DynamoBudget

        ttl_s = int(self.settings.offers_ttl.total_seconds())
        return DynamoBudget(self.clients, self.names, ttl_s=ttl_s)

    def lake(self) -> S3Lake:
        from shopstream.aws.lake import S3Lake

        return S3Lake(self.clients, self.names)

    def delivery(self) -> Delivery:
        """The way into bronze."""
        from shopstream.aws.delivery import Delivery

        return Delivery(self.clients, self.names)

    def notifier(self) -> SnsNotifier:
        from shopstream.aws.notifier import SnsNotifier

        return SnsNotifier(self.clients, self.names)

    def rules(self) -> RuleSet:
        """The offer rules in force. Raises ConfigError naming the file, rule and key."""
        from shopstream.aws.lake_rules import LakeRules

        return LakeRules(self.clients, self.names).rules()

    def keys(self) -> S3KeyFile:
        """Where the collector's keys are."""
        from shopstream.aws.key_file import S3KeyFile

        return S3KeyFile(self.clients, self.names)

    def destination(self, to: str, *, name_topics: bool = False) -> Destination:
        """Where raw events can be sent: any stream, queue or bucket, ours or not. Raises
        SourceError for what is no address of one, AwsError when it isn't there.
        """
        from shopstream.aws.destinations import open_destination

        # Not `self.names`: which account this is nobody need be asked for an address that is none.
        names = Names(self.settings.aws_prefix, self.settings.aws_account)
        return open_destination(self.clients, names, to, name_topics=name_topics)

    def queues(self) -> list[Queue]:
        """How much waits in each queue; raises AwsError when one isn't there."""
        from shopstream.aws.queues import queues

        return queues(self.clients, self.names, self.settings)

    def standing(self, now: datetime) -> AwsStanding:
        """Queues, ages, alarms; raises AwsError when AWS can't be asked."""
        from shopstream.aws.standing import standing

        return standing(self.clients, self.names, self.settings, now)

    def landed(self) -> Landed:
        """Bronze and the offers archive, to be read back."""
        from shopstream.aws.landed import Landed

        return Landed(self.clients, self.names)

    def deployed(self) -> AwsEngine:
        """This engine, once it is sure that there is such a deployment; else raises AwsError that
        says where it was looked for.
        """
        table = self.names.table("ledger")
        client = self.clients.dynamodb
        try:
            with asked(f"find the table {table}"):
                client.describe_table(TableName=table)
        except AwsError as e:
            if e.code != "ResourceNotFoundException":
                raise
            raise AwsError(
                f"there is no table {table} in account {self.names.account}, region"
                f" {client.meta.region_name}: run `make deploy`, or set aws_prefix, AWS_REGION or"
                " AWS_PROFILE",
                code=e.code,
            ) from None
        return self

    def asker(self) -> Asker:
        """SQL for people."""
        from shopstream.aws.asking import Asker

        return Asker(self)

    def build(
        self,
        wanted: Wanted,
        on_step: Callable[[Step, int, int], None] = lambda *_: None,
        window_s: float = BUILD_WINDOW_S,
    ) -> BuildReport:
        """Build the tables on Athena, here and now, as LakeBuilder does by itself.

        A build that isn't done is gone on with first. Raises Busy while another one goes on.
        """
        from shopstream.aws.build_runs import build_to_the_end

        return build_to_the_end(self, wanted, on_step, window_s)

    def plan_build(self, wanted: Wanted) -> list[Step]:
        """What a build would do."""
        from shopstream.aws.builder import landings_of, plan_on, site_of

        return plan_on(site_of(self, lambda: BUILD_WINDOW_S), landings_of(self), wanted)
