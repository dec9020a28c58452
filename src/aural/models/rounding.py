"""Round matrices to 8 bits with one scale per row (symmetric int8 quantization)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from aural.core.types import FloatArray

STEPS = 127
"""Largest int8 value used; the range is symmetric, -127 to 127."""


def scale_of(values: FloatArray, axis: int = 0) -> FloatArray:
    """Return the size of one step per index of `axis`: the largest absolute value / 127, with dimensions kept."""
    others = tuple(i for i in range(values.ndim) if i != axis)
    largest = np.maximum(values.max(others, keepdims=True), -values.min(others, keepdims=True))
    return np.maximum(largest / np.float32(STEPS), np.finfo(np.float32).tiny)


def in_8_bits(values: FloatArray) -> FloatArray:
    """Return `values` rounded to whole multiples of each row's `scale_of`, as float32."""
    scale = scale_of(values)
    rounded = values / scale
    np.rint(rounded, out=rounded)
    rounded *= scale
    return rounded


def is_matrix(name: str, shape: Sequence[int]) -> bool:
    """Return whether a tensor is stored in 8 bits: weights of layers and embedding tables, not the mel filters."""
    return len(shape) > 1 and ".front_end." not in name


STEP_OF = ".steps"
"""`x.steps` (rows,) or (1,) stored with an int8 tensor `x`: the size of one step per row."""


def in_steps(tensors: Mapping[str, FloatArray]) -> dict[str, Any]:
    """Return arrays with each matrix as int8 and its steps, which `with_steps` turns back into rounded matrices."""
    stored: dict[str, Any] = {}
    for name, values in tensors.items():
        if not is_matrix(name, values.shape):
            stored[name] = values
            continue
        scale = scale_of(values.astype(np.float32))
        stored[name] = np.rint(values / scale).astype(np.int8)
        stored[name + STEP_OF] = scale.ravel()
    return stored


def with_steps(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tensors with each stored int8 tensor in float32, its integers times its steps.

    It takes torch tensors and numpy arrays alike.
    """
    real = {name: tensor for name, tensor in tensors.items() if not name.endswith(STEP_OF)}
    for name, steps in tensors.items():
        if name.endswith(STEP_OF):
            matrix = name.removesuffix(STEP_OF)
            real[matrix] = real[matrix] * steps.reshape((-1, *[1] * (real[matrix].ndim - 1)))
    return real
