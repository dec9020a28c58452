"""Locating on the server: equal to the library and the command line; uploads, parts of files, and what is refused."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient

import aural
from aural.audio.io import read
from aural.cli.main import main
from aural.models.embedding import EmbeddingModel
from aural.models.locate import LocateConfig, Locator
from aural.models.writers import answerer_of
from aural.search.library import Library
from aural.search.place import place
from aural.search.query import combine
from aural.serve.app import create_app

pytest.importorskip("onnxruntime")
SOUNDS = Path(aural.__file__).parent / "sounds"
WORDS = "a rooster crowing"


@pytest.fixture(scope="module")
def model() -> EmbeddingModel:
    return aural.load("libre-small", device="cpu", engine="onnx")


@pytest.fixture(scope="module")
def located(tmp_path_factory: pytest.TempPathFactory, model: EmbeddingModel) -> Library:
    """Return a library of crickets around a rooster, and two other sounds."""
    folder = tmp_path_factory.mktemp("located")
    parts = [read(SOUNDS / f"{name}.ogg", sample_rate_hz=24000, mono=True).samples[0] for name in NAMES]
    (folder / "sounds").mkdir()
    soundfile.write(folder / "sounds" / "night.wav", np.concatenate(parts), 24000)
    for name in ("footsteps", "sneeze"):
        (folder / "sounds" / f"{name}.ogg").write_bytes((SOUNDS / f"{name}.ogg").read_bytes())
    library = Library.create(folder / "library", model, model="libre-small")
    list(library.add(sorted((folder / "sounds").iterdir()), model))
    return library


NAMES = ("crickets-chirping", "rooster-crowing", "crickets-chirping")


@pytest.fixture(scope="module")
def locating(located: Library, model: EmbeddingModel) -> Iterator[TestClient]:
    with TestClient(create_app(located, model), "http://localhost", raise_server_exceptions=False) as client:
        yield client


def test_command_library_and_server_place_hits_alike(
    located: Library,
    locating: TestClient,
    model: EmbeddingModel,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    query = combine([WORDS], [], [], model.embed_text)
    locator = Locator(model, [WORDS])
    hits = place(located.search(query, 10, words=[WORDS]), lambda clip: locator.locate(clip).spots())
    assert hits[0].path.endswith("night.wav")
    assert hits[0].onset_s is not None
    crowing = read(SOUNDS / "crickets-chirping.ogg").duration_s
    assert hits[0].onset_s == pytest.approx(crowing, abs=0.33)  # two frames
    assert hits[-1].confidence is None
    want = [(hit.path, hit.onset_s, hit.offset_s, hit.confidence) for hit in hits]

    answer = locating.post("/v1/search", json={"words": [WORDS], "top": 10, "locate": True})
    assert answer.status_code == 200, answer.text
    served = [
        tuple(hit[name] for name in ("path", "onset_s", "offset_s", "confidence")) for hit in answer.json()["hits"]
    ]
    assert [one[0] for one in served] == [one[0] for one in want]
    for one, other in zip(served, want, strict=True):
        assert one[1:] == pytest.approx(other[1:], abs=1e-5)

    command = [
        "aural",
        "search",
        WORDS,
        "-L",
        str(located.folder),
        "-k",
        "10",
        "--locate",
        "--json",
        "--engine",
        "onnx",
    ]
    monkeypatch.setattr(sys, "argv", [*command, "--no-remember"])
    with pytest.raises(SystemExit):
        main()
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["path"] for line in lines] == [one[0] for one in want]
    for line, other in zip(lines, want, strict=True):
        assert [line["onset_s"], line["offset_s"], line["confidence"]] == pytest.approx(list(other[1:]), abs=1e-5)


def wav(samples: Any, rate_hz: int = 24000) -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, rate_hz, format="WAV", subtype="FLOAT")
    return out.getvalue()


def test_an_upload_is_located_as_in_python(locating: TestClient, model: EmbeddingModel, located: Library) -> None:
    samples = read(located.folder.parent / "sounds" / "night.wav").samples[0]
    direct = Locator(model, [WORDS, "rain"], LocateConfig(threshold=0.2)).locate((samples, 24000))
    answer = locating.post(
        "/v1/locate", files={"sound": wav(samples)}, data={"texts": [WORDS, "rain"], "threshold": "0.2"}
    )
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["origin"], body["threshold"]) == ("calibrated", 0.2)
    assert [(span["text"], span["onset_s"]) for span in body["spans"]] == [(s.text, s.onset_s) for s in direct.spans]
    assert [span["confidence"] for span in body["spans"]] == pytest.approx(
        [s.confidence for s in direct.spans], abs=1e-5
    )
    assert {best["text"] for best in body["best"]} == {WORDS, "rain"}


def test_times_of_a_part_count_from_the_start_of_the_file(locating: TestClient) -> None:
    hits = locating.post("/v1/search", json={"words": [WORDS]}).json()["hits"]
    path = f"/v1/audio/{next(hit['id'] for hit in hits if hit['name'] == 'night.wav')}/locate"
    complete = locating.post(path, json={"texts": [WORDS]}).json()
    answer = locating.post(path, json={"texts": [WORDS], "start_s": 2.0, "end_s": 7.0})
    assert answer.status_code == 200, answer.text
    part = answer.json()
    assert part["duration_s"] == pytest.approx(5.0)
    assert part["spans"][0]["onset_s"] == pytest.approx(complete["spans"][0]["onset_s"], abs=0.33)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        ({}, "texts: "),
        ({"texts": " "}, "label 1 is empty"),
        ({"texts": ["rain", "rain"]}, 'label "rain" is given twice'),
        ({"texts": "rain", "threshold": "2"}, "threshold: input should be less than 1"),
        ({"texts": "rain", "min_duration_s": "-1"}, "min_duration_s: "),
    ],
)
def test_bad_requests_are_problems(locating: TestClient, data: dict[str, Any], sentence: str) -> None:
    answer = locating.post("/v1/locate", files={"sound": wav(np.zeros(24000))}, data=data)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert sentence in answer.json()["detail"]


def test_other_limits(locating: TestClient, client: TestClient) -> None:
    assert locating.post("/v1/audio/0123456789abcdef/locate", json={"texts": ["rain"]}).status_code == 404
    hit = locating.post("/v1/search", json={"words": [WORDS], "top": 1}).json()["hits"][0]
    answer = locating.post(f"/v1/audio/{hit['id']}/locate", json={"texts": ["rain"], "start_s": 0, "end_s": 1000})
    assert (answer.status_code, "by at most 120 s" in answer.json()["detail"]) == (422, True)
    answer = client.post("/v1/locate", files={"sound": wav(np.ones(8000), 8000)}, data={"texts": "rain"})
    assert (answer.status_code, "gives no frames" in answer.json()["detail"]) == (422, True)
    answer = locating.post("/v1/search", json={"like": [hit["id"]], "locate": True})
    assert (answer.status_code, "hits are placed by words" in answer.json()["detail"]) == (422, True)
    silent = locating.post("/v1/locate", files={"sound": wav(np.zeros(24000))}, data={"texts": WORDS}).json()
    assert (silent["spans"], silent["best"][0]["confidence"]) == ([], 0.0)


@pytest.mark.parametrize(
    "question",
    ["is a rooster crowing louder than crickets?", "how often is a rooster crowing heard?", "how loud are crickets?",
     "which is louder, a rooster crowing or a siren?", "how long is a rooster crowing heard?"],
)  # fmt: skip
def test_questions_are_answered_as_in_python(
    locating: TestClient, located: Library, model: EmbeddingModel, question: str
) -> None:
    held = next(one for one in located.files().values() if one.path.endswith("night.wav"))
    want = answerer_of(model)[0].answer_of(held.path, question)
    upload = {"sound": Path(held.path).read_bytes()}
    got = locating.post("/v1/ask", files=upload, data={"question": question}).json()
    assert (got["answer"], got["remark"], got["kind"], got["options"]) == (want.text, want.remark, "located", [])
    listed = locating.post("/v1/browse", json={"top": 10}).json()["hits"]
    id = next(hit["id"] for hit in listed if hit["path"].endswith("night.wav"))
    stored = locating.post(f"/v1/audio/{id}/ask", json={"question": question, "choices": []}).json()
    assert (stored["answer"], stored["remark"]) == (want.text, want.remark)
