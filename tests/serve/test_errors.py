"""Every error is a problem document with the right status; the log says what happened without the words."""

from __future__ import annotations

import errno
import json
import logging
import tempfile
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from live import tone

from aural.search.library import Library
from aural.serve.app import create_app
from aural.serve.guard import Guard
from aural.serve.settings import Settings
from library_toys import write_sound
from sketch import SketchEmbedder

JSON, FORM = {"Content-Type": "application/json"}, {"Content-Type": "multipart/form-data"}


def check_problem(answer: Any, status: int, name: str) -> dict[str, Any]:
    """Return the members of a problem document after checking them."""
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    problem: dict[str, Any] = answer.json()
    assert set(problem) == {"type", "title", "status", "detail", "request_id"}
    assert (problem["type"], problem["status"]) == (f"urn:aural:problem:{name}", status)
    assert problem["title"]
    assert problem["detail"]
    assert problem["request_id"] == answer.headers["x-request-id"]
    return problem


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "name"),
    [
        ("GET", "/nothing", {}, 404, "not-found"),
        ("DELETE", "/v1/search", {}, 405, "method-not-allowed"),
        ("GET", "/static/nothing.js", {}, 404, "not-found"),
        ("GET", f"/v1/audio/{'0' * 16}", {}, 404, "not-found"),
        ("GET", "/v1/audio/x", {}, 422, "invalid-input"),
        ("POST", "/v1/search", {"json": {}}, 422, "invalid-input"),
        ("POST", "/v1/search", {"content": b"{", "headers": JSON}, 422, "invalid-input"),
        ("POST", "/v1/search", {"content": b'{"words": ["\xff"]}', "headers": JSON}, 400, "malformed-request"),
        ("POST", "/v1/embed/sound", {"files": {"sound": bytes(3 << 20)}}, 413, "too-large"),
        ("POST", "/v1/embed/sound", {"content": b"x", "headers": FORM}, 400, "malformed-request"),
        ("POST", "/v1/search", {"content": b" " * (1 << 21), "headers": JSON}, 413, "too-large"),
        ("DELETE", "/v1/collections/nothing", {}, 404, "not-found"),
        ("DELETE", f"/v1/collections/nothing/{'0' * 16}", {}, 404, "not-found"),
        ("POST", "/v1/search", {"json": {"words": ["a"], "collections": ["nothing"]}}, 404, "not-found"),
        ("GET", "/", {"headers": {"Range": "lines=1"}}, 400, "malformed-request"),
        ("GET", "/", {"headers": {"Range": "bytes=99999999999999999999-"}}, 416, "requested-range-not-satisfiable"),
        ("GET", "/static/app.js", {"headers": {"Range": "bytes=-"}}, 400, "malformed-request"),
        ("GET", "/health", {"headers": {"Host": "evil.example"}}, 403, "cross-origin"),
        ("GET", "/health", {"headers": {"Content-Length": "-1"}}, 400, "malformed-request"),
    ],
)  # fmt: skip
def test_errors_are_problem_documents(
    client: TestClient, method: str, path: str, options: dict[str, Any], status: int, name: str
) -> None:
    check_problem(client.request(method, path, **options), status, name)


def test_details_quote_no_control_characters(client: TestClient) -> None:
    problem = check_problem(client.delete("/v1/collections/%1B%5B31m%E2%80%AEgpj"), 404, "not-found")
    assert problem["detail"].startswith(r'"\x1b[31m\u202egpj": there is no such collection')


class FailingEmbedder(SketchEmbedder):
    """An embedder whose error quotes the words."""

    def embed_text(self, texts: Any) -> Any:
        if "secret words" in texts:
            raise RuntimeError(f"failed at {texts!r}") from ValueError(texts[0])
        return super().embed_text(texts)


def test_failures_are_logged_without_the_words(served: Library, caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("aural.serve").propagate = True
    app = create_app(served, FailingEmbedder(), Settings())
    with caplog.at_level(logging.INFO, "aural.serve"), TestClient(app, "http://localhost") as client:
        problem = check_problem(client.post("/v1/search", json={"words": ["secret words"]}), 500, "internal-error")
    assert "secret words" not in json.dumps(problem)
    events = [json.loads(record.getMessage()) for record in caplog.records]
    failure = next(event for event in events if event["event"] == "failure")
    assert failure["request_id"] == problem["request_id"]
    assert failure["error"] == "RuntimeError from ValueError"
    assert any("in embed_text" in frame for frame in failure["stack"])
    request = next(event for event in events if event["event"] == "request")
    assert (request["status"], request["problem"]) == (500, "internal-error")
    assert "secret words" not in caplog.text


def test_a_busy_server_says_when_to_try_again(served: Library) -> None:
    app = create_app(served, SketchEmbedder(), Settings(max_waiting=1))
    with TestClient(app, "http://localhost") as client:
        app.state.service._texts._waiting = 1
        answer = client.post("/v1/embed", json={"texts": ["rain"]})
        check_problem(answer, 503, "busy")
        assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG])
