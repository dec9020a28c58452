"""Matrix products of stated precision for the tiled losses, independent of the global flags of the process.

| name | one product is | relative error of an entry, about |
| --- | --- | --- |
| float32 | one float32 product, never tf32 | 1e-7 |
| bf16x3 | operands as sums of two bf16 parts, the 3 largest of 4 products | 5e-6 |
| tf32 | one product of operands rounded to 10 bits (CUDA; plain float32 elsewhere) | 3e-4 |
| bf16 | one product of operands rounded to 7 bits | 3e-3 |

All of them accumulate in float32. float64 operands stay float64 whatever the name. Operands that are bf16 already need
only one part and lose nothing.

Splitting a float32 number x into bf16 parts, x = hi + lo with hi = bf16(x) and lo = bf16(x - hi), keeps 8 bits per
part; lo . lo is about 2^-16 of the product and is left out. Source, also with three parts: Henry, Tang and Heinecke
2019 (arXiv 1904.06376), sections II and III. Three parts gain nothing on a Hopper GPU: its matrix units truncate
float32 sums instead of rounding them, which costs as much as the third part gains (docs/objectives/tiled.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal, TypeAlias

import torch
from torch import Tensor

MatmulPrecision: TypeAlias = Literal["float32", "bf16x3", "tf32", "bf16"]
_PARTS = {"bf16": 1, "bf16x3": 2}


class Products:
    """Computes the three products of a tiled loss at one precision for one pair of operands (rows and columns).

    `rows` and `columns` place the parts of an operand side by side, so that the logits of all kept pairs of parts
    are one product over a longer inner dimension: [a1 a2 a1] . [b2 b1 b1] = a1 b2 + a2 b1 + a1 b1.
    """

    def __init__(self, precision: MatmulPrecision, audio: Tensor, text: Tensor) -> None:
        common = torch.promote_types(audio.dtype, text.dtype)
        self.dtype = torch.float64 if common == torch.float64 else torch.float32  # of sums and tiles
        self.tf32 = precision == "tf32"
        split = precision in _PARTS and self.dtype == torch.float32
        self.parts = _PARTS[precision] if split else 0  # of a float32 operand; 0: not split
        # bf16 parts are stored as bf16 where the device multiplies them into float32 sums
        self.stored = torch.bfloat16 if split and _has_bf16_products(audio.device) else self.dtype
        a, b = (1 if x.dtype == torch.bfloat16 else self.parts for x in (audio, text))
        kept = ((i, j) for i in range(a) for j in range(b) if i + j < max(self.parts, 1))
        self.pairs = sorted(kept, key=sum, reverse=True) or [(0, 0)]  # small terms first: they round on small sums
        self.width = audio.shape[1]
        self.device_type = audio.device.type

    def rows(self, audio: Tensor) -> Tensor:
        return self._side_by_side(audio, [i for i, _ in self.pairs])

    def columns(self, text: Tensor) -> Tensor:
        return self._side_by_side(text, [j for _, j in self.pairs])

    def _side_by_side(self, x: Tensor, order: list[int]) -> Tensor:
        if self.parts == 0:
            return x.to(self.dtype)
        if x.dtype == self.stored == torch.bfloat16 and len(order) == 1:
            return x
        wide = x.new_empty(len(x), len(order), self.width, dtype=self.stored)
        first = {part: wide[:, order.index(part)] for part in sorted(set(order))}
        split_bf16(x, list(first.values()))
        for place, part in enumerate(order):
            if place != order.index(part):
                wide[:, place] = first[part]
        return wide.flatten(1)

    def logits(self, rows: Tensor, columns: Tensor, out: Tensor) -> None:
        """out (R, C) = the dot products of rows and columns."""
        self._product(rows, columns.T, out, add=False)

    def add_to_audio(self, weights: tuple[Tensor, ...], columns: Tensor, out: Tensor) -> None:
        """out (R, D) += weights (R, C) . text (C, D)."""
        self._add(weights, columns, [j for _, j in self.pairs], out)

    def add_to_text(self, weights: tuple[Tensor, ...], rows: Tensor, out: Tensor) -> None:
        """out (C, D) += weights (R, C) transposed . audio (R, D)."""
        self._add(tuple(w.T for w in weights), rows, [i for i, _ in self.pairs], out)

    def _add(self, weights: tuple[Tensor, ...], wide: Tensor, order: list[int], out: Tensor) -> None:
        if self.parts == 0:
            self._product(weights[0], wide, out, add=True)
            return
        for part in reversed(range(max(order) + 1)):
            at = order.index(part) * self.width
            operand = wide[:, at : at + self.width]
            for k, weight in enumerate(weights):
                if k + part < self.parts:
                    self._product(weight, operand, out, add=True)

    def _product(self, a: Tensor, b: Tensor, out: Tensor, add: bool) -> None:
        if a.dtype == out.dtype:
            torch.addmm(out, a, b, out=out) if add else torch.mm(a, b, out=out)
        elif add:
            torch.ops.aten.addmm.dtype_out(out, a, b, out.dtype, out=out)
        else:
            torch.ops.aten.mm.dtype_out(a, b, out.dtype, out=out)

    def weight_room(self, dots: Tensor) -> list[Tensor]:
        """Return memory for the weights of tiles up to `dots`: one tensor per part, none if they overwrite the dots."""
        return [torch.empty_like(dots, dtype=self.stored) for _ in range(self.parts)]

    @contextmanager
    def exactly(self) -> Iterator[None]:
        """Compute products inside at the stated precision; restore autocast and tf32 flags afterwards."""
        with torch.autocast(self.device_type, enabled=False), _cuda_tf32(self.tf32):
            yield


def split_bf16(x: Tensor, parts: Sequence[Tensor]) -> None:
    """Write x as a sum of one or two bf16 numbers of 8 bits each into tensors of bf16 or wider."""
    high, *low = parts
    if high.dtype == torch.bfloat16:  # converts while copying, without temporary tensors
        high.copy_(x)
        for rest in low:
            torch.sub(x, high, out=rest)
    else:
        high.copy_(x.bfloat16())
        for rest in low:
            rest.copy_((x - high).bfloat16())


def _has_bf16_products(device: torch.device) -> bool:
    """Return whether the device multiplies bf16 operands into float32 sums; else float32 holds the bf16 numbers."""
    return device.type == "cuda" and hasattr(torch.ops.aten.addmm, "dtype_out")


@contextmanager
def _cuda_tf32(wanted: bool) -> Iterator[None]:
    """Set the CUDA tf32 switch inside and restore every form of it afterwards."""
    if not torch.cuda.is_available():
        yield
        return
    matmul = torch.backends.cuda.matmul
    fine = getattr(matmul, "fp32_precision", None)  # torch >= 2.9 has a second, finer switch
    try:
        coarse = torch.get_float32_matmul_precision()
    except RuntimeError:  # the user set them to different values: the finer one decides
        coarse = "highest"
    matmul.allow_tf32 = wanted  # sets both
    try:
        yield
    finally:
        matmul.allow_tf32 = coarse != "highest"
        if coarse == "medium":
            torch.set_float32_matmul_precision(coarse)
        if fine is not None:
            matmul.fp32_precision = fine
