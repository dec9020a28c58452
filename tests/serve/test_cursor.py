"""Pages of a search: together they are the complete ranking, and they repeat nothing when the library changes."""

from __future__ import annotations

import random
import shutil
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from aural.core.errors import ConfigError
from aural.search.library import Library
from aural.serve import service
from aural.serve.app import create_app
from aural.serve.cursor import Position, decode, encode
from library_toys import random_filter, write_sound
from sketch import SketchEmbedder


def pages(client: TestClient, query: dict[str, Any]) -> list[list[str]]:
    listed, cursor = [], None
    while True:
        answer = client.post("/v1/search", json=query | {"cursor": cursor})
        assert answer.status_code == 200, answer.text
        body = answer.json()
        listed.append([hit["id"] for hit in body["hits"]])
        cursor = body["next_cursor"]
        if cursor is None:
            return listed


@pytest.mark.parametrize("in_memory", [True, False])
def test_pages_are_the_complete_ranking(client: TestClient, monkeypatch: pytest.MonkeyPatch, in_memory: bool) -> None:
    if not in_memory:
        monkeypatch.setattr(service, "INDEX_FROM_ROWS", 1)
        monkeypatch.setattr(client.app.state.service, "_exact", None)  # type: ignore[attr-defined]
    draw = random.Random(3)
    for number in range(12):
        query: dict[str, Any] = {"words": draw.sample(["rain", "effects", "11", "wind"], 2), "names": number % 2 == 0}
        if number % 3 == 0:
            query["where"] = random_filter(draw)
        complete = pages(client, query | {"top": 100})
        assert len(complete) == 1
        size = draw.randrange(1, 12)
        split = pages(client, query | {"top": size})
        assert [id for page in split for id in page] == complete[0]
        assert all(len(page) == size for page in split[:-1])


def test_nothing_is_repeated_when_sounds_are_added(served: Library, tmp_path: Path) -> None:
    shutil.copytree(served.folder, tmp_path / "library")
    library = Library(tmp_path / "library")
    with TestClient(create_app(library, SketchEmbedder()), "http://localhost") as client:
        query: dict[str, Any] = {"words": ["rain"], "top": 15}
        first = client.post("/v1/search", json=query).json()
        before = {hit["id"] for hit in client.post("/v1/search", json=query | {"top": 100}).json()["hits"]}
        for i in range(5):
            write_sound(tmp_path / "new" / f"{i}.wav", 1.0, 900 + i)
        list(library.add([tmp_path / "new"], SketchEmbedder()))
        listed = [hit["id"] for hit in first["hits"]]
        cursor = first["next_cursor"]
        while cursor:
            body = client.post("/v1/search", json=query | {"cursor": cursor}).json()
            listed += [hit["id"] for hit in body["hits"]]
            cursor = body["next_cursor"]
        assert len(listed) == len(set(listed))
        assert set(listed) >= before


def test_a_cursor_belongs_to_its_query(client: TestClient) -> None:
    query = {"words": ["rain"], "top": 5}
    cursor = client.post("/v1/search", json=query).json()["next_cursor"]
    for change in ({"words": ["wind"]}, {"top": 6}, {"favorites": True}):
        answer = client.post("/v1/search", json=query | {"cursor": cursor} | change)
        assert (answer.status_code, "another query" in answer.json()["detail"]) == (422, True)
    for damaged in ("x", "é", cursor[:-4], "A" * 100):
        assert client.post("/v1/search", json=query | {"cursor": damaged}).status_code == 422


def test_round_trip_and_order() -> None:
    position = Position(20, 0.1 + 0.2, "00112233445566ff")
    text = encode(position, "0123456789abcdef")
    assert decode(text, "0123456789abcdef") == position
    with pytest.raises(ConfigError, match="another query"):
        decode(text, "f" * 16)
    later = [(0.29, "0" * 16), (0.1 + 0.2, "00112233445567ff")]
    assert [position.is_before(*hit) for hit in later] == [True, True]
    assert [
        position.is_before(*hit) for hit in [(0.31, "f" * 16), (0.1 + 0.2, "0" * 16), (0.1 + 0.2, position.file)]
    ] == [
        False,
        False,
        False,
    ]
