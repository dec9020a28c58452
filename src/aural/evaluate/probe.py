"""Probes: how much of a task a simple classifier reads from frozen embeddings.

linear-probe: logistic regression on standardised features. knn: cosine-weighted vote of the 10 nearest. few-shot: the
linear probe from 1, 5, ... clips a class, several draws. Trained on the card's train splits, or fold by fold; where a
data set has neither, on five folds of the task's own clips that are drawn here (`aural.evaluate.folds`): a ceiling of
what the features hold.

Legend: N clips, K classes, E joint dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import DataError
from aural.core.types import FloatArray
from aural.evaluate.cards import TaskCard
from aural.evaluate.folds import FOLDS, drawn_folds, lonely
from aural.evaluate.metrics import METRICS
from aural.evaluate.outcome import RUNNERS, Context, Outcome
from aural.evaluate.stats import mean_and_spread
from aural.evaluate.truth import Examples, examples
from aural.evaluate.zero_shot import outcome_of

NEIGHBOURS = 10
REGULARISATION = 1.0  # scikit-learn's C
MULTI_THRESHOLD = 0.5


def logistic(features: FloatArray, targets: NDArray[Any], seed: int) -> Any:
    """A fitted scikit-learn pipeline; targets (N,) of classes or (N, K) of 0 and 1."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.multiclass import OneVsRestClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    base = LogisticRegression(C=REGULARISATION, max_iter=500, random_state=seed)
    head = OneVsRestClassifier(base) if targets.ndim == 2 else base
    return make_pipeline(StandardScaler(), head).fit(features, targets)


def linear_scores(train: FloatArray, targets: NDArray[Any], test: FloatArray, seed: int) -> FloatArray:
    """(N, K) probabilities of classes from targets (N, K); classes without an example get 0, with nothing else 1."""
    scores = np.zeros((len(test), targets.shape[1]), np.float32)
    single = bool((targets.sum(axis=1) == 1).all())
    if single:
        labels = targets.argmax(axis=1)
        if len(np.unique(labels)) == 1:
            scores[:, labels[0]] = 1
            return scores
        model = logistic(train, labels, seed)
        scores[:, model[-1].classes_] = model.predict_proba(test)
        return scores
    varied = np.flatnonzero((targets.min(axis=0) == 0) & (targets.max(axis=0) == 1))
    scores[:, targets.min(axis=0) == 1] = 1
    if len(varied):
        wanted = targets[:, varied] if len(varied) > 1 else np.repeat(targets[:, varied], 2, axis=1)
        scores[:, varied] = logistic(train, wanted, seed).predict_proba(test)[:, : len(varied)]
    return scores


def knn_scores(train: FloatArray, targets: NDArray[Any], test: FloatArray, seed: int) -> FloatArray:
    """(N, K): the share of each class among the nearest training clips, each weighted by its cosine above -1."""
    cosines = test @ train.T
    k = min(NEIGHBOURS, len(train))
    near = np.argpartition(-cosines, k - 1, axis=1)[:, :k]
    weight = 1 + np.take_along_axis(cosines, near, axis=1)
    votes = np.einsum("nk,nkc->nc", weight, targets[near].astype(np.float32))
    return (votes / np.maximum(weight.sum(axis=1, keepdims=True), 1e-12)).astype(np.float32)


def split_folds(context: Context, card: TaskCard) -> Iterator[tuple[Examples, Examples]]:
    """(train, test): once for a card with a training split, else once a fold."""
    found = examples(card, context.root)
    if card.train:
        train = examples(card, context.root, card.train)
        classes = tuple(dict.fromkeys((*train.classes, *found.classes)))
        yield _aligned(train, classes), _aligned(found, classes)
        return
    folds = np.array(found.folds or drawn_folds(found, context.seed))
    if len(set(folds.tolist())) < 2:
        raise DataError(f"{card.name}: has neither a training split nor two folds, so nothing to train a probe on")
    whole = Examples(found.corpus, found.numbers, found.classes, found.targets, tuple(folds.tolist()))
    for fold in np.unique(folds):
        yield whole.subset(folds != fold), whole.subset(folds == fold)


def divided(context: Context, card: TaskCard) -> Iterator[tuple[Examples, FloatArray, Examples, FloatArray]]:
    """(train, its vectors, test, its vectors) of the clips that can be read, as `split_folds` parts them."""
    for train, test in split_folds(context, card):
        (train, train_audio), (test, audio) = context.heard(train), context.heard(test)
        yield train, train_audio, test, audio


