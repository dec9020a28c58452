"""Containers through PyAV: lengths, start padding, seeking; and what ffmpeg must not be led to open."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from aural.audio.decode import open_decoder
from aural.audio.io import info, read
from aural.audio.length import windows
from aural.core.errors import AudioError, MissingDependencyError
from tiny import tone, write_wav

av = pytest.importorskip("av")
# suffix, codec, rate in Hz, samples in a frame of the codec, whether the container tells the encoder's start padding
TRACKS = [
    ("m4a", "aac", 44100, 1024, True),
    ("mp4", "aac", 48000, 1024, True),
    ("mkv", "aac", 44100, 1024, True),
    ("webm", "libopus", 48000, 960, True),
    ("mkv", "libopus", 48000, 960, True),
    ("mkv", "flac", 44100, 4608, True),
    ("mov", "pcm_s16le", 44100, 1, True),
    ("aac", "aac", 44100, 1024, False),
    ("ts", "aac", 48000, 1024, False),
]
IDS = [f"{codec}-{suffix}" for suffix, codec, *_ in TRACKS]


def encode(path: Path, codec: str, rate_hz: int, samples: NDArray[np.float32]) -> Path:
    layout = "mono" if samples.shape[0] == 1 else "stereo"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate_hz, layout=layout)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples), format="fltp", layout=layout)
        frame.sample_rate, frame.pts = rate_hz, 0
        resampler = av.AudioResampler(stream.codec_context.format or "fltp", layout, rate_hz)
        for piece in [*resampler.resample(frame), *resampler.resample(None), None]:
            for packet in stream.encode(piece):
                container.mux(packet)
    return path


@pytest.mark.parametrize(("suffix", "codec", "rate_hz", "frame", "padding_told"), TRACKS, ids=IDS)
def test_container_keeps_length_and_place(
    suffix: str, codec: str, rate_hz: int, frame: int, padding_told: bool, tmp_path: Path
) -> None:
    samples = tone(2.003, rate_hz)
    path = encode(tmp_path / f"a.{suffix}", codec, rate_hz, samples[None])
    found = read(path).samples[0]
    slack = frame if padding_told else 2 * frame  # a bare AAC stream says nothing of its 1024 samples of start padding
    assert 0 <= found.size - samples.size <= slack
    if padding_told or rate_hz == 48000:
        assert info(path).frames == pytest.approx(samples.size, abs=2 * max(frame, 1024))
    middle = samples[rate_hz // 2 : rate_hz]
    shifts = range(-2 * 1024, 2 * 1024 + 1)
    best = max(shifts, key=lambda s: float(middle @ found[rate_hz // 2 + s : rate_hz + s]))
    assert best in (range(-5, 6) if padding_told else [1024])


@pytest.mark.parametrize(("suffix", "codec", "rate_hz", "frame", "padding_told"), TRACKS, ids=IDS)
def test_seeking_gives_the_same_samples(
    suffix: str, codec: str, rate_hz: int, frame: int, padding_told: bool, tmp_path: Path
) -> None:
    path = encode(tmp_path / f"a.{suffix}", codec, rate_hz, tone(1.5, rate_hz)[None])
    whole = read(path).samples
    np.testing.assert_array_equal(read(path, start_s=0.5, duration_s=0.5).samples, whole[:, rate_hz // 2 : rate_hz])
    for handle in (str(path), io.BytesIO(path.read_bytes())):
        decoder = open_decoder(handle)
        decoder.seek(5000)
        np.testing.assert_array_equal(decoder.read(100), whole[:, 5000:5100])
        decoder.seek(7)  # back
        np.testing.assert_array_equal(decoder.read(100), whole[:, 7:107])
        decoder.seek(10**9)
        assert decoder.read(5).shape == (1, 0)
        decoder.close()


def test_stereo_and_bytes(tmp_path: Path) -> None:
    samples = np.stack([tone(0.5, 48000), np.zeros(24000, np.float32)])
    path = encode(tmp_path / "a.webm", "libopus", 48000, samples)
    clip = read(path.read_bytes())
    assert clip.channels == 2
    assert np.abs(clip.samples[0]).mean() > 20 * np.abs(clip.samples[1]).mean()
    assert sum(window.fresh_s for window in windows(path, 16000, 0.2)) == pytest.approx(0.5, abs=0.03)


def test_video_without_sound_is_named(tmp_path: Path) -> None:
    path = tmp_path / "silent.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 32
        for packet in [*stream.encode(av.VideoFrame(32, 32, "yuv420p")), *stream.encode(None)]:
            container.mux(packet)
    with pytest.raises(AudioError, match=r"silent.mp4: has no sound track"):
        read(path)


def test_playlists_open_no_other_file(tmp_path: Path) -> None:
    """A playlist names files and addresses: what is read must be the file given and no other."""
    write_wav(tmp_path / "secret.wav")
    playlists = {
        "a.m3u8": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nsecret.wav\n#EXT-X-ENDLIST\n",
        "a.ffconcat": "ffconcat version 1.0\nfile secret.wav\n",
        "a.wav": "ffconcat version 1.0\nfile secret.wav\n",
        "a.sdp": "v=0\nm=audio 9 RTP/AVP 0\nc=IN IP4 127.0.0.1\n",
    }
    for name, text in playlists.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(AudioError, match="is not a sound file that can be decoded"):
            read(tmp_path / name)
        with pytest.raises(AudioError, match="is not a sound file that can be decoded"):
            read(text.encode())


def test_truncated_container_gives_what_there_is_or_a_sentence(tmp_path: Path) -> None:
    path = encode(tmp_path / "a.webm", "libopus", 48000, tone(2.0, 48000)[None])
    content = path.read_bytes()
    with pytest.raises(AudioError, match=r"ends after 1\.\d\d s of the 2\.\d\d s that its header states"):
        read(content[: len(content) * 2 // 3])
    movie = encode(tmp_path / "a.m4a", "aac", 48000, tone(2.0, 48000)[None]).read_bytes()
    with pytest.raises(AudioError, match="has no index, as if its end were missing"):
        read(movie[: len(movie) // 2])  # its index stands at the end


def test_without_pyav_containers_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = encode(tmp_path / "a.m4a", "aac", 44100, tone(0.2, 44100)[None])
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(
        MissingDependencyError, match=r'a.m4a: .m4a files are decoded by PyAV.*pip install "aural\[av\]"'
    ):
        read(path)
    (tmp_path / "b.wav").write_bytes(b"no sound")
    with pytest.raises(AudioError, match=r"b.wav: is not a sound file"):
        read(tmp_path / "b.wav")
