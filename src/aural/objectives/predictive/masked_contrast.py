"""Choose the true target of a masked frame among the targets of the other masked frames of the clip.

Legend: B clips, T frames, E width.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize


def masked_contrast(
    predicted: Tensor, targets: Tensor, mask: Tensor, *, temperature: float = 0.1
) -> tuple[Tensor, Tensor]:
    """Return the loss per clip (B,) and the share of right choices.

    Formula: for a masked frame t, -log softmax_s(cos(p_t, q_s) / temperature) at s = t, over all masked frames s of the
    clip whose target differs from that of t, and t itself.

    Args:
        predicted, targets: (B, T, E). mask: (B, T), true where a frame was hidden.

    Source: Baevski et al. 2020, wav2vec 2.0 (arXiv 2006.11477), equation 3, with all other masked frames in place of
    100 drawn ones. Distractors equal to the target are left out as in fairseq and transformers.

    >>> same = torch.ones(1, 3, 2)
    >>> loss, _ = masked_contrast(same, same, torch.ones(1, 3, dtype=torch.bool))  # no distractor differs
    >>> float(loss)
    0.0
    """
    p, q = normalize(predicted.float(), dim=-1), normalize(targets.float(), dim=-1)
    logits = p @ q.transpose(1, 2) / temperature  # (B, T, T)
    equal = (targets[:, :, None] == targets[:, None]).all(-1)
    itself = torch.eye(mask.shape[1], dtype=torch.bool, device=mask.device)
    logits = logits.masked_fill((equal | ~mask[:, None]) & ~itself, -torch.inf)
    true = torch.arange(mask.shape[1], device=mask.device).expand(len(mask), -1)
    losses = cross_entropy(logits.transpose(1, 2), true, reduction="none")  # (B, T)
    weight = mask.float()
    right = (logits.detach().argmax(-1) == true).float()
    return (losses * weight).sum(1) / weight.sum(1).clamp(min=1), (right * weight).sum() / weight.sum().clamp(min=1)
