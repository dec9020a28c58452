"""InfoNCE where a clip may have several captions, and a caption several clips."""

from __future__ import annotations

import math
from typing import Literal

from torch import Tensor

from aural.core.config import Config
from aural.core.errors import ConfigError
from aural.objectives.base import OBJECTIVES, Objective, widen


class MultiPositiveConfig(Config):
    """Options of multi-positive InfoNCE: the combination of the positives of a clip (or caption)."""

    positives: Literal["mean", "any"] = "mean"
    """"mean": every positive should have high probability (mean of log p). "any": at least one should (log of summed
    p)."""


@OBJECTIVES.register(
    "multi_positive", signal="label", contrast="input-label", loss="contrastive", negatives="batch", modality="any pair"
)
class MultiPositive(Objective):
    """Find the captions that match a clip if there may be several: human captions, paraphrases, class prompts.

    Also known as: supervised contrastive loss across modalities (SupCon), UniCL loss, MIL-NCE ("any").

    Formula, with l_ij = logit_scale * <audio_i, text_j> over B clips, M captions, P(i) the captions of clip i's group:
        "mean": A = -mean_i 1/|P(i)| sum_{j in P(i)} log softmax_j(l_i.)[j]
        "any":  A = -mean_i log sum_{j in P(i)} softmax_j(l_i.)[j]
        T: the same over columns; loss = (A + T) / 2
    The mean is over the clips (captions) that have a positive; a direction without any positive is 0. With K captions
    per clip, the lower bound of A in "mean" is log K, reached when the K captions have equal probability. The lower
    bound of "any" is 0.

    Knobs: positives. Needs audio_emb (B, E), text_emb (M, E), audio_group (B,), text_group (M,), logit_scale ().

    Source: Khosla et al. 2020 (arXiv 2004.11362), equation 2 ("mean", the sum outside the logarithm); both directions
    across modalities as in Yang et al. 2022, UniCL (arXiv 2204.03610), section 3; "any": Miech et al. 2020, MIL-NCE
    (arXiv 1912.06430), section 3.

    Relations: with one caption per clip and no group that occurs twice, it is `info_nce`; "mean" is `soft_targets` with
    targets 1 inside a group when B = M; `sup_con` is the same within one modality. With one prompt per class as
    captions and class numbers as groups, it contrasts inputs with labels instead of inputs with inputs.

    >>> import torch
    >>> given = {"audio_emb": torch.eye(2), "text_emb": torch.eye(2)[[0, 0, 1]], "logit_scale": torch.tensor(0.0)}
    >>> given |= {"audio_group": torch.tensor([7, 8]), "text_group": torch.tensor([7, 7, 8])}
    >>> {name: round(float(value), 4) for name, value in MultiPositive()(given).items()}  # log 3 and log 2
    {'loss': 0.8959, 'audio_to_text': 1.0986, 'text_to_audio': 0.6931}
    """

    config_type = MultiPositiveConfig
    config: MultiPositiveConfig
    needs = frozenset({"audio_emb", "text_emb", "audio_group", "text_group", "logit_scale"})

    def compute(self, **tensors: Tensor) -> dict[str, Tensor]:
        audio, text, scale = widen(tensors["audio_emb"], tensors["text_emb"], tensors["logit_scale"])
        audio_group, text_group = tensors["audio_group"], tensors["text_group"]
        if audio_group.shape != audio.shape[:1] or text_group.shape != text.shape[:1]:
            raise ConfigError(
                f"audio_group {tuple(audio_group.shape)} and text_group {tuple(text_group.shape)} must hold one number "
                f"for each of {len(audio)} clips and {len(text)} captions"
            )
        logits = scale * audio @ text.T  # (B, M)
        positive = audio_group[:, None] == text_group[None, :]  # (B, M)
        audio_to_text = positive_loss(logits, positive, self.config.positives)
        text_to_audio = positive_loss(logits.T, positive.T, self.config.positives)
        loss = (audio_to_text + text_to_audio) / 2
        return {"loss": loss, "audio_to_text": audio_to_text, "text_to_audio": text_to_audio}


def positive_loss(logits: Tensor, positive: Tensor, combine: Literal["mean", "any"]) -> Tensor:
    """Return the mean over rows with a positive of -mean log p or -log sum p; 0 if no row has one.

    Args:
        logits: (R, C) with a finite entry per row; -inf excludes an entry from the softmax.
        positive: (R, C) bool, true where row and column match.
        combine: "mean" of log p over the positives, or "any": log of their summed p.
    """
    log_p = logits.log_softmax(1)
    count = positive.sum(1)  # (R,)
    if combine == "mean":
        row = log_p.where(positive, 0).sum(1) / count.clamp(min=1)
    else:
        kept = positive | (count == 0)[:, None]  # keeps rows without a positive finite; they are not counted
        row = log_p.where(kept, -math.inf).logsumexp(1)
    return -row.where(count > 0, 0).sum() / (count > 0).sum().clamp(min=1)
