"""Pack short texts into rows of equal length, so that a text encoder computes no padding.

Attention is limited to the tokens of one text, and positions start again with each text, so the result of a text does
not depend on its neighbors. Krell et al. (2021), arXiv 2107.02027.

Legend: B texts, R rows, W tokens per row, L tokens of a padded text, D width.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


class Packed(NamedTuple):
    """The places of texts in the rows of a packed batch of token ids (R, W).

    segments: (R, W), the number of the text in its row, from 1; 0 for padding. positions: (R, W), the index of a token
    in its text. starts: (B,), the index of a text's first token in the flattened rows. lengths: (B,), its tokens.
    """

    segments: Tensor
    positions: Tensor
    starts: Tensor
    lengths: Tensor

    def attention(self, *, causal: bool) -> Tensor:
        """Return (R, 1, W, W), true where a token may attend: within its text; padding attends to padding."""
        same = self.segments[:, :, None] == self.segments[:, None]
        if causal:
            same = same & torch.ones(same.shape[1:], dtype=torch.bool, device=same.device).tril()
        return same[:, None]

    def pool(self, states: Tensor, how: str) -> Tensor:
        """Pool states (R, W, D) to (B, D): "first" or "last" token of each text, or their "mean"."""
        flat = states.flatten(0, 1)
        if how == "first":
            return flat[self.starts]
        if how == "last":
            return flat[self.starts + self.lengths - 1]
        texts = len(self.starts)
        ends = self.starts + self.lengths
        at = torch.arange(len(flat), device=flat.device)
        inside = (at[None] >= self.starts[:, None]) & (at[None] < ends[:, None])  # (B, R W)
        return (inside.to(flat.dtype) @ flat) / self.lengths.view(texts, 1).to(flat.dtype)


def place(lengths: NDArray[np.int64], width: int) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Place texts in rows of `width` tokens, the longest first, each into the first row that has room.

    Return the row and the number in its row (from 1) of each text in the given order, and the number of rows.

    >>> place(np.array([3, 5, 2]), 6)
    (array([1, 0, 1]), array([1, 1, 2]), 2)
    """
    rows, numbers = np.zeros_like(lengths), np.zeros_like(lengths)
    left: list[int] = []
    counts: list[int] = []
    for text in np.argsort(-lengths, kind="stable"):
        size = int(lengths[text])
        row = next((row for row, room in enumerate(left) if room >= size), len(left))
        if row == len(left):
            left.append(width)
            counts.append(0)
        left[row] -= size
        counts[row] += 1
        rows[text], numbers[text] = row, counts[row]
    return rows, numbers, len(left)


def pack(ids: Tensor, mask: Tensor, *, width: int, pad_id: int, multiple: int = 1) -> tuple[Tensor, Packed]:
    """Pack padded texts (B, L) into token ids (R, W); R is rounded up to a multiple of `multiple`."""
    tokens, lengths = ids.numpy(), mask.sum(1).numpy()
    rows, numbers, count = place(lengths, width)
    shape = -(-count // multiple) * multiple, width
    packed = np.full(shape, pad_id, np.int64)
    segments, positions = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    starts = np.zeros_like(lengths)
    free = np.zeros(count, np.int64)
    for text in np.lexsort((numbers, rows)):
        row, size = rows[text], int(lengths[text])
        here = slice(int(free[row]), int(free[row]) + size)
        packed[row, here] = tokens[text, :size]
        segments[row, here] = numbers[text]
        positions[row, here] = np.arange(size)
        starts[text] = row * width + here.start
        free[row] = here.stop
    where = Packed(*(torch.from_numpy(part) for part in (segments, positions, starts, lengths)))
    return torch.from_numpy(packed), where
