"""A request reaches a function only by an API, route, integration and permission that fit."""

from typing import Any

import pytest
from tests.infra.api import FAILED, FORBIDDEN, NOT_FOUND, Api, Integration, permits
from tests.infra.doors import Answer, Request
from tests.infra.drive import Drive
from tests.infra.emulator import ACCOUNT, REGION
from tests.infra.mappings import Outcome

FUNCTION = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:Collector"
URI = f"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/{FUNCTION}/invocations"
GOOD = Integration("AWS_PROXY", URI, "POST", "2.0")
HTTP = Api("a1", ["$default"], {"$default": GOOD})
REST = Api("a1", ["live"], {"ANY /": GOOD, "ANY /{proxy+}": GOOD._replace(payload="1.0")})
HEALTH = Request("GET", "/health")
OK = Answer(200, {}, b"well")


class Invoked:
    """A function that is well, and what it was invoked with."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []
        self.sources: list[str] = []

    def invoke(self, function: str, event: Any) -> Outcome:
        self.events.append((function, event))
        return Outcome({"statusCode": 200, "body": "well"})

    def permitted(self, _: str, source: str) -> bool:
        self.sources.append(source)
        return True

    def send(self, api: Api, stage: str, request: Request = HEALTH) -> Answer:
        return api.send(stage, request, self.permitted, self.invoke)


def test_the_function_is_the_one_that_the_integration_names() -> None:
    function = Invoked()
    assert function.send(HTTP, "$default") == OK
    ((name, event),) = function.events
    assert (name, event["version"]) == ("Collector", "2.0")
    assert function.sources == [f"arn:aws:execute-api:{REGION}:{ACCOUNT}:a1/$default/$default"]


def test_the_payload_version_says_the_form_of_the_event() -> None:
    function = Invoked()
    function.send(REST, "live")
    function.send(Api("a1", ["$default"], {"$default": GOOD._replace(payload="1.0")}), "$default")
    assert [event["path"] for _, event in function.events] == ["/health"] * 2
    assert function.sources[0].endswith(":a1/live/ANY/{proxy+}")


@pytest.mark.parametrize(
    ("api", "stage", "answer"),
    [
        (HTTP, "live", NOT_FOUND),
        (Api("a1", [], HTTP.routes), "$default", FORBIDDEN),
        (Api("a1", ["$default"], {"GET /v1": GOOD}), "$default", NOT_FOUND),
        (Api("a1", ["live"], {"ANY /": GOOD}), "live", FORBIDDEN),
    ],
)
def test_without_a_stage_or_a_route_there_is_nothing(api: Api, stage: str, answer: Answer) -> None:
    assert Invoked().send(api, stage) == answer


@pytest.mark.parametrize(
    "wrong",
    [
        GOOD._replace(uri=FUNCTION),
        GOOD._replace(uri=URI.removesuffix("/invocations")),
        GOOD._replace(uri=URI.replace(REGION, "us-east-1")),
        GOOD._replace(method="ANY"),
        GOOD._replace(type="AWS"),
    ],
)
def test_an_integration_that_does_not_fit_fails(wrong: Integration) -> None:
    assert Invoked().send(Api("a1", ["$default"], {"$default": wrong}), "$default") == FAILED


def test_an_api_that_may_not_invoke_the_function_fails() -> None:
    assert HTTP.send("$default", HEALTH, lambda *_: False, Invoked().invoke) == FAILED


SOURCE = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:a1/*/$default"
ALLOWED: dict[str, Any] = {
    "Effect": "Allow",
    "Action": "lambda:InvokeFunction",
    "Principal": {"Service": "apigateway.amazonaws.com"},
    "Resource": FUNCTION,
    "Condition": {"ArnLike": {"AWS:SourceArn": SOURCE}},
}


@pytest.mark.parametrize(
    ("changed", "good"),
    [
        ({}, True),
        ({"Condition": {"ArnLike": {"AWS:SourceArn": SOURCE.replace("a1", "a2")}}}, False),
        ({"Condition": {"ArnLike": {"AWS:SourceArn": SOURCE.replace("$default", "/v1")}}}, False),
        ({"Principal": {"Service": "events.amazonaws.com"}}, False),
        ({"Resource": FUNCTION.replace("Collector", "Replay")}, False),
        ({"Effect": "Deny"}, False),
    ],
)
def test_a_permission_is_for_one_service_one_source_and_one_function(
    changed: dict[str, Any], good: bool
) -> None:
    asked = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:a1/$default/$default"
    policy = {"Statement": [ALLOWED | changed]}
    assert permits(policy, "Collector", "apigateway.amazonaws.com", asked) is good


def test_the_applied_api_is_asked_and_nothing_else(drive: Drive) -> None:
    """Take away the permission that was applied: nobody reaches the collector any more."""
    assert drive.request(HEALTH).status == 200
    client, name = drive.emulator.client("lambda"), drive.names.function("collector")
    sid = {"starter": "HttpApi", "scale": "RestApi"}[drive.stack.profile]
    client.remove_permission(FunctionName=name, StatementId=sid)
    drive.begin_anew()
    try:
        assert drive.request(HEALTH) == FAILED
    finally:
        url = drive.outputs["collector_url"]
        api = url.removeprefix("https://").partition(".")[0]
        part = "/*/$default" if sid == "HttpApi" else "/*"
        client.add_permission(
            FunctionName=name,
            StatementId=sid,
            Action="lambda:InvokeFunction",
            Principal="apigateway.amazonaws.com",
            SourceArn=f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{api}{part}",
        )
        drive.begin_anew()
    assert drive.request(HEALTH).status == 200
