"""Decode sound files with libsndfile and sound tracks of containers with PyAV, behind one interface."""

from __future__ import annotations

import io
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import soundfile

from aural.core.errors import AudioError, MissingDependencyError
from aural.core.types import Clip, FloatArray

MIN_RATE_HZ, MAX_RATE_HZ, MAX_CHANNELS = 1_000, 1_000_000, 1_024
# Formats that ffmpeg may open: sound and video files, never playlists, which name other files and addresses.
DEMUXERS = "aac,ac3,asf,avi,eac3,flv,g722,matroska,webm,mov,mp4,m4a,mpeg,mpegts,wav,w64,aiff,flac,ogg,mp3,caf,au"
CONTAINERS = frozenset(
    {".aac", ".ac3", ".avi", ".eac3", ".flv", ".g722", ".m4a", ".m4b", ".m4v", ".mka", ".mkv", ".mov", ".mp4", ".mpeg"}
    | {".mpg", ".ts", ".webm", ".wma", ".wmv", ".3gp"}
)


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """The content of a header; `frames` and `duration_s` are None if the container does not state them."""

    name: str
    format: str
    sample_rate_hz: int
    channels: int
    frames: int | None

    @property
    def duration_s(self) -> float | None:
        return None if self.frames is None else self.frames / self.sample_rate_hz


class Decoder(Protocol):
    """An open sound; `read(n)` returns up to n frames as float32 (C, n), fewer at the end and then 0."""

    info: AudioInfo

    def seek(self, frame: int) -> None: ...
    def read(self, frames: int) -> FloatArray: ...
    def close(self) -> None: ...


def source_name(source: Any) -> str:
    """Return the name of a source for error messages."""
    if isinstance(source, Clip | tuple):
        return "array"
    if isinstance(source, str | PathLike):
        return str(fspath(source))
    if isinstance(source, bytes | bytearray | memoryview):
        return f"<{len(source)} bytes>"
    return str(getattr(source, "name", f"<{type(source).__name__}>"))


def open_decoder(source: Any) -> Decoder:
    """Open a path, encoded bytes or a binary file object.

    Raises AudioError with the source and the reason when it cannot be decoded.
    """
    name, handle, suffix = source_name(source), *_handle(source)
    try:
        decoder: Decoder = SndfileDecoder(handle, name)
    except soundfile.LibsndfileError as error:
        if not isinstance(handle, str):
            handle.seek(0)
        # For an mp3 that it cannot read, libsndfile reports that the file does not exist.
        reason = "format not recognized" if "not a regular file" in error.error_string else error.error_string
        decoder = _open_container(handle, name, suffix, reason)
    except (TypeError, ValueError) as error:  # checks of soundfile itself: a .raw file without its rate
        raise AudioError(f"{name}: is not a sound file that can be decoded ({error})") from None
    rate, channels = decoder.info.sample_rate_hz, decoder.info.channels
    if not MIN_RATE_HZ <= rate <= MAX_RATE_HZ:
        decoder.close()
        raise AudioError(
            f"{name}: sample rate {rate} Hz is outside {MIN_RATE_HZ} to {MAX_RATE_HZ} Hz; "
            "correct its header or pass the samples with their true rate"
        )
    if channels > MAX_CHANNELS:
        decoder.close()
        raise AudioError(f"{name}: {channels} channels; at most {MAX_CHANNELS} are supported")
    return decoder


def _handle(source: Any) -> tuple[str | BinaryIO, str]:
    """Return the path or file object that the decoders open, and the suffix of the file name."""
    name = source_name(source)
    if isinstance(source, str | PathLike):
        path = Path(fspath(source) if isinstance(source, PathLike) else source)
        try:
            if path.is_dir():
                raise AudioError(f"{name}: is a directory, not a sound file; give the files in it")
            size = path.stat().st_size
            with path.open("rb"):
                pass
        except FileNotFoundError:
            raise AudioError(f"{name}: no such file") from None
        except (OSError, ValueError) as error:
            raise AudioError(f"{name}: cannot be opened ({getattr(error, 'strerror', None) or error})") from None
        if size == 0:
            raise AudioError(f"{name}: the file is empty (0 bytes)")
        return str(path), path.suffix.lower()
    if isinstance(source, bytes | bytearray | memoryview):
        if not len(source):
            raise AudioError(f"{name}: no bytes were given")
        return io.BytesIO(source), ""
    if hasattr(source, "read"):
        try:
            seekable = bool(getattr(source, "seekable", lambda: False)())
            if seekable:  # always read from the start, whatever the current position
                source.seek(0)
            probe = source.read(1) if seekable else source.read()
            if seekable:
                source.seek(0)
        except (OSError, ValueError) as error:
            raise AudioError(f"{name}: cannot be read ({error})") from None
        if not isinstance(probe, bytes):
            raise AudioError(f"{name}: opened as text; open the file in binary mode")
        if not probe:
            raise AudioError(f"{name}: no bytes were given")
        suffix = Path(name).suffix.lower()
        return (source if seekable else io.BytesIO(probe)), suffix
    raise AudioError(
        f"{type(source).__name__} is not a sound; give a path, bytes, a binary file, a Clip or (samples, rate in Hz)"
    )


