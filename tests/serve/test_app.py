"""Answers of the server equal those of the library on every route; ids, ranges, metrics, tokens, error messages."""

from __future__ import annotations

import io
import json
import logging
import os
import random
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient

from aural.core.errors import ConfigError
from aural.core.types import FloatArray
from aural.models.known_sentences import class_sentences
from aural.search.filters import parse_filter
from aural.search.fuse import fused
from aural.search.index import best_per_file
from aural.search.library import Library
from aural.search.query import QueryWeights, combine
from aural.serve.app import create_app
from aural.serve.run import serve
from aural.serve.settings import Settings
from library_toys import RATE_HZ, random_filter
from sketch import SketchEmbedder

WORDS = ["rain", "wind", "a dog barks", "thunder", "birds", "犬が吠える", "a car", "bells", "water", "steps"]


def wav(seconds: float = 1.0, seed: int = 0, rate_hz: int = RATE_HZ) -> bytes:
    out, draw = io.BytesIO(), np.random.default_rng(seed)
    soundfile.write(out, 0.1 * draw.standard_normal(round(seconds * rate_hz)), rate_hz, format="WAV")
    return out.getvalue()


def public(client: Any) -> Callable[[str], str]:
    """Return the function from the ids of the library to those of its server."""
    hide: Callable[[str], str] = client.app.state.service.ids.hide
    return hide


def test_embedded_served_and_exact_agree_on_200_queries(client: TestClient, served: Library) -> None:
    """One question three ways: the library in this process, over HTTP, and by comparing every row in memory."""
    draw, embedder, oracle, some = random.Random(7), SketchEmbedder(), served.store.exact(), 0
    ids, hide = [held.file for held in served.files().values()], public(client)
    for _ in range(200):
        body: dict[str, Any] = {
            "words": draw.sample(WORDS, draw.randrange(1, 3)),
            "minus": draw.sample(WORDS, draw.randrange(2)),
            "like": draw.sample(ids, draw.randrange(3)),
            "where": random_filter(draw) if draw.random() < 0.7 else None,
            "top": draw.randrange(1, 30),
            "minus_weight": round(draw.uniform(0, 0.9), 2),
            "names": draw.random() < 0.5,
        }
        where = parse_filter(body["where"]) if body["where"] else None
        like = [served.vector(file) for file in body["like"]]
        weights = QueryWeights(minus=body["minus_weight"])
        query = combine(body["words"], like, body["minus"], embedder.embed_text, weights)
        words = body["words"] if body["names"] else ()
        embedded = served.search(query, body["top"], where, words=words)
        if words:
            exact = fused(oracle.search, query, partial(served.words.search, words), body["top"], where)
        else:
            exact = best_per_file(partial(oracle.search, query, where=where), body["top"])
        body["like"] = [hide(file) for file in body["like"]]
        answer = client.post("/v1/search", json=body)
        assert answer.status_code == 200, answer.text
        got = answer.json()["hits"]
        some += bool(got)
        for one, two, three in zip(got, embedded, exact, strict=True):
            assert (one["id"], one["window"], one["path"]) == (hide(two.file), two.window, two.path)
            assert one["score"] == pytest.approx(two.score, abs=2e-6)
            assert one["score"] == pytest.approx(three.score, abs=2e-6)
            assert (two.file, two.window) == (three.file, three.window) or abs(two.score - three.score) < 2e-6
    assert some > 150


def test_an_uploaded_sound_finds_itself(client: TestClient, served: Library) -> None:
    path = next(path for path in served.files() if path.endswith("07.wav"))
    answer = client.post("/v1/similar", files={"sound": Path(path).read_bytes()}, data={"top": 3})
    hits = answer.json()["hits"]
    assert (answer.status_code, hits[0]["path"], len(hits)) == (200, path, 3)
    assert hits[0]["score"] == pytest.approx(1, abs=1e-4)
    form = {"top": 5, "words": ["rain"], "minus": ["wind", "dog"], "where": "name != '07.wav'", "like_weight": 2}
    hits = client.post("/v1/similar", files={"sound": Path(path).read_bytes()}, data=form).json()["hits"]
    embedder = SketchEmbedder()
    query = combine(
        ["rain"], [embedder.embed_audio([path])[0]], ["wind", "dog"], embedder.embed_text, QueryWeights(like=2)
    )
    assert [hit["path"] for hit in hits] == [
        hit.path for hit in served.search(query, 5, parse_filter("name != '07.wav'"), words=["rain"])
    ]


