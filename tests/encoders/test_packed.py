"""Packed texts give what padded texts give; the placement wastes little and follows its rule."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from aural.encoders.packed import pack, place
from aural.encoders.text import TEXT_TOWERS, TextConfig, TextEncoder
from tiny import TINY_BERT, TINY_ROBERTA

NARROW = {"dim": 16, "depth": 2, "heads": 2, "hidden_dim": 32, "positions": 64}
TINY: dict[str, TextConfig] = {
    "gpt2": TEXT_TOWERS["gpt2"].model_copy(update=NARROW),
    "bert": TINY_BERT,
    "roberta": TINY_ROBERTA,
    "minilm": TINY_BERT.model_copy(update={"pooling": "mean"}),
}


def texts(config: TextConfig, lengths: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(10, 1000, (len(lengths), max(lengths)), generator=draw)
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return torch.where(mask == 1, ids, config.pad_id), mask


@pytest.mark.parametrize("name", TINY)
def test_packed_is_padded(name: str) -> None:
    config = TINY[name]
    torch.manual_seed(0)
    tower = TextEncoder(config).eval()
    ids, mask = texts(config, [9, 3, 14, 5, 1, 16, 7])
    rows, where = pack(ids, mask, width=16, pad_id=config.pad_id, multiple=3)
    assert rows.shape == (6, 16)  # 55 tokens in four rows, rounded up
    with torch.inference_mode():
        torch.testing.assert_close(tower(rows, packed=where).pooled, tower(ids, mask).pooled, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", TINY)
def test_gradients_of_packed_are_those_of_padded(name: str) -> None:
    config = TINY[name]
    torch.manual_seed(0)
    tower = TextEncoder(config).eval().double()
    ids, mask = texts(config, [9, 3, 14, 5])
    weight = torch.randn(4, config.dim, dtype=torch.float64)
    grads = []
    rows, where = pack(ids, mask, width=20, pad_id=0)
    for way in (lambda: tower(ids, mask).pooled, lambda: tower(rows, packed=where).pooled):
        tower.zero_grad()
        (way() * weight).sum().backward()
        grads.append({key: p.grad.clone() for key, p in tower.named_parameters() if p.grad is not None})
    assert grads[0].keys() == grads[1].keys()
    for key, grad in grads[0].items():
        torch.testing.assert_close(grads[1][key], grad, atol=1e-10, rtol=1e-8, msg=key)


def test_a_neighbor_changes_nothing() -> None:
    """What differs in one text of a row leaves the other's features alone, to the bit."""
    tower = TextEncoder(TINY_ROBERTA).eval()
    ids, mask = texts(TINY_ROBERTA, [8, 8])
    other = ids.clone()
    other[1] += 1
    with torch.inference_mode():
        rows = [pack(x, mask, width=16, pad_id=1) for x in (ids, other)]
        a, b = (tower(x, packed=where).pooled for x, where in rows)
    assert torch.equal(a[0], b[0])
    assert not torch.allclose(a[1], b[1])


def test_rows_are_filled() -> None:
    lengths = np.random.default_rng(0).integers(10, 27, 192)  # captions of Clotho: 8 to 20 words
    rows, numbers, count = place(lengths, 128)
    used = np.bincount(rows, lengths)
    assert used.max() <= 128
    assert lengths.sum() / (count * 128) > 0.95
    for row in range(count):
        assert sorted(numbers[rows == row]) == list(range(1, (rows == row).sum() + 1))
