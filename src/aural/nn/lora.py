"""Low-rank updates of frozen matrices (LoRA; Hu et al. 2021, arXiv 2106.09685): W + B A, of which A and B learn.

B is zero at first, so that a tower begins as it was. No dropout, no scale: the rate of learning does its work.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn


class LowRank:
    """What a layer with a matrix `weight` gains; its tensors keep their names, lora_a and lora_b stand beside them."""

    @property
    def weight(self) -> Tensor:
        found: dict[str, Any] = self.__dict__["_parameters"]
        updated: Tensor = found["weight"] + found["lora_b"] @ found["lora_a"]
        return updated


def add_low_rank(module: nn.Module, rank: int) -> int:
    """Give every layer with a matrix such an update (embedding tables and norms have none); how many got one."""
    layers = [m for m in module.modules() if _is_matrix(m)]
    for layer in layers:
        rows, columns = layer._parameters["weight"].shape  # type: ignore[union-attr]
        kind = type(layer)
        layer.__class__ = type(f"LowRank{kind.__name__}", (LowRank, kind), {})
        layer.lora_a = nn.Parameter(torch.randn(rank, columns) / math.sqrt(columns))
        layer.lora_b = nn.Parameter(torch.zeros(rows, rank))
    return len(layers)


def learn_low_rank(module: nn.Module) -> None:
    """Let the updates of a frozen module learn."""
    for name, parameter in module.named_parameters():
        if name.endswith((".lora_a", ".lora_b")):
            parameter.requires_grad_(True)


def _is_matrix(module: nn.Module) -> bool:
    from transformers.pytorch_utils import Conv1D  # GPT-2's linear layer, its matrix turned

    return isinstance(module, nn.Linear | Conv1D)