def _aligned(found: Examples, classes: tuple[str, ...]) -> Examples:
    """The same clips with targets in the order of the given classes."""
    assert found.targets is not None
    targets = np.zeros((len(found.numbers), len(classes)), np.uint8)
    targets[:, [classes.index(name) for name in found.classes]] = found.targets
    return Examples(found.corpus, found.numbers, classes, targets, found.folds)


def _probe(context: Context, card: TaskCard, method: Any) -> Outcome:
    tests, scores = [], []
    for train, train_audio, test, audio in divided(context, card):
        assert train.targets is not None
        tests.append(test)
        scores.append(method(train_audio, train.targets, audio, context.seed))
    return told(_joined(card, tests, scores), context, card)


def told(outcome: Outcome, context: Context, card: TaskCard) -> Outcome:
    """The outcome with a note where the folds were drawn here."""
    found = examples(card, context.root)
    if not card.train and not found.folds:
        outcome.notes.append(f"trained and tested on {FOLDS} folds of the task's own clips, drawn here")
        if alone := lonely(found):
            outcome.notes.append(f"{alone} of {len(found.numbers)} clips are the only one of their class: never right")
    return outcome


def joined_folds(tests: list[Examples], scores: list[FloatArray]) -> tuple[Examples, FloatArray]:
    """The test clips of all folds as one, and their scores (N, K)."""
    first = tests[0]
    whole = Examples(
        first.corpus,
        np.concatenate([t.numbers for t in tests]),
        first.classes,
        np.concatenate([t.targets for t in tests if t.targets is not None]),
        tuple(fold for t in tests for fold in t.folds),
    )
    return whole, np.concatenate(scores)


def _joined(card: TaskCard, tests: list[Examples], scores: list[FloatArray]) -> Outcome:
    whole, table = joined_folds(tests, scores)
    return outcome_of(card, whole, table, np.full(len(table), MULTI_THRESHOLD, np.float32))


@RUNNERS.register("zero-shot-single-label/linear-probe")
@RUNNERS.register("zero-shot-multi-label/linear-probe")
def linear_probe(context: Context, card: TaskCard) -> Outcome:
    """Logistic regression on frozen embeddings."""
    return _probe(context, card, linear_scores)


@RUNNERS.register("zero-shot-single-label/knn")
@RUNNERS.register("zero-shot-multi-label/knn")
def knn(context: Context, card: TaskCard) -> Outcome:
    """Vote of the nearest training clips."""
    return _probe(context, card, knn_scores)


@RUNNERS.register("zero-shot-single-label/few-shot")
@RUNNERS.register("zero-shot-multi-label/few-shot")
def few_shot(context: Context, card: TaskCard) -> Outcome:
    """Linear probes from a few clips a class; the outcome is the first draw of the most shots, details hold all.

    With several labels a clip counts for each of its classes, and is drawn once.
    """
    details: dict[str, Any] = {}
    outcome: Outcome | None = None
    for shots in context.shots:
        values = []
        for repeat in range(context.repeats):
            generator = np.random.default_rng([context.seed, shots, repeat])
            tests, scores = [], []
            for train, train_audio, test, audio in divided(context, card):
                assert train.targets is not None
                some = drawn(train.targets, shots, generator)
                tests.append(test)
                scores.append(linear_scores(train_audio[some], train.targets[some], audio, context.seed))
            made = _joined(card, tests, scores)
            values.append(METRICS[card.metric](made.arrays, None))
            outcome = made if repeat == 0 else outcome
        mean, spread = mean_and_spread(values)
        details[f"{shots} shots"] = {"mean": mean, "deviation": spread, "values": values}
    assert outcome is not None
    outcome.details = details
    return told(outcome, context, card)


def drawn(targets: NDArray[np.uint8], shots: int, generator: np.random.Generator) -> NDArray[np.int64]:
    """Numbers of `shots` clips of each class (all where it has fewer), in order."""
    chosen: set[int] = set()
    for k in range(targets.shape[1]):
        of = np.flatnonzero(targets[:, k])
        chosen |= set(generator.permutation(of)[:shots].tolist())
    return np.array(sorted(chosen), np.int64)
