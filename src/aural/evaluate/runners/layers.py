"""Probe every layer of a model: linear, nearest-neighbor and few-shot scores, correlation, mutual information."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from aural.core.types import FloatArray
from aural.core.vectors import unit_rows
from aural.evaluate.examples import Examples, LoadedTask
from aural.evaluate.kinds import KINDS
from aural.evaluate.metrics import METRICS
from aural.evaluate.outcome import Context, Outcome
from aural.evaluate.probing.layers import Layers, content, layers_of
from aural.evaluate.runners.classifiers import knn_scores, linear_scores
from aural.evaluate.runners.folds import join_folds, note_drawn_folds, train_and_test
from aural.evaluate.runners.label_outcome import probability_outcome
from aural.evaluate.runners.probe import draw_shots


@KINDS["zero-shot-single-label"].runner("layer-probe")
def layer_probe(context: Context, task: LoadedTask) -> Outcome:
    """Probe each layer of the model.

    The outcome is the linear probe of the last layer. `details["layers"]` holds for each layer the metric of a linear
    probe, of nearest neighbors, and of linear probes from a few clips per class (mean over draws, which are the same
    clips for all layers), and the relation of the layer to the classes next to that of classes in random order
    (`aural.evaluate.probing.layers.content`).
    """
    folds = [
        (train, _layers(context, train), test, _layers(context, test)) for train, test in train_and_test(context, task)
    ]
    names = list(folds[0][1])
    table: dict[str, dict[str, float]] = {}
    outcome: Outcome | None = None
    for name in names:
        parts = [(train, rows[name], test, test_rows[name]) for train, rows, test, test_rows in folds]
        outcome = _probed(context, task, parts, linear_scores)
        neighbors = _probed(context, task, [(a, unit_rows(x), b, unit_rows(y)) for a, x, b, y in parts], knn_scores)
        test_rows = np.concatenate([part[3] for part in parts])
        labels = np.concatenate([part[2].single for part in parts])
        scores = {"linear": _score(task, outcome), "knn": _score(task, neighbors)}
        scores |= {f"{shots}-shot": _few_shot(context, task, parts, shots) for shots in context.shots}
        table[name] = scores | content(test_rows, labels, context.seed)
    assert outcome is not None
    outcome.details["layers"] = table
    return note_drawn_folds(outcome, task)


def _layers(context: Context, clips: Examples) -> Layers:
    return layers_of(context.embedder, [clips.corpus.source(int(n)) for n in clips.numbers])


def _probed(context: Context, task: LoadedTask, parts: list[Any], method: Callable[..., FloatArray]) -> Outcome:
    scores = [method(rows, train.labels, test_rows, context.seed) for train, rows, _, test_rows in parts]
    return probability_outcome(task, *join_folds([test for _, _, test, _ in parts], scores))


def _few_shot(context: Context, task: LoadedTask, parts: list[Any], shots: int) -> float:
    """Return the mean metric, over draws, of linear probes from `shots` clips per class."""
    values = []
    for repeat in range(context.repeats):
        generator = np.random.default_rng([context.seed, shots, repeat])
        drawn = []
        for train, rows, test, test_rows in parts:
            chosen = draw_shots(train.labels, shots, generator)
            drawn.append((train.subset(chosen), rows[chosen], test, test_rows))
        values.append(_score(task, _probed(context, task, drawn, linear_scores)))
    return float(np.mean(values))


def _score(task: LoadedTask, outcome: Outcome) -> float:
    return float(METRICS[task.card.metric](outcome.arrays, None))
