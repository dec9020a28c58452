"""Word-level losses around one sentence vector: masked and replaced words, restoring, and prompts with class words.

A decoder that reads the vector is `aural.nn.vector_decoder`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy


def mask_words(
    ids: Tensor, chosen: Tensor, *, mask_id: int, share: float, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Return ids (B, L) with a share of the chosen words masked, and which words (B, L) were masked.

    Args:
        chosen: (B, L) bool, words that may be masked: no padding, no special tokens.
        share: probability per word; a sentence may stay unchanged.
        generator: on the CPU; the mask does not depend on the device.

    Source: Devlin et al. 2018, BERT (arXiv 1810.04805), section 3.1, without keeping or replacing 20% of the words.
    """
    drawn = torch.rand(ids.shape, generator=generator).to(ids.device) < share
    masked = drawn & chosen
    return ids.masked_fill(masked, mask_id), masked


def sampled_words(logits: Tensor, masked: Tensor, ids: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """Return ids (B, L) where masked words are drawn from the generator's distribution, (B, L, V) logits.

    Source: Clark et al. 2020, ELECTRA (arXiv 2003.10555), section 2.
    """
    noise = torch.rand(logits.shape, generator=generator).to(logits).clamp(min=1e-9)
    drawn = (logits - (-noise.log()).log()).argmax(-1)  # Gumbel-max
    return torch.where(masked, drawn, ids)


def restored(logits: Tensor, ids: Tensor, where: Tensor) -> Tensor:
    """Return the mean cross entropy of the words (B, L) where `where` (B, L) is true, from (B, L, V) logits; else 0.

    With the masked words it is the masked language model; with all words and a corrupted input it is the denoising
    loss of DenoSent (arXiv 2401.13621, equation 3) and the replaced language model of SimLM (arXiv 2207.02578, section
    3.1).

    >>> logits = torch.zeros(1, 2, 4)
    >>> round(float(restored(logits, torch.tensor([[3, 1]]), torch.tensor([[True, False]]))), 4)  # log 4
    1.3863
    """
    if not bool(where.any()):
        return 0.0 * logits.sum()
    return cross_entropy(logits[where], ids[where])


def replaced(logits: Tensor, edited: Tensor, ids: Tensor, where: Tensor) -> Tensor:
    """Return the mean binary cross entropy of detecting the edited words, from logits (B, L).

    Args:
        edited, ids: (B, L) words of the edited and the original sentence.
        where: (B, L) bool, words that count.

    Source: Chuang et al. 2022, DiffCSE (arXiv 2204.10298), equation 3; the logits are conditioned on the vector of the
    original sentence.

    >>> ids = torch.tensor([[5, 6]])
    >>> round(float(replaced(torch.zeros(1, 2), ids, ids, ids > 0)), 4)  # log 2
    0.6931
    """
    return binary_cross_entropy_with_logits(logits[where], (edited != ids)[where].to(logits))


def class_word_logits(word_logits: Tensor, class_words: Sequence[Sequence[int]]) -> Tensor:
    """Return the scores (B, C) of classes from word logits (B, V) at the mask of a prompt: the mean over class words.

    Source: Gao et al. 2021, LM-BFF (arXiv 2012.15723), section 4 (verbalizers); used by LM-SupCon, LM-CPPF and
    Demo-tuning.

    >>> class_word_logits(torch.tensor([[0.0, 2.0, 4.0]]), [[0], [1, 2]])
    tensor([[0., 3.]])
    """
    return torch.stack([word_logits[:, list(words)].mean(1) for words in class_words], 1)


def demonstration_contrast(virtual: Tensor, states: Tensor, label: Tensor, *, temperature: float = 0.1) -> Tensor:
    """Return the contrast of learned demonstrations (C, E) with the sentences of their classes, ().

    Formula, with v_c a unit virtual demonstration and x_i the unit state of sentence i of class y_i:
        loss = -1/B sum_i log (exp(<x_i, v_y_i> / t) / sum_c exp(<x_i, v_c> / t))

    Source: Liang et al. 2022, Contrastive Demonstration Tuning (arXiv 2204.04392), section 3.2: virtual demonstrations
    are learned instead of sampled, by contrast of positive and negative demonstrations.

    >>> rows = torch.eye(2)
    >>> round(float(demonstration_contrast(rows, rows, torch.tensor([0, 1]), temperature=1.0)), 4)
    0.3133
    """
    return cross_entropy(states @ virtual.T / temperature, label)
