"""Sounds in tars are served like files: whole, by ranges, and as excerpts; nothing beside the member is ever sent."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient

from aural.search.library import Library
from aural.serve.app import create_app
from aural.serve.settings import Settings
from library_toys import write_sound
from sketch import SketchEmbedder

pytest.importorskip("lancedb")


@pytest.fixture
def shard(tmp_path: Path) -> tuple[Path, bytes]:
    """A tar of two sounds; the bytes of the first."""
    files = [write_sound(tmp_path / f"{i}.wav", 1.5, i) for i in range(2)]
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for path in files:
            tar.add(path, path.name)
    return tmp_path / "x.tar", files[0].read_bytes()


@pytest.fixture
def client(shard: tuple[Path, bytes], tmp_path: Path) -> Iterator[TestClient]:
    embedder = SketchEmbedder()
    library = Library.create(tmp_path / "library", embedder, model="sketch", window_s=1.0)
    assert [one.status for one in library.add([shard[0]], embedder)] == ["added"] * 2
    with TestClient(create_app(library, embedder), base_url="http://localhost") as found:
        yield found


def test_members_are_played(client: TestClient, shard: tuple[Path, bytes]) -> None:
    tar, content = shard
    hits = client.post("/v1/search", json={"words": ["rain"]}).json()["hits"]
    held = next(hit["id"] for hit in hits if hit["path"] == f"{tar}!/0.wav")
    whole = client.get(f"/v1/audio/{held}")
    assert (whole.status_code, whole.content, whole.headers["content-type"]) == (200, content, "audio/wav")
    size = len(content)
    for asked, want in [
        ("bytes=0-9", content[:10]),
        ("bytes=100-", content[100:]),
        ("bytes=-7", content[-7:]),
        (f"bytes={size - 3}-{size + 10**6}", content[-3:]),
        (f"bytes=-{size * 9}", content),
    ]:
        part = client.get(f"/v1/audio/{held}", headers={"Range": asked})
        assert (part.status_code, part.content) == (206, want)
        assert part.headers["content-length"] == str(len(want))
        assert part.headers["content-range"].endswith(f"/{size}")
    for asked in (f"bytes={size}-", "bytes=9-3", "bytes=-0"):
        outside = client.get(f"/v1/audio/{held}", headers={"Range": asked})
        assert (outside.status_code, outside.headers["content-range"]) == (416, f"bytes */{size}")
        assert outside.headers["content-type"] == "application/problem+json"
    for asked in ("bytes=0-1,5-6", "lines=0-1", "bytes=-", "bytes=a-b"):
        assert client.get(f"/v1/audio/{held}", headers={"Range": asked}).content == content
    clip = client.get(f"/v1/audio/{held}/excerpt", params={"start_s": 0.5, "end_s": 1.0})
    samples, rate = soundfile.read(io.BytesIO(clip.content), dtype="float32")
    expected = soundfile.read(io.BytesIO(content), dtype="float32")[0][rate // 2 : rate]
    np.testing.assert_allclose(samples, expected, atol=1e-4)
    tar.write_bytes(tar.read_bytes() + b"\0" * 512)  # another tar now
    assert client.get(f"/v1/audio/{held}").status_code == 410


@pytest.mark.parametrize("kind", ["member", "file"])
def test_head_and_conditions(client: TestClient, shard: tuple[Path, bytes], tmp_path: Path, kind: str) -> None:
    if kind == "file":
        list(Library(tmp_path / "library").add([write_sound(tmp_path / "own" / "z.wav", 2.5, 7)], SketchEmbedder()))
    hits = client.post("/v1/search", json={"words": ["rain"]}).json()["hits"]
    name = "z.wav" if kind == "file" else "0.wav"
    url = f"/v1/audio/{next(hit['id'] for hit in hits if hit['name'] == name)}"
    whole = client.get(url)
    head = client.head(url)
    assert (head.status_code, head.content) == (200, b"")
    for header in ("content-length", "content-type", "etag", "last-modified", "accept-ranges"):
        assert head.headers[header] == whole.headers[header]
    assert int(head.headers["content-length"]) == len(whole.content)
    part = client.head(url, headers={"Range": "bytes=0-9"})
    assert (part.status_code, part.content, part.headers["content-length"]) == (206, b"", "10")
    tag, modified = whole.headers["etag"], whole.headers["last-modified"]

    def status(**headers: str) -> int:
        return client.get(url, headers={name.replace("_", "-"): value for name, value in headers.items()}).status_code

    for tags in (tag, f"W/{tag}", "*", f'"other", {tag}'):
        answer = client.get(url, headers={"If-None-Match": tags})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    assert status(If_None_Match='"other"') == 200
    assert status(If_None_Match='"other"', If_Modified_Since=modified) == 200
    assert status(If_Modified_Since=modified) == 304
    assert status(If_Modified_Since="Thu, 01 Jan 1970 00:00:00 GMT") == 200
    assert status(If_Modified_Since="yesterday") == 200
    assert status(If_Match='"other"') == 412
    assert status(If_Match=tag) == 200
    assert status(Range="bytes=0-9", If_Range=tag) == status(Range="bytes=0-9", If_Range=modified) == 206
    assert status(Range="bytes=0-9", If_Range='"other"') == status(Range="bytes=0-9", If_Range=f"W/{tag}") == 200
    for other in ("lines=0-9", "bytes", "bytes=a", "bytes=0-1,5-9", "bytes=" + "0-1," * 5000, "bytes=9" * 99):
        answer = client.get(url, headers={"Range": other})
        assert (answer.status_code, answer.content) == (200, whole.content)


def test_former_setting_logit_scale_is_ignored_with_a_message() -> None:
    with pytest.warns(FutureWarning, match='"logit_scale" is ignored: the model carries its own scale'):
        assert Settings.parse({"logit_scale": 100.0, "port": 1}, "settings").port == 1
