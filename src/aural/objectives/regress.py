"""Regression of embeddings onto a teacher's embeddings (distillation)."""

from __future__ import annotations

from typing import Literal

from torch import Tensor

from aural.core.config import Config
from aural.objectives.base import OBJECTIVES, Objective, require_rows, widen


class RegressConfig(Config):
    """Options of the regression: the distance to the teacher."""

    distance: Literal["cosine", "squared"] = "cosine"
    """"cosine": 1 - cosine of unit rows. "squared": squared Euclidean distance per row, any length."""


@OBJECTIVES.register(
    "regress", signal="teacher", contrast="none", loss="regression", negatives="none", modality="any pair"
)
class Regress(Objective):
    """Pull each embedding toward the embedding that a teacher gives for the same clip.

    Also known as: embedding distillation, feature regression.

    Formula, with a_i = audio_emb and t_i = teacher_audio_emb:
        "cosine":  loss = 1/B sum_i (1 - <a_i, t_i>)
        "squared": loss = 1/B sum_i |a_i - t_i|^2
    For unit rows "squared" is twice "cosine". The teacher receives no gradient.

    Knobs: distance. Needs audio_emb (B, E), teacher_audio_emb (B, E); "cosine" expects unit rows in both. Rename the
    inputs to distill text embeddings or to regress one tower onto another.

    Source: Romero et al. 2014, FitNets (arXiv 1412.6550), section 2, for regression onto a teacher's features; with the
    cosine for CLAP, Paissan and Farella 2023, tinyCLAP (arXiv 2311.14517).

    Relations: `byol` is the same distance to a target that moves with the student; `info_nce` between student and
    teacher also uses the other rows of the batch as negatives.

    >>> import torch
    >>> given = {"audio_emb": torch.eye(2), "teacher_audio_emb": torch.tensor([[1.0, 0.0], [1.0, 0.0]])}
    >>> float(Regress()(given)["loss"])  # cosines 1 and 0
    0.5
    """

    config_type = RegressConfig
    config: RegressConfig
    needs = frozenset({"audio_emb", "teacher_audio_emb"})

    def compute(self, **tensors: Tensor) -> dict[str, Tensor]:
        student, teacher = widen(tensors["audio_emb"], tensors["teacher_audio_emb"].detach())
        require_rows("audio_emb", student, "teacher_audio_emb", teacher)
        if self.config.distance == "cosine":
            return {"loss": (1 - (student * teacher).sum(1)).mean()}
        return {"loss": (student - teacher).square().sum(1).mean()}
