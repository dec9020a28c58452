"""Text towers: layouts without transformers, padding that changes nothing, pooling rules by their definition."""

from __future__ import annotations

import pytest
import torch

from aural.encoders.text import TEXT_TOWERS, TextConfig, TextEncoder, text_layout
from tiny import TINY_BERT, TINY_ROBERTA

NARROW = {"dim": 16, "depth": 1, "heads": 2, "hidden_dim": 32, "positions": 64}
TINY_GPT2 = TEXT_TOWERS["gpt2"].model_copy(update=NARROW)
TINY = {
    "gpt2": TINY_GPT2,
    "bert": TINY_BERT,
    "roberta": TINY_ROBERTA,
    "minilm": TINY_BERT.model_copy(update={"pooling": "mean"}),
}


@pytest.mark.parametrize("name", TINY)
def test_layout_is_what_transformers_builds(name: str) -> None:
    tower = TextEncoder(TINY[name])
    built = {key: tuple(tensor.shape) for key, tensor in tower.model.state_dict().items()}
    assert text_layout(TINY[name]) == {key: shape for key, shape in built.items() if not key.endswith("position_ids")}


@pytest.mark.parametrize(("name", "parameters"), [("gpt2", 124.4e6), ("bert", 108.9e6), ("roberta", 124.6e6)])
def test_published_sizes(name: str, parameters: float) -> None:
    count = sum(torch.Size(shape).numel() for shape in text_layout(TEXT_TOWERS[name]).values())
    assert count == pytest.approx(parameters, rel=0.002)


@pytest.mark.parametrize("name", TINY)
def test_trimmed_is_padded(name: str) -> None:
    config = TINY[name]
    tower = TextEncoder(config).eval()
    ids = torch.randint(10, 1000, (2, 9), generator=torch.Generator().manual_seed(0))
    padded = torch.full((2, 40), config.pad_id)
    padded[:, :9] = ids
    mask = torch.zeros_like(padded)
    mask[:, :9] = 1
    with torch.inference_mode():
        trimmed = tower(ids, torch.ones_like(ids)).pooled
        torch.testing.assert_close(tower(padded, mask).pooled, trimmed, atol=1e-5, rtol=1e-4)
        alone = torch.cat([tower(row[None], torch.ones(1, 9, dtype=torch.int64)).pooled for row in ids])
    torch.testing.assert_close(alone, trimmed, atol=1e-5, rtol=1e-4)


def test_pooling_rules() -> None:
    ids, mask = torch.tensor([[5, 6, 7, 0], [8, 9, 0, 0]]), torch.tensor([[1, 1, 1, 0], [1, 1, 0, 0]])

    def pooled(pooling: str) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            tower = TextEncoder(TINY_BERT.model_copy(update={"pooling": pooling})).eval()
        with torch.inference_mode():
            return tower(ids, mask).pooled, tower.model(input_ids=ids, attention_mask=mask).last_hidden_state

    found, states = pooled("cls")
    torch.testing.assert_close(found, states[:, 0])
    found, states = pooled("mean")
    torch.testing.assert_close(found, torch.stack([states[0, :3].mean(0), states[1, :2].mean(0)]))
    found, states = pooled("last-token")
    torch.testing.assert_close(found, torch.stack([states[0, 2], states[1, 1]]))


def test_built_on_meta_and_restored() -> None:
    """Towers are built without memory and filled from a file; what no file holds is restored."""
    for name, config in TINY.items():
        plain = TextEncoder(config).eval()
        with torch.device("meta"):
            lazy = TextEncoder(config)
        lazy.restore_buffers()
        lazy.load_state_dict(plain.state_dict(), strict=True, assign=True)
        assert not any(buffer.is_meta for buffer in lazy.buffers()), name
        ids = torch.tensor([[4, 5, 6]])
        with torch.inference_mode():
            mask = torch.ones_like(ids)
            torch.testing.assert_close(lazy.eval()(ids, mask).pooled, plain(ids, mask).pooled)


@pytest.mark.parametrize("name", TINY)
def test_tokens_and_layers(name: str) -> None:
    """Tokens are the last hidden states; layers start with the embeddings and do not change the pooled output."""
    tower = TextEncoder(TINY[name]).eval()
    ids, mask = torch.tensor([[5, 6, 7, 8], [8, 9, 1, 1]]), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])
    with torch.inference_mode():
        plain, detailed = tower(ids, mask), tower(ids, mask, layers=True)
        out = tower.model(input_ids=ids, attention_mask=mask)
    assert plain.layers is None
    assert torch.equal(plain.tokens, out.last_hidden_state)
    assert torch.equal(plain.mask, mask)
    assert torch.equal(plain.pooled, detailed.pooled)
    assert detailed.layers is not None
    assert [layer.shape for layer in detailed.layers] == [(2, 4, 16)] * (TINY[name].depth + 1)
    assert torch.equal(detailed.layers[-1], plain.tokens)


def test_default_is_gpt2() -> None:
    assert TextConfig(suffix=" <|endoftext|>") == TEXT_TOWERS["gpt2"]
