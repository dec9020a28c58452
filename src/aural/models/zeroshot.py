"""Zero-shot classification: labels in your own words, embedded once, score any number of sounds.

Legend: N sounds, E joint dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from aural.core.errors import ConfigError
from aural.core.types import FloatArray
from aural.models.arguments import check_labels

if TYPE_CHECKING:
    from aural.models.embedding import EmbeddingModel


@dataclass(frozen=True)
class Prediction:
    """One label with its score: a probability over the labels, or with multi_label each on its own, in 0 to 1."""

    label: str
    score: float


class Classifier:
    """Zero-shot classification of embeddings.

    Single label: softmax over labels of logit_scale * cosine. multi_label: each label on its own; with the sigmoid
    loss's bias, sigmoid(scale * cosine + bias); without, against the neutral prompt `template.format("something")`:
    sigmoid(scale * (cosine - neutral cosine)).
    """

    NEUTRAL = "something"

    def __init__(self, model: EmbeddingModel, labels: Sequence[str], template: str, multi_label: bool) -> None:
        self.labels = check_labels(labels)
        if not isinstance(template, str) or "{}" not in template:
            raise ConfigError(f'template "{template}" has no place for the label; write {{}} where it goes')
        self.multi_label, self.scale = multi_label, model.logit_scale
        self.vectors = model.embed_text([template.replace("{}", label) for label in self.labels])
        self.bias = model.logit_bias
        self.neutral = (
            model.embed_text([template.replace("{}", self.NEUTRAL)])[0] if multi_label and self.bias is None else None
        )

    def scores(self, vectors: FloatArray) -> FloatArray:
        """Embeddings (N, E) to scores (N, labels)."""
        logits = self.scale * (vectors @ self.vectors.T).astype(np.float64)
        if not self.multi_label:
            logits -= logits.max(axis=-1, keepdims=True)
            exp = np.exp(logits)
            return (exp / exp.sum(axis=-1, keepdims=True)).astype(np.float32)
        if self.bias is not None:
            logits += self.bias
        if self.neutral is not None:
            logits -= self.scale * (vectors @ self.neutral)[..., None]
        return (0.5 * (1 + np.tanh(logits / 2))).astype(np.float32)

    def predict(self, vector: FloatArray, top: int | None = None) -> list[Prediction]:
        """Labels of one embedding (E,), best first."""
        scores = self.scores(vector[None])[0]
        order = np.argsort(-scores, kind="stable")[:top]
        return [Prediction(self.labels[i], float(scores[i])) for i in order]
