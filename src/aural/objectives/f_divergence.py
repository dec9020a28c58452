"""Lower bounds on f-divergences between paired and unpaired items."""

from __future__ import annotations

import math
from typing import Literal, TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import softplus

from aural.core.config import Config
from aural.core.errors import ConfigError
from aural.objectives.base import OBJECTIVES, Objective, pair_logits

Divergence: TypeAlias = Literal["kl", "chi2", "hellinger", "js"]


class FDivergenceConfig(Config):
    """Options of the bound: the divergence."""

    divergence: Divergence = "kl"
    """"kl": Kullback-Leibler. "chi2": Pearson's chi-squared. "hellinger": squared Hellinger. "js": Jensen-Shannon, as
    the sum of both Kullback-Leibler terms (at most 2 log 2)."""


@OBJECTIVES.register(
    "f_divergence", signal="pair", contrast="input-input", loss="divergence", negatives="batch", modality="any pair"
)
class FDivergence(Objective):
    """Maximize a lower bound on the f-divergence between matching pairs and random pairs.

    Also known as: variational f-divergence bound, f-mutual information; "kl": NWJ or MINE-f bound; "chi2" with a linear
    ratio: spectral contrastive loss; "js": binary noise-contrastive estimation.

    Formula, with h_ij = logit_scale * <audio_i, text_j> + logit_bias as the estimate of the logarithm of the density
    ratio p(x, y) / (p(x) p(y)), r = exp h, P the mean over i = j and Q the mean over i != j:
        bound = P[f'(r)] - Q[f*(f'(r))],  loss = -bound
        "kl"        f = r log r                   bound = 1 + P[h] - Q[r]
        "chi2"      f = (r - 1)^2                 bound = 2 P[r] - Q[r^2] - 1
        "hellinger" f = (sqrt r - 1)^2            bound = 2 - P[r^(-1/2)] - Q[r^(1/2)]
        "js"        f = r log r - (r + 1) log((r + 1) / 2)
                                                  bound = 2 log 2 - P[softplus(-h)] - Q[softplus(h)]
    Each bound is at most the divergence and equal to it when h is the true log ratio.

    Knobs: divergence. Needs audio_emb (B, E), text_emb (B, E), logit_scale (), logit_bias (); B >= 2.

    Source: Nguyen, Wainwright and Jordan 2010 (arXiv 0809.0853), section II; Nowozin et al. 2016, f-GAN (arXiv
    1606.00709), table 6; as contrastive losses whose minimizers are approximately sufficient statistics, Lin and Mei
    2025 (arXiv 2503.17538).

    Relations: `info_nce` bounds the Kullback-Leibler divergence by log B - loss; `sigmoid` is "js" with all B - 1
    negatives summed instead of averaged.

    >>> import torch
    >>> given = {"audio_emb": torch.eye(2), "text_emb": torch.eye(2)}
    >>> given |= {"logit_scale": torch.tensor(0.0), "logit_bias": torch.tensor(0.0)}
    >>> float(FDivergence()(given)["loss"])  # ratio 1 everywhere: the bound is 0
    -0.0
    """

    config_type = FDivergenceConfig
    config: FDivergenceConfig
    needs = frozenset({"audio_emb", "text_emb", "logit_scale", "logit_bias"})

    def compute(self, **tensors: Tensor) -> dict[str, Tensor]:
        log_ratio = pair_logits(tensors)  # (B, B)
        if len(log_ratio) < 2:
            raise ConfigError("f_divergence needs batches of at least 2 pairs: unpaired items come from the batch")
        matching = torch.eye(len(log_ratio), dtype=torch.bool, device=log_ratio.device)
        bound = divergence_bound(log_ratio[matching], log_ratio[~matching], self.config.divergence)
        return {"loss": -bound, "bound": bound}


def divergence_bound(paired: Tensor, unpaired: Tensor, divergence: Divergence) -> Tensor:
    """Return the lower bound () from log ratios of paired items and of unpaired items, each a tensor of samples."""
    if divergence == "kl":
        return 1 + paired.mean() - unpaired.exp().mean()
    if divergence == "chi2":
        return 2 * paired.exp().mean() - (2 * unpaired).exp().mean() - 1
    if divergence == "hellinger":
        return 2 - (-paired / 2).exp().mean() - (unpaired / 2).exp().mean()
    return 2 * math.log(2) - softplus(-paired).mean() - softplus(unpaired).mean()
