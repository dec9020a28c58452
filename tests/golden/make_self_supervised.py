"""Blocks of self-supervised encoders by torchaudio: writes self_supervised.npz, random weights with what they give.

pip install torch torchaudio
python tests/golden/make_self_supervised.py

- context: a transformer with convolutional positions, pre-norm layers and a norm before them, its input, its outputs.
- contrast: logits of masked frames against their target and all others, with targets that are equal left out.
- share: mean share of masked frames over 4000 span masks.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import torch

DIM, HEADS, HIDDEN, DEPTH, KERNEL, GROUPS = 8, 2, 12, 2, 15, 4
FRAMES, SHARE, SPAN, MASKS = 80, 0.5, 5, 4000


def context(components: Any) -> dict[str, np.ndarray]:
    positions = components.ConvolutionalPositionalEmbedding(DIM, KERNEL, GROUPS)
    layers = torch.nn.ModuleList(
        components.EncoderLayer(
            attention=components.SelfAttention(DIM, HEADS),
            dropout=0.0,
            layer_norm_first=True,
            feed_forward=components.FeedForward(DIM, HIDDEN, 0.0, 0.0),
        )
        for _ in range(DEPTH)
    )
    network = components.Transformer(positions, 0.0, layers, layer_norm_first=True, layer_drop=0.0).eval()
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    x = torch.randn(2, 20, DIM)
    with torch.no_grad():
        outputs = network.get_intermediate_outputs(x)
    stored = {f"context.{name}": value.detach() for name, value in network.state_dict().items()}
    stored = {name: value for name, value in stored.items() if "parametrizations" not in name}
    stored["context.pos_conv_embed.conv.weight"] = positions.conv.weight.detach()  # of the weight norm
    return {k: v.numpy() for k, v in stored.items()} | {"input": x.numpy(), "outputs": torch.stack(outputs).numpy()}


def contrast(components: Any) -> dict[str, np.ndarray]:
    states, targets = torch.randn(9, DIM), torch.randn(9, DIM)
    targets[4] = targets[1]
    logits = components._compute_logits(states, torch.arange(len(states)), targets)
    return {"states": states.numpy(), "targets": targets.numpy(), "logits": logits.numpy()}


def share(components: Any) -> dict[str, np.ndarray]:
    settings: dict[str, Any] = {"mask_type": "static", "mask_other": 0.0, "min_masks": 1, "no_overlap": False}
    one = ((1, FRAMES), None, SHARE, SPAN)  # of several clips at once, all get the smallest count
    masks = [components._compute_mask_indices(*one, **settings) for _ in range(MASKS)]
    return {"share": torch.cat(masks).float().mean().numpy()}


def main() -> None:
    components = importlib.import_module("torchaudio.models.wav2vec2.components")
    version = importlib.import_module("torchaudio").__version__
    torch.manual_seed(0)
    parts = context(components) | contrast(components) | share(components)
    np.savez_compressed(Path(__file__).with_name("self_supervised.npz"), version=version, **parts)
    print(version, len(parts), parts["share"])


if __name__ == "__main__":
    main()
