"""Hostile and odd HTTP: bombs, lies, slow clients, endless bodies. The collector stays up."""

import gzip
import re
import socket
import time
import zlib
from typing import Any

import pytest

CLICK = b'{"user_id":"u1","event_type":"view","timestamp":"2026-01-31T12:00:00Z"}'
MIB = 1024 * 1024


def head(length: int | str, path: str = "/v1/events/clicks", more: str = "") -> bytes:
    lines = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n{more}\r\n"
    return lines.encode()


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


@pytest.fixture(autouse=True)
def _still_serves(collector: Any) -> Any:
    yield
    assert collector.post("/v1/events/clicks", CLICK).status_code == 200


def test_gzip_is_known_by_its_bytes_whatever_the_headers_say(collector: Any) -> None:
    for headers in (
        {},
        {"content-encoding": "gzip"},
        {"content-type": "application/x-www-form-urlencoded"},
        {"content-encoding": "br", "content-type": "text/plain"},
    ):
        assert collector.post(
            "/v1/events/clicks", gzip.compress(CLICK), headers=headers
        ).json() == {
            "received": 1,
            "rejected": 0,
        }
    plain = collector.post("/v1/events/clicks", CLICK, headers={"content-encoding": "gzip"})
    assert plain.status_code == 200
    assert collector.events() == [CLICK] * 5


def test_gzip_in_several_members_is_one_body(collector: Any) -> None:
    body = gzip.compress(CLICK + b"\n") + gzip.compress(CLICK)
    assert collector.post("/v1/events/clicks", body).json()["received"] == 2


