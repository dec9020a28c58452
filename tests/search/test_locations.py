"""Sounds in tars and object stores are listed, opened and hashed like files, and give the same library as the files."""

from __future__ import annotations

import io
import os
import pickle
import tarfile
from collections.abc import Iterator
from pathlib import Path

import fsspec
import numpy as np
import pytest
import soundfile

from aural.audio.io import info, read
from aural.core.errors import AudioError, DataError
from aural.data.manifest import Row, write_manifest
from aural.data.shards import ShardConfig, write_shards
from aural.search.check import check
from aural.search.library import Library
from aural.search.locations import FoundFile, address_of, content_hash, find, is_below, listing, source_of
from library_toys import write_sound
from sketch import SketchEmbedder


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    for i in range(5):
        write_sound(tmp_path / "sounds" / f"{i}.wav", 0.4 + i, i)
    return tmp_path / "sounds"


@pytest.fixture
def bucket() -> Iterator[str]:
    """Yield an empty folder of fsspec's store in memory."""
    url = "memory://aural-test-bucket"
    system = fsspec.filesystem("memory")
    yield url
    if system.exists("/aural-test-bucket"):
        system.rm("/aural-test-bucket", recursive=True)


def tar_of(paths: list[Path], out: Path) -> Path:
    with tarfile.open(out, "w") as tar:
        for path in paths:
            tar.add(path, f"a/{path.name}")
            tar.addfile(tarfile.TarInfo(f"a/{path.stem}.json"))
            tar.addfile(tarfile.TarInfo(f".hidden/{path.name}"))
    return out


def put(local: Path, url: str) -> None:
    with fsspec.open(url, "wb") as file:
        file.write(local.read_bytes())


def vectors(library: Library, by: str = "hash") -> dict[str, list[tuple[float, bytes]]]:
    """Return start and vector of the windows of each file, by content."""
    windows: dict[str, list[tuple[float, bytes]]] = {}
    for row in library.store.rows([by, "start", "window", "vector"]).sort_by("window").to_pylist():
        windows.setdefault(row[by], []).append((row["start"], np.float32(row["vector"]).tobytes()))
    return windows


def test_a_location_lists_its_sounds(sounds: Path, tmp_path: Path, bucket: str) -> None:
    tar = tar_of(sorted(sounds.iterdir()), tmp_path / "sounds" / "x.tar")
    members = [f"{tar}!/a/{i}.wav" for i in range(5)]
    files = [str(sounds / f"{i}.wav") for i in range(5)]
    assert [one.path for one in listing(sounds).files] == files + members
    assert [one.path for one in listing(tar).files] == members
    assert listing(members[2]).files == [find(members[2])]
    assert listing(f"file://{files[0]}").files == [find(files[0])]
    put(tar, f"{bucket}/deep/x.tar")
    put(sounds / "0.wav", f"{bucket}/0.wav")
    put(sounds / "0.wav", f"{bucket}/.hidden/0.wav")
    put(sounds / "0.wav", f"{bucket}/notes.txt")
    names = [one.path for one in listing(bucket).files]
    assert names == [f"{bucket}/0.wav", *(f"{bucket}/deep/x.tar!/a/{i}.wav" for i in range(5))]
    assert [one.path for one in listing(f"{bucket}/0.wav").files] == [f"{bucket}/0.wav"]
    for name in [*files, *members, *names]:
        which = int(name[-5])
        source = pickle.loads(pickle.dumps(source_of(name)))  # as it is sent to another process
        assert info(source).name == name
        np.testing.assert_array_equal(read(source).samples, read(sounds / f"{which}.wav").samples)
        assert (source.path is None) == (name not in files)
        assert content_hash(source) == content_hash(source_of(files[which]))
        assert find(name).size == (sounds / f"{which}.wav").stat().st_size
    assert find(names[0]).mtime_ns > 1_600_000_000 * 10**9
    assert find(members[0]).mtime_ns == os.stat(tar).st_mtime_ns


