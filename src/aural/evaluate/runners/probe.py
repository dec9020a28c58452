"""Probes: how much of a task a simple classifier reads from frozen embeddings.

- linear-probe: logistic regression on standardized features.
- knn: cosine-weighted vote of the 10 nearest training clips.
- few-shot: the linear probe from 1, 5, ... clips per class, several draws.

Probes are trained on the card's training splits, or fold by fold. Where a data set has neither, five folds are drawn
from the task's own clips (`runners.folds`), and the score says how much the features contain.

Legend: N clips, K classes, E joint dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aural.core.types import FloatArray
from aural.evaluate.examples import LoadedTask
from aural.evaluate.kinds import KINDS
from aural.evaluate.metrics import METRICS
from aural.evaluate.outcome import Context, Outcome
from aural.evaluate.runners.classifiers import knn_scores, linear_scores
from aural.evaluate.runners.folds import embedded_folds, join_folds, note_drawn_folds
from aural.evaluate.runners.label_outcome import probability_outcome
from aural.evaluate.stats import mean_and_spread


@KINDS["zero-shot-single-label"].runner("linear-probe")
@KINDS["zero-shot-multi-label"].runner("linear-probe")
def linear_probe(context: Context, task: LoadedTask) -> Outcome:
    """Train a logistic regression on frozen embeddings."""
    return _probe(context, task, linear_scores)


@KINDS["zero-shot-single-label"].runner("knn")
@KINDS["zero-shot-multi-label"].runner("knn")
def knn(context: Context, task: LoadedTask) -> Outcome:
    """Let the nearest training clips vote."""
    return _probe(context, task, knn_scores)


@KINDS["zero-shot-single-label"].runner("few-shot")
@KINDS["zero-shot-multi-label"].runner("few-shot")
def few_shot(context: Context, task: LoadedTask) -> Outcome:
    """Train linear probes on a few clips per class.

    The outcome is the first draw with the most shots; `details` holds mean and deviation over draws per number of
    shots. A clip with several labels counts for each of its classes and is drawn once.
    """
    details: dict[str, Any] = {}
    outcome: Outcome | None = None
    for shots in context.shots:
        values = []
        for repeat in range(context.repeats):
            generator = np.random.default_rng([context.seed, shots, repeat])
            drawn = _few_shot_draw(context, task, shots, generator)
            values.append(METRICS[task.card.metric](drawn.arrays, None))
            if repeat == 0:
                outcome = drawn
        mean, spread = mean_and_spread(values)
        details[f"{shots} shots"] = {"mean": mean, "deviation": spread, "values": values}
    assert outcome is not None
    outcome.details = details
    return note_drawn_folds(outcome, task)


def draw_shots(targets: NDArray[np.uint8], shots: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Return the sorted numbers of `shots` clips per class, or of all clips of a class that has fewer."""
    chosen: set[int] = set()
    for k in range(targets.shape[1]):
        of_class = np.flatnonzero(targets[:, k])
        chosen |= set(generator.permutation(of_class)[:shots].tolist())
    return np.array(sorted(chosen), np.int64)


def _few_shot_draw(context: Context, task: LoadedTask, shots: int, generator: np.random.Generator) -> Outcome:
    tests, scores = [], []
    for train, train_audio, test, audio in embedded_folds(context, task):
        chosen = draw_shots(train.labels, shots, generator)
        tests.append(test)
        scores.append(linear_scores(train_audio[chosen], train.labels[chosen], audio, context.seed))
    return probability_outcome(task, *join_folds(tests, scores))


def _probe(context: Context, task: LoadedTask, method: Callable[..., FloatArray]) -> Outcome:
    tests, scores = [], []
    for train, train_audio, test, audio in embedded_folds(context, task):
        tests.append(test)
        scores.append(method(train_audio, train.labels, audio, context.seed))
    return note_drawn_folds(probability_outcome(task, *join_folds(tests, scores)), task)
