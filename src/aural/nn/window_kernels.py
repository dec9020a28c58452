"""Window attention in one Triton kernel per direction, which reads windows directly from the token grid.

No shifted or partitioned copy of the grid is made. The attention scores stay on the chip; the backward pass computes
them again. The gradient of the position bias is summed over the windows of each program and then over programs, without
atomics, so results are bit-identical between runs.

Legend: B images, H x W token grid, w window side, L = w^2 tokens per window, h heads, d = C / h features per head.
"""
# mypy: disable-error-code="no-untyped-def"

from __future__ import annotations

import torch
import triton  # type: ignore[import-not-found]
import triton.language as tl  # type: ignore[import-not-found]
from torch import Tensor

PROGRAMS = 2048  # programs of the backward pass over all heads: a few per multiprocessor


@torch.library.custom_op("aural::window_attention", mutates_args=())
def window_attention(qkv: Tensor, bias: Tensor, H: int, W: int, w: int, shift: int) -> Tensor:
    """Return (B, H W, C) for qkv (B, H W, 3 C) and position bias (h, L, L), the grid shifted cyclically by `shift`."""
    B, _, C3 = qkv.shape
    h, C = bias.shape[0], C3 // 3
    out = qkv.new_empty(B, H * W, C)
    windows = B * (H // w) * (W // w)
    _forward[(h, windows)](qkv, bias, out, H, W, C, (C // h) ** -0.5, w, shift, C // h, _padded(C // h), num_warps=4)
    return out


@torch.library.custom_op("aural::window_attention_grad", mutates_args=())
def _window_attention_grad(
    grad: Tensor, qkv: Tensor, bias: Tensor, H: int, W: int, w: int, shift: int
) -> tuple[Tensor, Tensor]:
    B, _, C3 = qkv.shape
    h, C = bias.shape[0], C3 // 3
    windows = B * (H // w) * (W // w)
    programs = min(windows, max(1, PROGRAMS // h))
    d_qkv = torch.empty_like(qkv)
    parts = qkv.new_empty(programs, *bias.shape, dtype=torch.float32)
    _backward[(h, programs)](
        grad.contiguous(), qkv, bias, d_qkv, parts, windows, H, W, C, (C // h) ** -0.5, w, shift, C // h,
        _padded(C // h), num_warps=4,
    )  # fmt: skip
    return d_qkv, parts.sum(0)


@window_attention.register_fake
def _(qkv: Tensor, bias: Tensor, H: int, W: int, w: int, shift: int) -> Tensor:
    return qkv.new_empty(qkv.shape[0], qkv.shape[1], qkv.shape[2] // 3)


@_window_attention_grad.register_fake
def _(grad: Tensor, qkv: Tensor, bias: Tensor, H: int, W: int, w: int, shift: int) -> tuple[Tensor, Tensor]:
    return torch.empty_like(qkv), torch.empty_like(bias, dtype=torch.float32)


def _setup(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    qkv, bias, *ctx.grid = inputs
    ctx.save_for_backward(qkv, bias)


def _grad(ctx, grad: Tensor):  # type: ignore[no-untyped-def]
    qkv, bias = ctx.saved_tensors
    d_qkv, d_bias = _window_attention_grad(grad, qkv, bias, *ctx.grid)
    return d_qkv, d_bias.to(bias.dtype), None, None, None, None


window_attention.register_autograd(_grad, setup_context=_setup)


def _padded(d: int) -> int:
    return max(16, triton.next_power_of_2(d))


@triton.jit
def _places(window, H, W, w: tl.constexpr, shift):
    """Return the token numbers (L,) of a window in the batch and the region of the shifted grid of each token."""
    a_row = W // w
    an_image = (H // w) * a_row
    image = window // an_image
    at = window % an_image
    token = tl.arange(0, w * w)
    y = (at // a_row) * w + token // w
    x = (at % a_row) * w + token % w
    region_y = (y >= H - w).to(tl.int32) + (y >= H - shift).to(tl.int32)
    region_x = (x >= W - w).to(tl.int32) + (x >= W - shift).to(tl.int32)
    region = tl.where(shift > 0, region_y * 3 + region_x, 0)
    place = image * (H * W) + ((y + shift) % H) * W + (x + shift) % W
    return place.to(tl.int64), region


@triton.jit
def _attend(q, k, bias, region, scale):
    """Return the attention probabilities (L, L) in float32."""
    scores = tl.dot(q, tl.trans(k), input_precision="ieee") * scale + bias
    scores = tl.where(region[:, None] == region[None, :], scores, scores - 100.0)
    scores = tl.exp(scores - tl.max(scores, 1)[:, None])
    return scores / tl.sum(scores, 1)[:, None]


@triton.jit
def _forward(qkv, bias, out, H, W, C, scale, w: tl.constexpr, shift, d: tl.constexpr, D: tl.constexpr):
    head, window = tl.program_id(0), tl.program_id(1)  # heads of a window run together and share its cache lines
    L: tl.constexpr = w * w
    place, region = _places(window, H, W, w, shift)
    feature = tl.arange(0, D)
    real = (feature < d)[None, :]
    columns = head * d + feature[None, :]
    rows = place[:, None] * (3 * C) + columns
    q = tl.load(qkv + rows, mask=real, other=0.0)
    k = tl.load(qkv + rows + C, mask=real, other=0.0)
    v = tl.load(qkv + rows + 2 * C, mask=real, other=0.0)
    pair = tl.arange(0, L)[:, None] * L + tl.arange(0, L)[None, :]
    p = _attend(q, k, tl.load(bias + head * L * L + pair).to(tl.float32), region, scale)
    o = tl.dot(p.to(v.dtype), v, input_precision="ieee")
    tl.store(out + place[:, None] * C + columns, o.to(v.dtype), mask=real)


@triton.jit
def _backward(
    grad, qkv, bias, d_qkv, d_bias, windows, H, W, C, scale, w: tl.constexpr, shift, d: tl.constexpr, D: tl.constexpr
):
    head, first = tl.program_id(0), tl.program_id(1)
    L: tl.constexpr = w * w
    feature = tl.arange(0, D)
    real = (feature < d)[None, :]
    columns = head * d + feature[None, :]
    pair = tl.arange(0, L)[:, None] * L + tl.arange(0, L)[None, :]
    b = tl.load(bias + head * L * L + pair).to(tl.float32)
    total = tl.zeros((L, L), tl.float32)
    for window in range(first, windows, tl.num_programs(1)):
        place, region = _places(window, H, W, w, shift)
        rows = place[:, None] * (3 * C) + columns
        q = tl.load(qkv + rows, mask=real, other=0.0)
        k = tl.load(qkv + rows + C, mask=real, other=0.0)
        v = tl.load(qkv + rows + 2 * C, mask=real, other=0.0)
        g = tl.load(grad + place[:, None] * C + columns, mask=real, other=0.0)
        p = _attend(q, k, b, region, scale)
        d_v = tl.dot(tl.trans(p.to(g.dtype)), g, input_precision="ieee")
        d_p = tl.dot(g, tl.trans(v), input_precision="ieee")
        d_s = p * (d_p - tl.sum(p * d_p, 1)[:, None])
        total += d_s
        d_s = (d_s * scale).to(q.dtype)
        d_q = tl.dot(d_s, k, input_precision="ieee")
        d_k = tl.dot(tl.trans(d_s), q, input_precision="ieee")
        tl.store(d_qkv + rows, d_q.to(q.dtype), mask=real)
        tl.store(d_qkv + rows + C, d_k.to(q.dtype), mask=real)
        tl.store(d_qkv + rows + 2 * C, d_v.to(q.dtype), mask=real)
    tl.store(d_bias + (first * tl.num_programs(0) + head) * L * L + pair, total)
