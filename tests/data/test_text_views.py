from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest

from aural.data.text_views import (
    anchor_and_positive,
    delete_span,
    delete_words,
    mask_span,
    misspell,
    misspelled,
    reorder_spans,
    substitute,
)

WORDS = [f"w{i}" for i in range(10)]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@pytest.mark.parametrize("view", [delete_words, delete_span, reorder_spans, misspelled])
def test_views_never_lose_everything_and_depend_on_the_generator_alone(view) -> None:  # type: ignore[no-untyped-def]
    for size in range(1, 8):
        for seed in range(20):
            assert len(view(WORDS[:size], rng(seed))) > 0
    assert view(WORDS, rng(3)) == view(WORDS, rng(3))


def test_deletion_removes_the_share_and_keeps_the_order() -> None:
    kept = [delete_words(WORDS, rng(seed), 0.2) for seed in range(300)]
    assert np.mean([len(words) for words in kept]) == pytest.approx(8, abs=0.2)
    assert all(words == sorted(words) for words in kept)
    spans = [delete_span(WORDS, rng(seed), 0.3) for seed in range(50)]
    assert all(len(words) == 7 for words in spans)
    assert all(sum(int(b[1:]) - int(a[1:]) > 1 for a, b in itertools.pairwise(w)) <= 1 for w in spans)


def test_reordering_exchanges_two_runs() -> None:
    for seed in range(50):
        words = reorder_spans(WORDS, rng(seed))
        assert Counter(words) == Counter(WORDS)
        moved = [i for i, word in enumerate(words) if word != WORDS[i]]
        assert words != WORDS
        assert len(moved) >= 4
    assert reorder_spans(["a"], rng()) == ["a"]


def test_substitution_uses_synonyms_only() -> None:
    synonyms = {"w1": ["x", "y"], "w2": ["z"]}
    seen = {tuple(substitute(WORDS[:3], synonyms, rng(seed), 0.5)) for seed in range(60)}
    assert seen == {("w0", a, b) for a in ("w1", "x", "y") for b in ("w2", "z")}


def test_a_mask_replaces_one_run() -> None:
    masked = mask_span(WORDS, rng(), 3)
    at = masked.index("[MASK]")
    assert masked[:at] + WORDS[at : at + 3] + masked[at + 1 :] == WORDS


def test_positives_touch_their_anchor_and_stay_in_the_document() -> None:
    kinds = Counter()
    for seed in range(300):
        anchor, positive = anchor_and_positive(6, rng(seed), anchor=2, positive=2)
        assert anchor.start >= 0
        assert positive.start >= 0
        assert max(anchor.stop, positive.stop) <= 6
        assert positive.start <= anchor.stop
        assert anchor.start <= positive.stop
        kinds[len(set(anchor) & set(positive))] += 1
    assert set(kinds) == {0, 1, 2}  # adjacent, overlapping, contained


def test_a_misspelled_word_is_one_edit_away() -> None:
    for seed in range(100):
        word = misspell("thunder", rng(seed))
        assert abs(len(word) - 7) <= 1
        if len(word) == 7:
            assert sum(a != b for a, b in zip(word, "thunder", strict=True)) <= 2
