"""Test captioning: words and scores equal aac-metrics (golden file), and missing metrics are reported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import Oracle, made_up

from aural.core.errors import DataError
from aural.evaluate import cards
from aural.evaluate.metrics import METRICS
from aural.evaluate.metrics.captions import bleu_counts, cider_d, rouge_l, tokenize
from aural.evaluate.run import evaluate
from aural.evaluate.runners.captioning import score_captions

GOLDEN: dict[str, Any] = json.loads(
    (Path(__file__).parents[1] / "golden" / "captions.json").read_text(encoding="utf-8")
)
WRITTEN, REFERENCES = GOLDEN["written"], GOLDEN["references"]


def test_words_as_the_treebank_tokenizer_cuts_them() -> None:
    assert [tokenize(text) for text in WRITTEN] == GOLDEN["written_words"]
    assert [[tokenize(text) for text in some] for some in REFERENCES] == GOLDEN["references_words"]
    assert tokenize("Wind -- (loud)... U.S. man’s 3.5") == "wind loud u.s man 's 3.5"  # brackets and a last dot go here


def test_sentence_scores_equal_aac_metrics() -> None:
    words = GOLDEN["written_words"], GOLDEN["references_words"]
    assert cider_d(*words) == pytest.approx(GOLDEN["sentences"]["cider_d"], abs=1e-9)
    assert rouge_l(*words) == pytest.approx(GOLDEN["sentences"]["rouge_l"], abs=1e-9)


def test_corpus_scores_equal_aac_metrics() -> None:
    arrays, _ = score_captions(WRITTEN, REFERENCES)
    for name, theirs in (("CIDEr-D", "cider_d"), ("ROUGE-L", "rouge_l"), *((f"BLEU-{n}", f"bleu_{n}") for n in "1234")):
        assert METRICS[name](arrays, None) == pytest.approx(GOLDEN["corpus"][theirs], abs=1e-8)


def test_bleu_by_hand() -> None:
    arrays = bleu_counts(["the the cat", "a b c d e"], [["the cat sat here"], ["a b c d e", "x"]])
    # clip 1: "the" once of twice, "cat"; "the cat" of two pairs; clip 2: all
    assert arrays["bleu_right"].tolist() == [[2, 1, 0, 0], [5, 4, 3, 2]]
    assert arrays["bleu_guessed"].tolist() == [[3, 2, 1, 0], [5, 4, 3, 2]]
    assert METRICS["BLEU-1"](arrays, None) == pytest.approx(7 / 8 * np.exp(1 - 9 / 8))
    assert METRICS["BLEU-2"](arrays, None) == pytest.approx((7 / 8 * 5 / 6) ** 0.5 * np.exp(1 - 9 / 8))
    assert METRICS["BLEU-4"](arrays, np.array([0.0, 2.0])) == pytest.approx(1.0)
    assert METRICS["BLEU-4"](arrays, np.array([1.0, 0.0])) == 0.0


def test_rouge_by_hand() -> None:
    # the longest common subsequence of "a b c d" and "b d e" is "b d": precision 2/4, recall 2/3
    expected = (1 + 1.44) * (2 / 4) * (2 / 3) / (2 / 3 + 1.44 * 2 / 4)
    assert rouge_l(["a b c d", ""], [["b d e"], ["x"]]) == pytest.approx([expected, 0])


def test_one_clip_has_no_rare_words() -> None:
    with pytest.raises(DataError, match="at least two"):
        cider_d(["a dog"], [["a dog"]])
    arrays, missing = score_captions(["a dog"], [["a dog"]])
    assert "at least two" in missing["CIDEr-D"]
    assert arrays["ROUGE-L"].tolist() == [1.0]


def test_meteor_equals_its_own_program() -> None:
    """Compare METEOR with aac-metrics where it and its jar are installed (AAC_METRICS_CACHE_PATH)."""
    pytest.importorskip("aac_metrics")
    arrays, missing = score_captions(WRITTEN, REFERENCES)
    if "METEOR" in missing:
        pytest.skip(missing["METEOR"])
    assert arrays["METEOR"] == pytest.approx(GOLDEN["sentences"]["meteor"], abs=1e-4)


def test_a_run_names_what_is_missing_and_scores_the_rest(tmp_path: Path) -> None:
    card = cards.task("clotho-captioning")
    root = made_up(card, tmp_path / "data", 12)
    record = evaluate(Oracle(card, root), [card], root, tmp_path / "out", resamples=20).scores[
        "clotho-captioning@zero-shot"
    ]
    for name in ("ROUGE-L", "BLEU-1", "BLEU-4"):
        assert record["scores"][name] == pytest.approx(1.0)
    said = " ".join(record["notes"])
    assert all(name in record["scores"] or f"{name}:" in said for name in ("METEOR", "SPICE", "FENSE", "SPIDEr"))
    again = evaluate(object(), [card], root, tmp_path / "none", resamples=20)
    assert "needs caption" in again.missing["clotho-captioning@zero-shot"]
