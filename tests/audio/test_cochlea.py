"""The cochleagram: bandwidths of Glasberg and Moore, the band of a tone, and the way back to a sound."""

import math

import pytest
import torch

from aural.audio.cochlea import Cochleagram, erb_centers_hz, erb_hz, gammatone_weights


def test_bandwidths_and_spacing() -> None:
    assert erb_hz(torch.tensor([0.0, 1000.0, 4000.0])).tolist() == pytest.approx([24.7, 132.639, 456.456], abs=1e-3)
    centers = erb_centers_hz(32, 50.0, 7200.0)
    assert centers[0].item() == pytest.approx(50.0)
    assert centers[-1].item() == pytest.approx(7200.0)
    numbers = 21.4 * torch.log10(4.37 * centers / 1000 + 1)
    assert torch.allclose(numbers.diff(), numbers.diff().mean(), atol=1e-9)


def test_a_filter_is_half_a_power_wide_at_its_bandwidth() -> None:
    """At distance b from the center a filter of order 4 lets 2^-4 of the power through."""
    weights = gammatone_weights(16, 16_000)
    assert weights.shape == (257, 16)
    assert weights.max() <= 1.0
    centers = erb_centers_hz(16, 50.0, 7200.0)
    place = round(float(centers[10]) / 31.25)
    distance = (place * 31.25 - centers[10]) / (1.019 * erb_hz(centers[10]))
    assert weights[place, 10].item() == pytest.approx(float((1 + distance**2) ** -4), rel=1e-6)


def test_a_tone_is_loudest_in_its_band() -> None:
    front = Cochleagram(32)
    wave = 0.1 * torch.sin(2 * math.pi * 1000 * torch.arange(8000) / 16_000)[None]
    frames = front(wave)
    assert frames.shape == (1, 50, 32)
    center = erb_centers_hz(32, 50.0, 7200.0)[int(frames[0, 25].argmax())]
    assert abs(float(center) - 1000) < 100


def test_the_decoded_sound_has_a_similar_cochleagram() -> None:
    torch.manual_seed(0)
    front = Cochleagram(64)
    time_s = torch.arange(16_000) / 16_000
    wave = 0.1 * (torch.sin(2 * math.pi * 440 * time_s) * (time_s < 0.5) + torch.sin(2 * math.pi * 1800 * time_s))[None]
    frames = front(wave)
    again = front(front.waveform(frames))[:, : frames.shape[1]]
    apart = (again - frames[:, : again.shape[1]]).abs().mean()
    assert apart < 0.25 * (frames - frames.flip(2)).abs().mean()
