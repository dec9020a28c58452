"""The log-mel front end: batched, differentiable, the same code on CPU and GPU, with presets named by their source.

Legend: B clips, T samples, N = T // hop + 1 frames (centered), K = n_fft / 2 + 1 bins, F mel bands.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor, nn

from aural.core.config import Config
from aural.core.errors import CheckpointError
from aural.core.registry import Registry


class MelConfig(Config):
    """The settings of a log-mel front end with a Hann window and triangular filters; `PRESETS` holds named ones."""

    renamed_keys: ClassVar = {"peak_normalise": "peak_normalize"}

    sample_rate_hz: int
    n_fft: int = 1024
    hop: int
    n_mels: int = 64
    fmin_hz: float
    fmax_hz: float
    scale: Literal["slaney", "htk"] = "slaney"
    """Mel formula: slaney is linear below 1 kHz (default of librosa), htk is 2595 log10(1 + f / 700)."""
    norm: Literal["slaney", "sum"] | None = "slaney"
    """slaney: each filter has unit area (2 / bandwidth in Hz); sum: its weights sum to 1; None: its peak is 1."""
    log: Literal["db", "log1p", "ln", "none"] = "db"
    """db: 10 log10(max(x, 1e-10)); log1p: log10(1 + 10000 x); ln: ln(x + 0.001); none: x itself."""
    pad: Literal["reflect", "constant", "none"] = "reflect"
    """Values beyond the ends of the clip in the first and last frames: the mirrored clip, or zeros. none: frame n
    starts at sample n * hop, so no frame reaches beyond the clip."""
    window_length: int | None = Field(default=None, gt=0)
    """Length of the Hann window in samples, at most n_fft; the rest of the transform is zeros. None: n_fft."""
    spectrum: Literal["power", "magnitude"] = "power"
    """Whether the filters sum |X|^2 or |X|."""
    triangles: Literal["hz", "mel"] = "hz"
    """Whether the sides of a filter are straight lines over frequency in Hz or in mel."""
    gain: float = 1.0
    """Factor of the waveform."""
    peak_normalize: bool = False
    """Scale each clip to a peak of 1.0 first; silence is unchanged."""
    divide: float = 1.0
    """Divisor of the log-mel."""

    def frames(self, samples: int) -> int:
        """Return N, the number of frames, for a clip of `samples` samples."""
        if self.pad == "none":
            return (samples - (self.window_length or self.n_fft)) // self.hop + 1
        return samples // self.hop + 1

    @model_validator(mode="after")
    def _fits(self) -> MelConfig:
        if self.window_length is not None and (self.window_length > self.n_fft or self.pad != "none"):
            raise ValueError('window_length is at most n_fft and needs pad: "none"')
        return self


PRESETS: Registry[MelConfig] = Registry("mel preset")
# microsoft/CLAP configs/config_2022.yml through torchlibrosa
PRESETS.add("msclap-2022", MelConfig(sample_rate_hz=44100, hop=320, fmin_hz=50, fmax_hz=14000))
# microsoft/CLAP: the wrapper ignores its yml and builds filters for 32 kHz (models/config.py); filters stored in
# a checkpoint replace these
PRESETS.add("msclap-2023", MelConfig(sample_rate_hz=32000, hop=320, fmin_hz=50, fmax_hz=14000))
# LAION-AI/CLAP audio_cfg, unfused, through torchlibrosa
PRESETS.add("laion", MelConfig(sample_rate_hz=48000, hop=480, fmin_hz=50, fmax_hz=14000))
# LAION-AI/CLAP get_mel for fused models: torchaudio's MelSpectrogram, HTK scale, no norm
PRESETS.add("laion-fused", MelConfig(sample_rate_hz=48000, hop=480, fmin_hz=50, fmax_hz=14000, scale="htk", norm=None))
# transformers ClapFeatureExtractor with truncation="rand_trunc" and "fusion" and the published frequency_min
PRESETS.add("transformers-unfused", PRESETS["laion"])
PRESETS.add("transformers-fused", PRESETS["laion-fused"])
# aisfx 0.1.2: inference.py, spectrogram/spectrogram_librosa.py and preprocessing.py (its fixed maximum)
PRESETS.add(
    "aisfx",
    MelConfig(
        sample_rate_hz=44100, n_fft=2048, hop=1024, n_mels=96, fmin_hz=0, fmax_hz=22050, scale="htk", norm="sum",
        log="log1p", pad="constant", peak_normalize=True, divide=9.457798957824707,
    ),
)  # fmt: skip
# tensorflow/models research/audioset/yamnet (params.py, features.py): frames of 25 ms every 10 ms
PRESETS.add(
    "yamnet",
    MelConfig(
        sample_rate_hz=16000, n_fft=512, hop=160, fmin_hz=125, fmax_hz=7500, scale="htk", norm=None, log="ln",
        pad="none", window_length=400, spectrum="magnitude", triangles="mel",
    ),
)  # fmt: skip
# the same frames, bins (31.25 Hz) and filters of a sound at 24 kHz, without a second resampling: a window has 1.5 times
# as many samples, so magnitudes are 1.5 times as large
PRESETS.add(
    "yamnet-24k",
    PRESETS["yamnet"].model_copy(
        update={"sample_rate_hz": 24000, "n_fft": 768, "hop": 240, "window_length": 600, "gain": 2 / 3}
    ),
)


# dasheng 0.0.9 (GLAP): torchaudio's MelSpectrogram; the model takes the logarithm
PRESETS.add(
    "dasheng",
    MelConfig(sample_rate_hz=16000, n_fft=512, hop=160, fmin_hz=0, fmax_hz=8000, scale="htk", norm=None, log="none"),
)
# M2D at 16 kHz: nnAudio's MelSpectrogram; the model takes the logarithm
PRESETS.add("m2d", MelConfig(sample_rate_hz=16000, n_fft=400, hop=160, n_mels=80, fmin_hz=50, fmax_hz=8000, log="none"))


def mel_filters(config: MelConfig) -> NDArray[np.float64]:
    """Return triangular filters (K, F). Slaney (1998) Auditory Toolbox; HTK book, section 5.4."""
    bins_hz = np.linspace(0.0, config.sample_rate_hz / 2, config.n_fft // 2 + 1)
    limits = hz_to_mel(np.array([config.fmin_hz, config.fmax_hz]), config.scale)
    edges_mel = np.linspace(limits[0], limits[1], config.n_mels + 2)  # (F + 2)
    edges_hz = mel_to_hz(edges_mel, config.scale)
    edges, bins = edges_hz, bins_hz
    if config.triangles == "mel":
        edges, bins = edges_mel, hz_to_mel(bins_hz, config.scale)
    width = np.diff(edges)
    ramps = edges[None] - bins[:, None]  # (K, F + 2)
    rising, falling = -ramps[:, :-2] / width[:-1], ramps[:, 2:] / width[1:]
    filters = np.maximum(0.0, np.minimum(rising, falling))
    if config.norm == "slaney":
        filters *= 2.0 / (edges_hz[2:] - edges_hz[:-2])
    elif config.norm == "sum":
        filters /= np.maximum(filters.sum(axis=0), np.finfo(np.float64).tiny)
    return filters


_BREAK_HZ, _BREAK_MEL, _LINEAR_HZ, _LOG_STEP = 1000.0, 15.0, 200.0 / 3, np.log(6.4) / 27.0


def hz_to_mel(hz: NDArray[np.float64], scale: str) -> NDArray[np.float64]:
    """Convert frequency in Hz to mel."""
    if scale == "htk":
        return 2595.0 * np.log10(1.0 + hz / 700.0)
    above = _BREAK_MEL + np.log(np.maximum(hz, _BREAK_HZ) / _BREAK_HZ) / _LOG_STEP
    return np.where(hz < _BREAK_HZ, hz / _LINEAR_HZ, above)


def mel_to_hz(mel: NDArray[np.float64], scale: str) -> NDArray[np.float64]:
    """Convert mel to frequency in Hz."""
    if scale == "htk":
        return 700.0 * (10.0 ** (mel / 2595.0) - 1.0)
    above = _BREAK_HZ * np.exp(_LOG_STEP * (np.maximum(mel, _BREAK_MEL) - _BREAK_MEL))
    return np.where(mel < _BREAK_MEL, mel * _LINEAR_HZ, above)


class LogMel(nn.Module):
    """The log-mel front end: waveforms (B, T) in -1 to 1 at the model's rate to log-mel (B, N, F).

    `window` (n_fft,) and `filters` (K, F) are part of the state dict, so those stored in a checkpoint replace them.
    Computed in float32 (float64 for float64 input), also under autocast.
    """

    window: Tensor
    filters: Tensor

    def __init__(self, config: MelConfig) -> None:
        super().__init__()
        self.config = config
        self.register_buffer("window", analysis_window(config).float())
        self.register_buffer("filters", torch.from_numpy(mel_filters(config)).float())

    def frames(self, samples: int) -> int:
        """Return N, the number of frames, for a clip of `samples` samples."""
        return self.config.frames(samples)

    def _window(self, dtype: torch.dtype) -> Tensor:
        """Return the window in `dtype`; a Hann window that was rounded for storage is returned in full precision."""
        if dtype == torch.float64:
            exact = analysis_window(self.config).to(self.window.device)
            return exact if torch.equal(exact.float(), self.window) else self.window.to(dtype)
        return self.window

    def forward(self, wave: Tensor) -> Tensor:
        with torch.autocast(wave.device.type, enabled=False):
            dtype = torch.float64 if wave.dtype == torch.float64 else torch.float32
            wave, window, filters = wave.to(dtype), self._window(dtype), self.filters.to(dtype)
            if self.config.peak_normalize:
                peak = wave.abs().amax(-1, keepdim=True)
                wave = wave / torch.where(peak > 0, peak, 1.0)
            if self.config.gain != 1.0:
                wave = wave * self.config.gain
            mel = self.spectrum(self._padded(wave), window) @ filters  # (B, N, F)
            if self.config.log == "db":
                return 10.0 * torch.log10(mel.clamp_min(1e-10)) / self.config.divide
            if self.config.log == "ln":
                return (mel + 0.001).log() / self.config.divide
            if self.config.log == "none":
                return mel / self.config.divide
            return torch.log10(1.0 + 10000.0 * mel) / self.config.divide

    def _padded(self, wave: Tensor) -> Tensor:
        """Extend a waveform (B, T) so that every frame has n_fft samples."""
        n = self.config.n_fft
        if self.config.pad == "none":
            return nn.functional.pad(wave, (0, n - (self.config.window_length or n)))
        return nn.functional.pad(wave[:, None], (n // 2, n // 2), mode=self.config.pad)[:, 0]

    def spectrum(self, wave: Tensor, window: Tensor) -> Tensor:
        """Return what the filters sum, (B, N, K), of the frames of a padded waveform (B, T)."""
        power = self.power(wave, window)
        if self.config.spectrum == "power":
            return power
        positive = power > 0  # the slope of a square root at 0 is infinite
        return torch.where(positive, torch.where(positive, power, 1.0).sqrt(), 0.0)

    def power(self, wave: Tensor, window: Tensor) -> Tensor:
        """Return the power spectrum (B, N, K) of the frames of a padded waveform (B, T)."""
        stft = torch.stft(wave, self.config.n_fft, self.config.hop, window=window, center=False, return_complex=True)
        return (stft.real.square() + stft.imag.square()).transpose(1, 2)


class ProductLogMel(LogMel):
    """A `LogMel` computed by matrix products, for runtimes without a fast Fourier transform (ONNX)."""

    def power(self, wave: Tensor, window: Tensor) -> Tensor:
        """Return the power spectrum (B, N, K) with half the products of a full transform.

        For a real frame x of n samples, Re X[k] is the sum of (x[j] + x[n-j]) cos(2 pi j k / n) and -Im X[k] the sum of
        (x[j] - x[n-j]) sin(2 pi j k / n) over j = 0 .. n / 2, with the first and last term counted once.
        """
        n, hop = self.config.n_fft, self.config.hop
        half, step = n // 2, math.gcd(n, hop)
        count = (wave.shape[1] - n) // hop + 1
        pieces = wave[:, : wave.shape[1] // step * step].reshape(wave.shape[0], -1, step)
        index = torch.arange(count)[:, None] * (hop // step) + torch.arange(n // step)
        x = pieces[:, index].reshape(wave.shape[0], count, n) * window
        mirrored = x[..., half + 1 :].flip(-1)  # x[n-1] .. x[n/2+1]
        even = torch.cat([x[..., :1], x[..., 1:half] + mirrored, x[..., half : half + 1]], dim=-1)  # (B, N, n / 2 + 1)
        odd = x[..., 1:half] - mirrored  # (B, N, n / 2 - 1)
        j = torch.arange(half + 1)
        angle = ((j[:, None] * j) % n).to(wave.dtype) * (2 * math.pi / n)
        return (even @ angle.cos()).square() + (odd @ angle.sin()[1:half]).square()


def analysis_window(config: MelConfig) -> Tensor:
    """Return the periodic Hann window (n_fft,) in float64, filled with zeros where it is shorter than the transform.

    numpy is used because torch's own window imports the compiler on the meta device.
    """
    n = config.window_length or config.n_fft
    return torch.from_numpy(np.pad(0.5 - 0.5 * np.cos(2.0 * np.pi / n * np.arange(n)), (0, config.n_fft - n)))


def window_from_kernels(real: Tensor, imag: Tensor) -> Tensor:
    """Return the analysis window (n_fft,) of convolutional STFT kernels (K, 1, n_fft) of torchlibrosa.

    Row 0 of the real part is window * cos(0), the window itself. Raises CheckpointError when the other rows are not
    that window times the Fourier basis, as in trained kernels.
    """
    bins, n_fft = real.shape[0], real.shape[-1]
    window = real[0, 0].double()
    n = torch.arange(n_fft, dtype=torch.int64)
    angle = (torch.arange(bins)[:, None] * n % n_fft).double() * (2 * torch.pi / n_fft)
    worst = max(
        float((real[:, 0].double() - window * angle.cos()).abs().max()),
        float((imag[:, 0].double() + window * angle.sin()).abs().max()),
    )
    if worst > 1e-5:
        raise CheckpointError(
            f"the STFT kernels in the checkpoint differ from a windowed Fourier transform by {worst:.2g}; "
            "they were trained or damaged, and such front ends are not supported"
        )
    return window.float()
