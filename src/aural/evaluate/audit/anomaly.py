"""Membership from text alone: names that a model was trained on are anomalies among random gibberish.

Legend: N names, G gibberish texts, D features.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import DataError
from aural.evaluate.audit.groups import Membership, membership
from aural.models.embedding import EmbeddingModel

Array = NDArray[np.float64]
VOWELS: Final = "aeiou"
CONSONANTS: Final = "bcdfghjklmnpqrstvwxz"
NEIGHBORS: Final = 5
GIBBERISH: Final = 200
"""Number of gibberish names."""
SHRINK: Final = 0.1
"""Share of the mean variance in the diagonal of the covariance, so that more features than texts are allowed."""


def gibberish_names(count: int, generator: np.random.Generator) -> list[str]:
    """Return distinct names of two words that no person has: syllables of drawn letters.

    >>> gibberish_names(2, np.random.default_rng(0))
    ['Qiheba Fuqu', 'Qusoni Huraku']
    """
    names: dict[str, None] = {}
    while len(names) < count:
        words = ["".join(_syllable(generator) for _ in range(int(generator.integers(2, 4)))) for _ in range(2)]
        names[" ".join(word.capitalize() for word in words)] = None
    return list(names)


def _syllable(generator: np.random.Generator) -> str:
    letters = CONSONANTS[int(generator.integers(len(CONSONANTS)))], VOWELS[int(generator.integers(len(VOWELS)))]
    return "".join(letters)


def anomaly_scores(texts: NDArray[Any], gibberish: NDArray[Any]) -> Array:
    """Return how unusual each text (N, D) is among gibberish (G, D): the mean of two detectors, (N,).

    Each detector gives the share of gibberish texts that are less unusual than the text, 0 to 1:
        Mahalanobis   distance to the mean of the gibberish, with a shrunk covariance
        neighbors     mean distance to the 5 nearest gibberish texts; a gibberish text does not count itself

    Source: USMID, Gibberish is All You Need (arXiv 2410.18371): anomaly detectors are trained on features of gibberish,
    and a speaker whose name is an anomaly was in the training data.

    Raises:
        DataError: fewer than 10 gibberish texts.
    """
    if len(gibberish) < 2 * NEIGHBORS:
        raise DataError(f"{len(gibberish)} gibberish texts are too few; give at least {2 * NEIGHBORS}")
    texts, gibberish = np.asarray(texts, np.float64), np.asarray(gibberish, np.float64)
    detectors = (
        (mahalanobis(texts, gibberish), mahalanobis(gibberish, gibberish)),
        (_neighbors(texts, gibberish, 0), _neighbors(gibberish, gibberish, 1)),
    )
    return np.mean([(of[:, None] > normal[None]).mean(1) for of, normal in detectors], axis=0)


def mahalanobis(rows: Array, normal: Array) -> Array:
    """Return the Mahalanobis distances (N,) of rows (N, D) to normal rows (G, D).

    The covariance S of the normal rows is shrunk to (1 - s) S + s mean(diag S) I with s = 0.1.
    """
    center = normal.mean(0)
    covariance = np.cov(normal, rowvar=False, bias=True).reshape(normal.shape[1], normal.shape[1])
    shrunk = (1 - SHRINK) * covariance
    shrunk += (SHRINK * np.trace(covariance) / len(covariance) + 1e-12) * np.eye(len(covariance))
    difference = rows - center
    squares = np.einsum("nd,nd->n", difference, np.linalg.solve(shrunk, difference.T).T)
    return np.asarray(np.sqrt(squares), np.float64)


def _neighbors(rows: Array, normal: Array, skipped: int) -> Array:
    """Return the mean distance to the nearest normal rows, without the first `skipped` of them."""
    distance = np.linalg.norm(rows[:, None] - normal[None], axis=2)
    nearest: Array = np.sort(distance, axis=1)[:, skipped : skipped + NEIGHBORS]
    return np.asarray(nearest.mean(1), np.float64)


def name_membership(
    model: EmbeddingModel, members: list[str], others: list[str], generator: np.random.Generator
) -> Membership:
    """Return the AUROC of `anomaly_scores` for names that were trained against others, from text alone (USMID).

    The other names must be of the same kind as the trained ones, because any difference of both lists counts.

    Raises:
        DataError: fewer than two names in a list, or a name in both.
    """
    both = sorted(set(members) & set(others))
    if both:
        raise DataError(f'"{both[0]}" is in both lists of names; remove it from one')
    if min(len(members), len(others)) < 2:
        raise DataError(f"{len(members)} trained and {len(others)} other names; give at least two of each")
    gibberish = model.embed_text(gibberish_names(GIBBERISH, generator))
    scores = anomaly_scores(model.embed_text([*members, *others]), gibberish)
    trained = np.arange(len(scores)) < len(members)
    return membership(scores, trained, np.arange(len(scores)), generator)
