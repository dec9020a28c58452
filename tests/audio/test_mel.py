"""The log-mel front end: librosa as outside judge for every preset, and congruence of batch, precision and kernels."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aural.audio.mel import (
    PRESETS,
    LogMel,
    MelConfig,
    ProductLogMel,
    hz_to_mel,
    mel_filters,
    mel_to_hz,
    window_from_kernels,
)
from aural.core.errors import CheckpointError, ConfigError
from tiny import tone

LIBROSAS = [name for name in PRESETS if PRESETS[name].triangles == "hz"]


def librosa_filters(c: MelConfig) -> np.ndarray:
    filters = librosa.filters.mel(
        sr=c.sample_rate_hz,
        n_fft=c.n_fft,
        n_mels=c.n_mels,
        fmin=c.fmin_hz,
        fmax=c.fmax_hz,
        htk=c.scale == "htk",
        norm="slaney" if c.norm == "slaney" else None,
        dtype=np.float64,
    )
    return librosa.util.normalize(filters, norm=1, axis=-1) if c.norm == "sum" else filters


@pytest.mark.parametrize("name", LIBROSAS)
def test_filters_are_librosas(name: str) -> None:
    want = librosa_filters(PRESETS[name]).T
    np.testing.assert_allclose(mel_filters(PRESETS[name]), want, atol=1e-9)
    if PRESETS[name].norm == "sum":
        np.testing.assert_allclose(mel_filters(PRESETS[name]).sum(axis=0), 1)


@pytest.mark.parametrize("name", LIBROSAS)
def test_log_mel_is_librosas(name: str) -> None:
    """Window, borders, power, filters and logarithm of each preset against librosa, in float64 and float32."""
    c = PRESETS[name]
    wave = tone(0.7, c.sample_rate_hz)
    peak = np.abs(wave).max() if c.peak_normalize else 1.0
    stft = librosa.stft(wave.astype(np.float64) / peak, n_fft=c.n_fft, hop_length=c.hop, pad_mode=c.pad)
    mel = librosa_filters(c) @ np.abs(stft) ** 2
    logs = {"db": lambda x: librosa.power_to_db(x, top_db=None), "log1p": lambda x: np.log10(1 + 10000 * x)}
    want = logs.get(c.log, lambda x: x)(mel).T / c.divide
    front_end = LogMel(c)
    found = front_end(torch.from_numpy(wave)[None].double())[0].numpy()
    np.testing.assert_allclose(found, want, atol=1e-4)
    assert found.shape == (front_end.frames(wave.size), c.n_mels)
    np.testing.assert_allclose(front_end(torch.from_numpy(wave)[None])[0].numpy(), want, atol=2e-2 / c.divide)


def test_yamnets_log_mel_is_tensorflows() -> None:
    """tf.signal.stft, linear_to_mel_weight_matrix and the logarithm of YAMNet's features.py in plain numpy."""
    c = PRESETS["yamnet"]
    wave = tone(0.7, 16000).astype(np.float64)
    starts = range(0, len(wave) - 400 + 1, 160)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    magnitudes = np.array([np.abs(np.fft.rfft(wave[i : i + 400] * window, 512)) for i in starts])

    def mel(hz: np.ndarray) -> np.ndarray:
        return 1127.0 * np.log1p(hz / 700.0)

    bins = mel(np.linspace(0, 8000, 257))[1:, None]  # without the constant part
    edges = np.linspace(mel(np.array(125.0)), mel(np.array(7500.0)), 66)
    low, center, high = edges[:-2], edges[1:-1], edges[2:]
    matrix = np.maximum(0, np.minimum((bins - low) / (center - low), (high - bins) / (high - center)))
    want = np.log(magnitudes[:, 1:] @ matrix + 0.001)
    front_end = LogMel(c)
    found = front_end(torch.from_numpy(wave)[None])[0].numpy()
    assert found.shape == (front_end.frames(len(wave)), 64)
    np.testing.assert_allclose(found, want, atol=1e-4)
    short = ProductLogMel(c)(torch.from_numpy(wave).float()[None])[0].numpy()
    np.testing.assert_allclose(short, want, atol=5e-3)


def test_a_shorter_window_needs_frames_that_start_at_samples() -> None:
    values = {"sample_rate_hz": 16000, "hop": 160, "fmin_hz": 0, "fmax_hz": 8000, "window_length": 400}
    with pytest.raises(ConfigError, match="window_length"):
        MelConfig.parse(values, "mel.yaml")


def test_aisfx_is_librosas_melspectrogram() -> None:
    """aisfx 0.1.2 calls librosa.feature.melspectrogram with these parameters on a clip scaled to a peak of 1."""
    wave = tone(1.0, 44100)
    mel = librosa.feature.melspectrogram(
        y=wave / np.abs(wave).max(),
        sr=44100,
        n_fft=2048,
        hop_length=1024,
        n_mels=96,
        fmin=0,
        fmax=22050,
        power=2.0,
        htk=True,
        norm=1,
        pad_mode="constant",
    )
    want = np.log10(1 + 10000 * mel).T / 9.457798957824707
    np.testing.assert_allclose(LogMel(PRESETS["aisfx"])(torch.from_numpy(wave)[None])[0].numpy(), want, atol=2e-5)