def test_embed_and_classify(client: TestClient) -> None:
    embedder, sound = SketchEmbedder(), wav(2.0, 3)
    got = client.post("/v1/embed", json={"texts": ["rain", "wind", "rain"]}).json()
    np.testing.assert_allclose(got["vectors"], embedder.embed_text(["rain", "wind", "rain"]), atol=1e-6)
    vector = client.post("/v1/embed/sound", files={"sound": sound}).json()["vectors"][0]
    np.testing.assert_allclose(vector, embedder.embed_audio([sound])[0], atol=1e-6)
    answer = client.post("/v1/classify", files={"sound": sound}, data={"labels": ["rain", "wind", "dog"]}).json()
    prompts = embedder.embed_text([f"the sound of {word}" for word in ("rain", "wind", "dog")])
    cosines = prompts @ embedder.embed_audio([sound])[0]
    scores = np.exp(100 * cosines) / np.exp(100 * cosines).sum()
    want = dict(zip(("rain", "wind", "dog"), scores, strict=True))
    assert answer["duration_s"] == pytest.approx(2.0)
    assert {one["label"]: one["score"] for one in answer["labels"]} == pytest.approx(want, abs=1e-4)
    alone = client.post("/v1/classify", files={"sound": sound}, data={"labels": ["rain"], "multi_label": True}).json()
    neutral = embedder.embed_text(["the sound of something"])[0] @ embedder.embed_audio([sound])[0]
    assert alone["labels"][0]["score"] == pytest.approx(1 / (1 + np.exp(-100 * (cosines[0] - neutral))), abs=1e-4)


def test_caption_and_ask(client: TestClient, served: Library) -> None:
    embedder, sound = SketchEmbedder(), wav(2.0, 3)
    vector = embedder.embed_audio([sound])[0]
    got = client.post("/v1/caption", files={"sound": sound}).json()
    sentences = class_sentences()
    order = np.argsort(-(embedder.embed_text(sentences) @ vector), kind="stable")
    assert (got["caption"], got["kind"]) == (sentences[order[0]], "picked")
    assert got["others"] == [sentences[i] for i in order[1:3]]
    assert got["note"] == '"SketchEmbedder" writes no captions'
    choices = ["rain", "wind", "dog"]
    answer = client.post(
        "/v1/ask", files={"sound": sound}, data={"question": "which is it?", "choices": choices}
    ).json()
    cosines = embedder.embed_text(choices) @ vector
    assert answer["answer"] == choices[int(cosines.argmax())]
    assert [one["score"] for one in answer["options"]] == pytest.approx(
        sorted(np.exp(100 * cosines) / np.exp(100 * cosines).sum(), reverse=True), abs=1e-4
    )
    free = client.post("/v1/ask", files={"sound": sound}, data={"question": "which is it?"})
    assert free.status_code == 422
    assert "answers no free question" in free.json()["detail"]
    held = next(one for one in served.files().values() if one.path.endswith("03.wav"))
    id = public(client)(held.file)
    row = embedder.embed_audio([held.path])[0]
    body = {"question": "which is it?", "choices": choices}
    stored = client.post(f"/v1/audio/{id}/ask", json=body).json()
    assert stored["answer"] == choices[int((embedder.embed_text(choices) @ row).argmax())]
    assert client.post(f"/v1/audio/{id}/caption").json()["kind"] == "picked"
    assert client.post("/v1/audio/0123456789abcdef/caption").status_code == 404


