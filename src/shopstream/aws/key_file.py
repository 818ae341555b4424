"""The keys on AWS: `config/keys.json` in the lake's bucket, the JSON that a data directory has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shopstream.aws.clients import asked, error_code, passes_by_itself
from shopstream.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from shopstream.aws.clients import Clients
    from shopstream.aws.names import Names

KEYS = "config/keys.json"
TRIES_MAX = 10
_CHANGED = ("PreconditionFailed", "ConditionalRequestConflict", "412", "409")
_ABSENT = ("NoSuchKey", "404")


class S3KeyFile:
    """A `keys.KeyFile`. Changes are conditional on the version that was read: of two at once the
    second is made again, on top of the first.
    """

    def __init__(self, clients: Clients, names: Names) -> None:
        self._clients = clients
        self._bucket = names.lake
        self.place = f"s3://{self._bucket}/{KEYS}"

    def read(self) -> bytes | None:
        """The file as it is now, None when there is none. Raises AwsError."""
        return self._read()[0]

    def stamp(self) -> Hashable | None:
        """The file's ETag; None when there is no file or S3 can't tell just now."""
        with asked(f"read {self.place}"):
            try:
                return self._clients.s3.head_object(Bucket=self._bucket, Key=KEYS)["ETag"]
            except self._clients.s3.exceptions.ClientError as e:
                # A collector goes on with the keys it has.
                if error_code(e) in _ABSENT or passes_by_itself(e):
                    return None
                raise

    def change(self, edit: Callable[[bytes | None], bytes]) -> None:
        """Replace the file by what `edit` makes of it. Raises AwsError, also when others change
        it all the time.
        """
        for _ in range(TRIES_MAX):
            body, version = self._read()
            if self._write(edit(body), version):
                return
        raise AwsError(f"{self.place}: others are changing it; try again", code="Conflict")

    def _read(self) -> tuple[bytes | None, str]:
        with asked(f"read {self.place}"):
            try:
                found = self._clients.s3.get_object(Bucket=self._bucket, Key=KEYS)
            except self._clients.s3.exceptions.ClientError as e:
                if error_code(e) in _ABSENT:
                    return None, ""
                raise
            return found["Body"].read(), found["ETag"]

    def _write(self, body: bytes, version: str) -> bool:
        """Whether the file was still of that version ("" is none) and is now `body`."""
        s3 = self._clients.s3
        with asked(f"write {self.place}"):
            try:
                if version:
                    s3.put_object(Bucket=self._bucket, Key=KEYS, Body=body, IfMatch=version)
                else:
                    s3.put_object(Bucket=self._bucket, Key=KEYS, Body=body, IfNoneMatch="*")
            except s3.exceptions.ClientError as e:
                if error_code(e) in _CHANGED:
                    return False
                raise
        return True
