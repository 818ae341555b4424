"""The collector on AWS and the one on this machine: the same answers, the same in the log."""

import gzip
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import msgspec
import pytest
from tests.aws.conftest import Stack, forget_what_is_open
from tests.aws.events import Context, http_event, rest_event
from tests.e2e.collector.conftest import DATA, RunningCollector
from tests.e2e.collector.test_collector_events import ODD, UNREADABLE
from tests.e2e.collector.test_collector_segment import as_sent, requests_of

from shopstream.aws import handlers
from shopstream.events import Entry
from shopstream.keys import KEYS_FILE
from shopstream.local.log import SqliteLog

HEADERS = (
    *("content-type", "retry-after", "www-authenticate", "allow", "location", "vary"),
    *("access-control-allow-origin", "access-control-allow-credentials"),
    *("access-control-allow-headers", "access-control-allow-methods", "access-control-max-age"),
    *("access-control-expose-headers", "x-content-type-options", "content-security-policy"),
)
NOT_SENT_ON = ("content-length", "transfer-encoding", "host", "connection", "accept-encoding")


class Sent(NamedTuple):
    """A request as a client makes it."""

    method: str
    path: str
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    query: str = ""


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    """The collector on this machine, which asks for keys as the other does."""
    keys: list[dict[str, Any]] = [
        {"kind": "write"},
        {"kind": "write", "topics": ["clicks"]},
        {"kind": "read"},
    ]
    running = RunningCollector(tmp_path_factory.mktemp("local") / "data", SqliteLog, keys)
    # Else look-ups would say that no processor has run, which on AWS nobody can know.
    running.engine.write_tables(0).close()
    yield running
    running.stop()


@pytest.fixture(scope="module")
def _same_keys(stack: Stack, local: RunningCollector) -> None:
    body = (local.data_dir / KEYS_FILE).read_bytes()
    stack.clients.s3.put_object(Bucket=stack.names.lake, Key="config/keys.json", Body=body)
    forget_what_is_open()


def answered_here(local: RunningCollector, sent: Sent) -> Answer:
    url = f"{sent.path}?{sent.query}" if sent.query else sent.path
    found = local.client.request(
        sent.method, url, content=sent.body, headers=list(sent.headers), follow_redirects=False
    )
    return Answer(found.status_code, of_interest(found.headers), found.content)


def answered_there(sent: Sent, *, old: bool) -> Answer:
    make = rest_event if old else http_event
    event = make(sent.method, sent.path, sent.body, dict(sent.headers), sent.query)
    found = handlers.collector(event, Context())
    return Answer(found["statusCode"], of_interest(found["headers"]), found["body"].encode())


def of_interest(headers: Any) -> dict[str, str]:
    return {name: headers[name] for name in HEADERS if name in headers}


def in_log(entries: Iterable[Entry]) -> list[tuple[str, str, bytes, bytes]]:
    """What the log holds, however it is put together."""
    return sorted((e.topic, e.dialect, e.context, raw) for e in entries for raw in e.events)


def key(secret: str) -> tuple[tuple[str, str], ...]:
    return (("authorization", f"Bearer {secret}"),) if secret else ()


def requests(local: RunningCollector) -> Iterator[Sent]:
    write, clicks, read = local.secrets
    good = b'{"user_id":"u1","event_type":"view","timestamp":"2025-11-21T10:00:00Z"}'
    bodies = [b"", b" \n", b"[]", good, good + b"\n" + good, b"[" + good + b",{]", good + b"\n{"]
    bodies += [*UNREADABLE.values(), *ODD.values()]
    bodies += [gzip.compress(good), gzip.compress(good)[:-5], gzip.compress(gzip.compress(good))]
    for body in bodies:
        yield Sent("POST", "/v1/events/clicks", body, key(write))
    for topic in ("orders", "carts", "stock", "nothing"):
        yield Sent("POST", f"/v1/events/{topic}", b'{"any":1}', key(write))
        yield Sent("POST", f"/v1/events/{topic}", b'{"any":1}', key(clicks))
        yield Sent("POST", f"/v1/validate/{topic}", b'{"any":1}', key(write))
    for secret in ("", "wrong", read, clicks):
        yield Sent("POST", "/v1/events/orders", good, key(secret))
        yield Sent("POST", "/v1/batch", b'{"batch":[{"type":"page"}]}', key(secret))
        yield Sent("GET", "/v1/users/u%2F1%20x/offers", headers=key(secret))
    for dialect in ("segment", "ga4", "shopstream", "none"):
        yield Sent("POST", "/v1/events/clicks", b'{"n":1}', key(write), f"dialect={dialect}")
    for body in (b"", b"{", b'{"batch":[]}', b'{"batch":[1,{"type":"page"}]}', b'{"writeKey":"x"}'):
        yield Sent("POST", "/v1/batch", body, key(write))
        yield Sent("POST", "/v1/track", body)
    asking = (("origin", "https://a.example"), ("access-control-request-headers", "x-a"))
    yield Sent("OPTIONS", "/v1/events/clicks", headers=asking)
    yield Sent("OPTIONS", "/v1/batch")
    yield Sent("POST", "/v1/events/clicks", good, (*key(write), ("origin", "https://a.example")))
    yield Sent("GET", "/v1/events/clicks", headers=key(write))
    yield Sent("PUT", "/v1/batch", good, key(write))
    for path in ("/", "/nothing", "/v1/orders/none", "/v1/users/%01/offers"):
        yield Sent("GET", path, headers=key(read))
    yield Sent("GET", "/v1/users/u1/events", headers=key(read), query="limit=0")


@pytest.mark.usefixtures("_same_keys")
@pytest.mark.parametrize("old", [False, True], ids=["payload-2.0", "payload-1.0"])
def test_every_request_has_the_same_answer_and_the_same_effect(
    stack: Stack, local: RunningCollector, old: bool
) -> None:
    stack.in_queue()
    local.since = local.server.collector.writer.end
    for sent in requests(local):
        assert answered_there(sent, old=old) == answered_here(local, sent), sent
    kept = [entry for entry in local.entries() if entry.topic in ("clicks", "carts")]
    assert in_log(stack.in_queue()) == in_log(kept)


@pytest.mark.usefixtures("_same_keys")
def test_what_real_sdks_send_is_answered_and_kept_the_same(
    stack: Stack, local: RunningCollector
) -> None:
    files = sorted((DATA / "sdk").glob("*.json"))
    if not files:
        pytest.skip(f"no SDK recordings in {DATA / 'sdk'}; set SHOPSTREAM_TEST_DATA")
    stack.in_queue()
    local.since = local.server.collector.writer.end
    (secret, *_) = local.secrets
    for file in files:
        for request in requests_of(msgspec.json.decode(file.read_bytes())):
            names = {n.lower(): v for n, v in request["headers"] if n.lower() not in NOT_SENT_ON}
            names = {n: v for n, v in names.items() if n != "authorization"} | dict(key(secret))
            if request["method"] == "OPTIONS":
                names.pop("authorization")
            sent = Sent(request["method"], request["path"], as_sent(request), tuple(names.items()))
            assert answered_there(sent, old=False) == answered_here(local, sent), request["path"]
    assert in_log(stack.in_queue()) == in_log(local.entries())
