"""Publishing an alert once, though the record it came of may be processed again.

SNS knows no idempotency key, so Powertools' idempotency remembers in a table of its own which
alerts were handed on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_lambda_powertools.utilities.idempotency import (
    DynamoDBPersistenceLayer,
    IdempotencyConfig,
    idempotent_function,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from aws_lambda_powertools.utilities.typing import LambdaContext

    from shopstream.aws.engine import AwsEngine
    from shopstream.events import Alert

REMEMBERED_S = 30 * 86_400
"""Longer than anything keeps a record: a dead-letter queue 14 days after a queue's own 14."""
KEY_PREFIX = "publish-alert"
"""One for all functions: an alert is the same whoever publishes it."""


class Publisher:
    """Hands alerts to SNS. Called again with an alert it handed on before, it does nothing; when
    another call is at it, or was cut off a moment ago, it raises and the record comes again.
    """

    def __init__(self, engine: AwsEngine) -> None:
        self._config = IdempotencyConfig(expires_after_seconds=REMEMBERED_S)
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
        self._publish_once(alert_id=alert.alert_id, alert=alert)
