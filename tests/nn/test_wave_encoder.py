"""The front end of waveforms: its rate, and that a frame sees its surroundings only."""

import torch

from aural.nn.wave_encoder import LAYERS, WaveEncoder


def test_it_has_100_frames_per_second() -> None:
    strides = torch.tensor([stride for _, stride in LAYERS])
    assert strides.prod() == WaveEncoder.hop == 160
    assert WaveEncoder(8)(torch.randn(2, 16_123)).shape == (2, 100, 8)


def test_a_frame_depends_on_samples_nearby() -> None:
    torch.manual_seed(0)
    encoder = WaveEncoder(4)
    wave = torch.randn(1, 1600, requires_grad=True)
    x = wave[:, None]
    for conv, (kernel, stride) in zip(encoder.convs, LAYERS, strict=True):  # without norms, which see the clip
        extra = kernel - stride
        x = conv(torch.nn.functional.pad(x, (extra // 2, extra - extra // 2)))
    x[0, :, 5].sum().backward()
    assert wave.grad is not None
    seen = wave.grad[0].nonzero().flatten()
    assert seen.min() >= 5 * 160 - 160
    assert seen.max() < 6 * 160 + 200


def test_the_level_does_not_matter() -> None:
    torch.manual_seed(0)
    encoder, wave = WaveEncoder(8), torch.randn(1, 3200)
    assert torch.allclose(encoder(wave), encoder(0.1 * wave), atol=0.02)