def test_sounds_whole_and_in_part(client: TestClient, served: Library) -> None:
    held = next(one for one in served.files().values() if one.path.endswith("38.wav"))
    content, id = Path(held.path).read_bytes(), public(client)(held.file)
    whole = client.get(f"/v1/audio/{id}")
    assert (whole.status_code, whole.content, whole.headers["content-type"]) == (200, content, "audio/wav")
    part = client.get(f"/v1/audio/{id}", headers={"Range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, content[100:200])
    assert part.headers["content-range"] == f"bytes 100-199/{len(content)}"
    assert client.get(f"/v1/audio/{id}", headers={"Range": "bytes=-50"}).content == content[-50:]
    assert client.get(f"/v1/audio/{id}", headers={"Range": f"bytes={len(content)}-"}).status_code == 416
    cut = client.get(f"/v1/audio/{id}/excerpt", params={"start_s": 12.5, "end_s": 14.0})
    samples, rate = soundfile.read(io.BytesIO(cut.content), dtype="float32")
    want = soundfile.read(held.path, dtype="float32")[0][round(12.5 * RATE_HZ) : round(14 * RATE_HZ)]
    assert (cut.status_code, rate) == (200, RATE_HZ)
    np.testing.assert_allclose(samples, want, atol=1e-4)
    short = client.get(f"/v1/audio/{id}/excerpt", params={"start_s": 2.0})
    assert len(soundfile.read(io.BytesIO(short.content))[0]) == round((0.3 + 38 * 0.6 - 2) * RATE_HZ)
    assert client.get(f"/v1/audio/{id}/excerpt", params={"start_s": 900}).status_code == 422
    assert client.get(f"/v1/audio/{id}/excerpt", params={"start_s": 2, "end_s": 1}).status_code == 422


@pytest.mark.parametrize(
    "name",
    ["0" * 16, "../../secret.wav", "..%2f..%2fsecret.wav", "%2e%2e/secret.wav", "/etc/passwd", "a", "0" * 16 + "%00"],
)
def test_only_held_files_are_read(client: TestClient, name: str) -> None:
    for path in (f"/v1/audio/{name}", f"/v1/audio/{name}/excerpt", f"/static/{name}", f"/static/../{name}"):
        answer = client.get(path)
        assert answer.status_code in (404, 422), (path, answer.status_code)
        assert b"RIFF" not in answer.content
        assert b"root:" not in answer.content


def test_a_file_that_was_exchanged_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(1.0))
    (tmp_path / "b.wav").write_bytes(wav(1.0, 1))
    (tmp_path / "secret").write_text("secret")
    embedder = SketchEmbedder()
    library = Library.create(tmp_path / "library", embedder, model="sketch")
    list(library.add([tmp_path / "a.wav", tmp_path / "b.wav"], embedder))
    ids = {Path(one.path).name: one.file for one in library.files().values()}
    (tmp_path / "a.wav").unlink()
    (tmp_path / "a.wav").symlink_to(tmp_path / "secret")
    (tmp_path / "b.wav").unlink()
    with TestClient(create_app(library, embedder), "http://localhost") as client:
        for name in ("a.wav", "b.wav"):
            answer = client.get(f"/v1/audio/{public(client)(ids[name])}")
            assert answer.status_code == 410
            assert "aural library update" in answer.json()["detail"]


def test_library_map_health_and_metrics(client: TestClient, served: Library) -> None:
    found = client.get("/v1/library").json()
    assert (found["model"], found["files"], found["windows"]) == ("sketch", 40, served.store.count())
    drawn = client.get("/v1/map").json()
    assert len(drawn["ids"]) == len(drawn["x"]) == len(drawn["y"]) == len(drawn["tags"]) == 40
    assert client.get("/health").json()["status"] == "ok"
    text = client.get("/metrics").text
    assert 'aural_requests_total{method="GET",route="/v1/library",status="200"}' in text
    assert "aural_library_files 40.0" in text
    assert "aural_library_fragments 1.0" in text
    assert "aural_library_indexes 0.0" in text
    assert f"aural_library_unindexed_windows {float(served.store.count())}" in text
    assert "aural_library_readable 1.0" in text


def test_request_ids_and_logs(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "aural.serve"):
        logging.getLogger("aural.serve").propagate = True
        answer = client.post("/v1/search", json={"words": [" "]}, headers={"X-Request-Id": "abc-1"})
        made = client.get("/health", headers={"X-Request-Id": "bad id\x7f"})
    assert (answer.headers["x-request-id"], answer.json()["request_id"]) == ("abc-1", "abc-1")
    assert len(made.headers["x-request-id"]) == 32
    line = json.loads(caplog.records[0].getMessage())
    assert (line["request_id"], line["status"], line["path"], line["method"]) == ("abc-1", 422, "/v1/search", "POST")
    assert "rain" not in caplog.text


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "nothing to search for"),
        ({"minus": ["rain"]}, "to be subtracted from"),
        ({"words": ["rain"], "where": "duraton < 5"}, 'did you mean "duration"'),
        ({"words": ["rain"], "like": ["0" * 16]}, "contains no such file"),
        ({"words": ["rain"], "top": 0}, "top"),
        ({"words": ["rain"], "minus": ["rain"], "minus_weight": 1}, "cancel out"),
        ({"wards": ["rain"]}, "wards"),
    ],
)
def test_refusals_are_sentences(client: TestClient, body: dict[str, Any], message: str) -> None:
    answer = client.post("/v1/search", json=body)
    assert answer.status_code == (404 if "like" in body else 422)
    assert message in answer.json()["detail"]


