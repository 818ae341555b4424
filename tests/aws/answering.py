"""AWS's part played by a test: what a client asks is answered by a function, over no network.

It stands where Stubber does, below the client's own retries: a call that fails here has been given
up by botocore.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import chain, combinations
from threading import Lock, local
from typing import Any, NoReturn

from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ClientError, ReadTimeoutError

from shopstream.aws.clients import Clients

Answer = Callable[[Mapping[str, Any]], dict[str, Any]]

SUBSETS = [set(chosen) for n in range(6) for chosen in combinations(range(5), n)]
"""Every subset of five."""


@cache
def no_aws() -> Clients:
    """Clients that can reach nothing; the same for all tests, since making them takes long."""
    clients = Clients(region="eu-central-1", endpoint="http://127.0.0.1:9")
    clients.session.set_credentials("testing", "testing")
    return clients


_answers: dict[str, tuple[Answer, list[Mapping[str, Any]]]] = {}
_asking = local()
_alone = Lock()


def answer(client: Any, operation: str, by: Answer) -> list[Mapping[str, Any]]:
    """Have `by` answer an operation of `client` from now on; returns the list that calls are noted
    in.
    """
    if operation not in _answers:
        service = client.meta.service_model.service_id.hyphenize()
        events = client.meta.events
        events.register_first(f"before-parameter-build.{service}.{operation}", _note)
        events.register_first(f"before-call.{service}.{operation}", _reply)
    asked: list[Mapping[str, Any]] = []
    _answers[operation] = (by, asked)
    return asked


def _note(params: Mapping[str, Any], model: Any, **_: Any) -> None:
    _asking.params = params
    _answers[model.name][1].append(params)


def _reply(model: Any, **_: Any) -> tuple[AWSResponse, dict[str, Any]]:
    by = _answers[model.name][0]
    status = 200
    try:
        with _alone:
            parsed = by(_asking.params)
    except ClientError as e:  # the client makes an error of the operation's own of it
        status, parsed = e.response["ResponseMetadata"]["HTTPStatusCode"], dict(e.response)
    return AWSResponse("http://127.0.0.1:9", status, HTTPHeaders(), None), parsed


def refuse(code: str, message: str = "", status: int = 400) -> NoReturn:
    """AWS answers with an error."""
    raise ClientError(
        {
            "Error": {"Code": code, "Message": message},
            "ResponseMetadata": {
                "HTTPStatusCode": status,
                "RequestId": "",
                "HostId": "",
                "HTTPHeaders": {},
                "RetryAttempts": 0,
            },
        },
        "Operation",
    )


def get_lost() -> NoReturn:
    """AWS's answer never comes."""
    raise ReadTimeoutError(endpoint_url="http://127.0.0.1:9")


def by_turns(*subsets: set[int]) -> Iterator[set[int]]:
    """Which of a call's things fail: the given ones call by call, then none."""
    return chain(subsets, iter(lambda: set[int](), None))
