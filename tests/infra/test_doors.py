"""What API Gateway makes of a request and of a function's answer, in both of its forms."""

import base64

import pytest
from tests.infra.doors import Request, answer_of, http_api_event, rest_api_event
from tests.infra.mappings import Outcome

JSON = {"content-type": "application/json"}
GZIPPED = Request("POST", "/v1/batch", b"\x1f\x8b", {**JSON, "content-encoding": "gzip"}, "a=1&a=2")


def test_an_http_api_gives_text_as_text_and_all_else_as_base64() -> None:
    text = http_api_event(Request("POST", "/v1/track", b"{}", JSON))
    assert (text["body"], text["isBase64Encoded"], text["version"]) == ("{}", False, "2.0")
    packed = http_api_event(GZIPPED)
    assert (packed["body"], packed["isBase64Encoded"]) == ("H4s=", True)
    assert packed["rawQueryString"] == "a=1&a=2"
    assert "body" not in http_api_event(Request("GET", "/health"))


def test_a_rest_api_gives_every_body_as_base64_and_repeated_parameters_as_lists() -> None:
    event = rest_api_event(GZIPPED)
    assert base64.b64decode(event["body"]) == GZIPPED.body
    assert event["multiValueQueryStringParameters"] == {"a": ["1", "2"]}
    assert event["requestContext"]["path"] == "/live/v1/batch"
    assert rest_api_event(Request("GET", "/health"))["body"] is None


def test_an_answer_is_what_the_function_says() -> None:
    answer = {"statusCode": 202, "headers": {"X-A": "1"}, "body": "aGk=", "isBase64Encoded": True}
    assert answer_of(Outcome(answer)) == (202, {"x-a": "1"}, b"hi")


@pytest.mark.parametrize("outcome", [Outcome(error="KeyError"), Outcome(None), Outcome({"ok": 1})])
def test_a_function_that_fails_or_answers_nonsense_is_a_bad_gateway(outcome: Outcome) -> None:
    assert answer_of(outcome).status == 502
