"""CIDEr-D, ROUGE-L and BLEU of written captions, and the tokens that they count.

Equal to aac-metrics (tests/golden/captions.json), whose released version cannot be installed next to this package
because it requires transformers 4. METEOR, SPICE and FENSE are computed by that package (`runners.captioning`).

Legend: N clips, n words of an n-gram (1 to 4).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from math import log
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import DataError
from aural.evaluate.metrics.base import METRICS, Arrays, Metric, Weights, stored_values

Grams: TypeAlias = "Counter[tuple[str, ...]]"
MAX_N: Final = 4  # longest n-gram
SIGMA: Final = 6.0  # CIDEr-D: difference in words that damps a score by exp(-1/2)
BETA: Final = 1.2  # ROUGE-L: weight of recall
WORD: Final = re.compile(r"[^\W_]+(?:[-.'’][^\W_]+)*|/")
CONTRACTION: Final = re.compile(r"(?<=\w)(n't|'(?:s|re|ve|ll|d|m))$")
SENTENCE_METRICS: Final = ("SPIDEr", "CIDEr-D", "SPICE", "METEOR", "ROUGE-L", "FENSE")
CAPTION_METRICS: Final = (*SENTENCE_METRICS, *(f"BLEU-{n}" for n in (1, 2, 3, 4)))


def tokenize(text: str) -> str:
    """Return the lower-case words of a caption, separated by single spaces, without punctuation.

    Contractions become two words and hyphenated words stay one, as the Penn Treebank tokenizer of the captioning
    challenges does for usual captions ("can't" becomes "ca n't").
    """
    words = WORD.findall(text.lower().replace("’", "'"))
    return " ".join(CONTRACTION.sub(r" \1", word) for word in words)


def count_grams(words: Sequence[str]) -> Grams:
    """Count each n-gram of 1 to 4 words."""
    return Counter(tuple(words[at : at + n]) for n in range(1, MAX_N + 1) for at in range(len(words) - n + 1))


def cider_d(written: Sequence[str], references: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """Return CIDEr-D per clip, (N,).

    CIDEr-D is 10 times the mean over references and n of the clipped tf-idf cosine, damped by the length difference
    (Vedantam et al. 2015, arXiv 1411.5726, section 5). Document frequencies come from the references of these N clips,
    so a score depends on the whole set. Raises DataError for fewer than two clips.
    """
    if len(written) < 2:
        raise DataError("CIDEr-D counts how rare words are among the clips: it needs at least two")
    references_grams = [[count_grams(text.split()) for text in texts] for texts in references]
    frequency: Grams = Counter(gram for texts in references_grams for gram in set().union(*texts))
    total = log(len(references))

    def weighted(counts: Grams) -> tuple[list[dict[tuple[str, ...], float]], list[float]]:
        vectors: list[dict[tuple[str, ...], float]] = [{} for _ in range(MAX_N)]
        for gram, count in counts.items():
            vectors[len(gram) - 1][gram] = count * (total - log(max(1, frequency[gram])))
        return vectors, [sum(v * v for v in vector.values()) ** 0.5 for vector in vectors]

    scores = np.zeros(len(written))
    for i, (text, texts) in enumerate(zip(written, references_grams, strict=True)):
        vectors, norms = weighted(count_grams(text.split()))
        for counts in texts:
            other, other_norms = weighted(counts)
            difference = len(text.split()) - _length(counts)
            for n in range(MAX_N):
                dot = sum(min(v, other[n][g]) * other[n][g] for g, v in vectors[n].items() if g in other[n])
                scale = norms[n] * other_norms[n]
                scores[i] += (dot / scale if scale else dot) * np.exp(-(difference**2) / (2 * SIGMA**2))
        scores[i] *= 10 / MAX_N / len(texts)
    return scores


def _length(counts: Grams) -> int:
    return sum(count for gram, count in counts.items() if len(gram) == 1)


def rouge_l(written: Sequence[str], references: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """Return ROUGE-L per clip, (N,): F of the longest common subsequence.

    Precision and recall are each the best over the references (Lin 2004, W04-1013; beta 1.2 as in the challenges).
    """
    scores = np.zeros(len(written))
    for i, (text, texts) in enumerate(zip(written, references, strict=True)):
        words = text.split()
        others = [one.split() for one in texts]
        common = [_common_length(words, other) for other in others]
        precision = max(c / len(words) for c in common) if words else 0.0
        recall = max(c / len(other) if other else 0.0 for c, other in zip(common, others, strict=True))
        if precision and recall:
            scores[i] = (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)
    return scores


def _common_length(a: Sequence[str], b: Sequence[str]) -> int:
    """Return the length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for word in a:
        before = 0
        for j, other in enumerate(b, 1):
            before, row[j] = row[j], before + 1 if word == other else max(row[j], row[j - 1])
    return row[-1]


def bleu_counts(written: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, NDArray[Any]]:
    """Return the counts per clip that BLEU sums (Papineni et al. 2002).

    - bleu_right (N, 4): n-grams that a reference also contains. bleu_guessed (N, 4): all n-grams.
    - bleu_words (N,): words. bleu_closest (N,): words of the reference of the closest length; of two, the shorter.
    """
    right, guessed = np.zeros((len(written), MAX_N), np.int64), np.zeros((len(written), MAX_N), np.int64)
    words, closest = np.zeros(len(written), np.int64), np.zeros(len(written), np.int64)
    for i, (text, texts) in enumerate(zip(written, references, strict=True)):
        counts = count_grams(text.split())
        references_grams = [count_grams(one.split()) for one in texts]
        words[i] = len(text.split())
        closest[i] = min((abs(_length(one) - words[i]), _length(one)) for one in references_grams)[1]
        for gram, count in counts.items():
            guessed[i, len(gram) - 1] += count
            right[i, len(gram) - 1] += min(count, max(one[gram] for one in references_grams))
    return {"bleu_right": right, "bleu_guessed": guessed, "bleu_words": words, "bleu_closest": closest}


def _bleu(n: int) -> Metric:
    def metric(arrays: Arrays, weights: Weights = None) -> float:
        w = np.ones(len(arrays["bleu_words"])) if weights is None else weights
        right, guessed = w @ arrays["bleu_right"][:, :n], w @ arrays["bleu_guessed"][:, :n]
        words, closest = float(w @ arrays["bleu_words"]), float(w @ arrays["bleu_closest"])
        if not right.all():
            return 0.0
        brevity = min(0.0, 1 - closest / words)
        return float(np.exp(np.mean(np.log(right / guessed)) + brevity))

    metric.__doc__ = f"BLEU-{n} over all clips: mean of log precisions of 1 to {n} words, with brevity penalty."
    return metric


for _name in SENTENCE_METRICS:
    stored_values(_name, _name, f"Mean over clips of {_name} as the caption runner stored it.")
for _n in (1, 2, 3, 4):
    METRICS.add(f"BLEU-{_n}", _bleu(_n))