def test_a_gzip_bomb_stops_at_the_limit_with_413(collector: Any) -> None:
    for size in (17 * MIB, 200 * MIB):
        packer = zlib.compressobj(1, zlib.DEFLATED, 31)
        block = b" " * MIB
        bomb = b"".join(packer.compress(block) for _ in range(size // MIB)) + packer.flush()
        began = time.monotonic()
        answer = collector.post("/v1/events/clicks", bomb)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        assert time.monotonic() - began < 3
    assert collector.entries() == []


@pytest.mark.parametrize(
    "body",
    [
        gzip.compress(gzip.compress(CLICK)),
        gzip.compress(CLICK)[:-9],
        gzip.compress(CLICK) + b"more",
        b"\x1f\x8b",
        b"\x1f\x8b" + b"x" * 100,
        gzip.compress(CLICK)[:-8] + b"\0" * 8,
    ],
    ids=["nested", "cut off", "trailing bytes", "magic only", "garbage", "wrong checksum"],
)
def test_bad_gzip_gets_400_and_is_kept_as_sent(collector: Any, body: bytes) -> None:
    answer = collector.post("/v1/events/clicks", body)
    assert (answer.status_code, answer.json()["code"]) == (400, "encoding")
    assert [r.raw for r in collector.rejections()] == [body]


def test_a_body_at_the_limit_passes_and_one_byte_over_gets_413(start_collector: Any) -> None:
    collector = start_collector(body_bytes_max=100_000, event_bytes_max=200_000)
    good = b'{"a":"' + b"x" * (100_000 - 8) + b'"}'
    assert collector.post("/v1/events/clicks", good).status_code == 200
    for body in (good + b" ", b"x" * 300_000, b"x" * 5_000_000):
        answer = collector.post("/v1/events/clicks", body)
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert len(collector.entries()) == 1


def test_chunked_bodies_are_taken(collector: Any) -> None:
    answer = collector.client.post("/v1/events/clicks", content=iter([CLICK[:20], CLICK[20:]]))
    assert answer.status_code == 200
    assert collector.events() == [CLICK]


def test_an_endless_chunked_body_is_cut_off_with_413(collector: Any) -> None:
    request = b"POST /v1/events/clicks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
    with socket.create_connection(("127.0.0.1", collector.port), timeout=10) as sock:
        sock.sendall(request)
        sent = 0
        try:
            while sent < 64 * MIB:
                sock.sendall(chunk)
                sent += len(chunk)
        except OSError:
            pass
    assert sent < 32 * MIB


@pytest.mark.parametrize("padding", [b"1;" + b"x" * 65_536, b"0\r\nTrailer: " + b"x" * 65_536])
def test_endless_chunk_extensions_and_trailers_are_cut_off(collector: Any, padding: bytes) -> None:
    request = b"POST /v1/events/clicks HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    with socket.create_connection(("127.0.0.1", collector.port), timeout=10) as sock:
        sent = 0
        try:
            sock.sendall(request + padding)
            while sent < 16 * MIB:
                sock.sendall(b"x" * 65_536)
                sent += 65_536
        except OSError:
            pass
    assert sent < 8 * MIB


def test_a_content_length_that_lies_never_stores_half_an_event(start_collector: Any) -> None:
    collector = start_collector(request_timeout="1s")
    short = collector.raw(head(len(CLICK) - 10) + CLICK)
    assert status(short) in (200, 400)
    began = time.monotonic()
    long = collector.raw(head(len(CLICK) + 10) + CLICK)
    assert status(long) == 408
    assert b'"code":"timeout"' in long
    assert 0.9 < time.monotonic() - began < 5
    assert collector.events() == []


@pytest.mark.parametrize("length", ["-1", "x", "1e3", "99999999999999999999999"])
def test_a_content_length_that_is_no_length_gets_400(collector: Any, length: str) -> None:
    answer = collector.raw(head(length) + CLICK)
    assert status(answer) == 400
    assert b'{"code":"http","message":' in answer


def test_a_body_declared_far_too_large_is_refused_before_it_is_sent(collector: Any) -> None:
    answer = collector.raw(head(10**12))
    assert status(answer) == 413
    asked = collector.raw(head(5 * MIB, more="Expect: 100-continue\r\n"))
    assert asked.startswith(b"HTTP/1.1 413")


def test_expect_100_continue_is_answered(collector: Any) -> None:
    request = head(len(CLICK), more="Expect: 100-continue\r\n")
    with socket.create_connection(("127.0.0.1", collector.port), timeout=10) as sock:
        sock.sendall(request)
        assert sock.recv(1_000).startswith(b"HTTP/1.1 100")
        sock.sendall(CLICK)
        assert sock.recv(1_000).startswith(b"HTTP/1.1 200")


def test_oversized_heads_get_431_and_oversized_urls_414(collector: Any) -> None:
    get = b"GET /health HTTP/1.1\r\nHost: x\r\n"
    assert status(collector.raw(get + b"X: " + b"x" * MIB + b"\r\n\r\n")) in (431, 0)
    assert status(collector.raw(get + b"X: " + b"x" * 33_000 + b"\r\n\r\n")) == 431
    assert status(collector.raw(get + b"X: y\r\n" * 9_000 + b"\r\n")) == 431
    assert status(collector.raw(get + b"X: " + b"x" * 20_000 + b"\r\n\r\n")) == 503
    assert status(collector.raw(b"GET /" + b"x" * 9_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n")) == 414


def test_a_large_body_in_one_piece_with_its_head_is_no_large_head(collector: Any) -> None:
    body = b'{"a":"' + b"x" * 50_000 + b'"}'
    assert status(collector.raw(head(len(body)) + body)) == 200


@pytest.mark.parametrize(
    "request_",
    [b"\0\0\0\0\r\n\r\n", b"GET\r\n\r\n", b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/9.9\r\n\r\n"],
    ids=["nul", "no url", "tls", "version"],
)
def test_what_is_not_http_gets_400(collector: Any, request_: bytes) -> None:
    assert status(collector.raw(request_, close=True)) == 400


def test_length_and_chunks_at_once_are_refused(collector: Any) -> None:
    smuggled = (
        head(5, more="Transfer-Encoding: chunked\r\n") + b"0\r\n\r\nGET /health HTTP/1.1\r\n\r\n"
    )
    assert status(collector.raw(smuggled)) == 400


def test_slow_clients_are_closed_and_fast_ones_are_not_kept_waiting(start_collector: Any) -> None:
    collector = start_collector(request_timeout="1s")
    beginnings = (b"", b"PO", head(100)[:-2], head(100), head(100) + b"{")
    socks = [socket.create_connection(("127.0.0.1", collector.port), timeout=6) for _ in beginnings]
    began = time.monotonic()
    for sock, beginning in zip(socks, beginnings, strict=True):
        sock.sendall(beginning)
    assert collector.post("/v1/events/clicks", CLICK).elapsed.total_seconds() < 1
    for sock in socks:
        assert status(sock.recv(10_000)) == 408
        assert sock.recv(10_000) == b""
        sock.close()
    assert time.monotonic() - began < 5
    assert collector.events() == [CLICK]


def test_one_byte_a_while_does_not_put_off_the_time_out(start_collector: Any) -> None:
    collector = start_collector(request_timeout="1s")
    with socket.create_connection(("127.0.0.1", collector.port), timeout=6) as sock:
        began = time.monotonic()
        cut_off = False
        for byte in head(1_000) + b"x" * 1_000:
            try:
                sock.sendall(bytes([byte]))
            except OSError:
                cut_off = True
                break
            time.sleep(0.02)
        assert cut_off
        assert time.monotonic() - began < 5


def test_more_connections_than_allowed_get_503(start_collector: Any) -> None:
    collector = start_collector(connections_max=3)
    assert collector.post("/v1/events/clicks", CLICK).status_code == 200
    held = [socket.create_connection(("127.0.0.1", collector.port)) for _ in range(2)]
    time.sleep(0.2)
    answer = collector.raw(b"")
    assert status(answer) == 503
    assert b"retry-after: 1" in answer
    for sock in held:
        sock.close()


def test_pipelined_requests_are_answered_in_order(collector: Any) -> None:
    with socket.create_connection(("127.0.0.1", collector.port), timeout=5) as sock:
        bodies = [CLICK, CLICK + b"\n" + CLICK] * 25
        sock.sendall(b"".join(head(len(body)) + body for body in bodies))
        answer = b""
        while answer.count(b'{"received":') < 50:
            answer += sock.recv(65_536)
    assert re.findall(rb'"received":(\d)', answer) == [b"1", b"2"] * 25
    assert collector.events() == [CLICK] * 75


@pytest.mark.parametrize("more", ["", "Origin: https://shop.example\r\n"], ids=["sdk", "browser"])
def test_an_answer_is_the_same_whether_or_not_it_is_the_last_on_its_connection(
    collector: Any, more: str
) -> None:
    answers = []
    for connection in ("keep-alive", "close"):
        request = head(len(CLICK), more=f"{more}Connection: {connection}\r\n") + CLICK
        lines = collector.raw(request).split(b"\r\n")
        answers.append([line for line in lines if not line.startswith(b"date: ")])
        assert len(lines) - len(answers[-1]) == 1
    kept, closed = answers
    assert kept[0] == b"HTTP/1.1 200 OK"
    assert kept[-1] == b'{"received":1,"rejected":0}'
    assert (b"access-control-allow-origin: https://shop.example" in kept) == bool(more)
    closed.remove(b"connection: close")
    assert sorted(kept) == sorted(closed)


def test_a_client_that_offers_http_2_is_served(collector: Any) -> None:
    upgrade = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n"
    assert status(collector.raw(head(len(CLICK), more=upgrade) + CLICK)) == 200
    assert status(collector.raw(head(len(CLICK), more=upgrade)[:-2] + b"\r\n" + CLICK)) == 200
    assert collector.events() == [CLICK] * 2
    assert status(collector.raw(b"CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n")) == 400


def test_other_methods_get_405_with_what_is_allowed(collector: Any) -> None:
    for path in ("/v1/events/clicks", "/v1/batch"):
        for method in ("GET", "PUT", "DELETE", "HEAD"):
            answer = collector.client.request(method, path)
            assert (answer.status_code, answer.headers["allow"]) == (405, "POST, OPTIONS")
    assert collector.client.post("/health").status_code == 405


def test_a_client_that_leaves_half_way_leaves_no_trace(collector: Any) -> None:
    for beginning in (head(100) + b"{", head(len(CLICK))):
        with socket.create_connection(("127.0.0.1", collector.port)) as sock:
            sock.sendall(beginning)
    time.sleep(0.1)
    assert collector.events() == []
