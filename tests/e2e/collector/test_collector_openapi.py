"""/openapi.json is right about every endpoint: schemathesis makes requests from it, good and bad
ones, and holds each answer against it. What it says of each refusal is tried here one by one.
"""

import re
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest

from shopstream.aws import health as aws_health
from shopstream.collector.openapi import METRICS, openapi
from shopstream.collector.pages import VALIDATE_EVENTS_MAX
from shopstream.heartbeats import write_heartbeat
from shopstream.local.tables import RocksTables
from shopstream.settings import load_settings

# 413 is an answer to bad data too: a batch of too many events.
CONFIG = """
[checks.negative_data_rejection]
expected-statuses = ["400", "401", "403", "404", "405", "413"]
"""
KEYS: dict[str, dict[str, Any]] = {
    "write": {"kind": "write"},
    "clicks": {"kind": "write", "topics": ["clicks"]},
    "read": {"kind": "read"},
}
BAD_GZIP = b"\x1f\x8bx"
OFFERS = "/v1/users/u1/offers"
ORDER = "/v1/orders/o1"


def described(**settings: Any) -> Any:
    return openapi(load_settings({"data_dir": "x", **settings}, environ={}), own={METRICS})


def operations_of(description: Any) -> dict[str, Any]:
    return {
        path: operation
        for path, operations in description["paths"].items()
        for operation in operations.values()
    }


