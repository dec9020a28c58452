from __future__ import annotations

import numpy as np
import pytest

from aural.core.errors import DataError
from aural.core.vectors import unit_rows
from aural.evaluate.audit.anomaly import anomaly_scores, gibberish_names, mahalanobis, name_membership


def test_mahalanobis_is_the_one_of_scikit_learn_with_the_same_shrinkage() -> None:
    covariance = pytest.importorskip("sklearn.covariance")
    rng = np.random.default_rng(0)
    normal = rng.standard_normal((40, 3)) @ rng.standard_normal((3, 3))
    rows = rng.standard_normal((5, 3)) * 3
    judge = covariance.ShrunkCovariance(shrinkage=0.1).fit(normal)
    assert mahalanobis(rows, normal) ** 2 == pytest.approx(judge.mahalanobis(rows))


def test_what_lies_outside_is_an_anomaly_and_gibberish_is_not() -> None:
    rng = np.random.default_rng(0)
    gibberish, more = rng.standard_normal((2, 200, 4))
    assert anomaly_scores(gibberish.mean(0, keepdims=True) + 20, gibberish).tolist() == [1.0]
    assert anomaly_scores(more, gibberish).mean() == pytest.approx(0.5, abs=0.06)
    assert anomaly_scores(np.zeros((1, 4)), gibberish)[0] < 0.1
    with pytest.raises(DataError, match="9 gibberish texts are too few"):
        anomaly_scores(more, gibberish[:9])


def test_gibberish_names_are_distinct_and_drawn() -> None:
    names = gibberish_names(50, np.random.default_rng(1))
    assert len(set(names)) == 50
    assert names == gibberish_names(50, np.random.default_rng(1))
    assert all(len(name.split()) == 2 and name.istitle() for name in names)


class Memory:
    """A text tower whose texts share a direction; names that it has seen have another one."""

    name, embed_dim = "memory", 16

    def __init__(self, names: list[str]) -> None:
        self.names = set(names)

    def embed_text(self, texts: list[str]) -> np.ndarray:
        draws = [np.random.default_rng(list(text.encode())).standard_normal(16) for text in texts]
        places = [int(text in self.names) for text in texts]
        return unit_rows([draw + 6 * np.eye(16)[place] for draw, place in zip(draws, places, strict=True)])


def test_trained_names_are_recognized_and_others_are_not() -> None:
    names = gibberish_names(80, np.random.default_rng(5))
    members, others = names[:40], names[40:]
    one = name_membership(Memory(members), members, others, np.random.default_rng(0))  # type: ignore[arg-type]
    assert (one.members, one.others) == (40, 40)
    assert one.low > 0.9
    assert one.leaks
    other = name_membership(Memory([]), members, others, np.random.default_rng(0))  # type: ignore[arg-type]
    assert other.low < 0.5 < other.high
    assert not other.leaks


def test_lists_of_names_must_differ_and_have_names() -> None:
    generator = np.random.default_rng(0)
    with pytest.raises(DataError, match='"Ann" is in both lists of names'):
        name_membership(Memory([]), ["Ann", "Bo"], ["Ann", "Cy"], generator)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="1 trained and 2 other names"):
        name_membership(Memory([]), ["Ann"], ["Bo", "Cy"], generator)  # type: ignore[arg-type]
