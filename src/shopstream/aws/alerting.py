"""Publishing alerts: each once, though the record it came of may be processed again, and sooner or
later, though SNS may be down for hours.

SNS knows no idempotency key, so Powertools' idempotency remembers in a table of its own which
alerts were handed on. What SNS doesn't take at once waits in the outbox, and each minute
CartWatcher's function hands it on, so no record waits for SNS or fails with it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)
from aws_lambda_powertools.utilities.idempotency.exceptions import (
    IdempotencyAlreadyInProgressError,
)

from shopstream.aws.outbox import Outbox, read
from shopstream.errors import NotDelivered

if TYPE_CHECKING:
    from collections.abc import Callable

    from aws_lambda_powertools.utilities.typing import LambdaContext

    from shopstream.aws.engine import AwsEngine
    from shopstream.events import Alert

REMEMBERED_S = 30 * 86_400
"""Longer than anything keeps a record: a dead-letter queue 14 days after a queue's own 14."""
KEY_PREFIX = "publish-alert"
"""One for all functions: an alert is the same whoever publishes it."""
PAUSE_S = 30.0
"""So long SNS isn't asked again after it was down: shorter than the clock's minute."""
OUTBOX_S = 15.0
"""What a run spends on the outbox at most: the rest of its time is for timers."""
TIME_KEPT_S = 10.0
"""What it leaves of its time in any case: longer than SNS can keep it waiting."""


class Publisher:
    """Hands alerts to SNS, those about history apart: these are recorded, and no news.

    `logger` is Powertools'; it is told why an alert waits.
    """

    def __init__(self, engine: AwsEngine, logger: Any) -> None:
        self._config = IdempotencyConfig(expires_after_seconds=REMEMBERED_S)
        self._outbox = Outbox(engine.tables())
        self._logger = logger
        self._down_until_s = 0.0
        store = DynamoDBPersistenceLayer(
            table_name=engine.names.idempotency, boto3_client=engine.clients.dynamodb
        )
        notifier = engine.notifier()

        def publish(*, alert_id: str, alert: Alert) -> None:  # noqa: ARG001  # the key
            notifier.deliver(alert)

        self._publish_once: Callable[..., None] = idempotent_function(
            publish,
            data_keyword_argument="alert_id",
            persistence_store=store,
            config=self._config,
            key_prefix=KEY_PREFIX,
        )

    def begin(self, context: LambdaContext) -> None:
        """Note how much time this invocation has: one that is cut off holds its alert no longer."""
        self._config.register_lambda_context(context)

    def publish(self, alert: Alert) -> None:
        """When this returns, SNS has the alert or the outbox has it. Called again with an alert
        that SNS has, it does nothing. Raises AwsError when the tables can't be written.
        """
        if not alert.historical and not self._handed_on(alert):
            self._outbox.put(alert)

    def publish_waiting(self, time_left_s: Callable[[], float]) -> int:
        """Hand on what waits in the outbox; how much of it was seen that still waits."""
        until_s = max(TIME_KEPT_S, time_left_s() - OUTBOX_S)
        waiting = 0
        for alert_id, item in self._outbox.waiting():
            if self._is_down() or time_left_s() <= until_s:
                waiting += 1
                break
            waiting += not self._taken_out(alert_id, item)
        if waiting:
            self._logger.error("alerts wait in the outbox: at least %d", waiting)
        return waiting

    def _taken_out(self, alert_id: str, item: bytes) -> bool:
        try:
            if not self._handed_on(read(item)):
                return False
            self._outbox.remove(alert_id)
        except Exception:  # whatever it was, the next run comes again
            self._logger.exception("alert %s can't be handed on", alert_id)
            return False
        return True

    def _is_down(self) -> bool:
        return time.monotonic() < self._down_until_s

    def _handed_on(self, alert: Alert) -> bool:
        if self._is_down():
            return False
        try:
            self._publish_once(alert_id=alert.alert_id, alert=alert)
        except NotDelivered as e:
            if e.receiver_down:
                self._down_until_s = time.monotonic() + PAUSE_S
            self._logger.warning("alert %s waits in the outbox: %s", alert.alert_id, e)
            return False
        except IdempotencyAlreadyInProgressError:
            return False  # whoever is at it may have been cut off a moment ago
        return True