def test_a_full_disk_for_uploads_is_507(client: TestClient, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(code, "No space left on device")

    monkeypatch.setattr(tempfile.SpooledTemporaryFile, "rollover", full)
    large = tone(20.0, 24_000, "FLOAT")  # more than 1 MiB is written to a file
    answer = client.post("/v1/embed/sound", files={"sound": large})
    assert len(large) > 1 << 20
    assert "cannot be stored" in check_problem(answer, 507, "storage-full")["detail"]
    assert client.post("/v1/embed/sound", files={"sound": tone(1.0)}).status_code == 200


def test_a_library_that_was_moved_is_503_until_it_is_back(tmp_path: Path) -> None:
    embedder = SketchEmbedder()
    library = Library.create(tmp_path / "library", embedder, model="sketch")
    list(library.add([write_sound(tmp_path / "a.wav", 2.0, 0)], embedder))
    with TestClient(create_app(library, embedder), "http://localhost") as client:
        (hit,) = client.post("/v1/search", json={"words": ["rain"]}).json()["hits"]
        (tmp_path / "library").rename(tmp_path / "moved")
        calls: list[tuple[str, str, dict[str, Any]]] = [
            ("POST", "/v1/search", {"json": {"words": ["rain"]}}),
            ("POST", "/v1/search", {"json": {"like": [hit["id"]]}}),
            ("POST", "/v1/similar", {"files": {"sound": tone(1.0)}}),
            ("GET", "/v1/library", {}),
            ("GET", "/v1/map", {}),
            ("GET", f"/v1/audio/{hit['id']}", {}),
            ("GET", f"/v1/audio/{hit['id']}/excerpt", {}),
        ]
        for method, path, options in calls:
            answer = client.request(method, path, **options)
            assert "moved or deleted" in check_problem(answer, 503, "library-missing")["detail"]
            assert answer.headers["retry-after"] == "30"
        assert client.get("/health").status_code == 200
        assert client.get("/metrics").status_code == 200
        (tmp_path / "moved").rename(tmp_path / "library")
        for method, path, options in calls:
            assert client.request(method, path, **options).status_code == 200


def test_a_library_without_its_data_files_is_503(tmp_path: Path) -> None:
    embedder = SketchEmbedder()
    library = Library.create(tmp_path / "library", embedder, model="sketch")
    list(library.add([write_sound(tmp_path / "a.wav", 2.0, 0)], embedder))
    with TestClient(create_app(library, embedder), "http://localhost") as client:
        for path in (tmp_path / "library").rglob("*.lance"):
            if path.is_file():
                path.unlink()
        answer = client.get("/v1/library")
        assert "aural library check" in check_problem(answer, 503, "library-missing")["detail"]


def test_a_thousand_labels_are_classified(client: TestClient) -> None:
    labels = [f"label {i}" for i in range(1000)]
    options = {"labels": labels, "top": 1000, "template": "{}", "multi_label": True}
    answer = client.post("/v1/classify", files={"sound": tone(1.0)}, data=options)
    assert (answer.status_code, len(answer.json()["labels"])) == (200, 1000)
    answer = client.post("/v1/classify", files={"sound": tone(1.0)}, data=options | {"labels": [*labels, "more"]})
    check_problem(answer, 422, "invalid-input")


def test_uploads_that_together_are_too_large_wait(served: Library) -> None:
    app = create_app(served, SketchEmbedder(), Settings(max_upload_bytes=1 << 20))
    with TestClient(app, "http://localhost") as client:
        layer: Any = client.app.middleware_stack  # type: ignore[attr-defined]
        while not isinstance(layer, Guard):
            layer = layer.app
        uploads = layer._uploads
        uploads.bytes = uploads.max_bytes - 1000
        check_problem(client.post("/v1/embed/sound", files={"sound": tone(1.0)}), 503, "busy")
        assert uploads.bytes == uploads.max_bytes - 1000
        uploads.bytes = 0
        assert client.post("/v1/embed/sound", files={"sound": tone(1.0)}).status_code == 200
        assert uploads.bytes == 0


def test_a_hundred_thousand_unknown_fields_are_one_error(client: TestClient) -> None:
    body = {f"k{i}": 1 for i in range(70_000)}
    problem = check_problem(client.post("/v1/search", json=body), 422, "invalid-input")
    assert problem["detail"] == 'request: unknown field "k0"'


def test_excerpts_after_the_end_are_not_decoded(client: TestClient, served: Library) -> None:
    (hit, *_) = client.post("/v1/search", json={"words": ["rain"]}).json()["hits"]
    jobs = client.app.state.service.decoders._turns  # type: ignore[attr-defined]
    before = sum(jobs._running.values())
    answer = client.get(f"/v1/audio/{hit['id']}/excerpt", params={"start_s": 90_000})
    assert "start before its end" in check_problem(answer, 422, "invalid-input")["detail"]
    assert sum(jobs._running.values()) == before


def test_no_more_processes_is_busy(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def fail(*_: Any) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    service = client.app.state.service  # type: ignore[attr-defined]
    monkeypatch.setattr(service.decoders, "_idle", [])
    monkeypatch.setattr("aural.serve.sandbox._Worker.start", fail)
    check_problem(client.post("/v1/embed/sound", files={"sound": tone(1.0)}), 503, "busy")


def test_a_failure_of_the_checks_is_a_problem_document(served: Library, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("secret words")

    monkeypatch.setattr("aural.serve.access.Access.refusal", fail)
    app = create_app(served, SketchEmbedder())
    with TestClient(app, "http://localhost", raise_server_exceptions=False) as client:
        answer = client.get("/health", headers={"X-Request-Id": "abc"})
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert (answer.json()["request_id"], "secret" in answer.text) == ("abc", False)
