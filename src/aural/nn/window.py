"""Window attention on a token grid (Swin): partition, cyclic shift, relative position bias. Liu et al. (2021).

Legend: B images, H x W token grid, C channels, w window side, L = w^2 tokens per window, G windows per image, h heads.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, TypeVar

import torch
from torch import Tensor, nn

P = ParamSpec("P")
R = TypeVar("R")


def constant(make: Callable[P, R]) -> Callable[P, R]:
    """Cache a function that computes tensors from numbers only.

    The tensors are created on the CPU and outside inference_mode, because one created inside it cannot be used in
    training.
    """

    @lru_cache(maxsize=64)
    @wraps(make)
    def cached(*args: P.args, **options: P.kwargs) -> R:
        with torch.inference_mode(False), torch.device("cpu"):
            return make(*args, **options)

    return cached  # type: ignore[return-value]


@constant
def window_order(H: int, W: int, w: int, shift: int) -> tuple[Tensor, Tensor]:
    """Return the token order of the windows of a grid shifted cyclically by `shift`, and its inverse, each (H * W,).

    tokens[order] lists the grid window by window, row by row: shift and partition in one gather. tokens[inverse]
    restores the grid.
    """
    grid = torch.arange(H * W).view(H, W).roll((-shift, -shift), (0, 1))
    order = grid.view(H // w, w, W // w, w).transpose(1, 2).flatten()
    return order, order.argsort()


@constant
def relative_position_index(w: int) -> Tensor:
    """Return (L, L): for each pair of tokens, the row of their offset in the bias table of (2w - 1)^2 rows."""
    row, column = torch.arange(w * w) // w, torch.arange(w * w) % w
    d_row, d_column = row[:, None] - row[None], column[:, None] - column[None]
    return (d_row + w - 1) * (2 * w - 1) + d_column + w - 1


@constant
def shift_mask(H: int, W: int, w: int, shift: int) -> Tensor:
    """Return (G, L, L): -100 between tokens that are neighbors only because of the cyclic shift, else 0."""

    def region(size: int) -> Tensor:
        at = torch.arange(size)
        return (at >= size - w).long() + (at >= size - shift).long()

    order, _ = window_order(H, W, w, 0)
    regions = (region(H)[:, None] * 3 + region(W)[None]).flatten()[order].view(-1, w * w)  # (G, L)
    return torch.where(regions[:, None] == regions[:, :, None], 0.0, -100.0)


class WindowAttention(nn.Module):
    """Multi-head attention inside windows (B * G, L, C), with a learned bias for each relative position."""

    def __init__(self, dim: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.kernel: Callable[..., Tensor] | None = None  # see use_kernels

    def on_grid(self, x: Tensor, shift: int) -> Tensor:
        """Compute attention on the token grid (B, H, W, C), shifted cyclically by `shift`, with the Triton kernel."""
        B, H, W, C = x.shape
        w = self.window
        table = self.relative_position_bias_table
        at = torch.arange(w * w, device=table.device)
        row, column = at // w, at % w
        offset = (row[:, None] - row + w - 1) * (2 * w - 1) + column[:, None] - column + w - 1  # (L, L)
        chosen = offset.flatten()[:, None] == torch.arange(len(table), device=table.device)
        bias = (
            (chosen.to(table.dtype) @ table).view(w * w, w * w, -1).permute(2, 0, 1)
        )  # a matrix product, because its backward pass is one too
        assert self.kernel is not None
        out = self.kernel(self.qkv(x.flatten(1, 2)), bias.contiguous(), H, W, w, shift)
        return self.proj(out).view(B, H, W, C)

    def position_bias(self) -> Tensor:
        """Return the position bias (h, L, L)."""
        table = self.relative_position_bias_table
        index = relative_position_index(self.window).to(table.device)
        return table[index.view(-1)].view(*index.shape, -1).permute(2, 0, 1)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Return the attention output (B * G, L, C); `mask` (G, L, L) is added for the windows of a shifted grid."""
        N, L, C = x.shape
        q, k, v = self.qkv(x).view(N, L, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.position_bias()[None]  # (1, h, L, L)
        if mask is not None:
            bias = (bias + mask[:, None].to(bias.dtype)).repeat(N // mask.shape[0], 1, 1, 1)  # (N, h, L, L)
        out = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=bias.to(q.dtype))
        return self.proj(out.transpose(1, 2).reshape(N, L, C))


def use_kernels(model: nn.Module) -> bool:
    """Use the Triton kernels for every window attention of a model on CUDA; return False if Triton is missing."""
    try:
        from aural.nn.window_kernels import window_attention
    except ImportError:
        return False
    for module in model.modules():
        if isinstance(module, WindowAttention):
            module.kernel = window_attention
    return True