def test_missing_and_damaged_sounds_give_one_sentence(sounds: Path, tmp_path: Path, bucket: str) -> None:
    tar = tar_of(sorted(sounds.iterdir()), tmp_path / "x.tar")
    content = tar.read_bytes()
    tar.write_bytes(content[: len(content) // 2])
    result = listing(tar)
    assert (result.files, result.damaged_tars) == ([], [str(tar)])
    assert "is damaged" in str(result.errors[0])
    for address, why in [
        (f"{bucket}/none.wav", "no such object"),
        (str(tmp_path / "none.wav"), "o such file"),
        (str(tmp_path / "none.tar!/a.wav"), "o such file"),
        (f"{tar}!/a/0.wav", "is damaged"),
    ]:
        with pytest.raises(AudioError, match=why):
            read(source_of(address))
        assert [why in str(error) for error in listing(address).errors] == [True]
    with pytest.raises(DataError, match="cannot be reached"):
        listing("nosuchprotocol://a/b")


def test_addresses() -> None:
    assert address_of("s3://b/c/") == "s3://b/c"
    assert address_of("a//b.wav") == os.path.abspath("a/b.wav")
    assert is_below("/a/b.wav", "/a")
    assert not is_below("/ab/b.wav", "/a")
    assert is_below("s3://b/x.tar!/y.wav", "s3://b/x.tar")
    assert is_below("s3://b/x.tar!/y.wav", "s3://b")
    assert FoundFile(source_of("x"), 1, 0).modified == "1970-01-01T00:00:00Z"


def test_files_shards_and_object_stores_give_the_same_library(sounds: Path, tmp_path: Path, bucket: str) -> None:
    rows = [Row(path=path.name, source="x", split="test") for path in sorted(sounds.iterdir())]
    write_manifest(sounds / "manifest.parquet", rows)
    write_shards(sounds / "manifest.parquet", str(tmp_path / "shards"), ShardConfig(size=2, codec="copy"))
    for path in sounds.glob("*.wav"):
        put(path, f"{bucket}/files/{path.name}")
    for path in (tmp_path / "shards").glob("*.tar"):
        put(path, f"{bucket}/shards/{path.name}")
    embedder, results = SketchEmbedder(), []
    for number, location in enumerate([sounds, tmp_path / "shards", f"{bucket}/files", f"{bucket}/shards"]):
        library = Library.create(tmp_path / f"l{number}", embedder, model="sketch", window_s=1.0)
        done = list(library.add([location], embedder, roots=[location]))
        assert [one.status for one in done] == ["added"] * 5
        report = check(library, hashes=True)
        assert (report.files, report.problems, report.notes) == (5, [], [])
        assert list(library.update(embedder)) == []
        results.append(vectors(library))
    assert results[0] == results[1] == results[2] == results[3]


def test_an_update_follows_stores_and_tars(sounds: Path, tmp_path: Path, bucket: str) -> None:
    embedder = SketchEmbedder()
    files = sorted(sounds.iterdir())
    put(tar_of(files[:3], tmp_path / "x.tar"), f"{bucket}/x.tar")
    put(files[3], f"{bucket}/3.wav")
    library = Library.create(tmp_path / "l", embedder, model="sketch", window_s=1.0)
    list(library.add([bucket], embedder, roots=[bucket]))
    before = embedder.sounds
    put(tar_of(files[1:3], tmp_path / "x.tar"), f"{bucket}/x.tar")  # one member fewer, new times
    put(files[4], f"{bucket}/4.wav")
    statuses = sorted((one.status, one.path.rpartition("/")[2]) for one in library.update(embedder))
    assert statuses == [("added", "4.wav"), ("removed", "0.wav"), ("touched", "1.wav"), ("touched", "2.wav")]
    assert embedder.sounds == before + 5  # the windows of 4.wav
    broken = (tmp_path / "x.tar").read_bytes()[:3000]
    with fsspec.open(f"{bucket}/x.tar", "wb") as file:
        file.write(broken)
    assert [one.status for one in library.update(embedder)] == ["skipped"]  # the files of a damaged tar are kept
    assert len(library.files()) == 4
    fsspec.filesystem("memory").rm("/aural-test-bucket", recursive=True)
    plans: list[list[str]] = []
    assert list(library.update(embedder, on_plan=lambda plan: plans.append(plan.notes))) == []
    assert "4 of its files are kept" in plans[0][0]
    assert [one.status for one in library.update(embedder, prune=True)] == ["removed"] * 4


def test_a_member_is_read_in_bounds(tmp_path: Path) -> None:
    out = io.BytesIO()
    soundfile.write(out, np.zeros(100, np.float32), 8000, format="WAV")
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name in ("0.wav", "1.wav"):
            entry = tarfile.TarInfo(name)
            entry.size = len(out.getvalue())
            tar.addfile(entry, io.BytesIO(out.getvalue()))
    with source_of(f"{tmp_path}/x.tar!/0.wav").open() as file:
        assert file.read() == out.getvalue()
        assert file.read(10) == b""
        file.seek(-4, os.SEEK_END)
        assert file.read(10) == out.getvalue()[-4:]
