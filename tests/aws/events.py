"""Events as Lambda gives them to a function, and the context beside them."""

from base64 import b64encode
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qs
from uuid import uuid4

from aws_lambda_powertools.utilities.typing import LambdaContext

REGION = "eu-central-1"
ACCOUNT = "123456789012"
NOW_MS = 1_763_719_200_000  # 2025-11-21T10:00:00Z


class Context(LambdaContext):
    """What Lambda says about an invocation, and how much time it leaves: `left_ms`, or the next of
    these at each question, the last for ever.
    """

    def __init__(self, *left_ms: int) -> None:
        self._left_ms = list(left_ms or [60_000])
        self._function_name = "shopstream-Function"
        self._memory_limit_in_mb = 1024
        self._invoked_function_arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:Function"
        self._aws_request_id = uuid4().hex

    def get_remaining_time_in_millis(self) -> int:  # type: ignore[override]  # static in the stub
        return self._left_ms.pop(0) if len(self._left_ms) > 1 else self._left_ms[0]


def http_event(
    method: str,
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    query: str = "",
) -> dict[str, Any]:
    """Payload 2.0, as HTTP APIs give it: lower-case names of headers, binary bodies in base64."""
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {name.lower(): value for name, value in (headers or {}).items()},
        "requestContext": {"http": {"method": method, "path": path, "sourceIp": "192.0.2.1"}},
        "isBase64Encoded": False,
    }
    return event | _body(body)


def rest_event(
    method: str,
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] | None = None,
    query: str = "",
) -> dict[str, Any]:
    """Payload 1.0, as REST APIs give it: headers as they came, the query taken apart."""
    event: dict[str, Any] = {
        "resource": "/{proxy+}",
        "path": path,
        "httpMethod": method,
        "headers": dict(headers or {}),
        "multiValueHeaders": {name: [value] for name, value in (headers or {}).items()},
        "multiValueQueryStringParameters": parse_qs(query) or None,
        "requestContext": {"stage": "live", "path": f"/live{path}"},
        "body": b64encode(body).decode() if body else None,
        "isBase64Encoded": bool(body),
    }
    return event


def _body(body: bytes) -> dict[str, Any]:
    try:
        return {"body": body.decode()} if body else {}
    except UnicodeDecodeError:
        return {"body": b64encode(body).decode(), "isBase64Encoded": True}


def queue_event(queue: str, messages: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """A batch of a FIFO queue: (group, body) of each message; their ids are m0, m1, …"""
    arn = f"arn:aws:sqs:{REGION}:{ACCOUNT}:{queue}"
    return {
        "Records": [
            {
                "messageId": f"m{n}",
                "receiptHandle": f"r{n}",
                "body": body,
                "attributes": {
                    "ApproximateReceiveCount": "1",
                    "SentTimestamp": str(NOW_MS),
                    "SequenceNumber": f"{n:020d}",
                    "MessageGroupId": group,
                    "SenderId": "AIDA",
                    "MessageDeduplicationId": f"d{n}",
                    "ApproximateFirstReceiveTimestamp": str(NOW_MS),
                },
                "messageAttributes": {},
                "md5OfBody": "",
                "eventSource": "aws:sqs",
                "eventSourceARN": arn,
                "awsRegion": REGION,
            }
            for n, (group, body) in enumerate(messages)
        ]
    }


def shard_event(stream: str, records: Iterable[tuple[str, bytes]]) -> dict[str, Any]:
    """A batch of one Kinesis shard: (partition key, data); sequence numbers are 0, 1, …"""
    shard = "shardId-000000000000"
    return {
        "Records": [
            {
                "kinesis": {
                    "kinesisSchemaVersion": "1.0",
                    "partitionKey": key,
                    "sequenceNumber": str(n),
                    "data": b64encode(data).decode(),
                    "approximateArrivalTimestamp": NOW_MS / 1_000,
                },
                "eventSource": "aws:kinesis",
                "eventVersion": "1.0",
                "eventID": f"{shard}:{n}",
                "eventName": "aws:kinesis:record",
                "invokeIdentityArn": f"arn:aws:iam::{ACCOUNT}:role/function",
                "awsRegion": REGION,
                "eventSourceARN": f"arn:aws:kinesis:{REGION}:{ACCOUNT}:stream/{stream}",
            }
            for n, (key, data) in enumerate(records)
        ]
    }


def change(n: int, image: Mapping[str, Any], name: str = "INSERT") -> dict[str, Any]:
    """A record of a table's stream about an item's attributes, as DynamoDB gives them."""
    typed = {
        key: {"B": b64encode(value["B"]).decode()} if "B" in value else dict(value)
        for key, value in image.items()
    }
    return {
        "eventID": f"e{n}",
        "eventName": name,
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": REGION,
        "dynamodb": {
            "ApproximateCreationDateTime": NOW_MS // 1_000,
            "Keys": {"pk": typed["pk"], "sk": typed["sk"]},
            "NewImage": typed,
            "SequenceNumber": str(n),
            "SizeBytes": 1,
            "StreamViewType": "NEW_IMAGE",
        },
        "eventSourceARN": f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/t/stream/s",
    }


def failed(answer: Mapping[str, Any]) -> list[str]:
    """The ids that a function reported as failed."""
    return [found["itemIdentifier"] for found in answer["batchItemFailures"]]
