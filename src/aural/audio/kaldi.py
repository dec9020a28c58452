"""Kaldi's log-mel filter banks, as torchaudio.compliance.kaldi.fbank computes them: batched, on the CPU and the GPU.

Frames of 25 ms every 10 ms without padding; each loses its mean, is differenced (0.97) and windowed; power spectrum of
512 points at 16 kHz; triangles in mel from 20 Hz to half the rate; natural logarithm.

Legend: B clips, T samples, N frames, F mel bands.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from aural.audio.mel import MelConfig, mel_filters

RATE_HZ, LENGTH, HOP, N_FFT = 16000, 400, 160, 512
EMPHASIS = 0.97


class KaldiMel(nn.Module):
    """Waveforms (B, T) in -1 to 1 at 16 kHz to log-mels (B, N, F).

    window: "hann" (AST) or "povey", a Hann window to the power of 0.85 (BEATs). gain: factor of the waveform.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, n_mels: int, *, window: Literal["hann", "povey"] = "povey", gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain
        hann = torch.hann_window(LENGTH, periodic=False, dtype=torch.float64, device="cpu")
        self.register_buffer("window", (hann if window == "hann" else hann**0.85).float())
        config = MelConfig(
            sample_rate_hz=RATE_HZ, n_fft=N_FFT, hop=HOP, n_mels=n_mels, fmin_hz=20, fmax_hz=RATE_HZ / 2, scale="htk",
            norm=None, triangles="mel",
        )  # fmt: skip
        self.register_buffer("filters", torch.from_numpy(mel_filters(config)).float())

    def forward(self, waves: Tensor) -> Tensor:
        with torch.autocast(waves.device.type, enabled=False):
            frames = (waves.float() * self.gain).unfold(-1, LENGTH, HOP)  # (B, N, 400)
            frames = frames - frames.mean(-1, keepdim=True)
            before = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
            spectrum = torch.fft.rfft((frames - EMPHASIS * before) * self.window, N_FFT)
            power = spectrum.real.square() + spectrum.imag.square()
            return (power @ self.filters).clamp_min(torch.finfo(torch.float32).eps).log()
