"""Clients are made when they are needed, with patience; what AWS refuses is told with what to
do.
"""

import subprocess
import sys
from typing import Any

import pytest
from botocore.exceptions import (
    ClientError,
    ConnectTimeoutError,
    EndpointConnectionError,
    NoCredentialsError,
    NoRegionError,
    ReadTimeoutError,
)
from botocore.parsers import ResponseParserError
from tests.aws.answering import no_aws

from shopstream.aws.clients import Clients, asked, passes_by_itself
from shopstream.engine import open_aws_engine, open_engine
from shopstream.errors import AwsError, ConfigError
from shopstream.settings import Settings

PORTS = ("clients", "delivery", "engine", "items", "lake", "log", "names", "notifier", "tables")


def failed(code: str, status: int = 400) -> ClientError:
    response = {
        "Error": {"Code": code, "Message": "because"},
        "ResponseMetadata": {
            "HTTPStatusCode": status,
            "RequestId": "",
            "HostId": "",
            "HTTPHeaders": {},
            "RetryAttempts": 0,
        },
    }
    return ClientError(response, "PutItem")  # type: ignore[arg-type]  # a part of a response


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (failed("AccessDeniedException"), "put it: AWS answered AccessDeniedException: because;"),
        (failed("ResourceNotFoundException"), "deploy first, or check aws_prefix"),
        (failed("Whatever"), "put it: AWS answered Whatever: because$"),
        (NoCredentialsError(), "put it: there are no AWS credentials; run `aws configure`"),
        (NoRegionError(), "put it: no region is set; set AWS_REGION"),
        (EndpointConnectionError(endpoint_url="https://x"), "put it: EndpointConnectionError"),
        (ResponseParserError("<html>"), "put it: what answered is not AWS: <html>"),
    ],
)
def test_errors_name_what_was_asked_and_what_to_do(error: Exception, told: str) -> None:
    with pytest.raises(AwsError, match=told), asked("put it"):
        raise error


def test_other_errors_are_left_as_they_are() -> None:
    with pytest.raises(KeyError), asked("put it"):
        raise KeyError("x")


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (failed("ThrottlingException"), True),
        (failed("ProvisionedThroughputExceededException"), True),
        (failed("InternalError", 500), True),
        (failed("ServiceUnavailable", 503), True),
        (ReadTimeoutError(endpoint_url="x"), True),
        (ConnectTimeoutError(endpoint_url="x"), True),
        (EndpointConnectionError(endpoint_url="x"), True),
        (failed("AccessDenied", 403), False),
        (failed("ValidationException"), False),
        (NoCredentialsError(), False),
        (ValueError(), False),
    ],
)
def test_it_is_told_apart_whether_trying_again_may_help(error: Exception, passes: bool) -> None:
    assert passes_by_itself(error) is passes


def test_every_client_has_time_outs_and_tries_again() -> None:
    config: Any = no_aws().dynamodb.meta.config
    assert config.connect_timeout == 2
    assert config.read_timeout == 8
    assert config.retries == {"mode": "standard", "total_max_attempts": 3}


def test_sns_is_asked_once_as_the_outbox_asks_again() -> None:
    config: Any = no_aws().sns.meta.config
    assert config.retries["total_max_attempts"] == 1


def test_a_client_is_made_once() -> None:
    assert no_aws().sqs is no_aws().sqs


def test_aws_is_asked_nothing_when_an_engine_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    engine = open_aws_engine(Settings(engine="aws", aws_account="123456789012"))
    assert engine.names.lake == "shopstream-lake-123456789012"
    assert engine.write_log()
    assert engine.tables()


def test_a_region_that_is_not_set_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(AwsError, match="no region is set"):
        _ = Clients().dynamodb


def test_a_stage_of_one_machine_says_that_it_is_none_of_aws() -> None:
    with pytest.raises(ConfigError, match="works on the engine `local` only"):
        open_engine(Settings(engine="aws"))


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("engine", "gcp", "`local` or `aws`"),
        ("aws_prefix", "Shop", "a-z, 0-9"),
        ("aws_prefix", "-shop", "a-z, 0-9"),
        ("aws_prefix", "shop-", "a-z, 0-9"),
        ("aws_prefix", "s", "a-z, 0-9"),
        ("aws_prefix", "s" * 25, "a-z, 0-9"),
        ("aws_account", "12345", "12 digits"),
        ("aws_account", "１２３４５６７８９０１２", "12 digits"),
        ("aws_clicks", "kafka", "`sqs` or `kinesis`"),
    ],
)
def test_settings_of_aws_are_checked(name: str, value: str, wanted: str) -> None:
    with pytest.raises(ConfigError, match=f"setting {name}.*{wanted}"):
        Settings(**{name: value})  # type: ignore[arg-type]  # any setting


def test_the_longest_prefix_makes_bucket_names_that_s3_allows() -> None:
    settings = Settings(engine="aws", aws_prefix="s" * 24, aws_account="123456789012")
    assert len(open_aws_engine(settings).names.offers_archive) <= 63


def test_the_ports_are_loaded_without_what_a_function_has_no_room_for() -> None:
    program = "import sys\n" + "\n".join(f"import shopstream.aws.{name}" for name in PORTS)
    run = subprocess.run(
        [sys.executable, "-c", f"{program}\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = {name.partition(".")[0] for name in run.stdout.split()}
    heavy = {
        "botocore",
        "boto3",
        "pyarrow",
        "duckdb",
        "rocksdict",
        "apsw",
        "pyiceberg",
        "starlette",
    }
    assert not loaded & heavy
