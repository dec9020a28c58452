"""The arithmetic of 8-bit integer networks (TensorFlow Lite's reference kernels), with a straight-through gradient.

An int8 tensor holds n = -128 .. 127 and means step * (n - zero). Jacob et al. (2018), arXiv 1712.05877.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Grid(NamedTuple):
    """The values that an int8 tensor with this step and zero point can have."""

    step: float
    zero: int

    @property
    def low(self) -> float:
        return self.step * (-128 - self.zero)

    @property
    def high(self) -> float:
        return self.step * (127 - self.zero)


def on_grid(x: Tensor, grid: Grid) -> Tensor:
    """Return x clamped to the range of the grid and rounded to its nearest value; the gradient is that of the clamp.

    >>> on_grid(torch.tensor([-1.0, 0.26, 99.0]), Grid(0.25, -128)).tolist()
    [0.0, 0.25, 63.75]
    """
    x = x.clamp(grid.low, grid.high)
    return through(x, (x / grid.step).round() * grid.step)


def through(x: Tensor, rounded: Tensor) -> Tensor:
    """Return the values of `rounded` in x's dtype, with the gradient of x."""
    return x + (rounded.to(x.dtype) - x).detach()


def rescale(sums: Tensor, factor: Tensor) -> Tensor:
    """Return sums of products (float64 integers) times `factor` as integers, rounded twice as integer hardware does.

    The factor is m 2^e with m in [0.5, 1): a multiplication by m that is rounded to an integer, then a shift that is
    rounded. 7 x 0.2 = 1.4 therefore becomes 2: 7 x 0.8 = 5.6 is rounded to 6, and 6 / 4 = 1.5 to 2.

    >>> rescale(torch.tensor([6.0, 7.0], dtype=torch.float64), torch.tensor([0.2, 0.2], dtype=torch.float64)).tolist()
    [1.0, 2.0]
    """
    mantissa, exponent = torch.frexp(factor)
    mantissa = (mantissa * 2**31).round() / 2**31
    return torch.floor(torch.floor(sums * mantissa + 0.5) * torch.exp2(exponent.to(sums.dtype)) + 0.5)
