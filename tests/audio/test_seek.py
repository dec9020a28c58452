"""A part of a sound equals the same part of the complete sound, and is reached without decoding what is before it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from aural.audio.decode import MP3_AHEAD_FRAMES, ContainerDecoder, SndfileDecoder
from aural.audio.io import READ_FRAMES, blocks, read
from aural.core.types import FloatArray

RATE_HZ = 16_000


def sweep(seconds: float, rate_hz: int = RATE_HZ) -> FloatArray:
    """Return a tone whose pitch moves: an encoder spends bits of one frame on others (the bit reservoir of mp3)."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    return (0.3 * np.sin(2 * np.pi * np.cumsum(200 + 2000 * (1 + np.sin(t))) / rate_hz)).astype(np.float32)


def encoded(container: str, subtype: str | None, wave: FloatArray, rate_hz: int = RATE_HZ) -> bytes:
    out = io.BytesIO()
    with soundfile.SoundFile(out, "w", rate_hz, 1, subtype=subtype, format=container) as file:
        for start in range(0, wave.size, rate_hz):
            file.write(wave[start : start + rate_hz])
    return out.getvalue()


FORMATS = [("WAV", None), ("FLAC", None), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None), ("AIFF", None)]


@pytest.mark.parametrize(("container", "subtype"), FORMATS)
def test_parts_equal_the_complete_sound(container: str, subtype: str | None) -> None:
    content = encoded(container, subtype, sweep(20.0))
    complete = soundfile.read(io.BytesIO(content), dtype="float32")[0]  # one call, no seek
    for start_s in (0.0, 0.5, 3.123, 16.9):
        first = round(start_s * RATE_HZ)
        part = read(content, start_s=start_s, duration_s=1.5).samples[0]
        np.testing.assert_allclose(part, complete[first : first + part.size], atol=1e-6)
        rest = np.concatenate([block.samples[0] for block in blocks(content, 0.7, start_s=start_s)])
        np.testing.assert_allclose(rest, complete[first:], atol=1e-6)


def test_an_mp3_that_is_read_in_blocks_equals_one_that_is_read_at_once() -> None:
    content = encoded("MP3", None, sweep(14.0, 44_100), 44_100)
    complete = soundfile.read(io.BytesIO(content), dtype="float32")[0]
    assert complete.size > 2 * READ_FRAMES
    np.testing.assert_allclose(read(content).samples[0], complete, atol=1e-6)


def decoded_lengths(
    decoder: type[SndfileDecoder] | type[ContainerDecoder], monkeypatch: pytest.MonkeyPatch
) -> list[int]:
    """Return a list that receives the number of frames of every block that the decoder reads."""
    lengths: list[int] = []
    read_frames: Any = decoder.read

    def count(self: Any, wanted: int) -> FloatArray:
        block: FloatArray = read_frames(self, wanted)
        lengths.append(block.shape[1])
        return block

    monkeypatch.setattr(decoder, "read", count)
    return lengths


@pytest.mark.parametrize(("container", "subtype"), FORMATS)
def test_the_sound_before_a_part_is_not_decoded(
    container: str, subtype: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = encoded(container, subtype, sweep(60.0))
    lengths = decoded_lengths(SndfileDecoder, monkeypatch)
    next(blocks(content, 0.5, start_s=58.0))
    assert sum(lengths) <= 2 * RATE_HZ
    assert MP3_AHEAD_FRAMES < 2 * RATE_HZ


def test_a_long_mp4_is_not_decoded_from_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "x.m4a"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=RATE_HZ)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(sweep(60.0)[None], format="fltp", layout="mono")
        frame.sample_rate = RATE_HZ
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)
    complete = read(path).samples[0]
    lengths = decoded_lengths(ContainerDecoder, monkeypatch)
    for start_s in (5.0, 30.01, 58.0):
        lengths.clear()
        part = read(path, start_s=start_s, duration_s=1.0).samples[0]
        first = round(start_s * RATE_HZ)
        np.testing.assert_allclose(part, complete[first : first + part.size], atol=1e-4)
        assert sum(lengths) < 7 * RATE_HZ
