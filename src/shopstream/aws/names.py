"""What everything is called on AWS. Terraform makes exactly these; a test compares the two."""

from dataclasses import dataclass

TABLES = {
    "browsing_events": "BrowsingEvents",
    "offers": "Offers",
    "orders": "Orders",
    "products": "Products",
    "stock_levels": "StockLevels",
    "quarantine": "Quarantine",
    "alerts": "Alerts",
    "timers": "Timers",
    "budgets": "Budgets",
    "ledger": "Ledger",
    "state": "State",
}
"""The tables of the ports, by name -> as DynamoDB has them, without the prefix."""
FUNCTIONS = {
    "collector": "Collector",
    "ingestor": "Ingestor",
    "offer_generator": "OfferGenerator",
    "order_processor": "OrderProcessor",
    "cart_watcher": "CartWatcher",
    "cart_processor": "CartProcessor",
    "promotions": "Promotions",
    "lake_builder": "LakeBuilder",
    "replay": "Replay",
}
"""Handlers in `shopstream.aws.handlers` -> functions, without the prefix."""
BRONZE_TOPICS = ("clicks", "orders", "carts", "stock", "quarantine")
DUE_INDEX = "due"
"""The index of timers by when they are due."""
ARCHIVED_OFFERS = "archive/offers/"
"""Files of the lake under this name are in a bucket of their own."""
DATABASE = "ecommerce_analytics_db"


@dataclass(frozen=True)
class Names:
    """The names of one deployment: `prefix` tells it from others in the same account."""

    prefix: str = "shopstream"
    account: str = ""

    @property
    def stream(self) -> str:
        """The Kinesis stream of clicks and carts."""
        return f"{self.prefix}-BrowsingClickstream"

    def queue(self, name: str) -> str:
        """The queue `clicks` or `orders`: FIFO, each user's messages in order."""
        return f"{self.prefix}-{name}.fifo"

    def dead_letters(self, name: str) -> str:
        """Where messages of the queue `name` go that no try could process."""
        return f"{self.prefix}-{name}-dlq.fifo"

    def topic_dead_letters(self, topic: str) -> str:
        """Where messages of an SNS topic (`alerts`, `invalid-orders`, `alarms`) go that no
        subscriber took.
        """
        return f"{self.prefix}-{topic}-dlq"

    @property
    def failures(self) -> str:
        """The queue that hears of what was given up and has no queue of its own."""
        return f"{self.prefix}-failures"

    def table(self, name: str) -> str:
        """The DynamoDB table of a table of `ports.Tables`. Raises KeyError for one unknown."""
        return f"{self.prefix}-{TABLES[name]}"

    @property
    def idempotency(self) -> str:
        """The table in which Powertools remembers what was done: key `id`, TTL `expiration`."""
        return f"{self.prefix}-Idempotency"

    def function(self, handler: str) -> str:
        return f"{self.prefix}-{FUNCTIONS[handler]}"

    def delivery(self, topic: str) -> str:
        """The Firehose that lands a topic in bronze."""
        return f"{self.prefix}-bronze-{topic}"

    def bucket(self, name: str) -> str:
        """`lake`, `real-time-offers-archive`, `raw`, `processed`, `consumption`, `results`,
        `artifacts` or `failures`.
        """
        if not self.account:
            raise ValueError("names of buckets need the account; see `aws_account`")
        return f"{self.prefix}-{name}-{self.account}"

    @property
    def lake(self) -> str:
        return self.bucket("lake")

    @property
    def offers_archive(self) -> str:
        return self.bucket("real-time-offers-archive")

    @property
    def alerts(self) -> str:
        """The topic of all alerts but those about invalid orders."""
        return f"{self.prefix}-alerts"

    @property
    def invalid_orders(self) -> str:
        return f"{self.prefix}-invalid-orders"

    @property
    def alarms(self) -> str:
        """The topic of CloudWatch's alarms and the budget: the operator's, not the shop's."""
        return f"{self.prefix}-alarms"

    @property
    def database(self) -> str:
        """The Glue database."""
        if self.prefix == "shopstream":
            return DATABASE
        return f"{self.prefix.replace('-', '_')}_{DATABASE}"

    @property
    def workgroup(self) -> str:
        """The Athena workgroup."""
        return self.prefix
