"""Entailment: does a hypothesis follow from a sound, may it follow, or does it contradict the sound?

Legend: N clips, H hypotheses, E joint dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import DataError
from aural.core.types import FloatArray
from aural.evaluate.cards import TaskCard
from aural.evaluate.examples import Examples, LoadedTask, table_rows
from aural.evaluate.kinds import KINDS
from aural.evaluate.metrics.chance import chance_labels
from aural.evaluate.metrics.labels import macro_f1
from aural.evaluate.outcome import Context, Outcome, confusion, units_of
from aural.evaluate.runners.classifiers import logistic

GRID = 60  # thresholds tried between the lowest and the highest cosine


@dataclass(frozen=True)
class Hypotheses:
    """The hypotheses of some clips."""

    audio: FloatArray
    """(H, E) embedding of each hypothesis' clip"""
    text: FloatArray
    """(H, E)"""
    targets: NDArray[np.int64]
    """(H,) class numbers"""
    units: NDArray[np.int64]
    """(H,) clip numbers from 0"""
    unit_ids: tuple[str, ...]

    @property
    def cosines(self) -> FloatArray:
        """Cosine of each clip and hypothesis, (H,)."""
        cosines: FloatArray = np.sum(self.audio * self.text, axis=1)
        return cosines

    @property
    def features(self) -> FloatArray:
        """a, t, a t, |a - t| side by side, (H, 4E)."""
        a, t = self.audio, self.text
        return np.concatenate([a, t, a * t, np.abs(a - t)], axis=1)


@KINDS["entailment"].runner("zero-shot")
def entailment(context: Context, task: LoadedTask) -> Outcome:
    """Separate the classes by two cosine thresholds, chosen on the training split; the card lists the lowest first."""
    test, train = _test_and_train(context, task)
    thresholds = best_thresholds(train.cosines, train.targets, len(task.card.classes))
    outcome = _outcome(task.card, test, np.searchsorted(thresholds, test.cosines).astype(np.int64))
    outcome.details["thresholds"] = [float(t) for t in thresholds]
    return outcome


@KINDS["entailment"].runner("linear-probe")
def entailment_probe(context: Context, task: LoadedTask) -> Outcome:
    """Fit a logistic regression on the sound, the hypothesis, their product and their absolute difference."""
    test, train = _test_and_train(context, task)
    model = logistic(train.features, train.targets, context.seed)
    return _outcome(task.card, test, np.asarray(model.predict(test.features), np.int64))


def best_thresholds(cosines: FloatArray, targets: NDArray[np.int64], classes: int) -> NDArray[np.float64]:
    """Return the increasing thresholds on a grid with the best macro F1; of equal ones the first."""
    grid = np.linspace(float(cosines.min()), float(cosines.max()), GRID)
    best, chosen = -1.0, grid[: classes - 1]
    for thresholds in combinations(grid, classes - 1):
        predicted = np.searchsorted(thresholds, cosines)
        score = macro_f1({"targets": targets, "predicted": predicted}, None)
        if score > best:
            best, chosen = score, np.array(thresholds)
    return chosen


def _test_and_train(context: Context, task: LoadedTask) -> tuple[Hypotheses, Hypotheses]:
    if task.train is None:
        raise DataError(f"task {task.card.name} names no training split, which entailment needs")
    test = _hypotheses(context, task, task.test, task.card.split)
    return test, _hypotheses(context, task, task.train, task.card.train)


def _hypotheses(context: Context, task: LoadedTask, clips: Examples, splits: tuple[str, ...]) -> Hypotheses:
    card = task.card
    assert card.table is not None
    rows = table_rows(card.table, splits, task.root, clips.corpus)
    numbers = np.array(sorted({n for n, _ in rows}))
    readable, vectors = context.readable(Examples(clips.corpus, numbers))
    place = {int(n): i for i, n in enumerate(readable.numbers)}
    items = [
        (place[n], record[column], k)
        for n, record in rows
        for k, columns in enumerate(card.classes.values())
        for column in columns
        if n in place and record.get(column)
    ]
    at = np.array([item[0] for item in items])
    text = context.cache.texts([item[1] for item in items])
    ids = readable.ids
    unit_ids = tuple(ids[n] for n in np.unique(at))
    return Hypotheses(vectors[at], text, np.array([item[2] for item in items]), units_of(at), unit_ids)


def _outcome(card: TaskCard, test: Hypotheses, predicted: NDArray[np.int64]) -> Outcome:
    targets = test.targets
    arrays = {"targets": targets, "predicted": predicted, "units": test.units}
    outcome = Outcome(arrays, test.unit_ids, tuple(card.classes))
    outcome.confusion = confusion(targets, predicted, len(card.classes))
    for k, name in enumerate(card.classes):
        if (targets == k).any():
            outcome.per_class[name] = float(np.mean(predicted[targets == k] == k))
    outcome.per_class_metric = "recall"
    outcome.chance = chance_labels(card.metric, targets, len(card.classes))
    return outcome
