"""Routes of the notebook: marks, collections, searches by them, and the history."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from aural.search.library import Library
from aural.serve.app import create_app
from sketch import SketchEmbedder


@pytest.fixture
def editable(served: Library, tmp_path: Path) -> Library:
    shutil.copytree(served.folder, tmp_path / "library")
    return Library(tmp_path / "library")


@pytest.fixture
def client(editable: Library) -> Iterator[TestClient]:
    with TestClient(create_app(editable, SketchEmbedder()), "http://localhost") as client:
        yield client


def ids_of(client: TestClient, **query: Any) -> list[str]:
    answer = client.post("/v1/search", json={"words": ["rain"], "top": 10} | query)
    assert answer.status_code == 200, answer.text
    return [hit["id"] for hit in answer.json()["hits"]]


def test_marks_of_sounds(client: TestClient, editable: Library) -> None:
    first, second, third = ids_of(client)[:3]
    assert client.patch(f"/v1/marks/{first}", json={"favorite": True, "stars": 4}).json() == {
        "id": first, "favorite": True, "stars": 4, "note": "", "collections": []
    }  # fmt: skip
    client.patch(f"/v1/marks/{first}", json={"note": "loud"})
    client.patch(f"/v1/marks/{first}", json={"stars": 0})
    sounds = client.post("/v1/marks", json={"ids": [second, first, "0" * 16]}).json()["sounds"]
    assert [(one["id"], one["favorite"], one["stars"], one["note"]) for one in sounds] == [
        (second, False, 0, ""),
        (first, True, 0, "loud"),
    ]
    assert [marks.note for marks in editable.notebook.marks().values()] == ["loud"]
    assert ids_of(client, favorites=True) == [first]
    assert client.patch(f"/v1/marks/{third}", json={"stars": 6}).status_code == 422
    assert client.patch(f"/v1/marks/{'0' * 16}", json={"stars": 1}).status_code == 404


def test_collections(client: TestClient) -> None:
    ids = ids_of(client)
    for id in ids[:3]:
        assert client.put(f"/v1/collections/ rain & more/{id}").status_code == 204
    client.patch(f"/v1/marks/{ids[2]}", json={"stars": 5})
    assert client.get("/v1/collections").json() == {"collections": {" rain & more": 3}}
    assert ids_of(client, collections=[" rain & more"]) == ids[:3]
    assert ids_of(client, collections=[" rain & more"], min_stars=5, where="duration > 0") == [ids[2]]
    assert client.delete(f"/v1/collections/ rain & more/{ids[0]}").status_code == 204
    assert ids_of(client, collections=[" rain & more"]) == ids[1:3]
    assert client.delete("/v1/collections/ rain & more").status_code == 204
    answer = client.post("/v1/search", json={"words": ["rain"], "collections": [" rain & more"]})
    assert (answer.status_code, answer.json()["detail"]) == (
        404,
        '" rain & more": there is no such collection; there are no collections yet',
    )


def test_history_only_on_request(client: TestClient) -> None:
    ids_of(client)
    assert client.get("/v1/history").json() == {"queries": []}
    ids_of(client, minus=["wind"], remember=True)
    (past,) = client.get("/v1/history").json()["queries"]
    assert (past["query"], past["hits"]) == ({"words": ["rain"], "minus": ["wind"], "top": 10}, 10)
    assert client.delete("/v1/history").status_code == 204
    assert client.get("/v1/history").json() == {"queries": []}
