"""Triton kernels for tile_math.TileMath: one read of the dots of a tile, one write of its weights.

Imported only if CUDA and Triton are available. The vendor library computes the matrix products, which take most of the
time. A tile is read back mostly from the second-level cache of the GPU.
"""

from __future__ import annotations

import triton  # type: ignore[import-not-found]
import triton.language as tl  # type: ignore[import-not-found]
from torch import Tensor

BLOCK = 64  # rows and columns of a tile per program: 16 numbers per thread, so that many programs fit on the GPU


class TritonTiles:
    """The operations of TileMath on float32 tiles on CUDA."""

    def slots(self, length: int) -> int:
        return -(-length // BLOCK)

    def _grid(self, dots: Tensor) -> tuple[int, int]:
        """Return the numbers of programs that share the rows and columns of a tile."""
        return self.slots(dots.shape[0]), self.slots(dots.shape[1])

    def log_sums(self, dots: Tensor, scale: Tensor, rows: Tensor, columns: Tensor) -> None:
        strides = rows.stride(0), rows.stride(1), columns.stride(0), columns.stride(1)
        _log_sums[self._grid(dots)](dots, scale, rows, columns, *dots.shape, *strides, BLOCK, num_warps=4)

    def softmax_weights(
        self, dots: Tensor, scale: Tensor, rows: Tensor, columns: Tensor, diagonal: int, out: tuple[Tensor, ...]
    ) -> None:
        o1, o2, parts = _targets(dots, out)
        sums = rows[0], rows[1], columns[0], columns[1]
        _softmax_weights[self._grid(dots)](dots, scale, *sums, o1, o2, *dots.shape, diagonal, parts, BLOCK, num_warps=8)

    def sigmoid(
        self, dots: Tensor, scale: Tensor, bias: Tensor, diagonal: int, sums: Tensor, out: tuple[Tensor, ...]
    ) -> None:
        o1, o2, parts = _targets(dots, out)
        _sigmoid[self._grid(dots)](
            dots, scale, bias, sums, o1, o2, *dots.shape, diagonal, sums.stride(0), parts, BLOCK, num_warps=8
        )


def _targets(dots: Tensor, out: tuple[Tensor, ...]) -> tuple[Tensor, Tensor, int]:
    """Return two tensors to write to and the number of parts: -1 none, 0 unsplit float32, 1 or 2 bf16 parts."""
    if not out:
        return dots, dots, -1
    return out[0], out[-1], 0 if out[0] is dots else len(out)


@triton.jit
def _part(
    dots: tl.tensor, scale: tl.tensor, height: tl.tensor, width: tl.tensor, BLOCK: tl.constexpr
) -> tuple[tl.tensor, tl.tensor, tl.tensor, tl.tensor, tl.tensor]:
    """Return this program's part of a tile: its rows, columns, which pairs exist, their offsets and scaled dots."""
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    j = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = (i < height)[:, None] & (j < width)[None, :]
    at = i[:, None] * width + j[None, :]
    return i, j, inside, at, tl.load(dots + at, mask=inside, other=0.0) * tl.load(scale)


@triton.jit(do_not_specialize=["height", "row_part", "row_slot", "col_part", "col_slot"])
def _log_sums(
    dots: tl.tensor,
    scale: tl.tensor,
    rows: tl.tensor,
    columns: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    row_part: tl.tensor,
    row_slot: tl.tensor,
    col_part: tl.tensor,
    col_slot: tl.tensor,
    BLOCK: tl.constexpr,
) -> None:
    i, j, inside, _, x = _part(dots, scale, height, width, BLOCK)
    x = tl.where(inside, x, -float("inf"))
    top = tl.max(x, 1)
    top = tl.where(i < height, top, 0.0)  # rows outside hold only -inf
    total = tl.sum(tl.exp(x - top[:, None]), 1)
    _fold(rows + tl.program_id(1).to(tl.int64) * row_slot + i, row_part, top, total, i < height)
    top = tl.max(x, 0)
    top = tl.where(j < width, top, 0.0)
    total = tl.sum(tl.exp(x - top[None, :]), 0)
    _fold(columns + tl.program_id(0).to(tl.int64) * col_slot + j, col_part, top, total, j < width)


@triton.jit
def _fold(slot: tl.tensor, part: tl.tensor, top: tl.tensor, total: tl.tensor, inside: tl.tensor) -> None:
    """Add a log-sum to the one at `slot`, whose sum is stored `part` further on; it may be empty, (-inf, 0)."""
    part = tl.cast(part, tl.int64)
    old_top = tl.load(slot, mask=inside, other=0.0)
    old_total = tl.load(slot + part, mask=inside, other=0.0)
    new_top = tl.maximum(old_top, top)
    tl.store(slot, new_top, mask=inside)
    tl.store(slot + part, old_total * tl.exp(old_top - new_top) + total * tl.exp(top - new_top), mask=inside)


@triton.jit(do_not_specialize=["height", "diagonal"])
def _softmax_weights(
    dots: tl.tensor,
    scale: tl.tensor,
    row_top: tl.tensor,
    row_log: tl.tensor,
    col_top: tl.tensor,
    col_log: tl.tensor,
    o1: tl.tensor,
    o2: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    diagonal: tl.tensor,
    PARTS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    i, j, inside, at, x = _part(dots, scale, height, width, BLOCK)
    by_row = (x - tl.load(row_top + i, mask=i < height)[:, None]) - tl.load(row_log + i, mask=i < height)[:, None]
    by_col = (x - tl.load(col_top + j, mask=j < width)[None, :]) - tl.load(col_log + j, mask=j < width)[None, :]
    weights = tl.exp(by_row) + tl.exp(by_col)
    weights = tl.where(j[None, :] - i[:, None] == diagonal, weights - 2.0, weights)
    _write_weights(weights, o1, o2, at, inside, PARTS)


@triton.jit(do_not_specialize=["height", "diagonal", "sum_stride"])
def _sigmoid(
    dots: tl.tensor,
    scale: tl.tensor,
    bias: tl.tensor,
    sums: tl.tensor,
    o1: tl.tensor,
    o2: tl.tensor,
    height: tl.tensor,
    width: tl.tensor,
    diagonal: tl.tensor,
    sum_stride: tl.tensor,
    PARTS: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    i, j, inside, at, x = _part(dots, scale, height, width, BLOCK)
    x += tl.load(bias)
    match = j[None, :] - i[:, None] == diagonal
    y = tl.where(match, -x, x)  # loss = softplus(y)
    e = tl.exp(-tl.abs(y))
    # log(1 + e) by its series where 1 + e would round e away
    series = e * (1 - e * (0.5 - e * (0.33333333 - e * (0.25 - e * (0.2 - e * 0.16666667)))))
    loss = tl.maximum(y, 0.0) + tl.where(e < 0.0625, series, tl.log(1 + e))
    loss = tl.where(inside, loss, 0.0)
    slope = tl.where(y > 0, 1.0, e) / (1 + e)
    weights = tl.where(inside, tl.where(match, -slope, slope), 0.0)
    slot = sums + tl.program_id(0) * tl.num_programs(1) + tl.program_id(1)
    _add(slot, tl.sum(tl.where(match, loss, 0.0)))
    _add(slot + sum_stride, tl.sum(tl.where(match, 0.0, loss)))
    _add(slot + 2 * sum_stride, tl.sum(weights))
    if PARTS >= 0:
        _write_weights(weights, o1, o2, at, inside, PARTS)


@triton.jit
def _add(slot: tl.tensor, value: tl.tensor) -> None:
    tl.store(slot, tl.load(slot) + value.to(tl.float64))


@triton.jit
def _write_weights(
    weights: tl.tensor, o1: tl.tensor, o2: tl.tensor, at: tl.tensor, inside: tl.tensor, PARTS: tl.constexpr
) -> None:
    """Write the weights unsplit (PARTS 0) or as a sum of bf16 parts."""
    if PARTS == 0:
        tl.store(o1 + at, weights, mask=inside)
    else:
        part = weights.to(tl.bfloat16)
        tl.store(o1 + at, part, mask=inside)
        if PARTS > 1:
            tl.store(o2 + at, (weights - part.to(tl.float32)).to(tl.bfloat16), mask=inside)
