"""Low-rank updates: W + B A by hand, nothing changed at first, only the updates learn, any linear layer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from aural.core.errors import CheckpointError
from aural.encoders.text import TextConfig, TextEncoder
from aural.models.low_rank import with_updates
from aural.nn.lora import add_low_rank, learn_low_rank

GPT2 = TextConfig(dim=16, depth=1, heads=2, hidden_dim=32, vocab_size=50, positions=8, max_tokens=8, pad_id=0)
BERT = GPT2.model_copy(update={"architecture": "bert", "pooling": "mean"})


def test_the_product_by_hand() -> None:
    layer = nn.Sequential(nn.Linear(2, 2, bias=False))
    layer[0].weight.data = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert add_low_rank(layer, 1) == 1
    x = torch.tensor([[1.0, 10.0]])
    assert layer(x).tolist() == [[21.0, 43.0]]  # B is 0
    layer[0].lora_a.data, layer[0].lora_b.data = torch.tensor([[1.0, -1.0]]), torch.tensor([[2.0], [5.0]])
    assert layer(x).tolist() == [[21.0 - 18.0, 43.0 - 45.0]]  # B A x = (2, 5) * (1 - 10)
    assert sorted(layer.state_dict()) == ["0.lora_a", "0.lora_b", "0.weight"]
    assert with_updates(layer.state_dict())["0.weight"].tolist() == [[3.0, 0.0], [8.0, -1.0]]
    assert layer[0]._parameters["weight"].tolist() == [[1.0, 2.0], [3.0, 4.0]]


@pytest.mark.parametrize("config", [BERT, GPT2], ids=["bert", "gpt2"])
def test_a_text_tower_learns_by_its_updates_alone(config: TextConfig) -> None:
    torch.manual_seed(0)
    tower = TextEncoder(config).eval()
    ids = torch.tensor([[1, 2, 3], [4, 5, 0]])
    mask = (ids > 0).long()
    before, names = tower(ids, mask).pooled, set(tower.state_dict())
    tower.requires_grad_(False)
    assert add_low_rank(tower, 3) == (6 if config.architecture == "bert" else 4)
    learn_low_rank(tower)
    assert torch.equal(tower(ids, mask).pooled, before)
    learning = [name for name, p in tower.named_parameters() if p.requires_grad]
    assert set(learning) == set(tower.state_dict()) - names
    tower(ids, mask).pooled.square().sum().backward()
    with torch.no_grad():
        for name, p in tower.named_parameters():
            if name.endswith("lora_b"):
                assert p.grad is not None
                p -= 0.1 * p.grad
    plain = TextEncoder(config).eval()
    plain.load_state_dict(with_updates(tower.state_dict()))
    after = tower(ids, mask).pooled
    assert (after - before).abs().max() > 1e-4
    torch.testing.assert_close(plain(ids, mask).pooled, after, atol=1e-6, rtol=1e-5)


def test_numpy_and_what_fits_no_matrix() -> None:
    w, a, b = np.ones((3, 2), np.float32), np.ones((1, 2), np.float32), np.full((3, 1), 2.0, np.float32)
    assert with_updates({"x.weight": w, "x.lora_a": a, "x.lora_b": b})["x.weight"].tolist() == [[3.0, 3.0]] * 3
    for wrong in (
        {"x.lora_a": a, "x.lora_b": b},
        {"x.weight": w, "x.lora_a": a},
        {"x.weight": w, "x.lora_b": b},
        {"x.weight": w, "x.lora_a": a, "x.lora_b": b[:, 0]},
        {"x.weight": w.T, "x.lora_a": a, "x.lora_b": b},
    ):
        with pytest.raises(CheckpointError, match=r'"x.lora_[ab]" fits no matrix'):
            with_updates(wrong)