def test_by_hand_silence_and_full_scale() -> None:
    silence = torch.zeros(1, 48000)
    assert torch.all(LogMel(PRESETS["laion"])(silence) == -100)  # 10 log10(1e-10)
    assert torch.all(LogMel(PRESETS["aisfx"])(silence) == 0)  # log10(1 + 0)
    # A full-scale sine on bin 100 has |X| = n_fft / 4 there under a Hann window, n_fft / 8 on both neighbors.
    c = MelConfig(sample_rate_hz=48000, hop=480, fmin_hz=50, fmax_hz=14000)
    wave = torch.sin(2 * torch.pi * 100 / 1024 * torch.arange(48000, dtype=torch.float64))[None]
    power = np.zeros(513)
    power[99:102] = [128**2, 256**2, 128**2]
    want = 10 * np.log10(np.maximum(power @ mel_filters(c), 1e-10))
    found = LogMel(c)(wave)[0, 50].numpy()
    loud = want > 0
    np.testing.assert_allclose(found[loud], want[loud], atol=1e-3)
    assert found[~loud].max() < 0


@given(st.floats(0, 22000), st.sampled_from(["htk", "slaney"]))
def test_mel_scales_invert(hz: float, scale: str) -> None:
    assert mel_to_hz(hz_to_mel(np.array([hz]), scale), scale)[0] == pytest.approx(hz, abs=1e-6)
    assert hz_to_mel(np.array([hz]), scale)[0] == pytest.approx(librosa.hz_to_mel(hz, htk=scale == "htk"), abs=1e-9)


def test_batch_and_single_are_equal() -> None:
    front_end = LogMel(PRESETS["aisfx"])
    waves = torch.from_numpy(np.stack([tone(0.5, 44100, hz=hz) * (1 + hz / 1000) for hz in (100, 500, 900)]))
    together = front_end(waves)
    for wave, mel in zip(waves, together, strict=True):
        torch.testing.assert_close(front_end(wave[None])[0], mel, atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", list(PRESETS))
def test_gradient_flows(name: str) -> None:
    wave = torch.from_numpy(tone(0.2, PRESETS[name].sample_rate_hz))[None].requires_grad_()
    LogMel(PRESETS[name])(wave).sum().backward()
    assert wave.grad is not None
    assert torch.isfinite(wave.grad).all()
    assert wave.grad.abs().sum() > 0


def test_gradient_is_the_difference_quotient() -> None:
    c = MelConfig(sample_rate_hz=1000, n_fft=32, hop=16, n_mels=4, fmin_hz=50, fmax_hz=400, peak_normalize=True)
    wave = torch.from_numpy(tone(0.06, 1000)).double()[None].requires_grad_()
    assert torch.autograd.gradcheck(LogMel(c), (wave,), atol=1e-4)


def test_float32_also_under_autocast() -> None:
    front_end, wave = LogMel(PRESETS["laion"]), torch.from_numpy(tone(0.2, 48000))[None]
    with torch.autocast("cpu", torch.bfloat16):
        found = front_end(wave)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, front_end(wave))


@given(st.integers(0, 30000))
@settings(max_examples=20, deadline=None)
def test_frames_are_counted_as_computed(more: int) -> None:
    front_end = LogMel(PRESETS["laion"])
    assert front_end(torch.zeros(1, 600 + more)).shape[1] == front_end.frames(600 + more)


def stft_kernels(window: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The convolution kernels (K, 1, n_fft) that torchlibrosa stores: rows of the Fourier matrix, windowed."""
    n_fft = window.numel()
    angle = 2 * torch.pi * torch.outer(torch.arange(n_fft // 2 + 1.0).double(), torch.arange(n_fft).double()) / n_fft
    return (angle.cos() * window)[:, None].float(), (-angle.sin() * window)[:, None].float()


def test_kernels_convolve_to_the_same_spectrum() -> None:
    """A convolution with a publisher's kernels is the STFT with the window taken out of them."""
    window = torch.hann_window(256, periodic=True, dtype=torch.float64)
    real, imag = stft_kernels(window)
    found = window_from_kernels(real, imag)
    torch.testing.assert_close(found, window.float())
    wave = torch.from_numpy(tone(0.1))[None]
    stft = torch.stft(wave, 256, 64, window=found, center=False, return_complex=True)
    for kernel, want in ((real, stft.real), (imag, stft.imag)):
        torch.testing.assert_close(torch.conv1d(wave[:, None], kernel, stride=64), want, atol=1e-4, rtol=1e-4)


def test_trained_kernels_are_refused() -> None:
    real, imag = stft_kernels(torch.hann_window(256, dtype=torch.float64))
    imag[7, 0, 9] += 0.01
    with pytest.raises(CheckpointError, match=r"differ from a windowed Fourier transform by 0\.01"):
        window_from_kernels(real, imag)


def test_own_filters_of_a_checkpoint_are_used() -> None:
    front_end = LogMel(PRESETS["laion"])
    other = LogMel(PRESETS["msclap-2023"])
    front_end.load_state_dict(other.state_dict(), strict=True)
    torch.testing.assert_close(front_end.filters, other.filters)


def test_unknown_preset_and_key() -> None:
    with pytest.raises(ConfigError, match='unknown mel preset "laoin"; did you mean "laion"'):
        PRESETS["laoin"]
    with pytest.raises(ConfigError, match='unknown key "n_mel"; did you mean "n_mels"'):
        MelConfig.parse({"sample_rate_hz": 8000, "hop": 80, "fmin_hz": 0, "fmax_hz": 4000, "n_mel": 3}, "here")


@pytest.mark.parametrize("name", ["msclap-2022", "laion", "aisfx"])
def test_products_equal_the_fast_transform(name: str) -> None:
    config = PRESETS[name]
    wave = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 24_123)) * 0.1)
    ours, theirs = ProductLogMel(config), LogMel(config)
    assert ours(wave).shape == theirs(wave).shape
    assert float((ours(wave) - theirs(wave)).abs().max()) < 1e-11  # float64
    assert float((ours(wave.float()) - theirs(wave.float())).abs().max()) < 1e-3
