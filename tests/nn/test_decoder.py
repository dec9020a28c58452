"""The decoder equals transformers' GPT-2, reads with a cache what it reads without, and ignores padding."""

import pytest
import torch

from aural.core.errors import ConfigError
from aural.generate.search import Limits, beam, contrastive, greedy
from aural.nn.decoder import Decoder, DecoderConfig

CONFIG = DecoderConfig(vocab_size=61, positions=32, dim=24, depth=3, heads=4)


@pytest.fixture(scope="module")
def decoder() -> Decoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        one = Decoder(CONFIG).eval()
        for parameter in one.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    return one


def vectors(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, CONFIG.dim, generator=torch.Generator().manual_seed(1))


def test_equals_gpt2(decoder: Decoder) -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    from aural.encoders.convert.gpt2 import from_gpt2

    c = CONFIG
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        judge = GPT2LMHeadModel(
            GPT2Config(vocab_size=c.vocab_size, n_positions=c.positions, n_embd=c.dim, n_layer=c.depth, n_head=c.heads)
        ).eval()
        for parameter in judge.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)
    one = Decoder(c)
    one.load_state_dict(from_gpt2(judge.state_dict(), c, "gpt2"), strict=True)
    x = vectors(2, 9)
    with torch.no_grad():
        torch.testing.assert_close(one.eval()(x), judge(inputs_embeds=x).logits, atol=1e-5, rtol=1e-5)


def test_the_cache_changes_nothing(decoder: Decoder) -> None:
    x, mask = vectors(3, 8), torch.ones(3, 8, dtype=torch.long)
    with torch.no_grad():
        logits = decoder(x)
        first = decoder.read(x[:, :5], mask[:, :5])
        second = decoder.read(x[:, 5:7], mask[:, :7], first.cache)
        third = decoder.read(x[:, 7:], mask, second.cache.select(torch.tensor([0, 1, 2])))
    for step, place in ((first, 4), (second, 6), (third, 7)):
        torch.testing.assert_close(step.logits, logits[:, place], atol=1e-5, rtol=1e-5)


def test_padding_on_the_left_changes_nothing(decoder: Decoder) -> None:
    x = vectors(1, 5)
    padded = torch.cat([vectors(1, 3), x], dim=1)
    mask = torch.tensor([[0, 0, 0, 1, 1, 1, 1, 1]])
    with torch.no_grad():
        alone, beside = decoder.read(x, mask[:, 3:]), decoder.read(padded, mask)
        torch.testing.assert_close(alone.logits, beside.logits, atol=1e-5, rtol=1e-5)
        assert not torch.allclose(alone.logits, decoder.read(padded, torch.ones_like(mask)).logits, atol=1e-3)


@pytest.mark.parametrize("search", [greedy, beam, contrastive])
def test_prefixes_of_different_length_in_a_batch(decoder: Decoder, search) -> None:
    long, short = vectors(1, 6), vectors(1, 4)
    limits = Limits(max_tokens=6, stop_ids=(7,))
    mask = torch.tensor([[1] * 6, [0, 0, 1, 1, 1, 1]])
    both = torch.cat([long, torch.cat([torch.zeros(1, 2, CONFIG.dim), short], dim=1)])
    together = search(decoder, both, limits, mask=mask)
    alone = [search(decoder, one, limits)[0] for one in (long, short)]
    assert [[text.ids for text in texts] for texts in together] == [[text.ids for text in texts] for texts in alone]


def test_too_many_positions_and_wrong_sizes_are_named(decoder: Decoder) -> None:
    with pytest.raises(ValueError, match="33 positions are more than the 32"):
        decoder.read(vectors(1, 33), torch.ones(1, 33, dtype=torch.long))
    with pytest.raises(ConfigError, match="multiple of heads"):
        DecoderConfig.parse({"dim": 10, "heads": 4}, "decoder")
