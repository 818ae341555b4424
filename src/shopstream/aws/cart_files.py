"""Objects of S3 as streams: read as they were when they were first looked at, and put whole; and
the room on disk that working on them takes.
"""

from __future__ import annotations

import errno
import gzip
import io
import shutil
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from shopstream.aws.clients import asked
from shopstream.errors import SourceError

if TYPE_CHECKING:
    from botocore.response import StreamingBody
    from mypy_boto3_s3.client import S3Client

_CHUNK = 1 << 20


class Found(NamedTuple):
    """An object as it is: with its ETag; unpacked its SHA-256 and about how many lines it has."""

    bucket: str
    key: str
    etag: str
    digest: str
    lines: int


def examined(s3: S3Client, bucket: str, key: str, in_time: Callable[[], bool]) -> Found:
    """The object, read to its end. Raises SourceError when it is empty, damaged, or takes longer
    to read than there is time.
    """
    digest, lines, last = sha256(), 0, b"\n"
    with asked(f"get s3://{bucket}/{key}"):
        etag = s3.head_object(Bucket=bucket, Key=key)["ETag"]
    with opened(s3, bucket, key, etag) as body:
        empty = True
        stream = unpacked(key, body)
        try:
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
                empty, last = False, chunk[-1:]
                lines += chunk.count(b"\n")
                if not in_time():
                    raise SourceError(f"{key}: takes longer to read than there is time; split it")
        except (OSError, EOFError, zlib.error) as e:
            if isinstance(e, OSError) and not isinstance(e, gzip.BadGzipFile):
                raise
            raise SourceError(f"{key}: its gzip data is damaged: {e}") from None
    if empty:
        raise SourceError(f"{key}: is empty: nothing to load")
    return Found(bucket, key, etag, digest.hexdigest(), lines + (last != b"\n"))


@contextmanager
def room(what: str, lines: int, line_bytes: int, folder: str) -> Iterator[int]:
    """How many bytes are free in `folder`. Raises SourceError when `lines` of `what` don't fit in,
    `line_bytes` each; and when the disk is full at last.
    """
    free = shutil.disk_usage(folder).free
    limit = f"there are {free / (1 << 20):,.0f} MiB of room"
    if line_bytes:
        limit += f", for about {free // line_bytes:,} lines"
    if lines * line_bytes > free:
        raise SourceError(f"{what}: has {lines:,} lines, and {limit}; split it")
    try:
        yield free
    except (sqlite3.OperationalError, OSError) as e:
        if not _says_full(e):
            raise
        raise SourceError(f"{what}: is too large: {limit}, and it took more; split it") from e


def _says_full(error: sqlite3.OperationalError | OSError) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return error.sqlite_errorcode == sqlite3.SQLITE_FULL


def unpacked(key: str, body: IO[bytes]) -> IO[bytes]:
    if not key.lower().endswith(".gz"):
        return body
    return io.BufferedReader(gzip.GzipFile(fileobj=body), _CHUNK)


class _Body(io.RawIOBase):
    """An answer of S3 as a stream. A connection that breaks is an OSError: try again."""

    def __init__(self, body: StreamingBody, where: str) -> None:
        self._body, self._where = body, where

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with asked(f"read {self._where}"):
            chunk = self._body.read(len(buffer))
        buffer[: len(chunk)] = chunk
        return len(chunk)


@contextmanager
def opened(s3: S3Client, bucket: str, key: str, etag: str = "") -> Iterator[io.BufferedReader]:
    """The bytes of an object, as it was when it had this ETag."""
    where = f"s3://{bucket}/{key}"
    with asked(f"get {where}"):
        same: Any = {"IfMatch": etag} if etag else {}
        body = s3.get_object(Bucket=bucket, Key=key, **same)["Body"]
    try:
        yield io.BufferedReader(_Body(body, where), _CHUNK)
    finally:
        body.close()


def put(s3: S3Client, bucket: str, key: str, file: IO[bytes]) -> None:
    file.flush()
    file.seek(0)
    with asked(f"put s3://{bucket}/{key}"):
        s3.put_object(Bucket=bucket, Key=key, Body=file)