def test_every_answer_is_one_that_the_description_tells_of(
    start_collector: Any, tmp_path: Path
) -> None:
    collector = start_collector()
    RocksTables(collector.engine.dir.tables(0)).close()
    alive_for_long = time.time_ns() // 1000 + 3_600_000_000
    beat = {"position": 2**40, "at_us": alive_for_long}
    write_heartbeat(collector.engine.dir.run, "processor-0", beat)
    time.sleep(1.1)
    description = collector.client.get("/openapi.json").json()
    for operations in description["paths"].values():
        # schemathesis has no way to write NDJSON; test_collector_events does.
        operations.get("post", {}).get("requestBody", {}).get("content", {}).pop(
            "application/x-ndjson", None
        )
    (tmp_path / "openapi.json").write_bytes(msgspec.json.encode(description))
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    found = subprocess.run(
        [
            Path(sys.executable).with_name("schemathesis"),
            "--config-file", tmp_path / "schemathesis.toml",
            "run", tmp_path / "openapi.json",
            "--url", f"http://127.0.0.1:{collector.port}",
            "--phases", "examples,coverage,fuzzing",
            "--max-examples", "5", "--seed", "1", "--no-color",
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )  # fmt: skip
    assert found.returncode == 0, found.stdout[-6_000:] + found.stderr[-2_000:]
    assert f"Tested: {sum(map(len, description['paths'].values()))}" in found.stdout


def refusal_of(collector: Any, path: str, answer: Any) -> str:
    """What the description says of this answer, once sure that it tells its code."""
    operation = operations_of(collector.client.get("/openapi.json").json())[path]
    found: str = operation["responses"][str(answer.status_code)]["description"]
    assert f"`{answer.json()['code']}`" in found
    return found


@pytest.mark.parametrize(
    ("path", "query", "key", "body", "status", "kept"),
    [
        ("/v1/events/clicks", "", "write", b"", 400, False),
        ("/v1/events/clicks", "", "write", b"{", 400, True),
        ("/v1/events/clicks", "", "write", BAD_GZIP, 400, True),
        ("/v1/events/clicks", "dialect=x", "write", b"{}", 400, False),
        ("/v1/events/clicks", "", "", b"{}", 401, False),
        ("/v1/events/clicks", "", "read", b"{}", 401, False),
        ("/v1/events/orders", "", "clicks", b"{}", 403, False),
        ("/v1/events/clicks", "dialect=segment", "clicks", b"{}", 403, False),
        ("/v1/events/clicks", "", "write", b"x" * 2_001, 413, False),
        ("/v1/events/clicks", "", "write", b"[{},{},{}]", 413, False),
        ("/v1/events/clicks", "", "write", b"[{},{}]", 429, False),
        ("/v1/validate/clicks", "", "write", b"", 400, False),
        ("/v1/validate/clicks", "", "write", b"{", 400, False),
        ("/v1/validate/clicks", "", "write", BAD_GZIP, 400, False),
        ("/v1/validate/clicks", "dialect=x", "write", b"{}", 400, False),
        ("/v1/validate/clicks", "", "read", b"{}", 401, False),
        ("/v1/validate/orders", "", "clicks", b"{}", 403, False),
        ("/v1/validate/clicks", "", "write", b"x" * 2_001, 413, False),
        ("/v1/validate/clicks", "", "write", b"[{},{}]", 429, False),
        ("/v1/track", "", "write", b"", 400, False),
        ("/v1/track", "", "write", b"5", 400, True),
        ("/v1/batch", "", "write", b'{"batch":[]}', 400, False),
        ("/v1/batch", "", "write", b"{}", 400, True),
        ("/v1/batch", "", "write", BAD_GZIP, 400, True),
        ("/v1/track", "", "", b"{}", 401, False),
        ("/v1/track", "", "clicks", b"{}", 403, False),
        ("/v1/track", "", "write", b"x" * 2_001, 413, False),
        ("/v1/batch", "", "write", b'{"batch":[{},{},{}]}', 413, False),
        ("/v1/batch", "", "write", b'{"batch":[{},{}]}', 429, False),
    ],
)  # fmt: skip
def test_a_refused_event_is_told_of_with_its_code_and_whether_it_is_kept(
    start_collector: Any, path: str, query: str, key: str, body: bytes, status: int, kept: bool
) -> None:
    limits = {"body_bytes_max": 2_000, "batch_events_max": 2, "rate_events_per_s": 1}
    collector = start_collector(add_keys=list(KEYS.values()), **limits)
    secrets = dict(zip(KEYS, collector.secrets, strict=True))
    headers = {"X-Write-Key": secrets[key]} if key else {}
    if status == 429:
        good = b'{"type":"page"}' if path == "/v1/batch" else b"{}"
        sent_to = path.replace("/v1/batch", "/v1/page")
        assert collector.post(sent_to, good, headers=headers).status_code == 200
        collector.since = collector.server.collector.writer.end
    answer = collector.post(f"{path}?{query}", body, headers=headers)
    assert answer.status_code == status
    told = refusal_of(collector, path, answer)
    assert bool(collector.rejections()) == kept
    said_to_be_kept = re.search(rf"`{answer.json()['code']}`[^.]*it is kept", told) is not None
    assert said_to_be_kept == kept


@pytest.mark.parametrize(
    ("path", "key", "host", "status"),
    [
        (f"{OFFERS}?limit=0", "read", "", 400),
        (OFFERS.replace("u1", "%00"), "read", "", 400),
        (OFFERS, "", "", 401),
        (OFFERS, "write", "", 401),
        (ORDER, "read", "", 404),
        (OFFERS, "none yet", "shop.example", 403),
        (OFFERS, "none yet", "localhost", 503),
    ],
)
def test_a_refused_look_up_is_told_of_with_its_code(
    start_collector: Any, path: str, key: str, host: str, status: int
) -> None:
    collector = start_collector(add_keys=[] if key == "none yet" else list(KEYS.values()))
    secret = dict(zip(KEYS, collector.secrets, strict=False)).get(key)
    headers = {"X-Write-Key": secret} if secret else {}
    if host:
        headers["Host"] = host
    if status == 404:
        RocksTables(collector.engine.dir.tables(0)).close()
    answer = collector.client.get(path, headers=headers)
    assert answer.status_code == status
    refusal_of(collector, "/v1/orders/{id}" if path == ORDER else "/v1/users/{id}/offers", answer)


def test_an_operation_lists_no_answer_that_it_cannot_give() -> None:
    found = operations_of(described())
    assert set(found["/v1/events/clicks"]["responses"]) == {
        "200",
        "400",
        "401",
        "403",
        "413",
        "503",
    }
    assert set(found["/v1/users/{id}/cart"]["responses"]) == {"200", "400", "401", "403", "503"}
    assert "404" in found["/v1/orders/{id}"]["responses"]
    assert "`query`" not in found["/v1/users/{id}/cart"]["responses"]["400"]["description"]
    limited = operations_of(described(rate_events_per_s=5))
    assert "429" in limited["/v1/events/clicks"]["responses"]


@pytest.mark.parametrize("settings", [{"host": "0.0.0.0"}, {"engine": "aws"}])
def test_where_others_can_ask_a_key_is_always_wanted(settings: Any) -> None:
    for operation in operations_of(described(**settings)).values():
        assert {} not in operation["security"]
        assert "once there is" not in operation["description"]
    assert "403" not in operations_of(described(**settings))["/v1/orders/{id}"]["responses"]


@pytest.mark.parametrize("engine", ["local", "aws"])
def test_every_answer_has_a_schema_and_an_example_that_it_allows(engine: str) -> None:
    description = described(engine=engine)
    examples = 0
    for operation in operations_of(description).values():
        contents = [r["content"] for r in operation["responses"].values()]
        for media in (content.get("application/json", {}) for content in contents):
            if "example" in media:
                allowed = {**media["schema"], "components": description["components"]}
                jsonschema_rs.validator_for(allowed).validate(media["example"])
                examples += 1
    assert examples == len(operations_of(description)) - 3 + 1  # 3 pages without, /health with 2


def test_health_on_aws_is_told_as_it_is() -> None:
    told = described(engine="aws")["components"]["schemas"]["Health"]
    fields = msgspec.structs.fields(aws_health.Health)
    assert list(told["properties"]) == told["required"] == [field.name for field in fields]


def test_verdicts_are_for_as_many_events_as_is_told() -> None:
    body = operations_of(described())["/v1/validate/clicks"]["requestBody"]["content"]
    _, several = body["application/json"]["schema"]["anyOf"]
    assert several["maxItems"] == VALIDATE_EVENTS_MAX


@pytest.mark.parametrize("what", ["offers", "events"])
def test_as_many_come_by_default_as_is_told(start_collector: Any, what: str) -> None:
    collector = start_collector()
    path = f"/v1/users/{{id}}/{what}"
    operation = operations_of(described())[path]
    told = operation["parameters"][-1]["schema"]["default"]
    example = operation["responses"]["200"]["content"]["application/json"]["example"][what][0]
    lines = [msgspec.json.encode(example)] * (told + 1)
    tables = RocksTables(collector.engine.dir.tables(0))
    batch = tables.batch()
    for n, line in enumerate(lines):
        table = "offers" if what == "offers" else "browsing_events"
        batch.put(table, "u1", f"{n:020d}", line)
    tables.write(batch)
    tables.close()
    answer = collector.client.get(f"/v1/users/u1/{what}?all=1")
    assert len(answer.json()[what]) == told
