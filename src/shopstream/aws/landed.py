"""What has landed in S3, read back: lines of bronze, and which offers are archived."""

from __future__ import annotations

import gzip
import io
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from shopstream.aws.clients import asked
from shopstream.errors import DataDirError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shopstream.aws.clients import Clients
    from shopstream.aws.names import Names


class Archived(NamedTuple):
    """An offer in the archive, and when its file was put (microseconds since 1970)."""

    offer_id: str
    put_us: int


class Landed:
    """The lake's and the archive's bucket of one deployment."""

    def __init__(self, clients: Clients, names: Names) -> None:
        self._clients = clients
        self._names = names

    def lines(self, topic: str, since: date) -> Iterator[bytes]:
        """The lines of bronze that were delivered on `since` (UTC) or later, each as often as it
        was. Raises DataDirError for a file that can't be read.
        """
        day, today = since, datetime.now(UTC).date()
        while day <= today:
            for key, _ in self._keys(self._names.lake, f"bronze/{topic}/dt={day}/"):
                if key.endswith(".gz"):
                    yield from self._lines(key)
            day += timedelta(days=1)

    def offers(self) -> Iterator[Archived]:
        """Every offer in the archive."""
        for key, put in self._keys(self._names.offers_archive, "offers/"):
            name = key.rpartition("/")[2]
            if name.endswith(".json"):
                yield Archived(name.removesuffix(".json"), int(put.timestamp() * 1e6))

    def _lines(self, key: str) -> Iterator[bytes]:
        with asked(f"get s3://{self._names.lake}/{key}"):
            found = self._clients.s3.get_object(Bucket=self._names.lake, Key=key)
            body = found["Body"].read()
        try:
            with gzip.open(io.BytesIO(body)) as lines:
                for line in lines:
                    if stripped := line.rstrip(b"\n"):
                        yield stripped
        except (OSError, EOFError) as e:
            raise DataDirError(f"s3://{self._names.lake}/{key} is no gzip file: {e}") from None

    def _keys(self, bucket: str, prefix: str) -> Iterator[tuple[str, datetime]]:
        pages = self._clients.s3.get_paginator("list_objects_v2")
        with asked(f"list s3://{bucket}/{prefix}"):
            for page in pages.paginate(Bucket=bucket, Prefix=prefix):
                for found in page.get("Contents", []):
                    yield found["Key"], found["LastModified"]
