"""InfoNCE over matching clips and captions, in both directions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from aural.core.config import Config
from aural.objectives.base import OBJECTIVES, Objective, require_pairs, widen


class InfoNCEConfig(Config):
    """An empty config; the temperature belongs to the model."""


@OBJECTIVES.register(
    "info_nce", signal="pair", contrast="input-input", loss="contrastive", negatives="batch", modality="any pair"
)
class InfoNCE(Objective):
    """Find each clip's caption among the captions of the batch, and each caption's clip among the clips.

    Also known as: CLIP loss, symmetric cross entropy over similarities, NT-Xent across modalities, multiple-negatives
    ranking in both directions.

    Formula, with l_ij = logit_scale * <audio_i, text_j> over a batch of B pairs:
        loss = (A + T) / 2,  A = -1/B sum_i log softmax_j(l_i.)[i],  T = -1/B sum_j log softmax_i(l_.j)[j]

    Knobs: none. Needs audio_emb (B, E), text_emb (B, E), logit_scale ().

    Source: van den Oord et al. 2018 (arXiv 1807.03748), section 2.3; both directions as in Radford et al. 2021 (arXiv
    2103.00020), figure 3; for sounds, Elizalde et al. 2022 (arXiv 2206.04769), section 2.

    Relations: `tiled_info_nce` computes the same number with memory linear in B and over several ranks; `sigmoid`
    treats each pair independently; `soft_targets` replaces the identity by a distribution; `multi_positive` allows
    several captions per clip; `hard_negatives` adds false captions. A caption that occurs twice in the batch is a
    negative of its duplicate here.

    >>> import torch
    >>> unit = torch.eye(2)
    >>> scalars = InfoNCE()({"audio_emb": unit, "text_emb": unit, "logit_scale": torch.tensor(1.0)})
    >>> {name: round(float(value), 4) for name, value in scalars.items()}  # log(1 + 1/e)
    {'loss': 0.3133, 'audio_to_text': 0.3133, 'text_to_audio': 0.3133}
    """

    config_type = InfoNCEConfig
    config: InfoNCEConfig

    def compute(self, **tensors: Tensor) -> dict[str, Tensor]:
        audio, text, scale = widen(tensors["audio_emb"], tensors["text_emb"], tensors["logit_scale"])
        require_pairs(audio, text)
        logits = scale * audio @ text.T  # (B, B)
        match = torch.arange(len(audio), device=audio.device)
        audio_to_text = cross_entropy(logits, match)
        text_to_audio = cross_entropy(logits.T, match)
        loss = (audio_to_text + text_to_audio) / 2
        return {"loss": loss, "audio_to_text": audio_to_text, "text_to_audio": text_to_audio}
