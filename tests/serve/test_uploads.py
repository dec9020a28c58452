"""Hostile uploads: for all bytes the answer is an error message or a vector, never a 500, in bounded memory."""

from __future__ import annotations

import gzip
import io
import os
import random
import struct
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient

from aural.serve.sandbox import _Worker
from library_toys import RATE_HZ, write_sound


def encoded(suffix: str, seconds: float = 1.0) -> bytes:
    out = io.BytesIO()
    wave = 0.1 * np.random.default_rng(0).standard_normal(round(seconds * RATE_HZ))
    soundfile.write(out, wave, RATE_HZ, format=suffix.upper(), subtype="VORBIS" if suffix == "ogg" else None)
    return out.getvalue()


def wav_header(frames: int, channels: int = 1, rate_hz: int = 8000, bits: int = 16) -> bytes:
    """Return a wav header that states `frames`."""
    size = frames * channels * bits // 8
    chunk = struct.pack("<HHIIHH", 1, channels, rate_hz, rate_hz * channels * bits // 8, channels * bits // 8, bits)
    body = b"fmt " + struct.pack("<I", 16) + chunk + b"data" + struct.pack("<I", min(size, 2**32 - 1))
    return b"RIFF" + struct.pack("<I", min(36 + size, 2**32 - 1)) + b"WAVE" + body


def long_flac(seconds: float) -> bytes:
    """Return hours of silence in a few kilobytes."""
    out = io.BytesIO()
    soundfile.write(out, np.zeros(round(seconds * 1000), np.int16), 1000, format="FLAC")
    return out.getvalue()


BAD = {
    "empty": b"",
    "text": b"no sound at all",
    "zeros": bytes(5000),
    "elf": Path(os.path.realpath("/bin/sh")).read_bytes()[:50_000],
    "png": b"\x89PNG\r\n\x1a\n" + bytes(100),
    "html": b"<html><script>alert(1)</script></html>",
    "truncated wav": encoded("wav")[:30],
    "truncated flac": encoded("flac")[:200],
    "truncated ogg": encoded("ogg")[:100],
    "wav of a billion frames": wav_header(10**9),
    "wav of 2000 channels": wav_header(2**20, channels=2000) + bytes(200_000),
    "wav at 1 Hz": wav_header(100, rate_hz=1) + bytes(200),
    "hours of silence in a flac": long_flac(4 * 3600),
    "gzip bomb": gzip.compress(bytes(20_000_000)),
    "playlist": b"#EXTM3U\nfile:///etc/passwd\n",
    "concat": b"ffconcat version 1.0\nfile '/etc/passwd'\n",
    "sdp": b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=audio 1 RTP/AVP 0\n",
    "nan wav": None,
}


def nan_wav() -> bytes:
    out = io.BytesIO()
    soundfile.write(out, np.full(8000, np.nan, np.float32), 8000, format="WAV", subtype="FLOAT")
    return out.getvalue()


@pytest.mark.parametrize("what", BAD)
def test_bad_sounds_give_an_error_message(client: TestClient, what: str) -> None:
    content = BAD[what] if BAD[what] is not None else nan_wav()
    answer = client.post("/v1/embed/sound", files={"sound": ("x.wav", content)})
    assert answer.status_code == 422, (what, answer.text)
    error = answer.json()["detail"]
    assert error
    assert "Traceback" not in error
    assert client.post("/v1/embed/sound", files={"sound": encoded("wav")}).status_code == 200


def test_a_polyglot_is_no_more_than_a_sound(client: TestClient) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("x", "y")
    plain = client.post("/v1/embed/sound", files={"sound": encoded("wav")}).json()["vectors"][0]
    both = client.post("/v1/embed/sound", files={"sound": encoded("wav") + archive.getvalue()})
    assert both.status_code == 200
    np.testing.assert_allclose(both.json()["vectors"][0], plain, atol=1e-6)
    assert client.post("/v1/embed/sound", files={"sound": archive.getvalue() + encoded("wav")}).status_code in (
        200,
        422,
    )


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "/etc/passwd", "x\0.wav", "a" * 5000, "", "x.m3u8", "http://127.0.0.1/x"]
)
def test_file_names_of_uploads_mean_nothing(client: TestClient, name: str) -> None:
    answer = client.post("/v1/embed/sound", files={"sound": (name, encoded("wav"))})
    assert answer.status_code in (200, 400, 422)
    answer = client.post("/v1/embed/sound", files={"sound": (name, b"nothing")})
    assert answer.status_code in (400, 422)
    assert "root:" not in answer.text


