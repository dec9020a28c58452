"""InfoNCE between long sounds and texts that attend to the sound's segments."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from aural.core.config import Config
from aural.core.errors import ConfigError
from aural.nn.sequences import attention_of_texts
from aural.objectives.base import OBJECTIVES, Objective, symmetric_loss, widen


class SegmentContrastConfig(Config):
    """Options of the attention."""

    temperature: float = Field(default=0.1, gt=0)
    """Of the softmax over segments: high for the mean over segments, low for the best one."""


@OBJECTIVES.register(
    "segment_contrast",
    signal="pair",
    contrast="input-input",
    loss="contrastive",
    negatives="batch",
    modality="audio-text",
)
class SegmentContrast(Objective):
    """Find the text of a long sound, each text weighting the segments by their similarity to its sentences.

    Also known as: contrastive long-form pretraining with segment-text attention.

    Formula, with f(i, j, k) the similarity of sound i and sentence k of text j that `attention_of_texts` fuses:
        l_ij = logit_scale / K_j * sum_k f(i, j, k), loss = the symmetric InfoNCE of l

    Knobs: temperature of the attention. Needs segment_emb (B, S, E), sentence_emb (B, K, E), sentence_mask (B, K),
    logit_scale (). A text of one vector has K = 1.

    Source: Wu et al. 2024, CoLLAP (arXiv 2410.02271). There the text is one vector or its tokens; here it
    is a vector per sentence.

    Relations: with one segment, K = 1 or a temperature that goes to infinity it is `info_nce` on means.

    >>> import torch
    >>> given = {"segment_emb": torch.eye(2)[:, None], "sentence_emb": torch.eye(2)[:, None]}
    >>> given |= {"sentence_mask": torch.ones(2, 1), "logit_scale": torch.tensor(1.0)}
    >>> round(float(SegmentContrast()(given)["loss"]), 4)  # one segment: log(1 + 1/e)
    0.3133
    """

    config_type = SegmentContrastConfig
    config: SegmentContrastConfig
    needs = frozenset({"segment_emb", "sentence_emb", "sentence_mask", "logit_scale"})

    def compute(self, **tensors: Tensor) -> dict[str, Tensor]:
        names = ("segment_emb", "sentence_emb", "logit_scale")
        segments, sentences, scale = widen(*(tensors[name] for name in names))
        if segments.ndim != 3 or sentences.ndim != 3 or len(segments) != len(sentences):
            raise ConfigError(
                f"segment_emb {tuple(segments.shape)} and sentence_emb {tuple(sentences.shape)} must be (B, S, E) and "
                "(B, K, E)"
            )
        logits = scale * long_similarity(segments, sentences, tensors["sentence_mask"], self.config.temperature)
        return symmetric_loss(logits)


def long_similarity(segments: Tensor, sentences: Tensor, mask: Tensor, temperature: float) -> Tensor:
    """Return the similarity (A, B) of long sounds (A, S, E) and texts (B, K, E) with the sentences of mask (B, K)."""
    fused, _ = attention_of_texts(segments, sentences.flatten(0, 1), temperature)  # (A, B K)
    fused = fused.view(len(segments), *mask.shape)
    weight = mask.to(fused)
    return (fused * weight).sum(2) / weight.sum(1)
