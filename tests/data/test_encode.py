"""FLAC returns what it was given; Opus and Ogg bytes do not depend on chance."""

from __future__ import annotations

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from aural.audio import io
from aural.core.errors import AudioError
from aural.core.types import Clip
from aural.data.encode import encode, integers, ogg_crc, steady_ogg


def noise(bits: int, channels: int = 2, frames: int = 3_000) -> Clip:
    full = 1 << (bits - 1)
    whole = np.random.default_rng(bits).integers(-full, full, (channels, frames))
    whole[:, :2] = (-full, full - 1)
    return Clip((whole / full).astype(np.float32), 44_100)


@pytest.mark.parametrize("bits", [16, 24])
@pytest.mark.parametrize("channels", [1, 2, 8])
def test_flac_is_lossless(bits: int, channels: int) -> None:
    clip = noise(bits, channels)
    back = io.read(encode(clip, "flac", bits))
    assert back.sample_rate_hz == 44_100
    np.testing.assert_array_equal(back.samples, clip.samples)


def test_full_scale_is_clipped_not_wrapped() -> None:
    clip = Clip(np.array([[1.0, 1.5, -1.0, -1.5, 0.0]], np.float32), 16_000)
    assert integers(clip, 16)[:, 0].tolist() == [32767, 32767, -32768, -32768, 0]
    assert (integers(clip, 24)[:, 0] >> 8).tolist() == [8388607, 8388607, -8388608, -8388608, 0]


@pytest.mark.parametrize(("rate", "kept"), [(16_000, 16_000), (48_000, 48_000), (44_100, 48_000)])
def test_opus_is_the_same_bytes_each_time(rate: int, kept: int) -> None:
    time_s = np.arange(rate) / rate
    clip = Clip((0.5 * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32)[None], rate)
    first, second = encode(clip, "opus"), encode(clip, "opus")
    assert first == second
    back = io.read(first)
    assert back.sample_rate_hz in (kept, 48_000)
    assert back.duration_s == pytest.approx(1.0, abs=0.01)
    middle = back.samples[0, back.frames // 4 : -back.frames // 4]
    assert np.sqrt(np.mean(middle**2)) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


def test_ogg_checksums_are_those_of_libogg() -> None:
    """Pages that libogg wrote carry the checksum that we would write under their own serial number."""
    import io as bytes_io

    stream = bytes_io.BytesIO()
    soundfile.write(stream, np.random.default_rng(0).normal(size=50_000) * 0.1, 48_000, format="OGG", subtype="OPUS")
    data = stream.getvalue()
    at = pages = 0
    while at < len(data):
        segments = data[at + 26]
        end = at + 27 + segments + sum(data[at + 27 : at + 27 + segments])
        page = data[at : at + 22] + bytes(4) + data[at + 26 : end]
        assert ogg_crc(page) == int.from_bytes(data[at + 22 : at + 26], "little")
        at, pages = end, pages + 1
    assert pages > 3
    np.testing.assert_array_equal(io.read(steady_ogg(data)).samples, io.read(data).samples)


@given(st.binary(max_size=200))
@settings(max_examples=50, deadline=None)
def test_ogg_crc_bit_by_bit(page: bytes) -> None:
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = ((crc << 1) ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1) & 0xFFFFFFFF
    assert ogg_crc(page) == crc


def test_what_flac_cannot_hold_is_said() -> None:
    with pytest.raises(AudioError, match="cannot be encoded as flac"):
        encode(Clip(np.zeros((12, 10), np.float32), 16_000), "flac")
