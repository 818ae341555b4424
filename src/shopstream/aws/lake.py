"""The lake's files on AWS: objects in S3, the offers archive in a bucket of its own."""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from gzip import compress
from hashlib import sha256

from shopstream.aws.clients import Clients, asked, error_code
from shopstream.aws.names import ARCHIVED_OFFERS, Names
from shopstream.errors import DataDirError

_ARCHIVE = "archive/"


class S3Lake:
    """`ports.Lake` in S3: a file is there, durable and whole, when `put` returns."""

    def __init__(self, clients: Clients, names: Names) -> None:
        self._clients = clients
        self._names = names

    def put(self, name: str, body: bytes) -> None:
        bucket, key = self._place(name)
        with asked(f"put s3://{bucket}/{key}"):
            self._clients.s3.put_object(Bucket=bucket, Key=key, Body=body)

    def put_new(self, name: str, body: bytes) -> bool:
        """Put a file unless there is one of this name; False when there is."""
        bucket, key = self._place(name)
        with asked(f"put s3://{bucket}/{key}"):
            try:
                self._clients.s3.put_object(Bucket=bucket, Key=key, Body=body, IfNoneMatch="*")
            except self._clients.s3.exceptions.ClientError as e:
                if error_code(e) != "PreconditionFailed":
                    raise
                return False
        return True

    def get(self, name: str) -> bytes:
        bucket, key = self._place(name)
        with asked(f"get s3://{bucket}/{key}"):
            try:
                body: bytes = self._clients.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
            except self._clients.s3.exceptions.NoSuchKey:
                raise DataDirError(f"{name} is missing from the archive in s3://{bucket}") from None
        return body

    def delete(self, name: str) -> None:
        bucket, key = self._place(name)
        with asked(f"delete s3://{bucket}/{key}"):
            self._clients.s3.delete_object(Bucket=bucket, Key=key)

    def names(self, prefix: str) -> Iterable[str]:
        folder = f"{prefix.rstrip('/')}/" if prefix else ""
        found = [] if folder.startswith(ARCHIVED_OFFERS) else list(self._listed(folder))
        if ARCHIVED_OFFERS.startswith(folder) or folder.startswith(ARCHIVED_OFFERS):
            inside = folder.removeprefix(_ARCHIVE) if folder.startswith(ARCHIVED_OFFERS) else ""
            bucket = self._names.offers_archive
            keys = self._keys(bucket, inside or ARCHIVED_OFFERS.removeprefix(_ARCHIVE))
            found += [f"{_ARCHIVE}{key}" for key in keys]
        return sorted(name for name in found if name.endswith(".json"))

    def _listed(self, folder: str) -> Iterator[str]:
        self._place(folder)
        return self._keys(self._names.lake, folder)

    def _keys(self, bucket: str, prefix: str) -> Iterator[str]:
        pages = self._clients.s3.get_paginator("list_objects_v2")
        with asked(f"list s3://{bucket}/{prefix}"):
            for page in pages.paginate(Bucket=bucket, Prefix=prefix):
                for found in page.get("Contents", []):
                    yield found["Key"]

    def _place(self, name: str) -> tuple[str, str]:
        """The bucket and key of a file."""
        if name.startswith("/") or ".." in name.split("/"):
            raise DataDirError(f"{name!r} is not a name inside the lake")
        if name.startswith(ARCHIVED_OFFERS):
            return self._names.offers_archive, name.removeprefix(_ARCHIVE)
        return self._names.lake, name


def landed_name(topic: str, lines: bytes, now_us: int) -> str:
    """Where lines go that are landed by us and not by Firehose: the same lines, the same name."""
    at = datetime.fromtimestamp(now_us / 1e6, UTC)
    name = sha256(lines).hexdigest()[:32]
    return f"bronze/{topic}/dt={at:%Y-%m-%d}/hour={at:%H}/large-{name}.gz"


def packed_lines(lines: bytes) -> bytes:
    """Lines as bronze files have them: the same lines, the same bytes."""
    return compress(lines, 6, mtime=0)
