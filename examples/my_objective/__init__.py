"""A plug-in: one objective and one recipe, outside the package aural.

Importing this module registers the objective. The folder `recipes/` next to this file is searched for recipes. An
installed package declares itself in its pyproject.toml:

    [project.entry-points."aural.plugins"]
    my_objective = "my_objective"

Without an installation: `aural --plugin examples/my_objective train my_recipe ...`, or AURAL_PLUGINS.
"""

from __future__ import annotations

from pydantic import Field
from torch import Tensor

from aural.core.config import Config
from aural.objectives import OBJECTIVES, Objective


class MarginConfig(Config):
    """Options of the margin loss."""

    margin: float = Field(default=0.2, gt=0)
    """Smallest difference between the cosine of the right pair and that of any other pair."""


@OBJECTIVES.register("margin")
class Margin(Objective):
    """Push the cosine of each pair above the cosines of all other pairs of the batch by a margin.

    Formula, with c_ij = <audio_i, text_j>:

        loss = 1 / (B (B - 1)) sum_{i != j} max(0, margin - c_ii + c_ij)

    >>> import torch
    >>> unit = torch.eye(2)
    >>> float(Margin(MarginConfig(margin=1.5))({"audio_emb": unit, "text_emb": unit})["loss"])
    0.5
    """

    config_type = MarginConfig
    config: MarginConfig
    needs = frozenset({"audio_emb", "text_emb"})

    def compute(self, **tensors: Tensor) -> dict[str, Tensor]:
        """Return the loss, a scalar, from audio_emb (B, E) and text_emb (B, E)."""
        cosines = tensors["audio_emb"] @ tensors["text_emb"].T  # (B, B)
        right = cosines.diagonal()[:, None]
        excess = (self.config.margin - right + cosines).clamp(min=0).fill_diagonal_(0)
        pairs = len(cosines) * (len(cosines) - 1)
        return {"loss": excess.sum() / max(pairs, 1)}
