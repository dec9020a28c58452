"""Prompts of classes, and the outcome of class scores: shared by zero-shot, probes and fine-tuning.

Legend: N clips, K classes, E joint dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aural.core.scoring import NEUTRAL, label_prompts
from aural.core.types import FloatArray
from aural.evaluate.cards import TaskCard
from aural.evaluate.examples import Examples, LoadedTask
from aural.evaluate.metrics.chance import chance_labels, chance_scores
from aural.evaluate.metrics.labels import average_precision
from aural.evaluate.outcome import Context, Outcome, confusion

PROBABILITY_THRESHOLD = 0.5  # of multi-label probes and fine-tuned towers


def prompts(card: TaskCard, classes: Sequence[str], template: str) -> list[str]:
    """Return one sentence per class."""
    return label_prompts([card.words(name) for name in classes], template)


def neutral_vector(context: Context, template: str) -> FloatArray:
    """Return the embedding (E,) of the neutral prompt."""
    vector: FloatArray = context.cache.texts(label_prompts([NEUTRAL], template))[0]
    return vector


def label_outcome(
    task: LoadedTask, clips: Examples, scores: FloatArray, threshold: NDArray[Any], *, details: bool = True
) -> Outcome:
    """Return scores (N, K) and thresholds (N,) as an outcome of the task's kind.

    Without `details`, chance, confusion and per-class values are left out.
    """
    card, classes = task.card, clips.classes
    outcome = Outcome({"units": np.arange(len(scores))}, clips.ids, classes)
    if clips.folds:
        outcome.arrays["folds"] = np.array(clips.folds)
    if task.kind.truth == "one label":
        targets, predicted = clips.single, scores.argmax(axis=1).astype(np.int64)
        outcome.arrays |= {"targets": targets, "predicted": predicted}
        if details:
            outcome.chance = chance_labels(card.metric, targets, len(classes))
            outcome.confusion = confusion(targets, predicted, len(classes))
            outcome.per_class = {
                name: float(np.mean(predicted[targets == k] == k))
                for k, name in enumerate(classes)
                if (targets == k).any()
            }
            outcome.per_class_metric = "recall"
        return outcome
    outcome.arrays |= {
        "targets": clips.labels,
        "scores": scores.astype(np.float32),
        "threshold": threshold.astype(np.float32),
    }
    if details:
        values = average_precision(clips.labels, scores)
        outcome.per_class = {name: float(v) for name, v in zip(classes, values, strict=True) if np.isfinite(v)}
        outcome.per_class_metric = "average precision"
        outcome.chance = chance_scores(card.metric, outcome.arrays)
    return outcome


def probability_outcome(task: LoadedTask, clips: Examples, probabilities: FloatArray) -> Outcome:
    """Return class probabilities (N, K) as an outcome; multi-label tasks predict classes above 0.5."""
    threshold = np.full(len(probabilities), PROBABILITY_THRESHOLD, np.float32)
    return label_outcome(task, clips, probabilities, threshold)
