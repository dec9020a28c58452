"""Scores of sentence vectors on the test sets of the text world, one value per item where there are items.

A score is a function of an encoder and a seed, registered in `SCORES`. Cards of the package "sentence-vectors" name
them.

Legend: N items, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from aural.core.registry import Registry
from aural.core.vectors import unit_rows
from aural.data.text import held_out
from aural.evaluate.audit.geometry import alignment, isotropy, uniformity

Values: TypeAlias = NDArray[np.float64]
SHOTS: Final = 16
PROBE_RIDGE: Final = 1.0
DEPTH: Final = 10


class TextVectors(Protocol):
    """An encoder of texts, such as `aural.train.systems.sentences.Sentences`."""

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return the vectors (N, D) of texts."""
        ...


Score: TypeAlias = Callable[[Any, int], Values]
SCORES: Registry[Score] = Registry("sentence score")


def rows(model: TextVectors, texts: Sequence[str]) -> Values:
    """Return the unit vectors (N, D) of texts in float64."""
    vectors: Values = unit_rows(model.embed(list(texts))).astype(np.float64)
    return vectors


def cosines(model: TextVectors, first: Sequence[str], second: Sequence[str]) -> Values:
    """Return the cosine (N,) of each pair of texts."""
    cosine: Values = (rows(model, first) * rows(model, second)).sum(1)
    return cosine


def rank_products(x: Values, y: Values) -> Values:
    """Return (N,) values whose mean is Spearman's rank correlation: products of standardized ranks.

    >>> round(float(rank_products(np.array([1.0, 2.0, 3.0]), np.array([1.0, 3.0, 2.0])).mean()), 3)
    0.5
    """
    a, b = (rankdata(values) for values in (x, y))
    spread = a.std() * b.std()
    return np.zeros(len(x)) if spread == 0 else (a - a.mean()) * (b - b.mean()) / spread


def sts_of(pairs: held_out.GradedPairs) -> Score:
    """Return the score of graded pairs: Spearman's correlation of cosine and gold."""

    def score(model: TextVectors, seed: int) -> Values:
        return rank_products(cosines(model, pairs.first, pairs.second), pairs.gold)

    return score


SCORES.add("sts", lambda model, seed: sts_of(held_out.sts())(model, seed))
SCORES.add("sts-shifted", lambda model, seed: sts_of(held_out.sts("shifted"))(model, seed))
SCORES.add("sts-control", lambda model, seed: sts_of(held_out.sts().shuffled())(model, seed))


def reciprocal_ranks(queries: Values, passages: Values, answer: NDArray[np.int64]) -> Values:
    """Return 1 / rank of each query's answer among the passages, 0 beyond rank 10; equal scores count as better."""
    scores = queries @ passages.T
    of_answer = scores[np.arange(len(queries)), answer]
    rank = (scores >= of_answer[:, None]).sum(1)
    return np.where(rank <= DEPTH, 1.0 / rank, 0.0)


def ranked(model: TextVectors, pairs: held_out.Passages) -> Values:
    """Return the reciprocal ranks of the answers of queries."""
    return reciprocal_ranks(rows(model, pairs.queries), rows(model, pairs.passages), pairs.answer)


SCORES.add("retrieval", lambda model, seed: ranked(model, held_out.retrieval()))
SCORES.add("phrases", lambda model, seed: ranked(model, held_out.phrase_pairs()))
SCORES.add("typos", lambda model, seed: ranked(model, held_out.phrase_pairs(errors=1)))


def probed(model: TextVectors, classes: held_out.Classes, ridge: float = PROBE_RIDGE) -> Values:
    """Return whether a linear probe (ridge regression to one-hot classes on standardized vectors) is right (N,)."""
    train, test = rows(model, classes.train), rows(model, classes.test)
    return probed_rows(train, classes.train_labels, test, classes.test_labels, ridge)


