"""Binary cross-entropy of frame-wise class logits against frame labels."""

from __future__ import annotations

from pydantic import Field
from torch import Tensor
from torch.nn.functional import logsigmoid

from aural.core.config import Config
from aural.core.errors import ConfigError
from aural.objectives.base import OBJECTIVES, Objective, widen


class FrameConfig(Config):
    """Options of `frame_binary` and `frame_contrast`: weight of active frames, and whether clips are padded."""

    positive_weight: float = Field(default=1.0, gt=0)
    """Factor on the loss of active frames; above 1 for classes that are active in few frames."""
    masked: bool = False
    """Whether clips may have fewer than T frames; then `frame_mask` is needed."""


@OBJECTIVES.register(
    "frame_binary", signal="label", contrast="input-label", loss="binary", negatives="classes", modality="any"
)
class FrameBinary(Objective):
    """Decide for each frame and class whether the class is active.

    Also known as: frame-wise sound event detection loss, multi-label binary cross-entropy over frames.

    Formula, with logits x and labels y in {0, 1} over the N entries (clip, frame, class) that count:
        loss = -1/N sum (positive_weight y log sigmoid(x) + (1 - y) log sigmoid(-x))
    "positive" and "negative" are the shares of y = 1 and y = 0; they sum to the loss.

    Knobs: positive_weight; masked. Needs frame_logits (B, T, C), frame_labels (B, T, C), and when masked frame_mask
    (B, T), true for frames of the clip. Labels between 0 and 1 count in proportion, for partly active frames.

    Source: Cakir et al. 2017 (arXiv 1702.06286), section III, for detection with one sigmoid per frame and class.

    Relations: `frame_contrast` applies this loss to the similarities of frame embeddings and class prompts.

    >>> import torch
    >>> given = {"frame_logits": torch.zeros(1, 2, 1), "frame_labels": torch.tensor([[[1.0], [0.0]]])}
    >>> {name: round(float(value), 4) for name, value in FrameBinary()(given).items()}  # log 2, by halves
    {'loss': 0.6931, 'positive': 0.3466, 'negative': 0.3466}
    """

    config_type = FrameConfig
    config: FrameConfig
    needs = frozenset({"frame_logits", "frame_labels"})

    def extra_needs(self) -> set[str]:
        return {"frame_mask"} if self.config.masked else set()

    def compute(self, **tensors: Tensor) -> dict[str, Tensor]:
        return frame_loss(tensors["frame_logits"], tensors, self.config.positive_weight)


def frame_loss(logits: Tensor, tensors: dict[str, Tensor], positive_weight: float) -> dict[str, Tensor]:
    """Return loss, positive and negative share for logits (B, T, C), from `frame_labels` and, if present, `frame_mask`.

    Raises:
        ConfigError: shapes do not fit, or no frame counts.
    """
    (logits,) = widen(logits)
    labels, mask = tensors["frame_labels"], tensors.get("frame_mask")
    if logits.ndim != 3 or labels.shape != logits.shape:
        raise ConfigError(
            f"frame_labels {tuple(labels.shape)} must be (B, T, C) = {tuple(logits.shape)}, one per frame and class"
        )
    if mask is not None and mask.shape != logits.shape[:2]:
        raise ConfigError(f"frame_mask {tuple(mask.shape)} must be (B, T) = {tuple(logits.shape[:2])}")
    labels = labels.to(logits)
    counted = logits.new_ones(logits.shape[:2]) if mask is None else mask.to(logits)  # (B, T)
    count = counted.sum() * logits.shape[2]
    if count == 0:
        raise ConfigError("frame_mask excludes every frame of the batch")
    positive = -(positive_weight * labels * logsigmoid(logits) * counted[..., None]).sum() / count
    negative = -((1 - labels) * logsigmoid(-logits) * counted[..., None]).sum() / count
    return {"loss": positive + negative, "positive": positive, "negative": negative}
