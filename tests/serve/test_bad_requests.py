"""Wrong values in every field of every route: an answer below 500, and every error is a problem document.

The requests are drawn with a fixed seed; their number is printed (`-s` shows it).
"""

from __future__ import annotations

import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from fastapi.testclient import TestClient
from live import tone

from aural.search.library import Library
from aural.search.notebook import FILE
from aural.serve.app import create_app
from aural.serve.settings import Settings
from library_toys import build_library
from sketch import SketchEmbedder

BODIES = {
    ("POST", "/v1/search"): [
        *("words", "like", "minus", "where", "locate", "top", "cursor", "names", "collections", "favorites"),
        *("min_stars", "remember", "words_weight", "like_weight", "minus_weight"),
    ],
    ("POST", "/v1/browse"): ["where", "order", "collections", "favorites", "min_stars", "top", "cursor"],
    ("POST", "/v1/embed"): ["texts"],
    ("POST", "/v1/embeddings"): ["input", "model", "encoding_format", "dimensions", "user"],
    ("POST", "/v1/marks"): ["ids"],
    ("PATCH", "/v1/marks/{id}"): ["favorite", "stars", "note"],
    ("POST", "/v1/audio/{id}/locate"): ["texts", "threshold", "min_duration_s", "max_gap_s", "start_s", "end_s"],
    ("POST", "/v1/audio/{id}/ask"): ["question", "choices"],
    ("POST", "/v1/session"): ["token"],
}
FORMS = {
    ("POST", "/v1/similar"): [
        *("words", "like", "minus", "where", "top", "words_weight", "like_weight", "minus_weight"),
        *("collections", "favorites", "min_stars"),
    ],
    ("POST", "/v1/classify"): ["labels", "template", "multi_label", "top"],
    ("POST", "/v1/locate"): ["texts", "threshold", "min_duration_s", "max_gap_s"],
    ("POST", "/v1/embed/sound"): ["sound"],
    ("POST", "/v1/caption"): ["sound"],
    ("POST", "/v1/ask"): ["question", "choices"],
}
QUERIES: dict[tuple[str, str], list[str]] = {
    ("GET", "/v1/library"): [],
    ("GET", "/v1/facets"): ["where"],
    ("GET", "/v1/map"): [],
    ("GET", "/v1/audio/{id}"): [],
    ("POST", "/v1/audio/{id}/caption"): [],
    ("GET", "/v1/audio/{id}/excerpt"): ["start_s", "end_s", "original"],
    ("GET", "/v1/sounds/{id}"): [],
    ("GET", "/v1/collections"): [],
    ("GET", "/v1/history"): ["top"],
    ("DELETE", "/v1/history"): [],
    ("PUT", "/v1/collections/{name}/{id}"): [],
    ("DELETE", "/v1/collections/{name}/{id}"): [],
    ("DELETE", "/v1/collections/{name}"): [],
    ("GET", "/health"): [],
    ("GET", "/metrics"): [],
}
OTHERS = [("GET", "/"), ("GET", "/openapi.json"), ("GET", "/static/app.js"), ("GET", "/nothing"), ("TRACE", "/v1/map")]
GOOD = {"words": ["rain"], "texts": ["rain"], "input": "rain", "labels": ["rain", "wind"], "ids": ["0" * 16]}
VALUES: list[Any] = [
    *("", " ", "a", "x" * 1001, "x" * 100_000, "\0", "\ud800", "\u202e", "犬", "NaN", "-1", "1e999", "true", "null"),
    *(0, -1, 1.5, 1001, 1e308, 10**30, -(10**30), 2**64, True, False, None, [], {}, [[]], ["a"] * 33, ["\0"], [None]),
    *(float("nan"), float("inf"), float("-inf"), ["\ud800"], ["0" * 16] * 33, "g" * 16, {"a": 1}, [{}] * 40),
    *(
        {"type": "text"},
        {"type": "input_audio", "input_audio": {"data": "!"}},
        [{"type": "x"}],
        "data:audio/wav;base64,%",
    ),
    *("data:audio/wav;base64,AAAA", "base64", "../..", "%00", "{} {}", "(" * 900, "not " * 400 + "silent"),
    *(
        "duration < 1e999",
        "size = 99999999999999999999999999",
        "category = 3",
        "path like '" + "%a" * 300 + "'",
        "key =",
    ),
]
RAW = [
    *(
        b"",
        b"null",
        b"[]",
        b"3",
        b"{",
        b"[" * 100_000,
        b'{"a":' * 5000,
        b"\xff\xfe",
        b"\xef\xbb\xbf{}",
        b"NaN",
        b"\0" * 999,
    ),
    *('{"words": ["a"]}'.encode("utf-16"), b'{"words":["a"],"top":' + b"9" * 5000 + b"}", b'{"words":["\\ud800"]}'),
]
HEADERS: list[dict[str, str]] = [
    *({}, {}, {}, {}, {"Content-Type": "text/plain"}, {"Content-Type": ""}, {"Content-Type": "multipart/form-data"}),
    *({"Content-Type": "application/json; charset=utf-16"}, {"Content-Encoding": "gzip"}, {"Host": "other.example"}),
    *({"Origin": "null"}, {"Origin": "http://other.example"}, {"Sec-Fetch-Site": "cross-site"}, {"Range": "bytes=5-2"}),
    *(
        {"Range": "lines=1"},
        {"If-Match": '"x"'},
        {"If-None-Match": "*"},
        {"Authorization": "Basic x"},
        {"Cookie": "a=b"},
    ),
]
SOUNDS = [tone(0.5), b"", b"RIFF", bytes(1000), tone(0.5)[:5000], b"text" * 100]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return build_library(tmp_path_factory.mktemp("requests"), [0.4, 0.9, 6.0], "silent.flac")