class SndfileDecoder:
    """A decoder by libsndfile: wav, flac, ogg (vorbis, opus), mp3, aiff, au, caf, w64 ..."""

    def __init__(self, handle: str | BinaryIO, name: str) -> None:
        self._file = soundfile.SoundFile(handle)
        if self._file.format == "RAW":  # libsndfile accepts any bytes named .au, .snd or .vox as telephone sound
            self._file.close()
            raise AudioError(f"{name}: has no header with its rate and encoding; save it as wav or flac")
        self.info = AudioInfo(
            name, self._file.format.lower(), self._file.samplerate, self._file.channels, self._file.frames
        )
        self._at = 0

    def seek(self, frame: int) -> None:
        try:
            self._at = int(self._file.seek(min(frame, self._file.frames)))
        except soundfile.LibsndfileError as error:
            raise AudioError(f"{self.info.name}: cannot be read from {frame} on ({error.error_string})") from None

    def read(self, frames: int) -> FloatArray:
        try:
            block = self._file.read(frames, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            raise AudioError(
                f"{self.info.name}: damaged at {self._at / self.info.sample_rate_hz:.2f} s or later "
                f"({error.error_string.strip().rstrip('.')}); replace the file"
            ) from None
        self._at += len(block)
        expected = self.info.frames or 0
        # An mp3 header may state a little more than the file holds; lossless formats state their exact length.
        if len(block) < frames and self.info.format in ("flac", "aiff") and self._at < expected:
            raise AudioError(
                f"{self.info.name}: ends after {self._at / self.info.sample_rate_hz:.2f} s of the "
                f"{expected / self.info.sample_rate_hz:.2f} s that its header states; replace the truncated file"
            )
        return np.ascontiguousarray(block.T)

    def close(self) -> None:
        self._file.close()


def _open_container(handle: str | BinaryIO, name: str, suffix: str, reason: str) -> Decoder:
    reason = reason.strip().rstrip(".")
    try:
        import av
    except ImportError:
        if suffix in CONTAINERS:
            raise MissingDependencyError(
                f'{name}: {suffix} files are decoded by PyAV, which is not installed; pip install "aural[av]"'
            ) from None
        raise AudioError(f"{name}: is not a sound file that can be decoded ({reason})") from None
    try:
        return ContainerDecoder(handle, name)
    except (av.FFmpegError, ValueError):
        raise AudioError(f"{name}: is not a sound file that can be decoded ({reason})") from None


class ContainerDecoder:
    """A decoder by PyAV (ffmpeg): the first sound track of m4a, mp4, webm, mkv, aac ..."""

    def __init__(self, handle: str | BinaryIO, name: str) -> None:
        self._handle, self._name = handle, name
        self._start()
        container, context = self._container, self._stream.codec_context
        frames = None
        if self._stream.duration and self._stream.time_base:
            frames = round(float(self._stream.duration * self._stream.time_base) * context.sample_rate)
        elif container.duration:
            frames = round(container.duration / 1e6 * context.sample_rate)
        self.info = AudioInfo(
            name, container.format.name.split(",")[0], int(context.sample_rate or 0), int(context.channels or 0), frames
        )

    def _start(self) -> None:
        """Open the source again: seeking to 0 would not skip the encoder's start padding (AAC in mp4)."""
        import av

        if not isinstance(self._handle, str):
            self._handle.seek(0)
        container = av.open(self._handle, metadata_errors="ignore", options={"format_whitelist": DEMUXERS})
        if not container.streams.audio:
            container.close()
            raise AudioError(f"{self._name}: has no sound track")
        self._container, self._stream = container, container.streams.audio[0]
        context = self._stream.codec_context
        if context is None:
            container.close()
            raise AudioError(f"{self._name}: its sound track has a codec that is not supported here")
        self._packets = container.decode(self._stream)
        self._resampler = av.AudioResampler(format="fltp", layout=None, rate=context.sample_rate)
        self._left: FloatArray = np.zeros((int(context.channels or 0), 0), np.float32)
        self._ended, self._at = False, 0

    def seek(self, frame: int) -> None:
        """Decode up to `frame`, which is exact for every codec; container seeks are not."""
        if frame < self._at:
            self._container.close()
            self._start()
        while frame > self._at and self.read(min(frame - self._at, 1 << 20)).shape[1]:
            pass

    def read(self, frames: int) -> FloatArray:
        import av

        parts, have = [self._left], self._left.shape[1]
        while have < frames and not self._ended:
            try:
                decoded = next(self._packets, None)
                self._ended = decoded is None
                pieces = self._resampler.resample(decoded)
            except (av.FFmpegError, ValueError) as error:  # ValueError: the rate or channels change within the track
                reason = getattr(error, "strerror", None) or error
                raise AudioError(f"{self.info.name}: damaged ({reason}); replace the file") from None
            for piece in pieces:
                if piece is None:  # the flush of a track without a frame
                    continue
                array = piece.to_ndarray()
                parts.append(array)
                have += array.shape[1]
        block = np.concatenate(parts, axis=1) if len(parts) > 1 else parts[0]
        self._left = block[:, frames:]
        self._at += min(frames, block.shape[1])
        return np.ascontiguousarray(block[:, :frames], dtype=np.float32)

    def close(self) -> None:
        self._container.close()
