"""Blocks of self-supervised encoders against torchaudio 2.11: golden/make_self_supervised.py wrote the values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from aural.encoders.sequence import SequenceConfig, SequenceEncoder
from aural.nn.masking import span_mask
from aural.objectives.predictive.masked_contrast import masked_contrast

FILE = Path(__file__).parents[1] / "golden" / "self_supervised.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, Any]:
    with np.load(FILE) as stored:
        assert str(stored["version"]).startswith("2.11")
        return {name: torch.from_numpy(stored[name]) for name in stored.files if name != "version"}


def test_the_context_network_equals_torchaudios_transformer(golden: dict[str, Any]) -> None:
    config = SequenceConfig(n_mels=4, dim=8, depth=2, heads=2, hidden_dim=12)
    network = SequenceEncoder(config).network.eval()

    def stored(name: str) -> Tensor:
        tensor: Tensor = golden[f"context.{name}"]
        return tensor

    state = {}
    for kind in ("weight", "bias"):
        state |= {
            f"positions.{kind}": stored(f"pos_conv_embed.conv.{kind}"),
            f"norm.{kind}": stored(f"layer_norm.{kind}"),
        }
        for i in range(config.depth):
            layer = f"layers.{i}"
            parts = [stored(f"{layer}.attention.{part}_proj.{kind}") for part in "qkv"]
            state |= {
                f"{layer}.self_attn.in_proj_{kind}": torch.cat(parts),
                f"{layer}.self_attn.out_proj.{kind}": stored(f"{layer}.attention.out_proj.{kind}"),
                f"{layer}.norm1.{kind}": stored(f"{layer}.layer_norm.{kind}"),
                f"{layer}.norm2.{kind}": stored(f"{layer}.final_layer_norm.{kind}"),
                f"{layer}.linear1.{kind}": stored(f"{layer}.feed_forward.intermediate_dense.{kind}"),
                f"{layer}.linear2.{kind}": stored(f"{layer}.feed_forward.output_dense.{kind}"),
            }
    network.load_state_dict(state, strict=True)
    with torch.no_grad():
        layers = network(golden["input"])
    assert len(layers) == 2
    assert torch.allclose(torch.stack(layers), golden["outputs"], atol=1e-5)


def test_masked_contrast_equals_torchaudios_logits(golden: dict[str, Any]) -> None:
    """Their first logit is the target's, and their other ones are all targets, without those equal to it."""
    expected = golden["logits"].log_softmax(1)[:, 0].neg().mean()
    states, targets = golden["states"][None], golden["targets"][None]
    loss, _ = masked_contrast(states, targets, torch.ones(1, states.shape[1], dtype=torch.bool), temperature=0.1)
    assert loss.item() == pytest.approx(float(expected), rel=1e-5)


def test_span_masks_hide_as_many_frames_as_torchaudios(golden: dict[str, Any]) -> None:
    torch.manual_seed(0)
    share = span_mask(4000, 80, share=0.5, span=5).float().mean()
    assert share.item() == pytest.approx(float(golden["share"]), abs=0.01)
