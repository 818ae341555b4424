"""The tables on AWS: DynamoDB, one table for each of ours, keyed `pk` and `sk`.

Reads are strongly consistent, so what was written is seen by whoever reads next. Only the index of
timers isn't: a timer is seen there a moment later, and may be seen a moment after it was taken.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from heapq import merge
from typing import TYPE_CHECKING, Any

from shopstream.aws.clients import Clients, asked
from shopstream.aws.items import (
    DUE_BUCKETS,
    Attributes,
    attributes_of,
    expiring,
    item_of,
    key_of,
    known_by,
    text_of,
    wait_of,
)
from shopstream.aws.lake import S3Lake
from shopstream.aws.names import DUE_INDEX, Names
from shopstream.aws.resending import CallLimits, Parcel, send_all
from shopstream.domain.waiting import kind_of
from shopstream.ports import Batch, Lake

if TYPE_CHECKING:
    from shopstream.settings import Settings

MIB = 1024 * 1024
WRITE_CALL = CallLimits(25, 16 * MIB)
"""Source: Amazon DynamoDB API Reference, BatchWriteItem."""
_ITEM_ROOM = 1024
_DAY_S = 86_400
_LEDGER_TTL_MIN = timedelta(days=30)


def ttls_s(settings: "Settings") -> dict[str, int]:
    """For how many seconds each table keeps an item; a table that isn't named keeps them.

    The ledger's rows are kept as long as `check` may ask for them, and longer than a record can
    come again: a dead letter waits for 14 days at most.
    """
    kept = {
        "browsing_events": settings.events_ttl,
        "stock_levels": settings.events_ttl,
        "timers": settings.events_ttl,
        "offers": settings.offers_ttl,
        "orders": settings.orders_ttl,
        "quarantine": settings.quarantine_ttl,
        "alerts": settings.alerts_ttl,
        "budgets": settings.offers_ttl,
        "ledger": max(settings.events_ttl, _LEDGER_TTL_MIN),
    }
    return {table: int(ttl.total_seconds()) for table, ttl in kept.items()}


class DynamoBatch:
    """`ports.Batch`: the last change of each key."""

    def __init__(self) -> None:
        self.changes: dict[tuple[str, str, str], bytes | None] = {}

    def put(self, table: str, pk: str, sk: str, item: bytes) -> None:
        self.changes[table, pk, sk] = item

    def put_each(self, table: str, sk: str, items: Iterable[tuple[str, bytes]]) -> None:
        for pk, item in items:
            self.changes[table, pk, sk] = item

    def delete(self, table: str, pk: str, sk: str) -> None:
        self.changes[table, pk, sk] = None


class DynamoTables:
    """`ports.Items` in DynamoDB. Any number of processes may write.

    `ttls` are seconds by table, counted from when an item is put. DynamoDB deletes what has
    expired within days, not to the second.
    """

    def __init__(
        self,
        clients: Clients,
        names: Names,
        ttls: Mapping[str, int] | None = None,
        *,
        lake: Lake | None = None,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self._clients = clients
        self._names = names
        self._ttls = ttls or {}
        self._lake = lake or S3Lake(clients, names)
        self._sleep = sleep

    def get(self, table: str, pk: str, sk: str = "") -> bytes | None:
        name = self._names.table(table)
        with asked(f"get an item of {name}"):
            answer = self._clients.dynamodb.get_item(
                TableName=name, Key=key_of(pk, sk), ConsistentRead=True
            )
        found = answer.get("Item")
        return None if found is None else self.item(found)

    def query(
        self,
        table: str,
        pk: str,
        *,
        after: str = "",
        before: str = "",
        reverse: bool = False,
        limit: int = 0,
    ) -> Iterator[tuple[str, bytes]]:
        if before and after >= before:
            return
        condition, values = "pk = :pk", {":pk": key_of(pk, "")["pk"]}
        if after and before:
            condition += " AND sk BETWEEN :after AND :before"
        elif after:
            condition += " AND sk >= :after"
        elif before:
            condition += " AND sk < :before"
        if after:
            values[":after"] = {"S": after}
        if before:
            values[":before"] = {"S": before}
        request = {
            "KeyConditionExpression": condition,
            "ExpressionAttributeValues": values,
            "ScanIndexForward": not reverse,
            "ConsistentRead": True,
        }
        left = limit
        for attributes in self._pages("query", table, request, limit + 1 if limit else 0):
            sk = text_of(attributes["sk"])
            if before and sk == before:
                continue  # BETWEEN includes its end
            yield sk, self.item(attributes)
            left -= 1
            if left == 0:
                return

    def scan(self, table: str) -> Iterator[tuple[str, str, bytes]]:
        for attributes in self._pages("scan", table, {"ConsistentRead": True}, 0):
            yield text_of(attributes["pk"]), text_of(attributes["sk"]), self.item(attributes)

    def batch(self) -> DynamoBatch:
        return DynamoBatch()

    def write(self, batch: Batch) -> None:
        """See `ports.Tables.write`. Writes that AWS doesn't take are sent again, only those."""
        if not isinstance(batch, DynamoBatch):
            raise TypeError(f"not a batch of these tables: {batch!r}")
        parcels = (
            self._parcel(table, pk, sk, item) for (table, pk, sk), item in batch.changes.items()
        )
        send_all("write items", parcels, self._write, WRITE_CALL, sleep=self._sleep)

    def put_new(self, table: str, pk: str, sk: str, item: bytes) -> bytes | None:
        """Put an item unless there is one; returns the one that is there, None when it was put.

        When AWS's answer got lost and the call was repeated, the item returned is the very one
        that was to be put: to whoever compares, that is as good as None.
        """
        name = self._names.table(table)
        attributes = self._attributes(table, pk, sk, item)
        dynamodb = self._clients.dynamodb
        with asked(f"put an item into {name}"):
            try:
                dynamodb.put_item(
                    TableName=name,
                    Item=attributes,
                    ConditionExpression="attribute_not_exists(pk)",
                    ReturnValuesOnConditionCheckFailure="ALL_OLD",
                )
            except dynamodb.exceptions.ConditionalCheckFailedException as e:
                found = dict(e.response).get("Item")
            else:
                return None
        return self.item(found) if isinstance(found, dict) else self.get(table, pk, sk)

    def swap(self, table: str, pk: str, sk: str, was: bytes, item: bytes) -> bool:
        """Replace an item if it is `was` by the byte; whether it now is `item`, which it also is
        when AWS's answer got lost and the call was repeated.
        """
        name = self._names.table(table)
        attribute, value = known_by(pk, sk, was)
        dynamodb = self._clients.dynamodb
        with asked(f"replace an item of {name}"):
            try:
                dynamodb.put_item(
                    TableName=name,
                    Item=self._attributes(table, pk, sk, item),
                    ConditionExpression="#item = :was",
                    ExpressionAttributeNames={"#item": attribute},
                    ExpressionAttributeValues={":was": value},
                )
            except dynamodb.exceptions.ConditionalCheckFailedException:
                return self.get(table, pk, sk) == item
        return True

    def due_users(self, until_us: int, historical: bool) -> Iterator[str]:
        """Users with timers that are due by `until_us`, by when their first is due."""
        kind = kind_of(historical)
        buckets = [self._due(wait_of(kind, n), until_us) for n in range(DUE_BUCKETS)]
        for _, user_id in merge(*buckets):
            yield user_id

    def _due(self, wait: str, until_us: int) -> Iterator[tuple[int, str]]:
        request = {
            "IndexName": DUE_INDEX,
            "KeyConditionExpression": "#wait = :wait AND due <= :until",
            "ExpressionAttributeNames": {"#wait": "wait"},
            "ExpressionAttributeValues": {":wait": {"S": wait}, ":until": {"N": str(until_us)}},
        }
        for attributes in self._pages("query", "timers", request, 0):
            yield int(attributes["due"]["N"]), text_of(attributes["pk"])

    def item(self, attributes: Mapping[str, Any]) -> bytes:
        """The item that attributes hold; those of a table's stream go through `from_stream`."""
        return item_of(attributes, self._lake.get)

    def sync(self) -> None:
        """Nothing to do: what was written is durable."""

    def refresh(self) -> None:
        """Nothing to do: reads are strongly consistent."""

    def close(self) -> None:
        """Nothing is held open."""

    def _attributes(self, table: str, pk: str, sk: str, item: bytes) -> Attributes:
        made = attributes_of(table, pk, sk, item, keep=self._lake.put)
        return expiring(made, int(time.time()), self._ttls.get(table))

    def _parcel(
        self, table: str, pk: str, sk: str, item: bytes | None
    ) -> Parcel[tuple[str, Attributes]]:
        name = self._names.table(table)
        # Not by table: emulators take equal keys in two tables for one that is there twice.
        place = f"{pk}\0{sk}"
        if item is None:
            key = key_of(pk, sk)
            return Parcel(place, _ITEM_ROOM, (name, {"DeleteRequest": {"Key": key}}))
        put = {"PutRequest": {"Item": self._attributes(table, pk, sk, item)}}
        # JSON carries text as it is, binary in base64, and may escape each byte.
        return Parcel(place, len(item) * 2 + _ITEM_ROOM, (name, put))

    def _write(self, writes: list[tuple[str, Attributes]]) -> list[int]:
        requests: dict[str, list[Any]] = {}
        for name, request in writes:
            requests.setdefault(name, []).append(request)
        answer = self._clients.dynamodb.batch_write_item(RequestItems=requests)
        left = {
            (name, *_place(request))
            for name, unprocessed in answer.get("UnprocessedItems", {}).items()
            for request in unprocessed
        }
        return [n for n, (name, request) in enumerate(writes) if (name, *_place(request)) in left]

    def _pages(
        self, kind: str, table: str, request: Mapping[str, Any], limit: int
    ) -> Iterator[Mapping[str, Any]]:
        name = self._names.table(table)
        call: Callable[..., Mapping[str, Any]] = getattr(self._clients.dynamodb, kind)
        start: dict[str, Any] = {"Limit": limit} if limit else {}
        while True:
            with asked(f"{kind} {name}"):
                answer = call(TableName=name, **request, **start)
            yield from answer["Items"]
            if not (last := answer.get("LastEvaluatedKey")):
                return
            start["ExclusiveStartKey"] = last


