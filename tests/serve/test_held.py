"""Only the file that was added is read: not one that took its place, whatever its size and time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from test_errors import check_problem

from aural.search.library import Library
from aural.serve.app import create_app
from library_toys import write_sound
from sketch import SketchEmbedder


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Return a folder with a sound, and beside it an outside sound of equal size and time."""
    inside = write_sound(tmp_path / "sounds" / "effects" / "a.wav", 2.0, 0)
    outside = write_sound(tmp_path / "outside" / "effects" / "a.wav", 2.0, 1)
    assert inside.stat().st_size == outside.stat().st_size
    for path in (inside, outside):
        os.utime(path, ns=(10**18, 10**18))
    return tmp_path / "sounds"


def link_file(sounds: Path) -> None:
    (sounds / "effects" / "a.wav").unlink()
    (sounds / "effects" / "a.wav").symlink_to(sounds.parent / "outside" / "effects" / "a.wav")


def link_folder(sounds: Path) -> None:
    shutil.rmtree(sounds / "effects")
    (sounds / "effects").symlink_to(sounds.parent / "outside" / "effects")


def link_root(sounds: Path) -> None:
    shutil.rmtree(sounds)
    sounds.symlink_to(sounds.parent / "outside")


def link_hard(sounds: Path) -> None:
    (sounds / "effects" / "a.wav").unlink()
    os.link(sounds.parent / "outside" / "effects" / "a.wav", sounds / "effects" / "a.wav")


def pipe(sounds: Path) -> None:
    (sounds / "effects" / "a.wav").unlink()
    os.mkfifo(sounds / "effects" / "a.wav")


def device(sounds: Path) -> None:
    (sounds / "effects" / "a.wav").unlink()
    (sounds / "effects" / "a.wav").symlink_to("/dev/zero")


def loop(sounds: Path) -> None:
    (sounds / "effects" / "a.wav").unlink()
    (sounds / "effects" / "a.wav").symlink_to(sounds / "effects" / "a.wav")


def other_content(sounds: Path) -> None:
    write_sound(sounds / "effects" / "a.wav", 2.5, 0)


@pytest.fixture
def library(sounds: Path) -> Library:
    embedder = SketchEmbedder()
    library = Library.create(sounds.parent / "library", embedder, model="sketch")
    assert [one.status for one in library.add([sounds], embedder, roots=[sounds])] == ["added"]
    return library


@pytest.fixture
def client(library: Library) -> Iterator[TestClient]:
    with TestClient(create_app(library, SketchEmbedder()), "http://localhost") as client:
        yield client


def only_id(client: TestClient) -> str:
    (hit,) = client.post("/v1/search", json={"words": ["rain"]}).json()["hits"]
    return str(hit["id"])


SWAPS = [link_file, link_folder, link_root, link_hard, pipe, device, loop, other_content]


@pytest.mark.parametrize("swap", SWAPS)
@pytest.mark.parametrize("before", [False, True])
def test_a_file_in_the_place_of_a_held_one_is_not_served(
    client: TestClient, sounds: Path, swap: Callable[[Path], None], before: bool
) -> None:
    id = only_id(client)
    if before:  # also when the true file was served already
        assert client.get(f"/v1/audio/{id}").status_code == 200
        assert client.get(f"/v1/audio/{id}/excerpt").status_code == 200
    swap(sounds)
    for path in (f"/v1/audio/{id}", f"/v1/audio/{id}/excerpt"):
        check_problem(client.get(path), 410, "file-changed")


def test_links_to_the_same_content_are_served(client: TestClient, sounds: Path) -> None:
    """A library whose folder moved, with a link in its place, continues to work."""
    id, content = only_id(client), (sounds / "effects" / "a.wav").read_bytes()
    sounds.rename(sounds.parent / "moved")
    sounds.symlink_to(sounds.parent / "moved")
    assert client.get(f"/v1/audio/{id}").content == content
    assert client.get(f"/v1/audio/{id}/excerpt").status_code == 200
    os.link(sounds / "effects" / "a.wav", sounds / "second.wav")
    assert client.get(f"/v1/audio/{id}").content == content


def test_a_root_that_is_a_link_from_the_start_needs_no_hash(
    tmp_path: Path, sounds: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "linked").symlink_to(sounds)
    embedder = SketchEmbedder()
    library = Library.create(tmp_path / "library", embedder, model="sketch")
    list(library.add([tmp_path / "linked"], embedder, roots=[tmp_path / "linked"]))

    def fail(*_: Any) -> str:
        raise AssertionError("hashed")

    monkeypatch.setattr("aural.serve.held.Opener._hash", fail)
    with TestClient(create_app(library, embedder), "http://localhost") as client:
        assert client.get(f"/v1/audio/{only_id(client)}").status_code == 200


def test_a_file_that_is_swapped_between_check_and_decoding_is_not_decoded(library: Library, sounds: Path) -> None:
    from aural.core.errors import AudioError
    from aural.serve.held import Opener, source_of_job

    row = library.store.rows(["path", "size", "mtime_ns", "hash", "duration"]).to_pylist()[0]
    held = Opener(library.card.roots).open(row)
    job = held.job()
    held.close()
    with source_of_job(job).open() as file:
        assert file.read() == (sounds / "effects" / "a.wav").read_bytes()
    link_file(sounds)
    with pytest.raises(AudioError, match="changed while it was opened"), source_of_job(job).open():
        pass
