"""What was applied that calls functions: the API, rules of EventBridge, functions' own policies.

Which function a request to the collector's address reaches, and in which form, follows from the API
that the address names, its stage, the route that the request takes, the integration's URI and
payload version, and the permission that lets the API invoke the function. Where one of them is
wrong the client gets what API Gateway would answer. Not read: which media types are binary, as the
emulator forgets it; a REST API's bodies all come as base64.
"""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.infra.doors import Answer, Request, answer_of, http_api_event, rest_api_event
from tests.infra.emulator import ACCOUNT, REGION, Emulator
from tests.infra.mappings import Outcome

_FUNCTION = re.compile(
    rf"arn:aws:apigateway:{REGION}:lambda:path/2015-03-31/functions/"
    rf"(arn:aws:lambda:{REGION}:{ACCOUNT}:function:(?P<name>[A-Za-z0-9_-]+))/invocations"
)
NOT_FOUND = Answer(404, {}, b'{"message":"Not Found"}')
FORBIDDEN = Answer(403, {}, b'{"message":"Missing Authentication Token"}')
FAILED = Answer(500, {}, b'{"message":"Internal Server Error"}')


class Integration(NamedTuple):
    """What a route leads to. `payload` is the version of the event's form."""

    type: str
    uri: str
    method: str
    payload: str


class Api(NamedTuple):
    """An applied API. `routes` are `METHOD /path` (`ANY` for every method, `{proxy+}` for any path)
    or `$default`; `stages` those that have been deployed.
    """

    id: str
    stages: Sequence[str]
    routes: Mapping[str, Integration]

    def send(
        self,
        stage: str,
        request: Request,
        permitted: Callable[[str, str], bool],
        invoke: Callable[[str, Any], Outcome],
    ) -> Answer:
        """What a client gets. `permitted` says whether a function may be invoked by an ARN."""
        route = next((r for r in _routes(request) if r in self.routes), "")
        missing = NOT_FOUND if "$default" in self.stages else FORBIDDEN
        if stage not in self.stages or not route:
            return missing
        integration = self.routes[route]
        found = _FUNCTION.fullmatch(integration.uri)
        source = f"arn:aws:execute-api:{REGION}:{ACCOUNT}:{self.id}/{stage}/{_source(route)}"
        # AWS invokes a function by POST, whatever the client's method was.
        if integration[::2] != ("AWS_PROXY", "POST") or not found:
            return FAILED
        if not permitted(found["name"], source):
            return FAILED
        event = {"1.0": rest_api_event, "2.0": http_api_event}[integration.payload]
        return answer_of(invoke(found["name"], event(request)))


def _routes(request: Request) -> list[str]:
    """The routes that a request may take, the most particular first."""
    paths = [request.path, *(["/{proxy+}"] if request.path != "/" else [])]
    methods = (request.method, "ANY")
    return [f"{method} {path}" for path in paths for method in methods] + ["$default"]


def _source(route: str) -> str:
    """The end of the ARN that a function's policy sees."""
    method, _, path = route.partition(" ")
    return f"{method}{path}" if path else route


def applied_api(emulator: Emulator, url: str) -> tuple[Api, str]:
    """The API and the stage that an address leads to."""
    parts = urlsplit(url)
    name, _, domain = (parts.hostname or "").partition(".")
    assert (parts.scheme, domain) == ("https", f"execute-api.{REGION}.amazonaws.com"), url
    stage = parts.path.strip("/")
    if stage:
        return _rest_api(emulator.client("apigateway"), name), stage
    return _http_api(emulator.client("apigatewayv2"), name), "$default"


def _http_api(client: Any, name: str) -> Api:
    integrations = {
        one["IntegrationId"]: Integration(
            one["IntegrationType"],
            one.get("IntegrationUri", ""),
            one.get("IntegrationMethod", ""),
            one.get("PayloadFormatVersion", "1.0"),
        )
        for one in client.get_integrations(ApiId=name)["Items"]
    }
    routes = {
        one["RouteKey"]: integrations[one["Target"].removeprefix("integrations/")]
        for one in client.get_routes(ApiId=name)["Items"]
        if one.get("AuthorizationType", "NONE") == "NONE"
    }
    stages = client.get_stages(ApiId=name)["Items"]
    deployed = [one["StageName"] for one in stages if one.get("AutoDeploy")]
    return Api(name, deployed, routes)


def _rest_api(client: Any, name: str) -> Api:
    routes = {}
    for resource in client.get_resources(restApiId=name)["items"]:
        for method, found in resource.get("resourceMethods", {}).items():
            if found.get("authorizationType") != "NONE" or "methodIntegration" not in found:
                continue
            made = found["methodIntegration"]
            routes[f"{method} {resource['path']}"] = Integration(
                made["type"], made.get("uri", ""), made.get("httpMethod", ""), "1.0"
            )
    deployments = {one["id"] for one in client.get_deployments(restApiId=name)["items"]}
    stages = client.get_stages(restApiId=name)["item"]
    deployed = [one["stageName"] for one in stages if one.get("deploymentId") in deployments]
    return Api(name, deployed, routes)


def permits(policy: Mapping[str, Any], function: str, service: str, source: str) -> bool:
    """Whether a function's own policy lets a service invoke it for a source's ARN."""
    return any(
        one["Effect"] == "Allow"
        and one["Action"] == "lambda:InvokeFunction"
        and one["Principal"] == {"Service": service}
        and one["Resource"].endswith(f":function:{function}")
        and all(
            (how, key.lower()) == ("ArnLike", "aws:sourcearn") and fnmatchcase(source, pattern)
            for how, keys in one.get("Condition", {}).items()
            for key, pattern in keys.items()
        )
        for one in policy["Statement"]
    )


def applied_policy(emulator: Emulator, function: str) -> Mapping[str, Any]:
    """A function's own policy: who may invoke it. Without one nobody may."""
    client = emulator.client("lambda")
    try:
        found: Mapping[str, Any] = json.loads(client.get_policy(FunctionName=function)["Policy"])
    except client.exceptions.ResourceNotFoundException:
        return {"Statement": []}
    return found


class Rule(NamedTuple):
    """A rule of EventBridge with its one function. `input` replaces the event."""

    arn: str
    schedule: str
    function: str
    input: dict[str, Any] | None


def applied_rule(emulator: Emulator, name: str) -> Rule:
    """A rule that is switched on."""
    client = emulator.client("events")
    found = client.describe_rule(Name=name)
    assert found["State"] == "ENABLED", found
    (target,) = client.list_targets_by_rule(Rule=name)["Targets"]
    given = json.loads(target["Input"]) if "Input" in target else None
    function = target["Arn"].rpartition(":")[2]
    return Rule(found["Arn"], found.get("ScheduleExpression", ""), function, given)
