from __future__ import annotations

import math

import pytest
import torch

from aural.objectives.sentences.restore import (
    class_word_logits,
    demonstration_contrast,
    mask_words,
    replaced,
    restored,
    sampled_words,
)

IDS = torch.tensor([[1, 7, 8, 9, 0], [1, 5, 6, 0, 0]])
WORDS = IDS > 1


def test_masks_words_only_and_about_the_share() -> None:
    ids = torch.full((200, 20), 5)
    masked, where = mask_words(ids, ids > 1, mask_id=3, share=0.3, generator=torch.Generator().manual_seed(0))
    assert float(where.float().mean()) == pytest.approx(0.3, abs=0.02)
    assert torch.equal(masked == 3, where)
    masked, where = mask_words(IDS, WORDS, mask_id=3, share=1.0)
    assert torch.equal(where, WORDS)
    assert masked.tolist() == [[1, 3, 3, 3, 0], [1, 3, 3, 0, 0]]


def test_replaced_words_follow_the_distribution() -> None:
    ids = torch.zeros(4000, 1, dtype=torch.long)
    logits = torch.tensor([0.1, 0.6, 0.3]).log().expand(4000, 1, 3)
    drawn = sampled_words(
        logits, torch.ones_like(ids, dtype=torch.bool), ids, generator=torch.Generator().manual_seed(0)
    )
    share = torch.bincount(drawn.flatten(), minlength=3) / 4000
    torch.testing.assert_close(share, torch.tensor([0.1, 0.6, 0.3]), atol=0.03, rtol=0)
    assert torch.equal(sampled_words(logits[:2], torch.zeros(2, 1, dtype=torch.bool), ids[:2] + 2), ids[:2] + 2)


def test_restored_counts_chosen_words_and_keeps_the_graph_without_any() -> None:
    logits = torch.zeros(2, 5, 10, requires_grad=True)
    logits.data[0, 1, 7] = 2.0
    where = torch.zeros_like(WORDS)
    assert float(restored(logits, IDS, where).detach()) == 0.0
    where[0, 1] = True
    loss = restored(logits, IDS, where)
    assert float(loss.detach()) == pytest.approx(math.log(9 + math.exp(2)) - 2)
    loss.backward()
    assert logits.grad is not None
    assert float(logits.grad[1].abs().sum()) == 0.0


def test_replaced_is_the_error_of_telling_edits() -> None:
    edited = IDS.clone()
    edited[0, 1] = 4
    logits = torch.full(IDS.shape, -20.0)
    assert float(replaced(logits, IDS, IDS, WORDS)) == pytest.approx(0.0, abs=1e-6)
    assert float(replaced(logits, edited, IDS, WORDS)) == pytest.approx(20.0 / int(WORDS.sum()), rel=1e-4)


def test_class_words_and_demonstrations_by_hand() -> None:
    assert class_word_logits(torch.tensor([[1.0, 3.0, 5.0]]), [[2], [0, 1]]).tolist() == [[5.0, 2.0]]
    virtual, states = torch.eye(3), torch.eye(3)[[0, 0]]
    loss = demonstration_contrast(virtual, states, torch.tensor([0, 1]), temperature=1.0)
    assert float(loss) == pytest.approx((2 * math.log(math.e + 2) - 1) / 2)