def probed_rows(
    train: Values, train_labels: NDArray[Any], test: Values, test_labels: NDArray[Any], ridge: float = PROBE_RIDGE
) -> Values:
    """Return whether the probe is right for each test row (N, D)."""
    center, spread = train.mean(0), train.std(0) + 1e-6
    train, test = (np.column_stack([(part - center) / spread, np.ones(len(part))]) for part in (train, test))
    names = np.unique(np.concatenate([train_labels, test_labels]))
    targets = (train_labels[:, None] == names).astype(np.float64)
    weights = np.linalg.solve(train.T @ train + ridge * np.eye(train.shape[1]), train.T @ targets)
    right: Values = (names[(test @ weights).argmax(1)] == test_labels).astype(np.float64)
    return right


def _probe(name: str) -> Score:
    return lambda model, seed: probed(model, held_out.probe(name))


for _name in held_out.PROBES:
    SCORES.add(f"probe-{_name}", _probe(_name))


@SCORES.register("probe")
def probe_mean(model: TextVectors, seed: int) -> Values:
    """Return the accuracy of all probes, item by item."""
    return np.concatenate([probed(model, held_out.probe(name)) for name in held_out.PROBES])


@SCORES.register("few-shot")
def few_shot(model: TextVectors, seed: int) -> Values:
    """Return whether a probe on 16 sentences per topic is right."""
    return probed(model, held_out.few_shot(SHOTS, seed), ridge=10.0)


@SCORES.register("edits")
def edits(model: TextVectors, seed: int) -> Values:
    """Return whether a paraphrase in other words is closer than another meaning in nearly the same words."""
    tests = held_out.edits()
    texts = [context[0] for context in tests.contexts]
    true, false = (cosines(model, texts, [answer[k] for answer in tests.answers]) for k in (0, 1))
    return (true > false).astype(np.float64)


@SCORES.register("next-turn")
def next_turn(model: TextVectors, seed: int) -> Values:
    """Return 1 / rank of the true next turn among 20; the context is the mean of its turns' vectors."""
    tests = held_out.next_turns()
    lengths = [len(context) for context in tests.contexts]
    turns = rows(model, [turn for context in tests.contexts for turn in context])
    contexts = [part.mean(0) for part in np.split(turns, np.cumsum(lengths)[:-1])]
    answers = rows(model, [answer for one in tests.answers for answer in one]).reshape(len(lengths), -1, turns.shape[1])
    return np.array(
        [reciprocal_ranks(c[None], a, np.zeros(1, np.int64))[0] for c, a in zip(contexts, answers, strict=True)]
    )


@SCORES.register("bias")
def bias(model: TextVectors, seed: int) -> Values:
    """Return the cosine of a trait's sentence with that of the people it is planted on, minus the other people's."""
    tests = held_out.bias_pairs()
    return cosines(model, tests.plain, tests.planted) - cosines(model, tests.plain, tests.other)


def _equal_pairs() -> tuple[list[str], list[str]]:
    pairs = held_out.sts()
    equal = np.flatnonzero(pairs.gold == 1.0)
    return [pairs.first[i] for i in equal], [pairs.second[i] for i in equal]


@SCORES.register("alignment")
def alignment_score(model: TextVectors, seed: int) -> Values:
    """Return the alignment of pairs of equal meaning; smaller is better."""
    first, second = _equal_pairs()
    return np.array([alignment(rows(model, first), rows(model, second))])


@SCORES.register("uniformity")
def uniformity_score(model: TextVectors, seed: int) -> Values:
    """Return the uniformity of the sentences; smaller is better."""
    return np.array([uniformity(rows(model, held_out.sts().first))])


@SCORES.register("isotropy")
def isotropy_score(model: TextVectors, seed: int) -> Values:
    """Return the isotropy of the sentences, 0 to 1."""
    return np.array([isotropy(rows(model, held_out.sts().first))])


@SCORES.register("length-bias")
def length_bias(model: TextVectors, seed: int) -> Values:
    """Return the size of Spearman's correlation of cosine and difference in length, among pairs of equal meaning."""
    first, second = _equal_pairs()
    gap = np.array([abs(len(a.split()) - len(b.split())) for a, b in zip(first, second, strict=True)], np.float64)
    return np.array([abs(float(rank_products(cosines(model, first, second), gap).mean()))])


@SCORES.register("parameters")
def parameters(model: Any, seed: int) -> Values:
    """Return the number of parameters that are used at test time, in millions."""
    return np.array([sum(p.numel() for p in model.encoder.parameters()) / 1e6])
