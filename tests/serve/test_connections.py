"""Connections as attackers use them: half-open, slow, too many, ambiguous, not HTTP. Others are answered meanwhile."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from live import live_server

from aural.search.library import Library
from aural.serve.settings import Settings

SHORT = {"head_timeout_s": 1, "body_timeout_s": 1, "send_timeout_s": 1, "idle_timeout_s": 1}
LIMITS = Settings.parse(SHORT | {"max_connections": 40, "max_connections_per_client": 20}, "limits")


CHUNKED = b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"


@pytest.fixture(scope="module")
def address(served: Library) -> Iterator[tuple[str, int]]:
    with live_server(served, LIMITS) as url:
        host, port = url.removeprefix("http://").split(":")
        yield host, int(port)


def connect(address: tuple[str, int], data: bytes = b"") -> socket.socket:
    connection = socket.create_connection(address, timeout=10)
    connection.sendall(data)
    return connection


def answer_of(connection: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of an answer whose connection is then closed."""
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while block := connection.recv(65536):
            received += block
    head, _, body = received.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return int(lines[0].split()[1]) if lines[0] else 0, headers, body


def problem_of(connection: socket.socket) -> tuple[int, str]:
    status, headers, body = answer_of(connection)
    assert headers["content-type"] == "application/problem+json", (status, headers, body)
    problem: dict[str, Any] = json.loads(body)
    assert (problem["status"], problem["request_id"]) == (status, headers["x-request-id"])
    return status, problem["type"].removeprefix("urn:aural:problem:")


def seconds_until_closed(connection: socket.socket, data: bytes) -> float:
    """Send data again and again until the server closes the connection, for at most 8 s; return the time."""
    connection.settimeout(1.0)
    began = time.monotonic()
    while time.monotonic() - began < 8:
        try:
            connection.sendall(data)
        except TimeoutError:
            continue
        except OSError:
            break
        time.sleep(0.1)
    return time.monotonic() - began


def healthy(address: tuple[str, int]) -> bool:
    return httpx.get(f"http://{address[0]}:{address[1]}/health", timeout=3).status_code == 200


def test_half_open_connections_keep_nobody_out(address: tuple[str, int]) -> None:
    heads = [b"", b"GET /health HTTP/1.1\r\nHost: localhost\r\n"]
    heads.append(b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
    opened = []
    for i in range(60):
        opened.append(connect(address, heads[i % 3]))
        if i % 10 == 9:
            assert healthy(address)
    for connection in opened:
        connection.close()


def test_slow_heads_and_bodies_are_408(address: tuple[str, int]) -> None:
    assert problem_of(connect(address, b"GET /health HTT")) == (408, "slow-request")
    body = (
        b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
    )
    assert problem_of(connect(address, body)) == (408, "slow-request")
    slow = connect(address)
    began = time.monotonic()
    with contextlib.suppress(OSError):
        for byte in b"GET /health HTTP/1.1\r\nHost: localhost\r\n" * 9:  # a byte now and then does not help
            slow.sendall(bytes([byte]))
            time.sleep(0.05)
    assert time.monotonic() - began < 6
    assert problem_of(slow)[0] == 408


def test_idle_connections_are_closed(address: tuple[str, int]) -> None:
    idle = connect(address, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    began = time.monotonic()
    assert answer_of(idle)[0] == 200  # ends when the server closes the connection
    assert 0.5 < time.monotonic() - began < 5


def test_blank_lines_do_not_keep_a_connection_open(address: tuple[str, int]) -> None:
    blank = connect(address, b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert seconds_until_closed(blank, b"\r\n") < 6


def test_a_client_that_takes_no_data_is_cut_off(address: tuple[str, int]) -> None:
    reader = connect(address)
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    assert seconds_until_closed(reader, b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 50) < 6
    assert healthy(address)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 9 + b"\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\nHost: localhost\r\nConnection: close\r\n\r\n", 505),
        (b"GET  / HTTP/1.1\r\nHost: localhost\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nA b: c\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * (1 << 17) + b"\r\n\r\n", 431),
        (b"GET /" + b"a" * (1 << 17) + b" HTTP/1.1\r\nHost: localhost\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: a\r\n" * 2000 + b"Connection: close\r\n\r\n", 431),
        (b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}", 400),
        (b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: -2\r\n\r\n{}", 400),
        (b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n{}", 400),
        (b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n", 400),
        (b"POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n" + CHUNKED, 400),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\n \r\n" * 5000, 400),
        (b"GET http://evil.example/ HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", 403),
        (b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 404),
        (b"CONNECT evil.example:80 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 404),
        (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 404),
        (b"TRACE /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 405),
        (b"GET / HTTP/1.0\r\n\r\n", 403),
        (b"GET /%ff%00%0d%0aX:1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 404),
        (b"GET /static/%2e%2e/guard.py HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 404),
        (b"GET /static/..%5cguard.py HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 404),
        (b"GET /static//etc/passwd HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", 404),
    ],
)  # fmt: skip
def test_requests_that_are_not_valid_get_a_problem_document(address: tuple[str, int], data: bytes, status: int) -> None:
    connection = socket.create_connection(address, timeout=10)
    with contextlib.suppress(OSError):
        connection.sendall(data)
    assert problem_of(connection)[0] == status
    assert healthy(address)


def test_http_1_0_is_answered_and_closed(address: tuple[str, int]) -> None:
    status, headers, body = answer_of(connect(address, b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n"))
    assert (status, json.loads(body)["status"], headers["connection"]) == (200, "ok", "close")


def test_a_websocket_is_refused(address: tuple[str, int]) -> None:
    head = b"Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    for path, status in ((b"/v1/search", 405), (b"/ws", 404)):
        data = b"GET " + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n" + head
        assert problem_of(connect(address, data))[0] == status


def test_a_refused_body_is_not_waited_for(address: tuple[str, int]) -> None:
    head = b"POST /v1/search HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 90000\r\n\r\n"
    connection = connect(address, head)
    began = time.monotonic()
    assert answer_of(connection)[0] == 403
    assert time.monotonic() - began < 8


def test_a_request_whose_client_leaves_ends(served: Library) -> None:
    """The request ends when its client closes the connection, not when its answer is ready."""
    with live_server(served, LIMITS) as url:
        host, port = url.removeprefix("http://").split(":")
        for _ in range(8):
            connect((host, int(port)), b"GET /v1/map HTTP/1.1\r\nHost: localhost\r\n\r\n").close()
        assert healthy((host, int(port)))
        text = httpx.get(f"{url}/metrics").text
        assert "aural_requests_under_way 1.0" in text


def test_only_named_proxies_name_the_client(served: Library, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("aural.serve").propagate = True
    for proxies, client in (((), "127.0.0.1"), (("127.0.0.1",), "203.0.113.7")):
        settings = LIMITS.model_copy(update={"proxies": proxies})
        caplog.clear()
        with caplog.at_level(logging.INFO, "aural.serve"), live_server(served, settings) as url:
            httpx.get(f"{url}/health", headers={"X-Forwarded-For": "203.0.113.7"})
        lines = [json.loads(record.getMessage()) for record in caplog.records if record.name == "aural.serve"]
        assert [line["client"] for line in lines if line["event"] == "request"] == [client]
