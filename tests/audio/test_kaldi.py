"""Kaldi's filter bank against the independent implementation of transformers (numpy, float64)."""

import numpy as np
import pytest
import torch

from aural.audio.kaldi import KaldiMel


@pytest.mark.parametrize(("window", "gain"), [("hann", 1.0), ("povey", 2.0**15)])
def test_log_mels_are_kaldis(window: str, gain: float) -> None:
    from transformers.audio_utils import mel_filter_bank, spectrogram, window_function

    noise = np.random.Generator(np.random.Philox(key=1)).uniform(-0.3, 0.3, 16000 + 77)
    filters = mel_filter_bank(
        num_frequency_bins=257, num_mel_filters=128, min_frequency=20, max_frequency=8000, sampling_rate=16000,
        norm=None, mel_scale="kaldi", triangularize_in_mel_space=True,
    )  # fmt: skip
    right = spectrogram(
        noise * gain, window_function(400, window, periodic=False), frame_length=400, hop_length=160, fft_length=512,
        power=2.0, center=False, preemphasis=0.97, mel_filters=filters, log_mel="log", mel_floor=1.192092955078125e-07,
        remove_dc_offset=True,
    ).T  # fmt: skip
    found = KaldiMel(128, window=window, gain=gain)(torch.from_numpy(noise.astype(np.float32))[None])[0].numpy()
    assert found.shape == right.shape == (98, 128)  # (16077 - 400) // 160 + 1
    np.testing.assert_allclose(found, right, atol=2e-3)


def test_a_constant_is_silence() -> None:
    """The mean of a frame is removed, so only the floor is left: ln of the float32 step at 1."""
    found = KaldiMel(64)(torch.full((2, 1000), 0.5))
    assert found.shape == (2, 4, 64)
    torch.testing.assert_close(found, torch.full_like(found, -15.9424))