def test_uploads_beyond_the_limits(client: TestClient) -> None:
    large = client.post("/v1/embed/sound", files={"sound": bytes(3 << 20)})
    assert (large.status_code, "larger than 1 MiB" in large.json()["detail"]) == (413, True)

    def chunks():  # type: ignore[no-untyped-def]
        yield b'--b\r\nContent-Disposition: form-data; name="sound"; filename="x"\r\n\r\n'
        for _ in range(40):
            yield bytes(100_000)
        yield b"\r\n--b--\r\n"

    streamed = client.post(
        "/v1/embed/sound", content=chunks(), headers={"Content-Type": "multipart/form-data; boundary=b"}
    )
    assert (streamed.status_code, "larger than 1 MiB" in streamed.json()["detail"]) == (413, True)
    long = client.post("/v1/embed/sound", files={"sound": encoded("ogg", 40)})
    assert (long.status_code, "longer than 30 s" in long.json()["detail"]) == (422, True)
    body = {"texts": ["rain"] * 33}
    assert client.post("/v1/embed", json=body).status_code == 422
    assert client.post("/v1/embed", json={"texts": ["x" * 1001]}).status_code == 422
    assert (
        client.post("/v1/embed", content=b"{" * 100_000, headers={"Content-Type": "application/json"}).status_code
        == 422
    )
    assert client.post("/v1/embed/sound").status_code == 422
    assert client.post("/v1/embed/sound", data={"sound": "text, not a file"}).status_code == 422
    broken = client.post(
        "/v1/embed/sound", content=b"--b\r\n\r\n", headers={"Content-Type": "multipart/form-data; boundary=b"}
    )
    assert broken.status_code in (400, 422)


def memory_of_children_mib() -> float:
    """Resident memory of the decoders of this process."""
    total = 0
    for path in Path("/proc").glob("[0-9]*/status"):
        try:
            text = path.read_text()
            if f"PPid:\t{os.getpid()}\n" in text:
                total += next((int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS")), 0)
        except OSError:
            continue
    return total / 1024


def test_random_damage_never_fails_the_server(client: TestClient) -> None:
    """Cut, flipped and spliced sounds of five formats."""
    draw = random.Random(3)
    good = [encoded(suffix) for suffix in ("wav", "flac", "ogg", "aiff", "mp3")]
    seen: dict[int, int] = {}
    for _ in range(150):
        content = bytearray(draw.choice(good))
        for _ in range(draw.randrange(1, 30)):
            content[draw.randrange(min(len(content), draw.choice([64, 10**6])))] = draw.randrange(256)
        if draw.random() < 0.3:
            content = content[: draw.randrange(1, len(content))]
        if draw.random() < 0.2:
            content += draw.choice(good)
        answer = client.post("/v1/embed/sound", files={"sound": bytes(content)})
        seen[answer.status_code] = seen.get(answer.status_code, 0) + 1
    assert set(seen) == {200, 422}, seen
    assert memory_of_children_mib() < 2 * 600
    assert client.get("/health").status_code == 200


def test_a_decoder_that_is_killed_or_stalls_is_replaced(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = client.app.state.service  # type: ignore[attr-defined]
    assert client.portal is not None
    ended = service.decoders.ended
    slow = write_sound(tmp_path / "slow.wav", 60.0, 1)

    place = {"path": str(slow), "identity": None}

    async def stall() -> None:
        await service.decoders.decode_part(place, client="test", start_s=0.0, max_s=60.0)

    with monkeypatch.context() as patch:
        patch.setattr(service.decoders, "_timeout_s", 0.001)
        with pytest.raises(Exception, match=r"took longer than 0\.001 s"):
            client.portal.call(stall)
    assert service.decoders.ended == ended + 1
    path = write_sound(tmp_path / "fine.wav", 1.0, 1)

    async def fine() -> int:
        place = {"path": str(path), "identity": None}
        return int((await service.decoders.decode_part(place, client="test", start_s=0.0, max_s=2.0)).frames)

    assert [client.portal.call(fine) for _ in range(3)] == [RATE_HZ] * 3


@pytest.mark.parametrize(("kills", "status"), [(2, 200), (9, 422)])
def test_a_sound_whose_decoder_is_killed_is_decoded_again(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, kills: int, status: int
) -> None:
    ask, left = _Worker.ask, kills

    async def killed(self: _Worker, job: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], bytes]:
        nonlocal left
        if left:
            left -= 1
            self._process.kill()
        return await ask(self, job, payload)

    monkeypatch.setattr(_Worker, "ask", killed)
    answer = client.post("/v1/embed/sound", files={"sound": encoded("wav")})
    assert answer.status_code == status
    assert status == 200 or "ended the decoder" in answer.json()["detail"]
