"""What S3 lists in pages, lacks, refuses or never answers."""

from collections.abc import Mapping
from typing import Any

import pytest
from tests.aws.answering import answer, get_lost, no_aws, refuse

from shopstream.aws.lake import S3Lake
from shopstream.aws.names import Names
from shopstream.errors import AwsError, DataDirError

LAKE = S3Lake(no_aws(), Names("shop", "123456789012"))


def test_thousands_of_names_are_all_listed() -> None:
    names = [f"archive/orders/{n:04d}.json" for n in range(2_500)]

    def page(asked: Mapping[str, Any]) -> dict[str, Any]:
        assert (asked["Bucket"], asked["Prefix"]) == (
            "shop-lake-123456789012",
            "archive/orders/",
        )
        first = int(asked.get("ContinuationToken", 0))
        found = [{"Key": name} for name in names[first : first + 1_000]]
        after = first + 1_000
        if after >= len(names):
            return {"Contents": found, "IsTruncated": False}
        return {"Contents": found, "IsTruncated": True, "NextContinuationToken": str(after)}

    answer(no_aws().s3, "ListObjectsV2", page)
    assert list(LAKE.names("archive/orders")) == names


def test_a_missing_file_and_a_refusal_are_told_apart() -> None:
    answer(no_aws().s3, "GetObject", lambda _: refuse("NoSuchKey", status=404))
    with pytest.raises(DataDirError, match=r"archive/a\.json is missing .* s3://shop-lake-"):
        LAKE.get("archive/a.json")
    answer(no_aws().s3, "GetObject", lambda _: refuse("AccessDenied", status=403))
    with pytest.raises(AwsError, match=r"get s3://shop-lake.*/archive/a\.json: .*AccessDenied"):
        LAKE.get("archive/a.json")


def test_a_put_that_was_never_answered_is_told_and_can_be_done_again() -> None:
    files: dict[str, bytes] = {}
    lost = iter([True])

    def put(asked: Mapping[str, Any]) -> dict[str, Any]:
        files[asked["Key"]] = asked["Body"].read()
        return get_lost() if next(lost, False) else {}

    answer(no_aws().s3, "PutObject", put)
    with pytest.raises(AwsError, match="ReadTimeoutError") as told:
        LAKE.put("archive/a.json", b"one")
    assert told.value.busy
    LAKE.put("archive/a.json", b"one")
    assert files == {"archive/a.json": b"one"}


def test_names_outside_the_lake_ask_nothing_of_aws() -> None:
    asked = answer(no_aws().s3, "DeleteObject", lambda _: {})
    for name in ("../x", "/etc/passwd", "archive/../x"):
        with pytest.raises(DataDirError, match="not a name inside the lake"):
            LAKE.delete(name)
    assert asked == []