def _place(request: Mapping[str, Any]) -> tuple[str, str]:
    found = request["PutRequest"]["Item"] if "PutRequest" in request else None
    key = request["DeleteRequest"]["Key"] if found is None else found
    return key["pk"]["S"], key["sk"]["S"]


class DynamoBudget:
    """`domain.shoppers.Budget` over all functions: one counter for each rule and day, in the table
    `budgets`, and each use of it one conditional write.

    Never overspent. A use whose answer got lost is counted twice, so it may be underspent.
    """

    def __init__(self, clients: Clients, names: Names, *, ttl_s: int = 90 * _DAY_S) -> None:
        self._clients = clients
        self._name = names.table("budgets")
        self._ttl_s = ttl_s

    def take(self, rule: str, day: int, limit: int) -> bool:
        if limit <= 0:
            return False
        dynamodb = self._clients.dynamodb
        with asked(f"spend of {self._name}"):
            try:
                dynamodb.update_item(
                    TableName=self._name,
                    Key=key_of(rule, str(day)),
                    UpdateExpression="ADD spent :one SET expires = :expires",
                    ConditionExpression="attribute_not_exists(spent) OR spent < :limit",
                    ExpressionAttributeValues={
                        ":one": {"N": "1"},
                        ":limit": {"N": str(limit)},
                        ":expires": {"N": str(int(time.time()) + self._ttl_s)},
                    },
                )
            except dynamodb.exceptions.ConditionalCheckFailedException:
                return False
        return True
