"""Listing without a query, details of a sound, parts with all channels, and the groups of the map."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
from browsing import durations
from fastapi.testclient import TestClient

from aural.search.library import Library
from library_toys import add_all, write_sound
from sketch import SketchEmbedder


def browse(client: TestClient, **body: object) -> dict[str, object]:
    answer = client.post("/v1/browse", json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


def paths(client: TestClient, **body: object) -> list[str]:
    """The paths of all pages."""
    found, cursor = [], {}
    while True:
        page = browse(client, top=7, **body, **cursor)
        found += [hit["path"] for hit in page["hits"]]
        if page["next_cursor"] is None:
            return found
        cursor = {"cursor": page["next_cursor"]}


def test_orders_and_pages(client: TestClient, served: Library) -> None:
    files = served.files()
    assert paths(client) == sorted(files)
    lengths = durations(served)
    ordered = [lengths[path] for path in paths(client, order="shortest")]
    assert ordered == sorted(lengths.values())
    assert sorted(paths(client, order="newest")) == sorted(files)
    short = paths(client, where="duration < 5 and path ilike '%ambience%'")
    assert short == sorted(path for path, length in lengths.items() if length < 5 and "ambience" in path)
    assert paths(client, where="duration > 1000") == []


def test_a_cursor_belongs_to_its_list(client: TestClient) -> None:
    cursor = browse(client, top=3)["next_cursor"]
    answer = client.post("/v1/browse", json={"top": 3, "cursor": cursor, "order": "newest"})
    assert (answer.status_code, "another query" in answer.json()["detail"]) == (422, True)


def test_marks_select(client: TestClient, served: Library) -> None:
    hit = browse(client, top=5)["hits"][3]
    client.patch(f"/v1/marks/{hit['id']}", json={"stars": 4})
    client.put(f"/v1/collections/three/{hit['id']}")
    try:
        assert paths(client, min_stars=4) == [hit["path"]]
        assert paths(client, collections=["three"]) == [hit["path"]]
        assert paths(client, collections=["three"], favorites=True) == []
        with open(hit["path"], "rb") as file:
            answer = client.post("/v1/similar", files={"sound": file}, data={"collections": "three"})
        assert [one["path"] for one in answer.json()["hits"]] == [hit["path"]]
    finally:
        client.patch(f"/v1/marks/{hit['id']}", json={"stars": 0})
        client.delete("/v1/collections/three")


def test_details(client: TestClient, served: Library) -> None:
    hit = browse(client, top=1)["hits"][0]
    sound = client.get(f"/v1/sounds/{hit['id']}").json()
    assert (sound["path"], sound["format"], sound["channels"]) == (hit["path"], Path(hit["path"]).suffix[1:], 1)
    assert sound["duration_s"] == hit["duration_s"]
    assert sound["facts"] == {}
    assert client.get(f"/v1/sounds/{'0' * 16}").status_code == 404


@pytest.fixture
def stereo(tmp_path: Path) -> Library:
    """A library of one stereo sound with 24 bits, and one mono sound."""
    write_sound(tmp_path / "sounds" / "mono.wav", 1.0, 0)
    wave = np.random.default_rng(0).uniform(-0.5, 0.5, (16_000, 2))
    soundfile.write(tmp_path / "sounds" / "DOORWood_Creak_ME.wav", wave, 8000, subtype="PCM_24")
    return add_all(tmp_path)


def test_a_part_in_its_original_form_and_facts(stereo: Library) -> None:
    pytest.importorskip("mutagen")
    pytest.importorskip("pyloudnorm")
    from aural.search.analyze import analyze
    from aural.serve.app import create_app

    list(analyze(stereo))
    with TestClient(create_app(stereo, SketchEmbedder()), "http://localhost") as client:
        hit = browse(client, where="channels = 2")["hits"][0]
        part = {"start_s": 0.5, "end_s": 1.25}
        cut = client.get(f"/v1/audio/{hit['id']}/excerpt", params=part | {"original": True})
        with soundfile.SoundFile(io.BytesIO(cut.content)) as file:
            assert (file.subtype, file.channels, file.samplerate) == ("PCM_24", 2, 8000)
            samples = file.read()
        np.testing.assert_array_equal(samples, soundfile.read(hit["path"])[0][4000:10_000])
        mono = soundfile.read(io.BytesIO(client.get(f"/v1/audio/{hit['id']}/excerpt", params=part).content))[0]
        np.testing.assert_allclose(mono, samples.mean(axis=1), atol=2**-14)
        facts = client.get(f"/v1/sounds/{hit['id']}").json()["facts"]
        assert (facts["category"], facts["subcategory"], facts["creator"]) == ("DOORS", "WOOD", "ME")
        assert facts["peak_db"] == pytest.approx(20 * np.log10(np.abs(soundfile.read(hit["path"])[0]).max()), abs=1e-3)
        assert "key" not in facts
        assert client.get("/v1/facets").json()["facets"]["channels"] == {"1": 1, "2": 1}


def test_groups_of_the_map(client: TestClient) -> None:
    drawn = client.get("/v1/map").json()
    assert len(drawn["group"]) == len(drawn["ids"])
    assert sorted(set(drawn["group"])) == list(range(len(drawn["groups"])))
    sizes = np.bincount(drawn["group"])
    assert list(sizes) == sorted(sizes, reverse=True)
    assert all(drawn["groups"])
