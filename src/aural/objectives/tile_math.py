"""Element-wise operations on one tile of dot products: torch on any device, Triton kernels on CUDA (tile_kernels.py).

Legend: R rows (clips) and C columns (captions) of a tile; logits l = scale * dots (+ bias); the pair (i, j) of a tile
is a match where j - i = `diagonal`. Running results are kept in S slots per row or column and are merged at the end of
the sweep. Here S is 1. The kernels use one slot per block of the tile, so that blocks never wait for each other.

A log-sum is kept as (top, sum): the largest logit and sum exp(l - top). The difference to the logit of a
pair is taken before the logarithm is added, so a small loss of large logits keeps its digits.
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from aural.objectives.precision import split_bf16


class TileMath(Protocol):
    """The element-wise passes over one tile of `dots` (R, C); `dots` may be overwritten."""

    def slots(self, length: int) -> int:
        """Return the number of running results per row (column) of a tile that has `length` columns (rows)."""
        ...

    def log_sums(self, dots: Tensor, scale: Tensor, rows: Tensor, columns: Tensor) -> None:
        """Add the logits to running log-sums with tops [0] and sums [1]: rows (2, S, R) and columns (2, S', C)."""
        ...

    def softmax_weights(
        self, dots: Tensor, scale: Tensor, rows: Tensor, columns: Tensor, diagonal: int, out: tuple[Tensor, ...]
    ) -> None:
        """Set out = softmax by rows + softmax by columns - 2 [match]: `dots` itself, or bf16 parts that sum to it.

        rows (2, R) and columns (2, C) hold tops [0] and the logarithms of sums [1].
        """
        ...

    def sigmoid(
        self, dots: Tensor, scale: Tensor, bias: Tensor, diagonal: int, sums: Tensor, out: tuple[Tensor, ...]
    ) -> None:
        """Add to sums (3, S * S') float64 the loss of matches, of other pairs, and the weights; set out = the weights.

        A pair's loss is softplus(-z l) with z = 1 for a match and -1 else; its weight, d loss / d l, is
        -z sigmoid(-z l). If `out` is empty, weights are not written.
        """
        ...


class TorchTiles:
    """The operations in plain torch, for any device and dtype."""

    def slots(self, length: int) -> int:
        return 1

    def log_sums(self, dots: Tensor, scale: Tensor, rows: Tensor, columns: Tensor) -> None:
        logits = dots.mul_(scale)
        for running, dim in ((rows, 1), (columns, 0)):
            top = logits.amax(dim, keepdim=True)
            part = torch.stack([top.squeeze(dim), (logits - top).exp_().sum(dim)])
            running[:, 0] = merged(torch.stack([running[:, 0], part], dim=1))

    def softmax_weights(
        self, dots: Tensor, scale: Tensor, rows: Tensor, columns: Tensor, diagonal: int, out: tuple[Tensor, ...]
    ) -> None:
        logits = dots.mul_(scale)
        by_column = (logits - columns[0]).sub_(columns[1]).exp_()
        weights = logits.sub_(rows[0, :, None]).sub_(rows[1, :, None]).exp_().add_(by_column)
        if meets(diagonal, weights):
            weights.diagonal(diagonal).sub_(2)
        _write_weights(weights, dots, out)

    def sigmoid(
        self, dots: Tensor, scale: Tensor, bias: Tensor, diagonal: int, sums: Tensor, out: tuple[Tensor, ...]
    ) -> None:
        logits = dots.mul_(scale).add_(bias)
        loss, weights = -logsigmoid(-logits), logits.sigmoid()
        if meets(diagonal, dots):
            matches = logits.diagonal(diagonal)
            sums[0, 0] -= logsigmoid(matches).double().sum()
            loss.diagonal(diagonal).zero_()
            weights.diagonal(diagonal).copy_(-torch.sigmoid(-matches))
        sums[1, 0] += loss.sum(1).double().sum()
        sums[2, 0] += weights.sum(1).double().sum()
        if out:
            _write_weights(weights, dots, out)


def merged(running: Tensor) -> Tensor:
    """Return (2, L), one log-sum, from S slots (2, S, L)."""
    tops, sums = running
    top = tops.amax(0)
    return torch.stack([top, (sums * (tops - top).exp_()).sum(0)])


def meets(diagonal: int, tile: Tensor) -> bool:
    """Return whether the diagonal crosses the tile."""
    return -tile.shape[0] < diagonal < tile.shape[1]


def _write_weights(weights: Tensor, dots: Tensor, out: tuple[Tensor, ...]) -> None:
    """Write the weights over the dots, or as bf16 parts into other tensors."""
    if out[0] is dots:
        dots.copy_(weights)
        return
    split_bf16(weights, out)


def tile_math(device: torch.device, dtype: torch.dtype, fused: bool) -> TileMath:
    """Return the Triton kernels if requested and possible, else plain torch; both give the same numbers."""
    if fused and device.type == "cuda" and dtype == torch.float32:
        try:
            from aural.objectives.tile_kernels import TritonTiles
        except ImportError:  # no Triton in this build of torch
            return TorchTiles()
        return TritonTiles()
    return TorchTiles()
