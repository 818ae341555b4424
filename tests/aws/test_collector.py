"""The collector behind API Gateway, called as Lambda calls it."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from tests.aws.conftest import Faults, Stack, forget_what_is_open
from tests.aws.events import Context, http_event, rest_event

from shopstream.aws import handlers
from shopstream.aws.key_file import S3KeyFile
from shopstream.events import Entry, Offer
from shopstream.keys import add_key, revoke_key

Ask = Callable[..., dict[str, Any]]
CLICK = b'{"user_id":"u1","event_type":"view","timestamp":"2025-11-21T10:00:00Z"}'
_encode = msgspec.json.Encoder(decimal_format="number").encode


class Keys:
    """A key of each kind."""

    def __init__(self, stack: Stack) -> None:
        self._file = S3KeyFile(stack.clients, stack.names)
        now = datetime.now(UTC)
        self.write_id, self.write = self._add(kind="write", now=now)
        _, self.clicks = self._add(kind="write", now=now, topics=["clicks"])
        _, self.read = self._add(kind="read", now=now)

    def _add(self, **key: Any) -> tuple[str, str]:
        made, secret = add_key(self._file, **key)
        return made.id, secret

    def revoke(self, key_id: str) -> None:
        revoke_key(self._file, key_id, now=datetime.now(UTC))


@pytest.fixture(scope="module")
def keys(stack: Stack) -> Keys:
    return Keys(stack)


@pytest.fixture(params=[http_event, rest_event], ids=["payload-2.0", "payload-1.0"])
def ask(request: pytest.FixtureRequest, stack: Stack, keys: Keys) -> Ask:
    def asked(*args: Any, key: str = keys.write, **more: Any) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        headers |= more.pop("headers", {})
        event = request.param(*args, headers=headers, **more)
        found: dict[str, Any] = handlers.collector(event, Context())
        return found

    return asked


@pytest.fixture(autouse=True)
def _empty_queue(stack: Stack) -> None:
    stack.in_queue()


def events_in(entries: list[Entry]) -> list[bytes]:
    return [raw for entry in entries if entry.dialect != "rejected" for raw in entry.events]


def test_an_event_is_in_the_log_when_it_is_answered(ask: Ask, stack: Stack) -> None:
    answer = ask("POST", "/v1/events/clicks", CLICK)
    assert (answer["statusCode"], answer["body"]) == (200, '{"received":1,"rejected":0}')
    assert answer["isBase64Encoded"] is False
    assert answer["headers"]["content-type"] == "application/json"
    (entry,) = stack.in_queue()
    assert (entry.topic, entry.source, entry.events) == ("clicks", "http", [CLICK])


def test_a_gzipped_batch_labelled_as_anything_is_taken(ask: Ask, stack: Stack) -> None:
    body = gzip.compress(b"[" + CLICK + b"," + CLICK + b"]")
    answer = ask("POST", "/v1/events/clicks", body, headers={"Content-Type": "text/plain"})
    assert answer["body"] == '{"received":2,"rejected":0}'
    assert events_in(stack.in_queue()) == [CLICK, CLICK]


def test_good_events_beside_broken_ones_are_taken(ask: Ask, stack: Stack) -> None:
    answer = ask("POST", "/v1/events/clicks", CLICK + b"\n{broken\n")
    assert answer["body"] == '{"received":2,"rejected":1}'
    assert events_in(stack.in_queue()) == [CLICK]


def test_what_cannot_all_be_taken_in_time_is_answered_before_anybody_stops_waiting(
    ask: Ask, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shopstream.aws.collector.APPEND_S", 0.0)
    batch = b"\n".join(CLICK.replace(b"u1", b"u%d" % n) for n in range(120))
    answer = ask("POST", "/v1/events/clicks", batch)
    assert (answer["statusCode"], answer["headers"]["retry-after"]) == (503, "5")
    # Whoever sends needn't know what the queues are called.
    assert json.loads(answer["body"]) == {
        "code": "log_full",
        "message": "the log takes no more events now; try again later",
    }
    assert 0 < len(stack.in_queue()) < 120
    monkeypatch.undo()
    assert ask("POST", "/v1/events/clicks", batch)["statusCode"] == 200
    assert len(events_in(stack.in_queue())) == 120


def test_tables_that_cannot_be_read_now_are_not_called_absent(
    ask: Ask, keys: Keys, faults: Faults
) -> None:
    faults.fail("Query", "Offers")
    answer = ask("GET", "/v1/users/u1/offers", key=keys.read)
    assert (answer["statusCode"], json.loads(answer["body"])) == (
        503,
        {"code": "unavailable", "message": "the tables can't be read now; try again"},
    )
    assert answer["headers"]["retry-after"] == "2"


def test_an_unreadable_body_is_refused_and_kept(ask: Ask, stack: Stack) -> None:
    answer = ask("POST", "/v1/events/clicks", b"\xff\xfe nonsense")
    assert answer["statusCode"] == 400
    assert json.loads(answer["body"])["code"] == "encoding"
    (entry,) = stack.in_queue()
    assert entry.dialect == "rejected"


def test_segment_finds_its_key_in_the_body(ask: Ask, stack: Stack, keys: Keys) -> None:
    track = {"type": "track", "event": "Product Viewed", "anonymousId": "a1", "messageId": "m1"}
    batch = {"batch": [track], "sentAt": "2025-11-21T10:00:00Z", "writeKey": keys.write}
    answer = ask("POST", "/v1/batch", json.dumps(batch).encode(), key="")
    assert (answer["statusCode"], answer["body"]) == (200, '{"success":true}')
    (entry,) = stack.in_queue()
    assert entry.dialect == "segment"


def test_the_query_says_the_dialect_and_may_bring_the_key(
    ask: Ask, stack: Stack, keys: Keys
) -> None:
    event = b'{"name":"view_item","client_id":"c1"}'
    query = f"dialect=ga4&writeKey={keys.write}"
    assert ask("POST", "/v1/events/clicks", event, key="", query=query)["statusCode"] == 200
    (entry,) = stack.in_queue()
    assert entry.dialect == "ga4"


@pytest.mark.parametrize(
    ("secret", "path", "status"),
    [
        ("", "/v1/events/clicks", 401),
        ("wrong", "/v1/events/clicks", 401),
        ("read", "/v1/events/clicks", 401),
        ("clicks", "/v1/events/orders", 403),
        ("write", "/v1/users/u1/offers", 401),
        ("", "/v1/users/u1/offers", 401),
    ],
)
def test_keys_are_asked_for(
    ask: Ask, stack: Stack, keys: Keys, secret: str, path: str, status: int
) -> None:
    method = "GET" if "users" in path else "POST"
    answer = ask(
        method, path, CLICK if method == "POST" else b"", key=getattr(keys, secret, secret)
    )
    assert answer["statusCode"] == status
    assert stack.in_queue() == []


def test_a_browser_may_ask_before_it_sends(ask: Ask) -> None:
    headers = {"Origin": "https://shop.example", "Access-Control-Request-Headers": "authorization"}
    answer = ask("OPTIONS", "/v1/events/clicks", key="", headers=headers)
    assert answer["statusCode"] == 200
    assert answer["headers"]["access-control-allow-origin"] == "https://shop.example"
    assert answer["headers"]["access-control-allow-headers"] == "authorization"


def test_an_answer_to_a_browser_names_its_origin(ask: Ask) -> None:
    headers = {"Origin": "https://shop.example"}
    answer = ask("POST", "/v1/events/clicks", CLICK, headers=headers)
    assert answer["headers"]["access-control-allow-origin"] == "https://shop.example"
    assert answer["headers"]["access-control-expose-headers"] == "Retry-After"


def test_a_users_offers_are_looked_up_by_an_id_of_any_letters(
    ask: Ask, stack: Stack, keys: Keys
) -> None:
    now = datetime.now(UTC)
    offer = Offer(
        offer_id="o1", rule="r", version=1, user_id="a/b c%", key="k", trigger="t", reason="why",
        made_at=now, expires_at=now + timedelta(days=1), delivered=True,
    )  # fmt: skip
    batch = stack.items.batch()
    batch.put("offers", "a/b c%", "o1", _encode(offer))
    stack.items.write(batch)
    answer = ask("GET", "/v1/users/a%2Fb%20c%25/offers", key=keys.read, query="limit=5")
    assert answer["statusCode"] == 200
    assert [found["offer_id"] for found in json.loads(answer["body"])["offers"]] == ["o1"]


def test_an_order_that_nobody_knows_is_not_found(ask: Ask, keys: Keys) -> None:
    assert ask("GET", "/v1/orders/none", key=keys.read)["statusCode"] == 404


def test_pages_are_answered_too(ask: Ask) -> None:
    assert ask("GET", "/docs")["body"].startswith("<!doctype html>")
    spec = json.loads(ask("GET", "/openapi.json")["body"])
    assert "/health" in spec["paths"]
    assert "/metrics" not in spec["paths"]
    assert ask("GET", "/metrics")["statusCode"] == 404
    assert ask("GET", "/")["headers"]["location"] == "/docs"


def test_a_verdict_stores_nothing(ask: Ask, stack: Stack) -> None:
    answer = ask("POST", "/v1/validate/clicks", CLICK)
    assert json.loads(answer["body"])["valid"] == 1
    assert stack.in_queue() == []


def test_health_tells_of_letters_that_are_dead(ask: Ask, stack: Stack) -> None:
    forget_what_is_open()
    assert json.loads(ask("GET", "/health", key="")["body"])["status"] == "ok"
    url = stack.clients.sqs.get_queue_url(QueueName=stack.names.failures)["QueueUrl"]
    stack.clients.sqs.send_message(QueueUrl=url, MessageBody="x")
    forget_what_is_open()
    health = json.loads(ask("GET", "/health", key="")["body"])
    assert (health["status"], health["delivering"]) == ("degraded", True)
    assert stack.names.failures in health["reasons"][0]
    (letter,) = stack.clients.sqs.receive_message(QueueUrl=url)["Messages"]
    stack.clients.sqs.delete_message(QueueUrl=url, ReceiptHandle=letter["ReceiptHandle"])


def test_nothing_is_answered_200_that_the_log_did_not_take(
    ask: Ask, stack: Stack, faults: Faults
) -> None:
    faults.fail("SendMessageBatch", "")
    answer = ask("POST", "/v1/events/clicks", CLICK)
    assert answer["statusCode"] == 503
    assert int(answer["headers"]["retry-after"]) > 0
    faults.heal()
    assert ask("POST", "/v1/events/clicks", CLICK)["statusCode"] == 200
    assert events_in(stack.in_queue()) == [CLICK]


def test_a_revoked_key_is_refused_soon(
    ask: Ask, stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    fresh = Keys(stack)
    forget_what_is_open()
    assert ask("POST", "/v1/events/clicks", CLICK, key=fresh.write)["statusCode"] == 200
    fresh.revoke(fresh.write_id)
    monkeypatch.setattr("shopstream.aws.collector.KEYS_EVERY_S", 0.0)
    assert ask("POST", "/v1/events/clicks", CLICK, key=fresh.write)["statusCode"] == 401


def test_without_any_key_nothing_is_open(ask: Ask, stack: Stack) -> None:
    s3, lake = stack.clients.s3, stack.names.lake
    kept = s3.get_object(Bucket=lake, Key="config/keys.json")["Body"].read()
    s3.delete_object(Bucket=lake, Key="config/keys.json")
    forget_what_is_open()
    assert ask("POST", "/v1/events/clicks", CLICK, key="")["statusCode"] == 401
    assert ask("GET", "/v1/users/u1/offers", key="")["statusCode"] == 401
    s3.put_object(Bucket=lake, Key="config/keys.json", Body=kept)
    forget_what_is_open()
    assert ask("POST", "/v1/events/clicks", CLICK)["statusCode"] == 200


def test_what_was_counted_is_in_the_log_lines(
    ask: Ask, stack: Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    ask("POST", "/v1/events/clicks", CLICK + b"\n{broken")
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    (told,) = [line for line in lines if "_aws" in line]
    assert told["Received"] == [2.0]
    assert told["Rejected"] == [1.0]
    assert told["_aws"]["CloudWatchMetrics"][0]["Namespace"] == stack.names.prefix


def test_when_the_keys_cannot_be_read_a_client_is_told_to_try_again(
    ask: Ask, stack: Stack, faults: Faults
) -> None:
    faults.fail("GetObject", "")
    answer = ask("POST", "/v1/events/clicks", CLICK)
    assert (answer["statusCode"], answer["headers"]["retry-after"]) == (503, "2")
    assert json.loads(answer["body"])["code"] == "unavailable"
    faults.heal()
    assert ask("POST", "/v1/events/clicks", CLICK)["statusCode"] == 200


def test_health_tells_nobody_what_aws_says_of_accounts_and_roles(ask: Ask, faults: Faults) -> None:
    faults.fail("GetQueueUrl", "")
    answer = ask("GET", "/health", key="")
    health = json.loads(answer["body"])
    assert (answer["statusCode"], health["status"]) == (503, "down")
    assert health["reasons"] == ["the log can't be looked at (AccessDeniedException)"]
