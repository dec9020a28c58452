"""Sounds in and out: every source gives the same samples; blocks joined are the whole."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aural.audio.io import as_clip, blocks, info, read, to_mono, write
from aural.core.errors import AudioError
from aural.core.types import Clip
from tiny import tone, write_wav

LOSSLESS = {"a.wav": "PCM_16", "a.flac": "PCM_16", "a.aiff": "PCM_16", "a.au": "PCM_16", "a.caf": "PCM_16"}


@pytest.mark.parametrize("name", LOSSLESS)
def test_lossless_formats_keep_every_sample(name: str, tmp_path: Path) -> None:
    whole = np.round(tone(0.4, 22050) * 32767).astype(np.int16)
    soundfile.write(tmp_path / name, np.stack([whole, -whole], axis=1), 22050, subtype=LOSSLESS[name])
    clip = read(tmp_path / name)
    assert (clip.samples.shape, clip.sample_rate_hz, clip.samples.dtype) == ((2, whole.size), 22050, np.float32)
    np.testing.assert_array_equal(clip.samples[0] * 32768, whole)
    np.testing.assert_array_equal(clip.samples[1], -clip.samples[0])
    about = info(tmp_path / name)
    assert (about.frames, about.channels, about.sample_rate_hz) == (whole.size, 2, 22050)
    assert about.duration_s == pytest.approx(0.4)


@pytest.mark.parametrize("name", ["a.ogg", "a.mp3", "a.opus"])
def test_lossy_formats_keep_length_and_place(name: str, tmp_path: Path) -> None:
    samples = tone(1.0, 48000)
    path = write(tmp_path / name, Clip(samples[None], 48000))
    found = read(path).samples[0]
    assert abs(found.size - samples.size) <= 1152
    shifts = range(-1152, 1153)
    middle = samples[10000:30000]
    best = max(shifts, key=lambda shift: float(middle @ found[10000 + shift : 30000 + shift]))
    assert abs(best) < 30


def test_every_kind_of_source_gives_the_same(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav")
    golden = read(path).samples
    content = path.read_bytes()
    written = io.BytesIO()
    written.write(content)  # left at its end
    sources = [str(path), content, bytearray(content), memoryview(content), io.BytesIO(content), written]
    for source in sources:
        np.testing.assert_array_equal(read(source).samples, golden)
    with path.open("rb") as file:
        for _ in range(2):  # a second reading starts anew
            np.testing.assert_array_equal(read(file).samples, golden)
    for pair in ((golden, 16000), (golden[0], 16000), (torch.from_numpy(golden), 16000.0), (golden.tolist(), 16000)):
        np.testing.assert_array_equal(read(pair).samples, golden)
    np.testing.assert_array_equal(read(Clip(golden, 16000)).samples, golden)


def test_a_pipe_that_cannot_seek_is_read() -> None:
    stored = io.BytesIO()
    soundfile.write(stored, tone(0.1), 16000, format="WAV")

    class Pipe(io.RawIOBase):
        left = io.BytesIO(stored.getvalue())

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
            return self.left.readinto(buffer)

    assert read(io.BufferedReader(Pipe())).frames == 1600  # type: ignore[arg-type]


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.uint8, np.float16, np.float64])
def test_numbers_of_every_kind_are_scaled_to_one(dtype: type) -> None:
    if np.issubdtype(dtype, np.floating):
        samples, want = np.array([-1, 0, 0.5], dtype), [-1, 0, 0.5]
    else:
        limits = np.iinfo(dtype)
        zero = 128 if dtype is np.uint8 else 0
        samples, want = np.array([limits.min, zero, zero + (int(limits.max) + 1 - zero) // 2], dtype), [-1, 0, 0.5]
    np.testing.assert_allclose(as_clip((samples, 8000)).samples[0], want, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.int16])
def test_tensors_of_every_kind(dtype: torch.dtype) -> None:
    tensor = torch.tensor([[0, 1, 0, -1]]).to(dtype).requires_grad_(dtype.is_floating_point)
    scale = 1 if dtype.is_floating_point else 32768
    np.testing.assert_allclose(as_clip((tensor, 8000)).samples * scale, [[0, 1, 0, -1]])


def test_mono_is_the_mean() -> None:
    left, right = tone(0.1), tone(0.1, hz=300)
    np.testing.assert_allclose(to_mono(np.stack([left, right]))[0], (left + right) / 2, atol=1e-7)
    many = np.stack([left] * 32)
    np.testing.assert_allclose(read((many, 16000), mono=True).samples[0], left, atol=1e-6)


def test_a_part_of_a_sound(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav", seconds=1.0)
    whole = read(path).samples
    part = read(path, start_s=0.25, duration_s=0.5).samples
    np.testing.assert_array_equal(part, whole[:, 4000:12000])
    np.testing.assert_array_equal(read((whole, 16000), start_s=0.25, duration_s=0.5).samples, part)
    assert read(path, start_s=0.9, duration_s=5).frames == 1600
    with pytest.raises(AudioError, match=r"holds no samples after 3 s"):
        read(path, start_s=3)


@given(
    frames=st.integers(200, 9000),
    block=st.floats(0.003, 0.3),
    rates=st.sampled_from([(16000, None), (16000, 48000), (44100, 16000), (8000, 44100), (48000, 32000)]),
)
@settings(max_examples=40, deadline=None)
def test_blocks_joined_are_the_whole(frames: int, block: float, rates: tuple[int, int | None]) -> None:
    source = (np.stack([tone(1.0)[:frames], tone(1.0, hz=100)[:frames]]), rates[0])
    whole = read(source, sample_rate_hz=rates[1], mono=True).samples
    parts = [part.samples for part in blocks(source, block, sample_rate_hz=rates[1])]
    size = max(1, round(block * (rates[1] or rates[0])))
    assert {part.shape[1] for part in parts[:-1]} <= {size}
    assert parts[-1].shape[1] <= size
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-6)


def test_blocks_of_a_long_file_join_across_reads(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "long.wav", seconds=20, rate_hz=44100)  # more than one read of 2 ** 18 frames
    whole = read(path, sample_rate_hz=16000).samples
    joined = np.concatenate([part.samples for part in blocks(path, 0.7, sample_rate_hz=16000)], axis=1)
    np.testing.assert_allclose(joined, whole, atol=1e-6)


def test_write_and_read_again(tmp_path: Path) -> None:
    clip = Clip(np.stack([tone(0.1), tone(0.1, hz=200)]), 16000)
    again = read(write(tmp_path / "a.wav", clip, subtype="FLOAT"))
    np.testing.assert_array_equal(again.samples, clip.samples)
    for name in ("a.xyz", "no/such/folder/a.wav"):
        with pytest.raises(AudioError, match=r"cannot be written|does not exist; create it first"):
            write(tmp_path / name, clip)


def test_unicode_paths(tmp_path: Path) -> None:
    path = write_wav(tmp_path / "犬が吠える 🐕 naïve.wav")
    assert read(path).frames == 8000
    with pytest.raises(AudioError, match=r"犬が吠えない\.wav: no such file"):
        read(tmp_path / "犬が吠えない.wav")


def test_thirty_two_channels(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "many.wav", np.tile(tone(0.1)[:, None], (1, 32)), 16000, subtype="FLOAT")
    clip = read(tmp_path / "many.wav")
    assert clip.channels == 32
    np.testing.assert_allclose(to_mono(clip.samples)[0], tone(0.1), atol=1e-6)
