"""The one place that makes AWS clients: each when first asked for, with the same patience.

Importing this is cheap; botocore (0.2 s) is loaded with the first client. A client asks again by
itself when AWS is busy or silent (botocore's `standard` retries: exponential, with jitter), which
every call in this package is made to bear: it may have taken effect before.
"""

from __future__ import annotations

from contextlib import contextmanager
from functools import cached_property
from threading import RLock
from typing import TYPE_CHECKING, Any

from shopstream.errors import AwsError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botocore.session import Session
    from mypy_boto3_athena import AthenaClient
    from mypy_boto3_cloudwatch import CloudWatchClient
    from mypy_boto3_dynamodb import DynamoDBClient
    from mypy_boto3_firehose import FirehoseClient
    from mypy_boto3_glue import GlueClient
    from mypy_boto3_kinesis import KinesisClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_sns import SNSClient
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sts import STSClient

TRIES_MAX = 3
CONNECT_TIMEOUT_S = 2
READ_TIMEOUT_S = 8
"""Longer than any call here takes that AWS answers at all; three such calls end before the 29 s
that API Gateway waits for a function.
"""
CONNECTIONS_MAX = 16

_BUSY_CODES = frozenset(
    {
        "InternalFailure",
        "InternalServerError",
        "KMS.ThrottlingException",
        "KMSThrottlingException",
        "LimitExceededException",
        "ProvisionedThroughputExceededException",
        "RequestLimitExceeded",
        "RequestThrottled",
        "RequestTimeout",
        "ServiceUnavailable",
        "ServiceUnavailableException",
        "SlowDown",
        "Throttling",
        "ThrottlingException",
        "TooManyRequestsException",
        "TransactionInProgressException",
    }
)
_HINTS = {
    "AccessDenied": "this role or user may not; docs/aws.md lists the rights",
    "AccessDeniedException": "this role or user may not; docs/aws.md lists the rights",
    "ExpiredToken": "sign in again",
    "ExpiredTokenException": "sign in again",
    "UnrecognizedClientException": "these credentials are of no account; check them",
    "InvalidClientTokenId": "these credentials are of no account; check them",
    "ResourceNotFoundException": "deploy first, or check aws_prefix and the region",
    "AWS.SimpleQueueService.NonExistentQueue": "deploy first, or check aws_prefix and the region",
    "QueueDoesNotExist": "deploy first, or check aws_prefix and the region",
    "NoSuchBucket": "deploy first, or check aws_prefix and aws_account",
    "NotFound": "deploy first, or check aws_prefix and the region",
}


class Clients:
    """AWS clients of one process, in the region and with the credentials of the environment.

    `region` and `endpoint` override what botocore finds there. Safe to share between threads.
    """

    def __init__(self, *, region: str = "", endpoint: str = "", tries_max: int = TRIES_MAX) -> None:
        self._region = region
        self._endpoint = endpoint
        self._tries_max = tries_max
        self._making = RLock()

    @cached_property
    def session(self) -> Session:
        """What all clients are made of; hooks registered here see the calls of later clients."""
        from botocore.session import Session

        # botocore alone would not take AWS_REGION, which Terraform and the other SDKs do.
        region = ("region", ["AWS_REGION", "AWS_DEFAULT_REGION"], None, None)
        return Session({"region": region})

    @cached_property
    def kinesis(self) -> KinesisClient:
        client: KinesisClient = self._client("kinesis")
        return client

    @cached_property
    def sqs(self) -> SQSClient:
        client: SQSClient = self._client("sqs")
        return client

    @cached_property
    def dynamodb(self) -> DynamoDBClient:
        client: DynamoDBClient = self._client("dynamodb")
        return client

    @cached_property
    def s3(self) -> S3Client:
        client: S3Client = self._client("s3")
        return client

    @cached_property
    def sns(self) -> SNSClient:
        # Asked once: what it doesn't take waits in the outbox, where it is in nobody's way.
        client: SNSClient = self._client("sns", tries_max=1)
        return client

    @cached_property
    def firehose(self) -> FirehoseClient:
        client: FirehoseClient = self._client("firehose")
        return client

    @cached_property
    def sts(self) -> STSClient:
        client: STSClient = self._client("sts")
        return client

    @cached_property
    def athena(self) -> AthenaClient:
        client: AthenaClient = self._client("athena")
        return client

    @cached_property
    def glue(self) -> GlueClient:
        client: GlueClient = self._client("glue")
        return client

    @cached_property
    def cloudwatch(self) -> CloudWatchClient:
        client: CloudWatchClient = self._client("cloudwatch")
        return client

    @cached_property
    def account(self) -> str:
        """The number of the account that the credentials are of."""
        with asked("who am I (sts:GetCallerIdentity)"):
            return self.sts.get_caller_identity()["Account"]

    def in_region(self, region: str) -> Clients:
        """Clients with the same credentials in another region; "" is that of these."""
        if region in ("", self._region or self.session.get_config_variable("region")):
            return self
        other = Clients(region=region, endpoint=self._endpoint, tries_max=self._tries_max)
        other.session = self.session
        return other

    def arn(self, client: Any, service: str, account: str, name: str) -> str:
        """The ARN of something in the region of `client`."""
        meta = client.meta
        return f"arn:{meta.partition}:{service}:{meta.region_name}:{account}:{name}"

    def _client(self, service: str, *, tries_max: int = 0) -> Any:
        from botocore.config import Config

        config = Config(
            retries={"mode": "standard", "total_max_attempts": tries_max or self._tries_max},
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            max_pool_connections=CONNECTIONS_MAX,
            tcp_keepalive=True,
        )
        with self._making, asked(f"use {service}"):
            return self.session.create_client(
                service,
                region_name=self._region or None,
                endpoint_url=self._endpoint or None,
                config=config,
            )


@contextmanager
def asked(what: str) -> Iterator[None]:
    """botocore's errors as ours, naming what was asked of AWS and what to do."""
    from botocore.exceptions import (
        BotoCoreError,
        ClientError,
        NoCredentialsError,
        NoRegionError,
    )
    from botocore.parsers import ResponseParserError

    try:
        yield
    except ClientError as e:
        error = e.response.get("Error", {})
        code = error.get("Code", "")
        hint = f"; {_HINTS[code]}" if code in _HINTS else ""
        raise AwsError(
            f"{what}: AWS answered {code}: {error.get('Message', '')[:500]}{hint}",
            code=code,
            busy=passes_by_itself(e),
        ) from e
    except NoCredentialsError as e:
        raise AwsError(f"{what}: there are no AWS credentials; run `aws configure`") from e
    except NoRegionError as e:
        raise AwsError(f"{what}: no region is set; set AWS_REGION") from e
    except ResponseParserError as e:
        raise AwsError(f"{what}: what answered is not AWS: {e}"[:1_000], busy=True) from e
    except BotoCoreError as e:
        name, busy = type(e).__name__, passes_by_itself(e)
        raise AwsError(f"{what}: {name}: {e}", code=name, busy=busy) from e


def error_code(error: Exception) -> str:
    """AWS's word for an error of botocore's, empty for other errors."""
    response = getattr(error, "response", None)
    return str(response.get("Error", {}).get("Code", "")) if isinstance(response, dict) else ""


def passes_by_itself(error: Exception) -> bool:
    """Whether asking again later may succeed: AWS is busy, or didn't answer in time.

    The call may have taken effect all the same.
    """
    from botocore.exceptions import ClientError, HTTPClientError
    from botocore.exceptions import ConnectionError as NoConnection

    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return error_code(error) in _BUSY_CODES or status >= 500
    return isinstance(error, NoConnection | HTTPClientError)
