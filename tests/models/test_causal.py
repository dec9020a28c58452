"""A transformers model as decoder: cache, padding, searches against its own `generate`, and errors."""

from pathlib import Path

import pytest
import torch

from aural.core.errors import CheckpointError
from aural.generate.search import Limits, beam, greedy
from aural.models.causal import TransformersDecoder, open_decoder


class Words:
    """A tokenizer of numbers."""

    eos_token_id = 3

    def __call__(self, text, add_special_tokens=True):
        return type("Ids", (), {"input_ids": [int(word) for word in text.split()]})

    def decode(self, ids, skip_special_tokens=True):
        return " ".join(map(str, ids))


@pytest.fixture(scope="module")
def decoder() -> TransformersDecoder:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, bos_token_id=1, eos_token_id=3, pad_token_id=0,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(config)
        for parameter in model.parameters():
            parameter.data += 0.2 * torch.randn_like(parameter)
    return TransformersDecoder(model, Words())


def test_greedy_is_that_of_transformers(decoder: TransformersDecoder) -> None:
    prompt = torch.tensor([[5, 9, 11], [8, 2, 30]])
    golden = decoder.model.generate(prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=8)
    texts = greedy(decoder, decoder.embed(prompt), Limits(max_tokens=8, stop_ids=decoder.stop_ids))
    for row, (text,) in zip(golden[:, 3:].tolist(), texts, strict=True):
        end = row.index(3) if 3 in row else len(row)
        assert list(text.ids) == row[:end]


def test_beam_without_stops_is_that_of_transformers(decoder: TransformersDecoder) -> None:
    prompt = torch.tensor([[5, 9, 11]])
    golden = decoder.model.generate(
        prompt, attention_mask=torch.ones_like(prompt), do_sample=False, max_new_tokens=6, min_new_tokens=6, num_beams=4
    )
    decoder_limits = Limits(max_tokens=6)
    (texts,) = beam(_without(decoder, 3), decoder.embed(prompt), decoder_limits, width=4)
    assert list(texts[0].ids) == golden[0, 3:].tolist()


def test_left_padding_changes_nothing(decoder: TransformersDecoder) -> None:
    limits = Limits(max_tokens=5)
    short = decoder.embed(torch.tensor([[7, 9]]))
    padded = torch.cat([torch.zeros(1, 2, decoder.dim), short], dim=1)
    mask = torch.tensor([[0, 0, 1, 1]])
    assert greedy(decoder, padded, limits, mask=mask)[0][0].ids == greedy(decoder, short, limits)[0][0].ids


def test_logits_are_those_of_the_last_step(decoder: TransformersDecoder) -> None:
    vectors, mask = decoder.embed(torch.tensor([[7, 9, 12]])), torch.ones(1, 3, dtype=torch.long)
    with torch.no_grad():
        torch.testing.assert_close(decoder.logits(vectors, mask)[:, -1], decoder.read(vectors, mask).logits)


def test_the_decoder_is_frozen_and_has_a_tokenizer(decoder: TransformersDecoder) -> None:
    assert not any(parameter.requires_grad for parameter in decoder.module.parameters())
    assert decoder.stop_ids == (3,)
    assert decoder.text(tuple(decoder.ids("4 5"))) == "4 5"


def test_what_is_no_language_model_is_named(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=str(tmp_path)):
        open_decoder(tmp_path)
    with pytest.raises(CheckpointError, match=r"x\.gguf: no such file"):
        open_decoder(tmp_path / "x.gguf")


def _without(decoder: TransformersDecoder, token: int) -> TransformersDecoder:
    """The decoder with one token that is never chosen."""

    class Without:
        embed = staticmethod(decoder.embed)

        @staticmethod
        def read(vectors, mask, cache=None):
            step = decoder.read(vectors, mask, cache)
            step.logits[:, token] = -torch.inf
            return step

    return Without()
