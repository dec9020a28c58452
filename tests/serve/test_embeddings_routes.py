"""`/v1/embeddings` in OpenAI's form: vectors of texts and sounds, both encodings, and the official client."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from live import live_server, tone

from aural.search.library import Library
from sketch import DIM, SketchEmbedder


def data_url(sound: bytes, kind: str = "audio/wav") -> str:
    return f"data:{kind};base64,{base64.b64encode(sound).decode()}"


def part(sound: bytes) -> dict[str, Any]:
    return {"type": "input_audio", "input_audio": {"data": base64.b64encode(sound).decode(), "format": "wav"}}


def test_texts_and_sounds_in_one_request(client: TestClient) -> None:
    sound = tone(1.0)
    inputs = [
        "rain",
        data_url(sound),
        part(sound),
        {"type": "text", "text": "wind"},
        data_url(sound, "audio/x-wav;a=b"),
    ]
    answer = client.post("/v1/embeddings", json={"input": inputs, "model": "any"})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["object"], body["model"], [one["index"] for one in body["data"]]) == (
        "list",
        "sketch",
        [0, 1, 2, 3, 4],
    )
    assert body["usage"] == {"prompt_tokens": 2, "total_tokens": 2}
    rows = np.array([one["embedding"] for one in body["data"]], np.float32)
    texts = SketchEmbedder().embed_text(["rain", "wind"])
    uploaded = client.post("/v1/embed/sound", files={"sound": sound}).json()["vectors"][0]
    np.testing.assert_allclose(rows, [texts[0], uploaded, uploaded, texts[1], uploaded], atol=1e-6)
    single = client.post("/v1/embeddings", json={"input": "rain", "encoding_format": "base64"}).json()
    raw = np.frombuffer(base64.b64decode(single["data"][0]["embedding"]), "<f4")
    np.testing.assert_allclose(raw, texts[0], atol=1e-7)


def test_the_official_client(served: Library) -> None:
    openai = pytest.importorskip("openai")
    with live_server(served) as address, openai.OpenAI(base_url=f"{address}/v1", api_key="none") as official:
        answer = official.embeddings.create(model="aural", input=["rain", data_url(tone(0.5))])
        np.testing.assert_allclose(answer.data[0].embedding, SketchEmbedder().embed_text(["rain"])[0], atol=1e-6)
        assert [(one.index, len(one.embedding)) for one in answer.data] == [(0, DIM), (1, DIM)]
        floats = official.embeddings.create(model="aural", input="rain", encoding_format="float", dimensions=DIM)
        np.testing.assert_allclose(floats.data[0].embedding, answer.data[0].embedding, atol=1e-6)
        with pytest.raises(openai.UnprocessableEntityError) as refused:
            official.embeddings.create(model="aural", input="rain", dimensions=8)
        assert "vectors have 32 numbers" in refused.value.response.json()["detail"]


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "0 items"),
        (["rain"] * 33, "33 items"),
        (["x" * 1001], "input 0: a text of 1001 characters"),
        (["rain", "data:audio/wav;base64,???"], "input 1: is not base64"),
        (["rain", data_url(b"no sound")], "input 1: "),
        ([[1, 2, 3]], "input"),
        ([{"type": "input_audio", "input_audio": {"data": ""}}], "input"),
    ],
)
def test_bad_inputs_are_one_sentence(client: TestClient, inputs: list[Any], message: str) -> None:
    answer = client.post("/v1/embeddings", json={"input": inputs})
    assert answer.status_code == 422
    assert message in answer.json()["detail"]


def test_limit_of_the_request(client: TestClient) -> None:
    """The test server takes uploads of 1 MiB; in base64 and with the other fields, 2.4 MB of JSON."""
    large = client.post("/v1/embeddings", json={"input": data_url(bytes(1 << 20))})
    assert large.status_code == 422  # accepted, but zeros are no sound
    assert client.post("/v1/embeddings", json={"input": data_url(bytes(2 << 20))}).status_code == 413
