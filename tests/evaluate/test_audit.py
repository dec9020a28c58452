"""The audit: closed forms, planted faults that it must name, and sound models that it must not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aural.core.errors import DataError
from aural.core.vectors import mean_cosine, unit_rows
from aural.evaluate.audit.clips import Clips
from aural.evaluate.audit.geometry import alignment, effective_rank, modality_gap, uniformity
from aural.evaluate.audit.groups import group_gaps, hits, membership
from aural.evaluate.audit.page import report, write_page
from aural.evaluate.audit.run import audit, probe_texts
from aural.models.embedding import AudioEmbedding


def random_units(rows: int, dims: int, seed: int = 0) -> Any:
    return unit_rows(np.random.default_rng(seed).standard_normal((rows, dims)))


def test_measures_of_hand_made_rows() -> None:
    pair = np.array([[1.0, 0.0], [0.6, 0.8]])
    assert mean_cosine(pair) == pytest.approx(0.6)
    assert uniformity(pair) == pytest.approx(-4 * (1 - 0.6))
    assert alignment(pair, pair[::-1]) == pytest.approx(2 * (1 - 0.6))
    assert modality_gap(pair, -pair) == pytest.approx(2 * np.linalg.norm([0.8, 0.4]))
    values = np.array([np.sqrt(1.6), np.sqrt(0.4)])  # singular values of [[1, 0], [0.6, 0.8]]
    share = values / values.sum()
    assert effective_rank(pair) == pytest.approx(np.exp(-(share * np.log(share)).sum()))


def test_mean_cosine_and_uniformity_equal_the_loop_over_pairs() -> None:
    rows = random_units(20, 8)
    cosines = [float(rows[i] @ rows[j]) for i in range(20) for j in range(i)]
    assert mean_cosine(rows) == pytest.approx(np.mean(cosines), abs=1e-6)
    assert uniformity(rows) == pytest.approx(np.log(np.mean(np.exp(-4 * (1 - np.array(cosines))))), abs=1e-6)


def test_hits_count_equal_captions_once_and_ties_as_misses() -> None:
    sounds = np.eye(3, dtype=np.float32)
    assert hits(sounds, sounds, ["a", "b", "c"], top=1).tolist() == [1, 1, 1]
    assert hits(sounds, sounds[[1, 1, 2]], ["b", "b", "c"], top=1).tolist() == [0, 1, 1]
    collapsed = np.ones((3, 3), np.float32) / np.sqrt(3)
    assert hits(sounds, collapsed, ["a", "b", "c"], top=1).tolist() == [0, 0, 0]


def test_a_planted_gap_is_named_and_equal_groups_are_not() -> None:
    rng = np.random.default_rng(1)
    groups, units = ["a"] * 100 + ["b"] * 100 + ["c"] * 100 + ["rare"] * 3 + [""] * 5, np.arange(308)
    planted = (rng.random(308) < np.array([0.8] * 200 + [0.4] * 100 + [0.8] * 8)).astype(float)
    rows = group_gaps(planted, groups, units, rng)
    assert [row.group for row in rows if row.differs and row.gap < 0] == ["c"]
    assert {row.group for row in rows} == {"a", "b", "c", "(small groups)"}
    assert rows[0].gap == pytest.approx(planted[200:300].mean() - np.r_[planted[:200], planted[300:303]].mean())
    named = 0
    for seed in range(40):
        equal = (np.random.default_rng(seed).random(300) < 0.6).astype(float)
        named += any(row.differs for row in group_gaps(equal, groups[:300], units[:300], np.random.default_rng(seed)))
    assert named <= 6  # 5% of 40 is 2; P(more than 6) is 0.3%


def test_membership_of_equal_and_of_separate_scores() -> None:
    rng = np.random.default_rng(2)
    trained = np.arange(400) < 200
    none = membership(rng.standard_normal(400), trained, np.arange(400), rng)
    assert none.low < 0.5 < none.high
    assert not none.leaks
    planted = membership(rng.standard_normal(400) + trained, trained, np.arange(400), rng)
    assert planted.leaks
    assert planted.auroc == pytest.approx(0.76, abs=0.06)


class Fake:
    """A model whose towers are given functions of the item's number or text."""

    name, embed_dim = "fake", 16

    def __init__(self, texts: Any, sounds: Any, broken: int = -1) -> None:
        self.texts, self.sounds, self.broken = texts, sounds, broken

    def embed_text(self, texts: list[str]) -> Any:
        return unit_rows([self.texts(text) for text in texts])

    def stream_audio(self, sources: list[int]) -> Any:
        for place, source in enumerate(sources):
            if source == self.broken:
                yield AudioEmbedding(place, error=DataError(f"{source}.wav: is not audio"))
            else:
                yield AudioEmbedding(place, embedding=unit_rows(self.sounds(source)))


def vector_of(text: str) -> Any:
    return np.random.default_rng(list(text.encode())).standard_normal(16)


def clips(count: int) -> Clips:
    return Clips(list(range(count)), [f"{n}.wav" for n in range(count)], [f"sound {n}" for n in range(count)])  # type: ignore[arg-type]


def test_a_collapsed_text_tower_is_named_and_a_good_one_is_not(tmp_path: Path) -> None:
    good: Any = Fake(vector_of, lambda n: vector_of(f"sound {n}"), broken=3)
    result = audit(good, clips(30), generator=np.random.default_rng(0))
    assert result.warnings == []
    assert result.alignment == pytest.approx(0, abs=1e-6)
    assert result.skipped == ("3.wav: is not audio",)
    assert result.sound.items == 29
    assert "no warning" in report(result)
    assert "3.wav" in report(result)
    broken: Any = Fake(lambda text: 0.05 * vector_of(text) + 1, lambda n: vector_of(f"sound {n}"))
    result = audit(broken, clips(30), generator=np.random.default_rng(0))
    assert result.text.verdict == "collapsed"
    assert result.sound.verdict == "fine"
    assert result.warnings[0].startswith("the text tower is collapsed")
    write_page(result, tmp_path / "audit.html")
    assert "the text tower is collapsed" in (tmp_path / "audit.html").read_text()
    json.dumps(result.record(), allow_nan=False)


def test_probe_texts_differ() -> None:
    assert len(set(probe_texts())) == 64


def test_what_an_audit_cannot_do_is_one_sentence() -> None:
    model: Any = Fake(vector_of, lambda n: vector_of(str(n)))
    with pytest.raises(DataError, match="7 sounds can be read, but an audit needs at least 8"):
        audit(model, clips(7), generator=np.random.default_rng(0))
    with pytest.raises(DataError, match=r'"family" needs a folder with a manifest\.parquet'):
        audit(model, clips(9), columns=["family"], generator=np.random.default_rng(0))
