"""Random masks: counts by construction, and the counts of transformers."""

import numpy as np
import torch

from aural.nn.masking import patch_mask, span_mask


def test_spans_are_as_many_as_asked() -> None:
    torch.manual_seed(0)
    mask = span_mask(8, 40, share=0.5, span=5)
    assert mask.shape == (8, 40)
    assert (mask.sum(1) <= 20).all()  # four spans of five, which may overlap
    assert (mask.sum(1) >= 8).all()
    edges = torch.nn.functional.pad(mask.int(), (1, 1)).diff(dim=1)
    for row in edges:
        starts, stops = (row == 1).nonzero().flatten(), (row == -1).nonzero().flatten()
        assert ((stops - starts) >= 5).all()


def test_the_share_is_that_of_transformers() -> None:
    from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices

    np.random.seed(0)  # noqa: NPY002 - transformers draws from the global generator
    torch.manual_seed(0)
    theirs = _compute_mask_indices((400, 80), mask_prob=0.5, mask_length=5, min_masks=1)
    ours = span_mask(400, 80, share=0.5, span=5)
    assert abs(float(ours.float().mean()) - float(theirs.mean())) < 0.01


def test_patches_cover_their_share_in_blocks() -> None:
    torch.manual_seed(0)
    mask = patch_mask(3, 20, 8, share=0.5, block=(5, 4))
    assert mask.float().mean().item() == 0.5
    blocks = mask.view(3, 4, 5, 2, 4)
    assert (blocks == blocks[:, :, :1, :, :1]).all()


def test_odd_edges_are_cut() -> None:
    assert patch_mask(1, 7, 5, share=0.9, block=(4, 4)).shape == (1, 7, 5)
