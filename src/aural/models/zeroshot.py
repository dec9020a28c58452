"""Zero-shot classification: embed labels once and score any number of sounds.

Legend: N sounds, L labels, E joint dimensions.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aural.core.errors import DefectWarning
from aural.core.scoring import NEUTRAL, Calibration, label_prompts
from aural.core.types import FloatArray
from aural.core.vectors import mean_cosine
from aural.models.arguments import check_labels

if TYPE_CHECKING:
    from aural.models.embedding import EmbeddingModel


COLLAPSED = 0.98
"""Mean cosine of the text vectors of labels above which a model cannot distinguish them."""


@dataclass(frozen=True)
class Prediction:
    """A label with its score in 0 to 1: a probability over the labels, or independent of the others (multi_label)."""

    label: str
    score: float


class Classifier:
    """A zero-shot classifier of embeddings, with its labels embedded once.

    The formulas are in `aural.core.scoring`: a softmax over the labels, or with multi_label one sigmoid per label.
    """

    def __init__(self, model: EmbeddingModel, labels: Sequence[str], template: str, multi_label: bool) -> None:
        self.labels = check_labels(labels)
        self.multi_label = multi_label
        self.calibration = Calibration.of(model)
        self.vectors = model.embed_text(label_prompts(self.labels, template))
        _warn_of_collapse(model.name, self.vectors)
        self.neutral = None
        if multi_label and self.calibration.needs_neutral:
            self.neutral = model.embed_text(label_prompts([NEUTRAL], template))[0]

    def scores(self, vectors: FloatArray) -> FloatArray:
        """Return scores (N, L) for embeddings (N, E)."""
        neutral = None if self.neutral is None else vectors @ self.neutral
        return self.calibration.scores(vectors @ self.vectors.T, multi_label=self.multi_label, neutral=neutral)

    def matches(self, vector: FloatArray) -> bool:
        """Return whether a label matches an embedding (E,); ConfigError for a model that cannot answer."""
        return self.calibration.matches(self.vectors @ vector)

    def predict(self, vector: FloatArray, top: int | None = None) -> list[Prediction]:
        """Return the `top` labels of one embedding (E,), best first."""
        scores = self.scores(vector[None])[0]
        order = np.argsort(-scores, kind="stable")[:top]
        return [Prediction(self.labels[i], float(scores[i])) for i in order]


def _warn_of_collapse(name: str, vectors: FloatArray) -> None:
    """Warn if the text vectors (L, E) of three or more labels are nearly equal."""
    if len(vectors) < 3:
        return
    cosine = mean_cosine(vectors)
    if cosine > COLLAPSED:
        warnings.warn(
            f"{name}: the text vectors of {len(vectors)} labels have a mean cosine of {cosine:.4f}, so that sounds can "
            f"hardly be classified; use labels that differ more, or examine the text tower by `aural audit`",
            DefectWarning,
            stacklevel=4,
        )
