"""The log-likelihood of given texts after a prefix: one token after the other, whatever the length of the others."""

from __future__ import annotations

import pytest
import torch

from aural.core.errors import ConfigError
from aural.generate.likelihood import text_log_likelihoods
from aural.nn.decoder import Decoder, DecoderConfig


class Small:
    def __init__(self) -> None:
        torch.manual_seed(0)
        sizes = DecoderConfig(vocab_size=9, positions=32, dim=8, depth=2, heads=2)
        self.decoder = Decoder(sizes).eval().requires_grad_(False)
        self.embed, self.read, self.logits = self.decoder.embed, self.decoder.read, self.decoder.forward


def test_texts_of_different_length_are_read_one_token_after_the_other() -> None:
    decoder, prefix, texts = Small(), torch.randn(1, 3, 8), [[4, 5, 0], [7, 0], [1, 2, 3, 4, 0]]
    sums = text_log_likelihoods(decoder, prefix, texts)
    for text, total in zip(texts, sums, strict=True):
        expected = 0.0
        for n, token in enumerate(text):
            read = torch.tensor([text[:n]], dtype=torch.long)
            vectors = torch.cat([prefix, decoder.embed(read)], dim=1) if n else prefix
            expected += float(decoder.decoder(vectors)[0, -1].log_softmax(-1)[token])
        assert total == pytest.approx(expected, abs=1e-5)
        assert text_log_likelihoods(decoder, prefix, [text]) == pytest.approx([total], abs=1e-5)


def test_prefixes_of_different_length_are_read_once_each() -> None:
    decoder, texts = Small(), [[4, 5, 0], [7, 0], [1, 0], [2, 2, 0]]
    short, long = torch.randn(1, 2, 8), torch.randn(1, 3, 8)
    prefix = torch.cat([torch.cat([torch.zeros(1, 1, 8), short], dim=1), long])
    both = text_log_likelihoods(decoder, prefix, texts, mask=torch.tensor([[0, 1, 1], [1, 1, 1]]))
    single = text_log_likelihoods(decoder, short, texts[:2]) + text_log_likelihoods(decoder, long, texts[2:])
    assert both == pytest.approx(single, abs=1e-5)
    with pytest.raises(ConfigError, match="as many for each prefix"):
        text_log_likelihoods(decoder, prefix, texts[:3])


def test_no_text_is_refused() -> None:
    for texts in ([], [[1], []]):
        with pytest.raises(ConfigError, match="at least one"):
            text_log_likelihoods(Small(), torch.zeros(1, 1, 8), texts)
