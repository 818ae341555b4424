"""What the lake on AWS has beside `ports.Lake`: which bucket a file is in, files put but once."""

from pathlib import Path
from typing import Any

import pytest
from tests.engines.aws_resources import Deployment

from shopstream.aws.clients import Clients


@pytest.fixture
def deployment(aws: Clients, tmp_path: Path) -> Deployment:
    return Deployment(aws, tmp_path)


def keys_in(deployment: Deployment, bucket: str) -> list[str]:
    found: Any = deployment.clients.s3.list_objects_v2(Bucket=bucket)
    return [one["Key"] for one in found.get("Contents", [])]


def test_offers_are_in_a_bucket_of_their_own(deployment: Deployment) -> None:
    lake = deployment.lake()
    lake.put("archive/offers/dt=2026-11-21/a.json", b"{}")
    lake.put("archive/orders/dt=2026-11-21/b.json", b"{}")
    assert keys_in(deployment, deployment.names.offers_archive) == ["offers/dt=2026-11-21/a.json"]
    assert keys_in(deployment, deployment.names.lake) == ["archive/orders/dt=2026-11-21/b.json"]


def test_a_file_is_put_but_once_by_whoever_asks_for_that(deployment: Deployment) -> None:
    lake = deployment.lake()
    assert lake.put_new("archive/a.json", b"one")
    assert not lake.put_new("archive/a.json", b"two")
    assert lake.get("archive/a.json") == b"one"
