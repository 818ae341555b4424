"""What API Gateway makes of an HTTP request before the collector's function sees it, and what it
makes of the function's answer.

From its developer guide: payload format 2.0 of HTTP APIs, proxy integration (1.0) of REST APIs.
"""

import base64
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from tests.infra.mappings import Outcome

ADDRESS = "203.0.113.7"


class Answer(NamedTuple):
    """What a client gets."""

    status: int
    headers: dict[str, str]
    body: bytes


class Request(NamedTuple):
    method: str
    path: str
    body: bytes = b""
    headers: Mapping[str, str] = {}
    query: str = ""


def http_api_event(request: Request) -> dict[str, Any]:
    """Payload format 2.0; bodies that aren't text come as base64."""
    text, is_base64 = _body(request)
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": request.path,
        "rawQueryString": request.query,
        "headers": {name.lower(): value for name, value in _headers(request).items()},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api",
            "domainName": "api.execute-api.eu-central-1.amazonaws.com",
            "domainPrefix": "api",
            "http": {
                "method": request.method,
                "path": request.path,
                "protocol": "HTTP/1.1",
                "sourceIp": ADDRESS,
                "userAgent": "test",
            },
            "requestId": "request",
            "routeKey": "$default",
            "stage": "$default",
            "time": "21/Nov/2025:10:00:00 +0000",
            "timeEpoch": 1763719200000,
        },
        "isBase64Encoded": is_base64,
    }
    return event | ({"body": text} if request.body else {})


def rest_api_event(request: Request) -> dict[str, Any]:
    """Proxy integration with binary media types `*/*`: every body is base64."""
    pairs = parse_qsl(request.query, keep_blank_values=True)
    many: dict[str, list[str]] = {}
    for name, value in pairs:
        many.setdefault(name, []).append(value)
    headers = _headers(request)
    return {
        "resource": "/{proxy+}",
        "path": request.path,
        "httpMethod": request.method,
        "headers": headers,
        "multiValueHeaders": {name: [value] for name, value in headers.items()},
        "queryStringParameters": dict(pairs) or None,
        "multiValueQueryStringParameters": many or None,
        "pathParameters": {"proxy": request.path.lstrip("/")},
        "stageVariables": None,
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "api",
            "httpMethod": request.method,
            "identity": {"sourceIp": ADDRESS, "userAgent": "test"},
            "path": f"/live{request.path}",
            "protocol": "HTTP/1.1",
            "requestId": "request",
            "requestTimeEpoch": 1763719200000,
            "resourcePath": "/{proxy+}",
            "stage": "live",
        },
        "body": base64.b64encode(request.body).decode() if request.body else None,
        "isBase64Encoded": bool(request.body),
    }


def _headers(request: Request) -> dict[str, str]:
    known = {"Host": "api.execute-api.eu-central-1.amazonaws.com", "X-Forwarded-For": ADDRESS}
    length = {"Content-Length": str(len(request.body))} if request.body else {}
    return known | length | dict(request.headers)


def _body(request: Request) -> tuple[str, bool]:
    kind = {name.lower(): value for name, value in request.headers.items()}
    textual = kind.get("content-type", "").startswith(("text/", "application/json"))
    if textual and "content-encoding" not in kind:
        return request.body.decode("utf-8", "replace"), False
    return base64.b64encode(request.body).decode(), True


def answer_of(outcome: Outcome) -> Answer:
    """What the client gets: 502 when the function failed or answered something else."""
    answer = outcome.answer
    if outcome.error or not isinstance(answer, dict) or "statusCode" not in answer:
        return Answer(502, {}, (outcome.error or repr(answer)).encode())
    body = answer.get("body") or ""
    raw = base64.b64decode(body) if answer.get("isBase64Encoded") else body.encode()
    headers = {name.lower(): str(value) for name, value in (answer.get("headers") or {}).items()}
    for name, values in (answer.get("multiValueHeaders") or {}).items():
        headers[name.lower()] = ", ".join(map(str, values))
    return Answer(int(answer["statusCode"]), headers, raw)
