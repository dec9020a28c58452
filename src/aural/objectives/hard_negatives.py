"""InfoNCE with false captions written for each clip as extra negatives."""

from __future__ import annotations

import math

import torch
from pydantic import Field
from torch import Tensor
from torch.nn.functional import cross_entropy

from aural.core.config import Config
from aural.objectives.base import OBJECTIVES, Objective, with_hard_captions


class HardNegativesConfig(Config):
    """Options of hard negatives: their weight and where they enter the denominator."""

    weight: float = Field(default=1.0, gt=0)
    """How many ordinary negatives one hard negative counts as."""
    shared: bool = False
    """Whether a clip is compared with the hard captions of all clips, or only with its own."""
    masked: bool = False
    """Whether clips may have fewer than H hard captions; then `hard_text_mask` is needed."""


@OBJECTIVES.register(
    "hard_negatives", signal="pair", contrast="input-input", loss="contrastive", negatives="built", modality="any pair"
)
class HardNegatives(Objective):
    """Find each clip's caption among the batch and among near misses, such as captions with swapped event order.

    Also known as: NegCLIP loss (shared captions), temporal-contrastive CLAP.

    Formula, with l_ij = logit_scale * <audio_i, text_j> and h_ik = logit_scale * <audio_i, hard_text_ik>:
        A = -1/B sum_i log( exp l_ii / (sum_j exp l_ij + weight * sum_k exp h_ik) )
        T = the text-to-audio half of InfoNCE
        loss = (A + T) / 2
    Hard negatives have no matching clip, so they are not used as text-to-audio queries. shared: the second sum is over
    all B * H hard captions instead of the H of the clip.

    Knobs: weight (how many ordinary negatives a hard one counts as); shared; masked. Needs audio_emb (B, E), text_emb
    (B, E), hard_text_emb (B, H, E), logit_scale (), and when masked hard_text_mask (B, H).

    Source: Yuksekgonul et al. 2022 (arXiv 2210.01936), section 4, for the extra columns (shared); Yuan et al. 2024,
    T-CLAP (arXiv 2404.17806), for captions with a wrong event order.

    Relations: without hard captions (H = 0 or an empty mask) it is `info_nce`.

    >>> import torch
    >>> given = {"audio_emb": torch.eye(2), "text_emb": torch.eye(2), "logit_scale": torch.tensor(1.0)}
    >>> given["hard_text_emb"] = torch.eye(2)[:, None]  # as similar as the matching caption: log(2 + 1/e)
    >>> round(float(HardNegatives()(given)["audio_to_text"]), 4)
    0.862
    """

    config_type = HardNegativesConfig
    config: HardNegativesConfig
    needs = frozenset({"audio_emb", "text_emb", "logit_scale", "hard_text_emb"})

    def extra_needs(self) -> set[str]:
        return {"hard_text_mask"} if self.config.masked else set()

    def compute(self, **tensors: Tensor) -> dict[str, Tensor]:
        audio, text, hard, scale = with_hard_captions(tensors)
        logits = scale * audio @ text.T  # (B, B)
        if self.config.shared:
            near = scale * audio @ hard.flatten(0, 1).T  # (B, B * H)
        else:
            near = scale * torch.einsum("be,bhe->bh", audio, hard)  # (B, H)
        near = near + math.log(self.config.weight)
        if self.config.masked:
            mask = tensors["hard_text_mask"].bool()
            near = near.masked_fill(~(mask.flatten() if self.config.shared else mask), -math.inf)
        match = torch.arange(len(audio), device=audio.device)
        audio_to_text = cross_entropy(torch.cat([logits, near], dim=1), match)
        text_to_audio = cross_entropy(logits.T, match)
        loss = (audio_to_text + text_to_audio) / 2
        return {"loss": loss, "audio_to_text": audio_to_text, "text_to_audio": text_to_audio}
