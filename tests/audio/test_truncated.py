"""Half of a file: every format that states its length is reported as truncated; whole and streamed files are read."""

from __future__ import annotations

import contextlib
import io
import os
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aural.audio.io import read
from aural.audio.quiet import quiet_decoder
from aural.audio.truncated import stated_frames
from aural.core.errors import AudioError
from tiny import tone

RATE_HZ = 16000
SOUND = 0.5 * tone(3.0, RATE_HZ) + np.random.default_rng(0).uniform(-0.2, 0.2, 3 * RATE_HZ).astype(np.float32)
LIBSNDFILE = ("wav", "aiff", "au", "w64", "rf64", "mp3", "ogg", "caf")
CONTAINERS = {
    "mka": ("flac", {}),
    "webm": ("libopus", {}),
    "mov": ("pcm_s16le", {"movflags": "faststart"}),
    "avi": ("pcm_s16le", {}),
    "m4a": ("aac", {}),
}


def whole(suffix: str, path: Path) -> bytes:
    if suffix in LIBSNDFILE:
        soundfile.write(path, SOUND, RATE_HZ)
        return path.read_bytes()
    av = pytest.importorskip("av")
    codec, options = CONTAINERS[suffix]
    with av.open(str(path), "w", options=options) as container:
        stream = container.add_stream(codec, rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.repeat(SOUND, 3)[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 48000, 0
        resampler = av.AudioResampler(stream.codec_context.format or "fltp", "mono", 48000)
        for piece in [*resampler.resample(frame), *resampler.resample(None), None]:
            for packet in stream.encode(piece):
                container.mux(packet)
    return path.read_bytes()


@pytest.mark.parametrize("suffix", [*LIBSNDFILE, *CONTAINERS])
def test_half_of_a_file_is_truncated(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    content = whole(suffix, path)
    assert read(path).duration_s == pytest.approx(3.0, abs=0.05)
    assert read(content).duration_s == pytest.approx(3.0, abs=0.05)
    path.write_bytes(content[: len(content) // 2])
    for source in (path, path.read_bytes()):
        with pytest.raises(AudioError, match=r"(ends (after|in the middle)|has no index).*replace the truncated file"):
            read(source)


def test_an_ogg_that_ends_with_a_page_is_truncated_too(tmp_path: Path) -> None:
    content = whole("ogg", tmp_path / "a.ogg")
    at = content.rfind(b"OggS")
    with pytest.raises(AudioError, match="ends in the middle of the stream after 2"):
        read(content[:at])


def test_headers_of_streams_and_slightly_wrong_ones_are_read(tmp_path: Path) -> None:
    """Programs that write to a pipe state 2 to 4 GB; some count the header as samples."""
    content = bytearray(whole("wav", tmp_path / "a.wav"))
    data = content.index(b"data") + 4
    for stated in (0xFFFFFFFF, 0x80000000, 0x7FFFFFFF, len(content) - data - 4 + 36, 0):
        content[data : data + 4] = struct.pack("<I", stated)
        if stated:
            assert read(bytes(content)).duration_s == pytest.approx(3.0, abs=0.01)
        assert stated_frames(io.BytesIO(content), "wav", 48000) in (None, 48018)


def test_a_part_before_the_missing_end_is_read(tmp_path: Path) -> None:
    content = whole("wav", tmp_path / "a.wav")
    clip = read(content[: len(content) // 2], start_s=0.5, duration_s=0.5)
    np.testing.assert_allclose(clip.samples[0], SOUND[8000:16000], atol=1e-4)


def test_notes_of_the_decoder_do_not_reach_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """libmpg123 prints about the tag of a truncated file; without the capture this text is on stderr."""
    content = whole("mp3", tmp_path / "a.mp3")
    for damaged in (content[: len(content) // 2], bytes(2000) + content, content[:3000] + bytes(900) + content[3900:]):
        with contextlib.suppress(AudioError):
            read(damaged)
    assert capfd.readouterr().err == ""


def test_what_others_print_meanwhile_is_kept(capfd: pytest.CaptureFixture[str]) -> None:
    with quiet_decoder():
        os.write(2, b"Note: Illegal Audio-MPEG-Header 0x00000000 at offset 12.\nanother thread\n")
        with quiet_decoder():
            os.write(2, b"[src/libmpg123/parse.c:1245] error: giving up resync\n")
        os.write(2, b"and again\n")
    assert capfd.readouterr().err == "another thread\nand again\n"
