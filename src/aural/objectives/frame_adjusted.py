"""Frame-wise contrast with the prior of each class as an offset of its logits."""

from __future__ import annotations

from torch import Tensor

from aural.core.errors import ConfigError
from aural.objectives.base import OBJECTIVES, Objective, widen
from aural.objectives.frame_binary import FrameConfig, frame_loss


@OBJECTIVES.register(
    "frame_adjusted", signal="label", contrast="input-label", loss="binary", negatives="classes", modality="audio-text"
)
class FrameAdjusted(Objective):
    """Decide for each frame and each class prompt whether the prompt describes the frame, given how common it is.

    Also known as: logit-adjusted frame-wise contrast.

    Formula, with x_btc = logit_scale * <frame_bt, class_c> + class_bias_c: the loss of `frame_binary` on x. The
    class_bias is the logit of the share of frames in which class c is active, as a function of the text. Cosines then
    need not express that a class is rare, and sigmoid(x) is a calibrated probability. The score without the prior is
    sigmoid(x) / (sigmoid(x) + sigmoid(class_bias)).

    Knobs: positive_weight; masked. Needs frame_emb (B, T, E), class_emb (C, E), frame_labels (B, T, C), logit_scale (),
    class_bias (C,), and when masked frame_mask (B, T). Rows of frame_emb and class_emb have unit length.

    Source: Wu et al. 2025, FLAM (arXiv 2505.05335), with equation 7 for the score without the prior. Logit
    adjustment: Menon et al. 2021 (arXiv 2007.07314), equation 10.

    Relations: `frame_contrast` is the case of one bias for all classes.

    >>> import torch
    >>> given = {"frame_emb": torch.eye(2)[None], "class_emb": torch.eye(2), "frame_labels": torch.eye(2)[None]}
    >>> given |= {"logit_scale": torch.tensor(2.0), "class_bias": torch.tensor([-1.0, -1.0])}
    >>> round(float(FrameAdjusted()(given)["loss"]), 4)  # log(1 + 1/e) for each of the 4 decisions
    0.3133
    """

    config_type = FrameConfig
    config: FrameConfig
    needs = frozenset({"frame_emb", "class_emb", "frame_labels", "logit_scale", "class_bias"})

    def extra_needs(self) -> set[str]:
        return {"frame_mask"} if self.config.masked else set()

    def compute(self, **tensors: Tensor) -> dict[str, Tensor]:
        names = ("frame_emb", "class_emb", "logit_scale", "class_bias")
        frames, classes, scale, bias = widen(*(tensors[name] for name in names))
        if bias.shape != classes.shape[:1]:
            raise ConfigError(f"class_bias {tuple(bias.shape)} must be (C,) with class_emb {tuple(classes.shape)}")
        logits = scale * frames @ classes.T + bias  # (B, T, C)
        return frame_loss(logits, tensors, self.config.positive_weight)
