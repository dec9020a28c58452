from __future__ import annotations

import torch

from aural.nn.vector_decoder import VectorDecoder, continuous_noise


def test_every_word_reads_the_vector_and_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    decoder = VectorDecoder(6, 8).eval()
    words, mask = torch.randn(2, 4, 8), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    vector = torch.randn(2, 6)
    states = decoder(vector, words, mask)
    assert states.shape == (2, 4, 8)
    assert not torch.allclose(states[0, 3], decoder(vector + 1, words, mask)[0, 3])
    other = words.clone()
    other[1, 2:] += 1
    torch.testing.assert_close(states[1, :2], decoder(vector, other, mask)[1, :2])


def test_continuous_noise_keeps_the_mean() -> None:
    noisy = continuous_noise(torch.ones(10, 100, 10), 0.8, torch.Generator().manual_seed(0))
    assert set(noisy.unique().tolist()) == {0.0, 1 / (1 - 0.8)} or len(noisy.unique()) == 2
    assert abs(float(noisy.mean()) - 1) < 0.05