def test_a_token_is_required_except_for_the_page_and_health(served: Library) -> None:
    settings = Settings(host="0.0.0.0", token="long-enough-token")
    with TestClient(create_app(served, SketchEmbedder(), settings), "http://localhost") as client:
        assert client.get("/health").status_code == 200
        assert client.get("/").status_code == 200
        for path in ("/v1/library", "/metrics", "/openapi.json", "/v1/map"):
            answer = client.get(path)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert client.get(path, headers={"Authorization": "Bearer wrong"}).status_code == 401
            assert client.get(path, headers={"Authorization": "Bearer long-enough-token"}).status_code == 200
        assert client.post("/v1/session", json={"token": "wrong"}).status_code == 401
        assert client.post("/v1/session", json={"token": "long-enough-token"}).status_code == 204
        session = client.cookies.get("aural_session") or ""
        assert len(session) >= 43
        assert "long-enough-token" not in session
        assert client.get("/v1/library").status_code == 200


def test_other_host_names_are_rejected_on_loopback(client: TestClient) -> None:
    assert client.get("/health", headers={"Host": "evil.example"}).status_code == 403
    assert client.get("/health", headers={"Host": "localhost:8765"}).status_code == 200


def test_open_addresses_need_a_token_and_models_must_fit(served: Library) -> None:
    with pytest.raises(ConfigError, match="set --token"):
        serve(served, SketchEmbedder(), Settings(host="0.0.0.0"))
    with pytest.raises(ConfigError, match="use --model sketch"):
        create_app(served, SketchEmbedder(seed=3))
    with pytest.raises(ConfigError, match="decode_wrkers"):
        Settings.parse({"decode_wrkers": 1}, "serve")


def test_answers_are_fresh_after_an_add(tmp_path: Path) -> None:
    embedder = SketchEmbedder()
    library = Library.create(tmp_path / "library", embedder, model="sketch")
    with TestClient(create_app(library, embedder), "http://localhost") as client:
        assert client.post("/v1/search", json={"words": ["rain"]}).json()["hits"] == []
        (tmp_path / "a.wav").write_bytes(wav())
        list(Library(tmp_path / "library").add([tmp_path / "a.wav"], embedder))
        assert len(client.post("/v1/search", json={"words": ["rain"]}).json()["hits"]) == 1
    assert os.path.exists(tmp_path / "a.wav")


class BrokenEmbedder(SketchEmbedder):
    """An embedder that is slow for texts with "slow" and fails for texts with "fail"."""

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        if any("slow" in text for text in texts):
            time.sleep(2.0)
        if any("fail" in text for text in texts):
            raise RuntimeError("internal")
        return super().embed_text(texts)


def test_timeouts_and_internal_errors_are_json_with_the_request_id(served: Library) -> None:
    settings = Settings(request_timeout_s=1.0)
    app = create_app(served, BrokenEmbedder(), settings)
    with TestClient(app, "http://localhost", raise_server_exceptions=False) as client:
        client.post("/v1/search", json={"words": ["rain"]})  # imports are loaded with the first search
        # "slow" is last: it keeps the one embedding thread busy after its request has ended
        for words, status, message in (("fail", 500, "internal error"), ("slow", 503, "took longer than 1")):
            answer = client.post("/v1/search", json={"words": [words]}, headers={"X-Request-Id": words})
            assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
            assert message in answer.json()["detail"]
            assert answer.json()["request_id"] == answer.headers["x-request-id"] == words
