"""Tasks of texts alone on the test sets of the text world: graded similarity, retrieval, and probes.

Legend: N texts or pairs, Q queries, D passages.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aural.core.types import FloatArray
from aural.core.vectors import unit_rows
from aural.data.text import held_out
from aural.evaluate.audit.geometry import isotropy, uniformity
from aural.evaluate.examples import LoadedTask
from aural.evaluate.kinds import KINDS, ProbeOptions, RankedOptions, SimilarityOptions
from aural.evaluate.metrics.chance import chance_labels
from aural.evaluate.metrics.ranking import retrieval_arrays
from aural.evaluate.outcome import Context, Outcome
from aural.evaluate.runners.classifiers import logistic


@KINDS["similarity"].runner("zero-shot")
def similarity(context: Context, task: LoadedTask) -> Outcome:
    """Compare the cosine of two texts with the gold similarity of their meanings."""
    options = task.card.kind_options()
    assert isinstance(options, SimilarityOptions)
    pairs = held_out.sts(options.domain)
    pairs = pairs.shuffled() if options.control else pairs
    first, second = context.cache.texts(pairs.first), context.cache.texts(pairs.second)
    predicted = (first * second).sum(axis=1).astype(np.float64)
    units = np.arange(len(pairs.gold))
    arrays = {"predicted": predicted, "gold": pairs.gold, "units": units}
    outcome = Outcome(arrays, pairs.first, chance=0.0)
    outcome.details = {"uniformity": uniformity(first), "isotropy": isotropy(first)}
    return outcome


@KINDS["text-retrieval"].runner("zero-shot")
def text_retrieval(context: Context, task: LoadedTask) -> Outcome:
    """Rank all passages for each query by cosine."""
    options = task.card.kind_options()
    assert isinstance(options, RankedOptions)
    tests = held_out.retrieval() if options.texts == "passages" else held_out.phrase_pairs(options.errors)
    queries, passages = context.cache.texts(tests.queries), context.cache.texts(tests.passages)
    relevant = tests.answer[:, None] == np.arange(len(passages))
    arrays = retrieval_arrays(queries @ passages.T, relevant) | {"units": np.arange(len(queries))}
    return Outcome(arrays, tests.queries, chance=float(np.sum(1 / np.arange(1, 11)) / len(passages)))


@KINDS["text-probe"].runner("zero-shot")
def nearest_mean(context: Context, task: LoadedTask) -> Outcome:
    """Give each sentence the class whose mean training vector has the highest cosine."""
    tests, train, test = _probe_vectors(context, task)
    means = np.stack([train[tests.train_labels == label].mean(axis=0) for label in np.unique(tests.train_labels)])
    nearest = (test @ unit_rows(means).T).argmax(axis=1)
    return _probe_outcome(task, tests, np.unique(tests.train_labels)[nearest])


@KINDS["text-probe"].runner("linear-probe")
def text_probe(context: Context, task: LoadedTask) -> Outcome:
    """Fit a logistic regression on the vectors of training sentences."""
    tests, train, test = _probe_vectors(context, task)
    return _probe_outcome(task, tests, logistic(train, tests.train_labels, context.seed).predict(test))


def _probe_vectors(context: Context, task: LoadedTask) -> tuple[held_out.Classes, FloatArray, FloatArray]:
    options = task.card.kind_options()
    assert isinstance(options, ProbeOptions)
    tests = held_out.probe(options.of)
    return tests, context.cache.texts(tests.train), context.cache.texts(tests.test)


def _probe_outcome(task: LoadedTask, tests: held_out.Classes, predicted: NDArray[np.int64]) -> Outcome:
    classes = int(max(tests.train_labels.max(), tests.test_labels.max())) + 1
    arrays = {
        "targets": tests.test_labels,
        "predicted": np.asarray(predicted, np.int64),
        "units": np.arange(len(tests.test)),
    }
    chance = chance_labels(task.card.metric, tests.test_labels, classes)
    return Outcome(arrays, tests.test, tuple(str(i) for i in range(classes)), chance=chance)
