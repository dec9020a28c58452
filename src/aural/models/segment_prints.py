"""Neural audio fingerprints: 64 numbers per second of sound, which change little in noise, in a room or re-encoded.

Chang et al. (2021), "Neural Audio Fingerprint for High-specific Audio Retrieval based on Contrastive Learning", ICASSP,
arXiv 2010.11910. As there, a segment is 1 s at 8 kHz and segments are 0.5 s apart; the network is a smaller one.

Legend: S segments, T samples, N frames, F mel bands, E dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor, nn

from aural.audio.io import blocks
from aural.audio.mel import LogMel, MelConfig
from aural.core.errors import CheckpointError
from aural.core.types import AudioSource, FloatArray
from aural.models.rounding import with_steps

RATE_HZ: Final = 8000
SEGMENT_S: Final = 1.0
SEGMENT: Final = 8000
"""Samples of a segment."""
HOP_S: Final = 0.5
DIMENSIONS: Final = 64
MEL: Final = MelConfig(sample_rate_hz=RATE_HZ, n_fft=1024, hop=256, n_mels=128, fmin_hz=300, fmax_hz=4000)
FLOOR_DB: Final = 80.0
"""The log-mel of a segment is limited to this range below its loudest entry."""
WIDTHS: Final = (32, 64, 128, 128, 256)
BATCH: Final = 64
BLOCK_S: Final = 60.0
QUIET_DB: Final = -60.0
"""Segments below this level (re full scale, rms) have no fingerprint."""
WEIGHTS: Final = Path(__file__).parents[1] / "weights" / "segment-prints" / "model.safetensors"


class Block(nn.Module):
    """Two convolutions of 3 x 3, the first with stride 2, around a residual connection."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.down = nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(outputs)
        self.conv = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.norm1(self.down(x)))
        return torch.relu(x + self.norm2(self.conv(x)))


class SegmentPrints(nn.Module):
    """A network from segments (S, T) to fingerprints (S, E) of unit length."""

    def __init__(self) -> None:
        super().__init__()
        self.front_end = LogMel(MEL)
        self.blocks = nn.Sequential(
            *(Block(inputs, outputs) for inputs, outputs in zip((1, *WIDTHS), WIDTHS, strict=False))
        )
        shrunk = 2 ** len(WIDTHS)
        self.head = nn.Linear(WIDTHS[-1] * (MEL.n_mels // shrunk) * (SEGMENT // MEL.hop // shrunk + 1), DIMENSIONS)

    def pictures(self, segments: Tensor) -> Tensor:
        """Return the log-mels (S, N, F) of segments, 0 at the floor and 1 at the loudest entry."""
        decibels = self.front_end(segments)
        loudest = decibels.amax((1, 2), keepdim=True)
        return ((decibels - loudest) / FLOOR_DB + 1.0).clamp_min(0.0)

    def embed(self, pictures: Tensor) -> Tensor:
        """Return the fingerprints (S, E) of log-mels."""
        states = self.blocks(pictures[:, None].transpose(2, 3))  # (S, C, F, N)
        return nn.functional.normalize(self.head(states.flatten(1)).float(), dim=1)

    def forward(self, segments: Tensor) -> Tensor:
        return self.embed(self.pictures(segments))


@cache
def bundled(weights: Path = WEIGHTS) -> SegmentPrints:
    """Return the network with the weights of a file, evaluation mode; do not train it.

    Raises CheckpointError when they are missing.
    """
    from safetensors.torch import load_file

    if not weights.is_file():
        raise CheckpointError(f"{weights} is missing; write it with tools/train_segment_prints.py")
    network = SegmentPrints()
    exact = {name: tensor for name, tensor in network.state_dict().items() if name.startswith("front_end.")}
    network.load_state_dict(exact | with_steps(load_file(weights)))
    return network.eval()


def segments_of(source: AudioSource) -> Iterator[tuple[FloatArray, FloatArray]]:
    """Yield blocks of segments (S, T) of a sound, 0.5 s apart, and their starts (S,) in seconds; the last is padded.

    Memory does not grow with the length of the sound. Raises AudioError when it cannot be read.
    """
    hop = round(HOP_S * RATE_HZ)
    rest, number = np.empty(0, np.float32), 0
    for block in blocks(source, BLOCK_S, sample_rate_hz=RATE_HZ):
        rest = np.concatenate([rest, block.samples[0]])
        count = (len(rest) - SEGMENT) // hop + 1
        if count > 0:
            yield cut(rest, count, number)
            rest, number = rest[count * hop :], number + count
    if not number or len(rest) > SEGMENT - hop:
        yield cut(np.pad(rest, (0, SEGMENT - len(rest))), 1, number)


def cut(wave: FloatArray, count: int, number: int) -> tuple[FloatArray, FloatArray]:
    """Return the first `count` segments (S, T) of samples, and their starts; the first one has number `number`."""
    segments = np.lib.stride_tricks.sliding_window_view(wave, SEGMENT)[:: round(HOP_S * RATE_HZ)][:count]
    return segments, ((number + np.arange(count)) * HOP_S).astype(np.float32)


def segment_prints(source: AudioSource, network: SegmentPrints | None = None) -> tuple[FloatArray, FloatArray]:
    """Return the fingerprints (S, E) of a sound's segments that are not silent, and their starts (S,) in seconds."""
    network = network or bundled()
    rows, starts_s = [np.empty((0, DIMENSIONS), np.float32)], [np.empty(0, np.float32)]
    with torch.inference_mode():
        for segments, starts in segments_of(source):
            loud = 10 * np.log10(np.mean(np.square(segments), axis=1) + 1e-20) > QUIET_DB
            for first in range(0, len(segments), BATCH):
                part = segments[first : first + BATCH][loud[first : first + BATCH]]
                if len(part):
                    rows.append(network(torch.from_numpy(np.ascontiguousarray(part))).numpy())
            starts_s.append(starts[loud])
    return np.concatenate(rows), np.concatenate(starts_s)
