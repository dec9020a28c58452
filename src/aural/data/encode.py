"""Encode clips for shards as FLAC (lossless at 16 or 24 bit) or Opus. Equal samples give equal bytes."""

from __future__ import annotations

import io
import zlib
from typing import Final, Literal

import numpy as np

from aural.audio.resample import resample
from aural.core.errors import AudioError
from aural.core.types import Clip

Codec = Literal["flac", "opus", "copy"]
OPUS_RATES_HZ: Final = (8_000, 12_000, 16_000, 24_000, 48_000)
OGG_SERIAL: Final = b"aural"[:4]
_MIRROR: Final = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def encode(clip: Clip, codec: Codec, bits: int = 16) -> bytes:
    """Return a clip as the bytes of a FLAC or Opus file.

    FLAC stores round(x * 2^(bits-1)), so it is exact for samples that were decoded from that many bits. Opus supports
    five sample rates; a clip at another rate is resampled to 48 kHz.

    Raises:
        AudioError: the encoder rejects the clip.
    """
    import soundfile

    stream = io.BytesIO()
    try:
        if codec == "opus":
            rate = clip.sample_rate_hz if clip.sample_rate_hz in OPUS_RATES_HZ else 48_000
            samples = resample(clip.samples, clip.sample_rate_hz, rate)
            soundfile.write(stream, samples.T, rate, format="OGG", subtype="OPUS")
            return steady_ogg(stream.getvalue())
        soundfile.write(stream, integers(clip, bits), clip.sample_rate_hz, format="FLAC", subtype=f"PCM_{bits}")
    except (soundfile.LibsndfileError, TypeError, ValueError) as error:
        raise AudioError(f"cannot be encoded as {codec} ({error})") from None
    return stream.getvalue()


def integers(clip: Clip, bits: int) -> np.ndarray:
    """Return samples as integers (T, C): int16 for 16 bit, int32 with the sample in the upper 24 bits for 24 bit.

    Scaling by a power of two is exact in float32, and float32 represents all 24-bit integers exactly.
    """
    full_scale = float(1 << (bits - 1))
    scaled = clip.samples * np.float32(full_scale)
    np.rint(scaled, out=scaled)
    np.clip(scaled, -full_scale, full_scale - 1, out=scaled)
    return scaled.astype(np.int16).T if bits == 16 else (scaled.astype(np.int32) << 8).T


def steady_ogg(data: bytes) -> bytes:
    """Return an Ogg stream with a fixed serial number.

    Encoders choose a random serial number, so equal sounds would otherwise give different bytes.
    """
    out = bytearray(data)
    at = 0
    while at + 27 <= len(out) and out[at : at + 4] == b"OggS":
        segments = out[at + 26]
        end = at + 27 + segments + sum(out[at + 27 : at + 27 + segments])
        out[at + 14 : at + 18] = OGG_SERIAL
        out[at + 22 : at + 26] = bytes(4)
        out[at + 22 : at + 26] = ogg_crc(bytes(out[at:end])).to_bytes(4, "little")
        at = end
    return bytes(out)


def ogg_crc(page: bytes) -> int:
    """Return the CRC-32 of RFC 3533 (polynomial 0x04c11db7, most significant bit first, start 0, no inversion).

    zlib's CRC-32 is bit-reversed and inverts its start and end values. This function mirrors the bits of each byte,
    undoes both inversions, and mirrors the result.
    """
    mirrored = zlib.crc32(page.translate(_MIRROR), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{mirrored:032b}"[::-1], 2)
