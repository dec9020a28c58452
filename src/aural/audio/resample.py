"""Convert sample rates with soxr; the windowed sinc of torchaudio is used only for parity with msclap."""

from __future__ import annotations

import math

import numpy as np
import soxr

from aural.core.types import FloatArray

QUALITY = "HQ"


def resample(samples: FloatArray, from_hz: int, to_hz: int) -> FloatArray:
    """Resample (C, T) from `from_hz` to `to_hz` with soxr "HQ", the default quality of librosa.

    Returns (C, T * to_hz / from_hz rounded), float32.
    """
    if from_hz == to_hz or samples.shape[-1] == 0:
        return samples
    return np.ascontiguousarray(soxr.resample(samples.T, from_hz, to_hz, quality=QUALITY).T, dtype=np.float32)


def resample_sinc(samples: FloatArray, from_hz: int, to_hz: int, zeros: int = 6, rolloff: float = 0.99) -> FloatArray:
    """Resample with a Hann-windowed sinc of `zeros` zero crossings, the default filter of torchaudio.

    y[j] = sum_i x[i] h(j / to_hz - i / from_hz), with h(t) = 2 f sinc(2 f t) cos^2(pi f t / zeros) / from_hz for
    |t| < zeros / (2 f), cut at f = rolloff * min(from, to) / 2. With the two rates in lowest terms p -> q, the output
    phases repeat every q samples, so the result is one strided convolution with q filters. Smith (2021),
    "Digital Audio Resampling".

    samples is (C, T); returns (C, ceil(T q / p)). Filters are built in float64 and applied in float32.
    """
    if from_hz == to_hz:
        return samples
    import torch

    divisor = math.gcd(from_hz, to_hz)
    p, q = from_hz // divisor, to_hz // divisor
    cut = min(p, q) * rolloff
    half = math.ceil(zeros * p / cut)
    taps = np.arange(-half, half + p, dtype=np.float64)[None] / p
    phase = (-np.arange(q, dtype=np.float32)[:, None] / np.float32(q)).astype(np.float64)  # rounded as torchaudio does
    t = np.clip((taps + phase) * cut, -zeros, zeros)  # in zero crossings
    kernel = np.sinc(t) * np.cos(t * np.pi / zeros / 2) ** 2 * (cut / p)
    x = torch.from_numpy(samples)
    length = math.ceil(x.shape[-1] * q / p)
    x = torch.nn.functional.pad(x, (half, half + p))
    filters = torch.from_numpy(kernel.astype(np.float32))[:, None]  # (q, 1, K)
    y = torch.nn.functional.conv1d(x[:, None], filters, stride=p)  # (C, q, T / p)
    return y.transpose(1, 2).reshape(x.shape[0], -1)[:, :length].contiguous().numpy()
