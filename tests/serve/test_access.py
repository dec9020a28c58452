"""Other sites, wrong tokens and guessed ids get nothing; sessions are not the token."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st
from test_errors import check_problem

from aural.core.errors import ConfigError
from aural.search.library import Library
from aural.search.locations import file_id
from aural.serve.access import Attempts, client_network, read_headers
from aural.serve.app import create_app
from aural.serve.ids import PublicIds, library_key
from aural.serve.settings import Settings
from sketch import SketchEmbedder

TOKEN = "long-enough-token"
CALLS = [("GET", "/v1/library"), ("GET", "/v1/map"), ("GET", "/health"), ("GET", "/metrics"), ("GET", "/openapi.json")]
CALLS += [("POST", "/v1/search"), ("POST", "/v1/session"), ("GET", f"/v1/audio/{'0' * 16}"), ("GET", "/static/app.js")]


@pytest.mark.parametrize("site", ["cross-site", "same-site", "something"])
@pytest.mark.parametrize(("method", "path"), [*CALLS, ("GET", "/"), ("GET", "/nothing")])
def test_requests_of_other_sites_are_refused_on_every_route(
    client: TestClient, method: str, path: str, site: str
) -> None:
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "no-cors", "Sec-Fetch-Dest": "audio"}
    check_problem(client.request(method, path, headers=headers), 403, "cross-origin")
    headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "iframe"}
    check_problem(client.request(method, path, headers=headers), 403, "cross-origin")


ORIGINS = ["https://evil.example", "null", "http://localhost:3000", "http://localhost.evil.example", "[", "http://[::1"]


@pytest.mark.parametrize("origin", ORIGINS)
def test_posts_of_other_origins_are_refused_without_fetch_metadata(client: TestClient, origin: str) -> None:
    for method, path in CALLS:
        check_problem(client.request(method, path, headers={"Origin": origin}), 403, "cross-origin")


def test_the_page_and_programs_are_answered(client: TestClient) -> None:
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"}
    assert client.get("/", headers=link).status_code == 200  # a link on another site opens the page
    check_problem(client.get("/v1/library", headers=link), 403, "cross-origin")
    for headers in ({}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}, {"Origin": "http://localhost"}):
        answer = client.get("/v1/library", headers=headers)
        assert answer.status_code == 200
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
    words = {"words": ["rain"]}
    assert client.post("/v1/search", json=words, headers={"Origin": "http://localhost"}).status_code == 200


def test_ids_do_not_follow_from_paths(client: TestClient, served: Library) -> None:
    hits = client.post("/v1/search", json={"words": ["rain"], "top": 50}).json()["hits"]
    drawn = client.get("/v1/map").json()
    paths = list(served.files())
    assert {hit["path"] for hit in hits} == set(paths)
    assert {hit["id"] for hit in hits} == set(drawn["ids"])
    guesses = [file_id(path) for path in paths]
    assert not set(guesses) & set(drawn["ids"])
    for guess in guesses:
        check_problem(client.get(f"/v1/audio/{guess}"), 404, "not-found")
        check_problem(client.post("/v1/search", json={"like": [guess]}), 404, "not-found")


@given(st.binary(min_size=8, max_size=8), st.binary(min_size=32, max_size=32))
def test_public_ids_are_a_permutation_that_depends_on_the_key(file: bytes, key: bytes) -> None:
    ids = PublicIds(key)
    assert ids.reveal(ids.hide(file.hex())) == file.hex() == ids.hide(ids.reveal(file.hex()))
    assert ids.hide(file.hex()) != PublicIds(bytes(32 * [1])).hide(file.hex()) or key == bytes(32 * [1])


def test_the_key_is_private_and_stays(tmp_path: Path) -> None:
    key, path = library_key(tmp_path), tmp_path / "serve.key"
    assert key is not None
    assert (len(key), stat.S_IMODE(path.stat().st_mode)) == (32, 0o600)
    assert library_key(tmp_path) == key
    assert [file.name for file in tmp_path.iterdir()] == ["serve.key"]
    path.chmod(0o644)  # others may have read it
    fresh = library_key(tmp_path)
    assert fresh != key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_bytes(b"short")
    assert library_key(tmp_path) not in (key, fresh, b"short")
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(ConfigError, match="is a link"):
        library_key(tmp_path)
    assert library_key(tmp_path / "missing") is None


def served_with_token(served: Library, **options: Any) -> TestClient:
    settings = Settings(host="0.0.0.0", token=TOKEN, **options)
    return TestClient(create_app(served, SketchEmbedder(), settings), "http://localhost")


def test_wrong_tokens_are_limited(served: Library) -> None:
    right = {"Authorization": f"Bearer {TOKEN}"}
    with served_with_token(served, max_wrong_tokens=3) as client:
        assert client.post("/v1/session", json={"token": TOKEN}).status_code == 204
        session = client.cookies.get("aural_session")
        client.cookies.clear()
        for i in range(3):
            check_problem(client.get("/v1/library", headers={"Authorization": f"Bearer {i}"}), 401, "token-required")
        for headers in ({"Authorization": "Bearer 4"}, right):  # the right one too: the answer must not tell
            answer = client.get("/v1/library", headers=headers)
            check_problem(answer, 429, "too-many-wrong-tokens")
            assert 0 < int(answer.headers["retry-after"]) <= 60
        check_problem(client.post("/v1/session", json={"token": TOKEN}), 429, "too-many-wrong-tokens")
        check_problem(client.get("/v1/library"), 401, "token-required")
        assert client.get("/v1/library", headers={"Cookie": f"aural_session={session}"}).status_code == 200
        assert client.get("/health").status_code == 200


def test_wrong_tokens_are_forgotten_after_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("aural.serve.access.time.monotonic", lambda: now)
    attempts = Attempts(2)
    for _ in range(2):
        assert attempts.wait_s("a") == 0
        attempts.wrong("a")
    assert (attempts.wait_s("a"), attempts.wait_s("b")) == (60, 0)
    now += 61
    assert attempts.wait_s("a") == 0


def test_sessions_are_random_private_and_end(served: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    with served_with_token(served) as client:
        answers = [client.post("/v1/session", json={"token": TOKEN}) for _ in range(2)]
        cookies = [answer.headers["set-cookie"] for answer in answers]
        assert cookies[0] != cookies[1]
        for cookie in cookies:
            assert "HttpOnly" in cookie
            assert "SameSite=strict" in cookie
            assert TOKEN not in cookie
        assert client.get("/v1/library").status_code == 200
        for forged in (TOKEN, "", "a" * 43, "\\" * 30_000):
            client.cookies.clear()
            check_problem(
                client.get("/v1/library", headers={"Cookie": f"aural_session={forged}"}), 401, "token-required"
            )
        for header in ("Basic " + TOKEN, TOKEN, "Bearer", "Bearer " + TOKEN[:-1]):
            check_problem(client.get("/v1/library", headers={"Authorization": header}), 401, "token-required")
        started = {"Cookie": f"aural_session={answers[0].cookies['aural_session']}"}
        assert client.get("/v1/library", headers=started).status_code == 200
        later = time.monotonic() + 13 * 3600
        monkeypatch.setattr("aural.serve.access.time.monotonic", lambda: later)
        check_problem(client.get("/v1/library", headers=started), 401, "token-required")


def test_ambiguous_headers_are_refused(client: TestClient) -> None:
    twice = [(b"host", b"localhost"), (b"Host", b"evil.example")]
    assert read_headers(twice)[1] is not None
    assert read_headers([(b"content-length", b"3"), (b"transfer-encoding", b"chunked")])[1] is not None
    assert read_headers([(b"accept", b"a"), (b"accept", b"b")])[1] is None
    both = {"Content-Length": "2", "Transfer-Encoding": "chunked", "Content-Type": "application/json"}
    check_problem(client.post("/v1/search", content=b"{}", headers=both), 400, "malformed-request")


def test_other_methods_do_not_become_the_named_one(client: TestClient) -> None:
    for header in ("X-HTTP-Method-Override", "X-Method-Override", "X-HTTP-Method"):
        check_problem(client.post("/v1/library", headers={header: "GET"}), 405, "method-not-allowed")
        check_problem(client.get("/v1/search", headers={header: "POST"}), 405, "method-not-allowed")


def test_clients_of_one_network_are_one_client() -> None:
    assert client_network("2001:db8:1:2:3::4") == client_network("2001:db8:1:2:ffff::1") != client_network("2001:db8::")
    assert client_network("testclient") == "testclient"


def test_a_read_only_library_is_served_with_a_key_in_memory(served: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    assert library_key(served.folder / "..") is None
