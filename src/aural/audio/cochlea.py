"""A cochleagram: levels in the bands of gammatone filters, and an approximate way back to a waveform.

Legend: B clips, T samples, N = T // hop frames, K bins, F bands.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

N_FFT = 512
POWER = 0.3
"""Exponent of the compression of amplitudes."""
FITS = 40
"""Updates of the bin powers of the inverse."""


def erb_hz(frequency_hz: Tensor) -> Tensor:
    """Return the equivalent rectangular bandwidth at a frequency: 24.7 (4.37 f / 1000 + 1).

    Source: Glasberg and Moore 1990 (doi 10.1016/0378-5955(90)90170-T), equation 3.

    >>> round(float(erb_hz(torch.tensor(1000.0))), 2)
    132.64
    """
    return 24.7 * (4.37 * frequency_hz / 1000 + 1)


def erb_centers_hz(bands: int, lowest_hz: float, highest_hz: float) -> Tensor:
    """Return center frequencies (F,) that are equally spaced in ERB numbers, 21.4 log10(4.37 f / 1000 + 1)."""
    ends = [21.4 * math.log10(4.37 * f / 1000 + 1) for f in (lowest_hz, highest_hz)]
    return (10 ** (torch.linspace(ends[0], ends[1], bands, dtype=torch.float64) / 21.4) - 1) * 1000 / 4.37


def gammatone_weights(bands: int, sample_rate_hz: int, lowest_hz: float = 50.0) -> Tensor:
    """Return the power responses (K, F) of gammatone filters of order 4 at the bins of a transform.

    |H(f)|^2 = (1 + ((f - f_c) / b)^2)^-4 with b = 1.019 ERB(f_c).

    Source: Slaney 1993, An efficient implementation of the Patterson-Holdsworth auditory filter bank, section 2.
    """
    centers = erb_centers_hz(bands, lowest_hz, 0.9 * sample_rate_hz / 2)
    bins = torch.linspace(0, sample_rate_hz / 2, N_FFT // 2 + 1, dtype=torch.float64)
    return (1 + ((bins[:, None] - centers) / (1.019 * erb_hz(centers))).square()) ** -4


class Cochleagram(nn.Module):
    """Waveform (B, T) to compressed band amplitudes (B, N, F): (sum_k |X_k|^2 |H_kf|^2)^(POWER / 2).

    Frame n is centered at sample (n + 0.5) hop. `waveform` is an approximate inverse.
    """

    weights: Tensor
    window: Tensor

    def __init__(self, bands: int, sample_rate_hz: int = 16_000, hop: int = 160) -> None:
        super().__init__()
        self.hop = hop
        self.register_buffer("weights", gammatone_weights(bands, sample_rate_hz).float(), persistent=False)
        self.register_buffer("window", torch.hann_window(N_FFT), persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        frames = wave.shape[1] // self.hop
        before = (N_FFT - self.hop) // 2
        padded = nn.functional.pad(wave[:, : frames * self.hop], (before, N_FFT - self.hop - before))
        spectrum = torch.stft(padded, N_FFT, self.hop, window=self.window, center=False, return_complex=True)
        power = spectrum.abs().square().transpose(1, 2) @ self.weights
        return (power + 1e-8) ** (POWER / 2)

    @torch.no_grad()
    def waveform(self, cochleagram: Tensor, rounds: int = 24) -> Tensor:
        """Return a waveform (B, N hop) whose cochleagram is near the given one (B, N, F).

        Random first phases come from torch's current generator.

        Bin powers without negative values come from the updates of Lee and Seung 2001 (least squares), phases from
        Griffin and Lim 1984 (doi 10.1109/TASSP.1984.1164317).
        """
        power = cochleagram.clamp(min=0) ** (2 / POWER)
        bins = power @ self.weights.T + 1e-12
        for _ in range(FITS):
            bins = bins * (power @ self.weights.T) / (bins @ self.weights @ self.weights.T + 1e-12)
        levels = bins.sqrt().transpose(1, 2)  # (B, K, N)
        phase = torch.polar(torch.ones_like(levels), 2 * torch.pi * torch.rand_like(levels))
        length = levels.shape[2] * self.hop
        options: dict[str, Any] = {"n_fft": N_FFT, "hop_length": self.hop, "window": self.window}
        wave = cochleagram.new_zeros(len(levels), length)
        for _ in range(rounds):
            wave = torch.istft(levels * phase, length=length, **options)
            again = torch.stft(wave, return_complex=True, **options)[..., : levels.shape[2]]
            phase = torch.polar(torch.ones_like(levels), again.angle())
        return nn.functional.pad(wave, (self.hop // 2, 0))[:, :length]  # frame n is centered at (n + 0.5) hop
