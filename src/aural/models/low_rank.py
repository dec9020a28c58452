"""Low-rank updates stored next to the matrices that they change: `x.lora_a` (R, in) and `x.lora_b` (out, R).

The functions take torch tensors and numpy arrays alike; `aural.nn.lora` trains such updates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from aural.core.errors import CheckpointError


def is_update(name: str) -> bool:
    """Return whether a tensor name is that of a factor of a low-rank update."""
    return name.endswith((".lora_a", ".lora_b"))


def check_updates(tensors: Mapping[str, Any]) -> None:
    """Raise CheckpointError when a factor does not fit the shape of its matrix or lacks its partner."""
    for name in filter(is_update, tensors):
        layer = name.rpartition(".")[0]
        weight, a, b = (tensors.get(f"{layer}.{factor}") for factor in ("weight", "lora_a", "lora_b"))
        missing = weight is None or a is None or b is None or b.ndim != 2
        if missing or (*weight.shape, b.shape[1]) != (b.shape[0], *a.shape[::-1]):  # type: ignore[union-attr]
            raise CheckpointError(f'"{name}" fits no matrix of this model; copy the whole folder again')


def with_updates(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tensors with each low-rank update added to its matrix, W + B A, and the factors left out."""
    check_updates(tensors)
    merged = {name: tensor for name, tensor in tensors.items() if not is_update(name)}
    for name, a in tensors.items():
        if name.endswith(".lora_a"):
            layer = name.removesuffix(".lora_a")
            merged[f"{layer}.weight"] = merged[f"{layer}.weight"] + tensors[f"{layer}.lora_b"] @ a
    return merged
