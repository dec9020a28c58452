"""Decode sound files with libsndfile and sound tracks of containers with PyAV, behind one interface."""

from __future__ import annotations

import io
from contextlib import nullcontext
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
import soundfile

from aural.audio.quiet import quiet_decoder
from aural.audio.truncated import is_truncated, lacks_last_page, stated_frames
from aural.core.errors import AudioError, MissingDependencyError
from aural.core.files import check_regular
from aural.core.types import Clip, FloatArray

MIN_RATE_HZ, MAX_RATE_HZ, MAX_CHANNELS = 1_000, 1_000_000, 1_024
# Formats that ffmpeg may open: sound and video files, never playlists, which name other files and addresses.
DEMUXERS = "aac,ac3,asf,avi,eac3,flv,g722,matroska,webm,mov,mp4,m4a,mpeg,mpegts,wav,w64,aiff,flac,ogg,mp3,caf,au"
SILENT_HEADERS = (b"RIFF", b"RF64", b"fLaC", b"OggS", b"FORM")
"""First bytes of formats whose decoders print nothing."""

MP3_AHEAD_FRAMES = 20 * 1152
"""Frames of an mp3 that are decoded again before each block, because its first ones need the bits of earlier ones.

soundfile seeks after every read, and libsndfile then decodes up to 4,326 frames wrongly.
"""

LONG_SEEK_S = 10
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
            size = check_regular(path, AudioError).st_size
            with path.open("rb"):
                pass
        except UnicodeEncodeError:
            raise AudioError(f"{name}: its name is not UTF-8; rename the file") from None
        except FileNotFoundError:
            reason = "is a link to a file that does not exist" if path.is_symlink() else "no such file"
            raise AudioError(f"{name}: {reason}") from None
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
        with nullcontext() if _starts_with(handle, SILENT_HEADERS) else quiet_decoder():
            self._file = soundfile.SoundFile(handle)
        if self._file.format == "RAW":  # libsndfile accepts any bytes named .au, .snd or .vox as telephone sound
            self._file.close()
            raise AudioError(f"{name}: has no header with its rate and encoding; save it as wav or flac")
        self.info = AudioInfo(
            name, self._file.format.lower(), self._file.samplerate, self._file.channels, self._file.frames
        )
        self._at = 0
        self._stated = stated_frames(handle, self.info.format, self._file.frames)
        self._quiet = quiet_decoder if self.info.format == "mp3" else nullcontext
        self._has_end = self.info.format != "ogg" or not lacks_last_page(handle)

    def seek(self, frame: int) -> None:
        try:
            with self._quiet():
                self._at = int(self._file.seek(min(frame, self._file.frames)))
        except soundfile.LibsndfileError as error:
            raise AudioError(f"{self.info.name}: cannot be read from {frame} on ({error.error_string})") from None

    def read(self, frames: int) -> FloatArray:
        ahead = min(self._at, MP3_AHEAD_FRAMES) if self.info.format == "mp3" else 0
        try:
            with self._quiet():
                if ahead:
                    self._file.seek(self._at - ahead)
                block = self._file.read(ahead + frames, dtype="float32", always_2d=True)[ahead:]
        except soundfile.LibsndfileError as error:
            raise AudioError(
                f"{self.info.name}: damaged at {self._at / self.info.sample_rate_hz:.2f} s or later "
                f"({error.error_string.strip().rstrip('.')}); replace the file"
            ) from None
        self._at += len(block)
        if len(block) < frames:
            self._check_end()
        return np.ascontiguousarray(block.T)

    def _check_end(self) -> None:
        """Raise AudioError if the sound ends here although more was written."""
        if self._stated is not None and is_truncated(self.info.format, self._at, self._stated):
            raise _truncated(self.info, self._at, self._stated)
        if not self._has_end:
            raise AudioError(
                f"{self.info.name}: ends in the middle of the stream after "
                f"{self._at / self.info.sample_rate_hz:.2f} s; replace the truncated file"
            )

    def close(self) -> None:
        self._file.close()


def _truncated(info: AudioInfo, frames: int, stated: int) -> AudioError:
    rate = info.sample_rate_hz
    return AudioError(
        f"{info.name}: ends after {frames / rate:.2f} s of the {stated / rate:.2f} s that its header states; "
        "replace the truncated file"
    )


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
        if _starts_with(handle, (b"ftyp",), at=4):
            raise AudioError(f"{name}: has no index, as if its end were missing; replace the truncated file") from None
        raise AudioError(f"{name}: is not a sound file that can be decoded ({reason})") from None


def _starts_with(handle: str | BinaryIO, words: tuple[bytes, ...], at: int = 0) -> bool:
    """Return whether one of the words is at byte `at`; leaves a file object at its start."""
    if isinstance(handle, str):
        with open(handle, "rb") as file:
            return file.read(at + 4)[at:].startswith(words)
    handle.seek(0)
    head = handle.read(at + 4)
    handle.seek(0)
    return head[at:].startswith(words)


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
        """Decode up to `frame`, which is exact for every codec; container seeks are exact in mp4 files only."""
        if frame < self._at:
            self._container.close()
            self._start()
        if frame - self._at > LONG_SEEK_S * self.info.sample_rate_hz:
            self._skip(frame - self.info.sample_rate_hz)
        while frame > self._at and self.read(min(frame - self._at, 1 << 20)).shape[1]:
            pass

    def _skip(self, frame: int) -> None:
        """Continue before `frame`, where the container finds a packet, if its times count samples (m4a, mp4)."""
        import av

        base, start = self._stream.time_base, self._stream.start_time
        if base is None or start is None or base * self.info.sample_rate_hz != 1:
            return
        try:
            self._container.seek(start + frame, stream=self._stream)
            first = next(self._packets, None)
            if first is None or first.pts is None:
                raise ValueError("no time")
            pieces = self._resampler.resample(first)
        except (av.FFmpegError, ValueError):  # decode from the start instead
            self._container.close()
            self._start()
            return
        self._left = np.concatenate([self._left[:, :0], *(piece.to_ndarray() for piece in pieces)], axis=1)
        self._at = first.pts - start

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
        if block.shape[1] < frames:
            self._check_end()
        return np.ascontiguousarray(block[:, :frames], dtype=np.float32)

    def _check_end(self) -> None:
        """Raise AudioError if the track ends here although the container states more."""
        stated = stated_frames(self._handle, self.info.format, self._at)
        if stated is None:
            return
        stated = max(stated, self.info.frames or 0)
        if is_truncated(self.info.format, self._at, stated, self.info.sample_rate_hz // 4):
            raise _truncated(self.info, self._at, stated)

    def close(self) -> None:
        self._container.close()
