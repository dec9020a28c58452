"""InfoNCE over distances of sequences that are not averaged over time."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from torch import Tensor

from aural.core.config import Config
from aural.core.errors import ConfigError
from aural.nn.sequences import interpolated_distance, resampled, warped_distance
from aural.objectives.base import OBJECTIVES, Objective, symmetric_loss, widen


class SequenceContrastConfig(Config):
    """The distance of two sequences."""

    distance: Literal["interpolated", "warped"] = "interpolated"
    """interpolated: mean Euclidean distance after resampling to `points`; warped: dynamic time warping."""
    points: int = Field(default=16, ge=1)


@OBJECTIVES.register(
    "sequence_contrast",
    signal="pair",
    contrast="input-input",
    loss="contrastive",
    negatives="batch",
    modality="any pair",
)
class SequenceContrast(Objective):
    """Find the matching sequence in the batch by a distance that respects the order of the vectors.

    Also known as: sequential contrastive learning.

    Formula, with d(i, j) the distance of audio sequence i and text sequence j, and l_ij = -logit_scale * d(i, j):
        loss = -1/2B sum_i ( log( exp l_ii / sum_j exp l_ij ) + log( exp l_ii / sum_j exp l_ji ) )

    Knobs: distance (`aural.nn.sequences`), points. Needs audio_seq (B, T, E), audio_length (B,), text_seq (B, M, E),
    text_length (B,), logit_scale (). Both distances may be used on the embeddings afterwards, whichever was trained.

    Source: Tsiamas et al. 2024, SCAV (arXiv 2407.05782), for sound and video; here the second sequence may
    be the phrases of a caption. The paper's normalization of rows and columns is the softmax in both directions.

    Relations: with sequences of length 1 it is `info_nce` on -|a - t|.

    >>> import torch
    >>> given = {"audio_seq": torch.tensor([[[0.0], [1.0]], [[1.0], [0.0]]]), "audio_length": torch.tensor([2, 2])}
    >>> given |= {"text_seq": given["audio_seq"], "text_length": given["audio_length"]}
    >>> given |= {"logit_scale": torch.tensor(1.0)}
    >>> objective = SequenceContrast(SequenceContrastConfig(points=2))
    >>> round(float(objective(given)["loss"]), 4)  # distances 0 and 1: log(1 + 1/e)
    0.3133
    """

    config_type = SequenceContrastConfig
    config: SequenceContrastConfig
    needs = frozenset({"audio_seq", "audio_length", "text_seq", "text_length", "logit_scale"})

    def compute(self, **tensors: Tensor) -> dict[str, Tensor]:
        audio, text, scale = widen(*(tensors[name] for name in ("audio_seq", "text_seq", "logit_scale")))
        if audio.ndim != 3 or text.ndim != 3 or len(audio) != len(text) or audio.shape[2] != text.shape[2]:
            raise ConfigError(
                f"audio_seq {tuple(audio.shape)} and text_seq {tuple(text.shape)} must be (B, T, E) and (B, M, E)"
            )
        lengths = tensors["audio_length"], tensors["text_length"]
        if self.config.distance == "interpolated":
            points = [resampled(seq, n, self.config.points) for seq, n in zip((audio, text), lengths, strict=True)]
            distance = interpolated_distance(points[0], points[1])
        else:
            distance = warped_distance(audio, text, *lengths)
        return symmetric_loss(-scale * distance)
