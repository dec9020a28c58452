"""Random masks for masked prediction: spans of frames, and groups of patches of a spectrogram.

Legend: B clips, T frames, F bands.
"""

from __future__ import annotations

import torch
from torch import Tensor


def span_mask(clips: int, frames: int, *, share: float, span: int, device: torch.device | str = "cpu") -> Tensor:
    """Return a mask (B, T), true in spans that begin at random frames; spans may overlap.

    Each clip has n = max(1, round(share * T / span)) different first frames, drawn evenly from those where a span fits.
    `share` is therefore the share of masked frames if no spans overlapped. Random choices come from torch's current
    generator.

    Source: Baevski et al. 2020, wav2vec 2.0 (arXiv 2006.11477), section 3.1 and appendix A; `_compute_mask_indices` of
    transformers counts in the same way.

    >>> span_mask(1, 4, share=0.5, span=4).tolist()
    [[True, True, True, True]]
    """
    span = min(span, frames)
    count = min(max(1, round(share * frames / span)), frames - span + 1)
    first = torch.rand(clips, frames - span + 1, device=device).topk(count, 1).indices  # (B, n)
    places = (first[..., None] + torch.arange(span, device=device)).flatten(1)
    return torch.zeros(clips, frames, dtype=torch.bool, device=device).scatter_(1, places, True)


def patch_mask(
    clips: int, frames: int, bands: int, *, share: float, block: tuple[int, int], device: torch.device | str = "cpu"
) -> Tensor:
    """Return a mask (B, T, F), true in rectangles of `block` frames and bands, which hide about `share` of the area.

    Rectangles are cells of a grid, so that neighbors are hidden as a group. The count is round(share * cells).

    Source: Atito et al. 2022, ASiT (arXiv 2211.13189), section 3.1 (group masked model learning).

    >>> patch_mask(1, 4, 4, share=0.5, block=(2, 4)).float().mean().item()
    0.5
    """
    rows, columns = -(-frames // block[0]), -(-bands // block[1])
    count = max(1, round(share * rows * columns))
    chosen = torch.rand(clips, rows * columns, device=device).topk(count, 1).indices
    cells = torch.zeros(clips, rows * columns, dtype=torch.bool, device=device).scatter_(1, chosen, True)
    grid = cells.view(clips, rows, columns)
    return grid.repeat_interleave(block[0], 1).repeat_interleave(block[1], 2)[:, :frames, :bands]
