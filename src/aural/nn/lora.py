"""Low-rank updates of frozen matrices (LoRA; Hu et al. 2021, arXiv 2106.09685): W + B A, where A and B are trained.

B starts at zero, so the initial outputs are unchanged. No dropout and no alpha scaling; tune the learning rate instead.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn


class LowRank:
    """Mixin for a layer with a matrix `weight`: adds the parameters lora_a and lora_b; existing names do not change."""

    @property
    def weight(self) -> Tensor:
        parameters: dict[str, Any] = self.__dict__["_parameters"]
        updated: Tensor = parameters["weight"] + parameters["lora_b"] @ parameters["lora_a"]
        return updated


def add_low_rank(module: nn.Module, rank: int) -> int:
    """Add a low-rank update to every linear layer of a module and return the number of updated layers."""
    layers = [m for m in module.modules() if _is_matrix(m)]
    for layer in layers:
        rows, columns = layer._parameters["weight"].shape  # type: ignore[union-attr]
        kind = type(layer)
        layer.__class__ = type(f"LowRank{kind.__name__}", (LowRank, kind), {})
        layer.lora_a = nn.Parameter(torch.randn(rank, columns) / math.sqrt(columns))
        layer.lora_b = nn.Parameter(torch.zeros(rows, rank))
    return len(layers)


def learn_low_rank(module: nn.Module) -> None:
    """Make the low-rank updates of a frozen module trainable."""
    for name, parameter in module.named_parameters():
        if name.endswith((".lora_a", ".lora_b")):
            parameter.requires_grad_(True)


def _is_matrix(module: nn.Module) -> bool:
    from transformers.pytorch_utils import Conv1D  # GPT-2's linear layer, with a transposed matrix

    return isinstance(module, nn.Linear | Conv1D)
