"""Zero-shot classification: the class whose prompt lies nearest, or each class against the neutral prompt.

Legend: N clips, K classes, E joint dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aural.core.scoring import NEUTRAL, Calibration, label_prompts
from aural.core.types import FloatArray
from aural.evaluate.cards import TaskCard
from aural.evaluate.chance import chance_labels, chance_scores
from aural.evaluate.embedders import unit
from aural.evaluate.metrics import METRICS, average_precision
from aural.evaluate.outcome import RUNNERS, Context, Outcome, confusion, space_of
from aural.evaluate.truth import Examples, examples

PROMPTS = (  # those of the prompt study of CLAP 2022 (section 5), besides the card's own
    "{}",
    "i can hear {}",
    "this is an audio of {}",
    "this is {}",
    "this is a sound of {}",
)


def prompts(card: TaskCard, classes: Sequence[str], template: str) -> list[str]:
    """One sentence a class."""
    return label_prompts([card.words(name) for name in classes], template)


@RUNNERS.register("zero-shot-single-label/zero-shot")
@RUNNERS.register("zero-shot-multi-label/zero-shot")
def zero_shot(context: Context, card: TaskCard) -> Outcome:
    """Cosines of clips and prompts; templates besides the card's own tell how much the wording matters."""
    found, audio = context.heard(examples(card, context.root))
    text = context.store.texts(prompts(card, found.classes, card.prompt))
    neutral = _neutral(context, card.prompt)
    calibration = Calibration.of(context.embedder)
    outcome = outcome_of(card, found, audio @ text.T, calibration.threshold(audio @ neutral))
    metric = METRICS[card.metric]
    templates = tuple(dict.fromkeys((card.prompt, *(card.prompts or PROMPTS))))
    total = np.zeros_like(text)
    for template in templates:
        vectors = context.store.texts(prompts(card, found.classes, template))
        total += vectors
        threshold = calibration.threshold(audio @ _neutral(context, template))
        other = outcome_of(card, found, audio @ vectors.T, threshold, tell=False)
        outcome.prompts[template] = metric(other.arrays, None)
    mean = unit(total)
    neutral = unit(sum((_neutral(context, t) for t in templates), np.zeros(len(neutral), np.float32)))
    ensemble = outcome_of(card, found, audio @ mean.T, calibration.threshold(audio @ neutral), tell=False)
    outcome.prompts[f"mean of {len(templates)}"] = metric(ensemble.arrays, None)
    assert found.targets is not None
    pairs = np.argwhere(found.targets)
    outcome.space = space_of(audio, text, pairs, [*_names(found), *found.classes])
    return outcome


def _neutral(context: Context, template: str) -> FloatArray:
    vector: FloatArray = context.store.texts(label_prompts([NEUTRAL], template))[0]
    return vector


def _names(found: Examples) -> list[str]:
    assert found.targets is not None
    return [found.classes[int(row.argmax())] if row.any() else "" for row in found.targets]


def outcome_of(
    card: TaskCard, found: Examples, scores: FloatArray, threshold: NDArray[Any], *, tell: bool = True
) -> Outcome:
    """Scores (N, K) and thresholds (N,) as an outcome of the card's kind."""
    assert found.targets is not None
    count, classes = len(scores), found.classes
    outcome = Outcome({"units": np.arange(count)}, classes)
    if found.folds:
        outcome.arrays["folds"] = np.array(found.folds)
    if card.kind == "zero-shot-single-label":
        targets, predicted = found.single, scores.argmax(axis=1).astype(np.int64)
        outcome.arrays |= {"targets": targets, "predicted": predicted}
        if tell:
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
        "targets": found.targets,
        "scores": scores.astype(np.float32),
        "threshold": threshold.astype(np.float32),
    }
    if tell:
        values = average_precision(found.targets, scores)
        outcome.per_class = {name: float(v) for name, v in zip(classes, values, strict=True) if np.isfinite(v)}
        outcome.per_class_metric = "average precision"
        outcome.chance = chance_scores(card.metric, outcome.arrays)
    return outcome