@pytest.fixture(scope="module")
def own_client(library: Library) -> Iterator[TestClient]:
    app = create_app(library, SketchEmbedder(), Settings(max_upload_bytes=1 << 20, decode_timeout_s=5.0))
    with TestClient(app, "http://localhost", raise_server_exceptions=False) as client:
        yield client


def drawn_request(draw: random.Random, ids: list[str]) -> tuple[str, str, dict[str, Any]]:
    """Return method, address and options of a request that is wrong in one or more ways."""
    table = draw.choice([BODIES, BODIES, FORMS, QUERIES, QUERIES])
    (method, path), names = draw.choice(list(table.items()))
    if table is QUERIES and not draw.randrange(8):
        method, path = draw.choice(OTHERS)
    id = draw.choice([*ids, *ids, "0" * 16, "nothing", "%00", "x" * 999, "A" * 16])
    name = draw.choice(["a", "犬", "\u202e", "a b", "%2e%2e", "x" * 300, "\x1b[31m", "a\0b"])
    path = path.replace("{id}", id).replace("{name}", quote(name, safe="%"))
    options: dict[str, Any] = {"headers": dict(draw.choice(HEADERS))}
    values = {key: GOOD[key] for key in names if key in GOOD and draw.randrange(5)}
    values |= {key: draw.choice(VALUES) for key in draw.sample([*names, "unknown"], draw.randrange(len(names[:2]) + 1))}
    if table is BODIES:
        options["headers"].setdefault("Content-Type", "application/json")
        options["content"] = draw.choice(RAW) if not draw.randrange(6) else json.dumps(values).encode()
    elif table is FORMS:
        texts = {key: value if isinstance(value, list) else [value] for key, value in values.items()}
        options["data"] = {key: [ascii_of(one) for one in value] for key, value in texts.items()}
        options["files"] = {"sound": (draw.choice(["a.wav", "../x", "\u202e.wav"]), draw.choice(SOUNDS))}
    else:
        options["params"] = {key: ascii_of(value) for key, value in values.items()}
    return method, path, options


def ascii_of(value: Any) -> str:
    return str(value).encode("ascii", "replace").decode()


def test_wrong_values_in_every_field_of_every_route(own_client: TestClient) -> None:
    draw = random.Random(23)
    ids = [hit["id"] for hit in own_client.post("/v1/search", json={"words": ["rain"]}).json()["hits"]]
    statuses, wrong = Counter[int](), list[str]()
    for _ in range(700):
        method, path, options = drawn_request(draw, ids)
        answer = own_client.request(method, path, **options)
        statuses[answer.status_code] += 1
        if answer.status_code >= 500 or (answer.status_code >= 400 and not is_problem(answer)):
            wrong.append(f"{method} {path[:80]} {str(options)[:200]}: {answer.status_code} {answer.text[:200]}")
        if answer.headers.get("content-type") == "application/json" and answer.content:
            json.loads(answer.text, parse_constant=pytest.fail)  # NaN and Infinity are no JSON
    print(f"\n{sum(statuses.values())} bad requests, {dict(statuses)}, {len(wrong)} wrong")
    assert not wrong, "\n".join(wrong)
    assert {200, 403, 404, 405, 422} <= set(statuses)


def is_problem(answer: Any) -> bool:
    """Return whether an answer is a problem document whose detail can be shown."""
    if answer.headers.get("content-type") != "application/problem+json":
        return False
    problem = answer.json()
    shown = problem["detail"].isprintable() and 5 <= len(problem["detail"]) <= 2100
    return shown and problem["status"] == answer.status_code and problem["request_id"] == answer.headers["x-request-id"]


def test_a_damaged_notebook_is_a_failure_of_the_library(tmp_path: Path) -> None:
    library = build_library(tmp_path, [0.4, 0.9], "silent.flac")
    library.notebook.set_favorite([one.hash for one in library.files().values()])
    app = create_app(library, SketchEmbedder(), Settings())
    with TestClient(app, "http://localhost", raise_server_exceptions=False) as client:
        (hit, *_) = client.post("/v1/search", json={"words": ["rain"]}).json()["hits"]
        for damage in (lambda path: path.write_bytes(b"noise" * 999), Path.unlink):
            damage(library.root / FILE)
            answer = client.post("/v1/marks", json={"ids": [hit["id"]]})
            assert (answer.status_code, answer.json()["type"]) == (503, "urn:aural:problem:library-missing")
            assert client.post("/v1/search", json={"words": ["rain"]}).status_code == 200
