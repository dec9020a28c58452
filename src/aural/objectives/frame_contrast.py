"""Frame-wise contrast between frame embeddings and the text embeddings of classes."""

from __future__ import annotations

from torch import Tensor

from aural.core.errors import ConfigError
from aural.objectives.base import OBJECTIVES, Objective, widen
from aural.objectives.frame_binary import FrameConfig, frame_loss


@OBJECTIVES.register(
    "frame_contrast", signal="label", contrast="input-label", loss="binary", negatives="classes", modality="audio-text"
)
class FrameContrast(Objective):
    """Decide for each frame and each class prompt whether the prompt describes the frame.

    Also known as: frame-wise audio-language contrast, open-vocabulary sound event detection loss.

    Formula, with x_btc = logit_scale * <frame_bt, class_c> + logit_bias: the loss of `frame_binary` on x.

    Knobs: positive_weight; masked. Needs frame_emb (B, T, E), class_emb (C, E), frame_labels (B, T, C), logit_scale (),
    logit_bias (), and when masked frame_mask (B, T). Rows of frame_emb and class_emb have unit length. A negative
    initial logit_bias keeps the many inactive entries from dominating the first steps, as for `sigmoid`.

    Source: Wu et al. 2025, FLAM (arXiv 2505.05335), for frame-wise contrast against text with a bias; there the bias
    depends on the text, here it is one number.

    Relations: with one frame per clip, one prompt per clip and labels = identity, it is `sigmoid` divided by B.

    >>> import torch
    >>> given = {"frame_emb": torch.eye(2)[None], "class_emb": torch.eye(2), "frame_labels": torch.eye(2)[None]}
    >>> given |= {"logit_scale": torch.tensor(2.0), "logit_bias": torch.tensor(-1.0)}
    >>> round(float(FrameContrast()(given)["loss"]), 4)  # log(1 + 1/e) for each of the 4 decisions
    0.3133
    """

    config_type = FrameConfig
    config: FrameConfig
    needs = frozenset({"frame_emb", "class_emb", "frame_labels", "logit_scale", "logit_bias"})

    def extra_needs(self) -> set[str]:
        return {"frame_mask"} if self.config.masked else set()

    def compute(self, **tensors: Tensor) -> dict[str, Tensor]:
        names = ("frame_emb", "class_emb", "logit_scale", "logit_bias")
        frames, classes, scale, bias = widen(*(tensors[name] for name in names))
        if frames.ndim != 3 or classes.ndim != 2 or frames.shape[2] != classes.shape[1]:
            raise ConfigError(
                f"frame_emb {tuple(frames.shape)} must be (B, T, E) and class_emb {tuple(classes.shape)} (C, E)"
            )
        logits = scale * frames @ classes.T + bias  # (B, T, C)
        return frame_loss(logits, tensors, self.config.positive_weight)
