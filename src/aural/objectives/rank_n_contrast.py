"""Rank-N-Contrast: embeddings ordered like continuous labels, within one modality or across two."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from aural.core.config import Config
from aural.core.errors import ConfigError
from aural.objectives.base import OBJECTIVES, Objective, require_pairs, widen


class RankNContrastConfig(Config):
    """Options of Rank-N-Contrast."""

    similarity: Literal["cosine", "distance"] = "cosine"
    """"distance": the negative Euclidean distance, as in the reference implementation."""
    pairs: Literal["all", "across"] = "all"
    """"all": clips and captions are 2B views, and every view is compared with all others. "across": clips are compared
    with captions only, and captions with clips only."""


@OBJECTIVES.register(
    "rank_n_contrast", signal="similarity", contrast="input-input",
    loss="contrastive", negatives="batch", modality="any pair",
)  # fmt: skip
class RankNContrast(Objective):
    """Order embeddings by the distance of continuous labels, such as valence and arousal.

    Also known as: RnC loss; with clips and captions as views, the loss of EmotionRankCLAP.

    Formula, with l_ij = logit_scale * s(z_i, z_j), label distance d_ij = |y_i - y_j|_1, and S_ij the views k != i with
    d_ik >= d_ij, that is those at least as far from anchor i as view j:
        loss = -mean_i mean_{j != i} (l_ij - log sum_{k in S_ij} exp l_ik)
    With "all", i, j and k run over the 2B clips and captions. With "across", i runs over the clips, and j and k over
    the captions, then the other way around, and the two means are averaged. For every anchor, each view is a positive
    once, contrasted with all views that are ranked lower.

    Knobs: pairs, similarity. Needs audio_emb and text_emb (B, E), values (B, D) continuous labels, logit_scale ().

    Source: Zha et al. 2023, Rank-N-Contrast (arXiv 2210.01189), equations 1 and 2, and their loss.py, which equals
    similarity "distance" with logit_scale 1/2; across modalities: EmotionRankCLAP (arXiv 2505.23732), section 2.

    Relations: with two distinct labels it resembles `sup_con`; `soft_targets` grades targets by similarity as well, but
    by its value instead of by rank.

    >>> import torch
    >>> emb = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    >>> given = {"audio_emb": emb, "text_emb": emb, "values": torch.tensor([[0.0], [1.0]])}
    >>> objective = RankNContrast(RankNContrastConfig(pairs="across"))
    >>> # per anchor: its own caption against both, log(1 + 1/e), and the other caption against itself, 0
    >>> round(float(objective(given | {"logit_scale": torch.tensor(1.0)})["loss"]), 4)
    0.1566
    """

    config_type = RankNContrastConfig
    config: RankNContrastConfig
    needs = frozenset({"audio_emb", "text_emb", "values", "logit_scale"})

    def compute(self, **tensors: Tensor) -> dict[str, Tensor]:
        audio, text, values, scale = widen(*(tensors[n] for n in ("audio_emb", "text_emb", "values", "logit_scale")))
        require_pairs(audio, text)
        if values.ndim != 2 or len(values) != len(audio):
            raise ConfigError(f"values {tuple(values.shape)} must be (B, D) continuous labels of {len(audio)} clips")
        if self.config.pairs == "across":
            logits = scale * self._similarity(audio, text)
            distance = label_distance(values, values)
            forth, back = ranked_loss(logits, distance), ranked_loss(logits.T, distance)
            return {"loss": (forth + back) / 2, "audio_to_text": forth, "text_to_audio": back}
        views, labels = torch.cat([audio, text]), torch.cat([values, values])
        logits = scale * self._similarity(views, views)
        return {"loss": ranked_loss(off_diagonal(logits), off_diagonal(label_distance(labels, labels)))}

    def _similarity(self, left: Tensor, right: Tensor) -> Tensor:
        """Return the similarities (R, C) of two sets of rows."""
        if self.config.similarity == "cosine":
            return left @ right.T
        squares = (left[:, None] - right[None]).square().sum(-1)
        return -squares.clamp(min=1e-24).sqrt()  # a finite gradient where two rows are equal


def label_distance(left: Tensor, right: Tensor) -> Tensor:
    """Return the sum of absolute differences of labels (R, D) and (C, D) as (R, C)."""
    return (left[:, None] - right[None]).abs().sum(-1)


def off_diagonal(square: Tensor) -> Tensor:
    """Return a square matrix (N, N) without its diagonal, (N, N - 1)."""
    size = len(square)
    kept = ~torch.eye(size, dtype=torch.bool, device=square.device)
    return square[kept].view(size, size - 1)


def ranked_loss(logits: Tensor, distance: Tensor) -> Tensor:
    """Return -mean_ij (l_ij - log sum over {k : d_ik >= d_ij} of exp l_ik), for logits and distances (R, C).

    The sums are cumulative from the farthest candidate on; equally far ones share a sum. O(R C log C).
    """
    far_first, order = distance.sort(dim=1, descending=True)
    ordered = logits.gather(1, order)
    sums = ordered.logcumsumexp(1)
    last = torch.searchsorted(-far_first, -far_first, right=True) - 1  # the last one that is equally far
    return (sums.gather(1, last) - ordered).mean()
