"""CIDEr-D, ROUGE-L and BLEU of written captions, and the words they count.

Equal to aac-metrics (tests/golden/captions.json), whose released version cannot be installed beside ours (it wants
transformers 4); METEOR, SPICE and FENSE come from that package (`captioning`).

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

Grams: TypeAlias = "Counter[tuple[str, ...]]"
MOST: Final = 4  # longest n-gram
SIGMA: Final = 6.0  # CIDEr-D: words of length difference that cost a factor of exp(-1/2)
BETA: Final = 1.2  # ROUGE-L: weight of recall
WORD: Final = re.compile(r"[^\W_]+(?:[-.'’][^\W_]+)*|/")
CONTRACTION: Final = re.compile(r"(?<=\w)(n't|'(?:s|re|ve|ll|d|m))$")


def plain(text: str) -> str:
    """Words in lower case, apart by one space, without punctuation; contractions in two, hyphened words in one.

    So the Penn Treebank tokenizer of the challenges cuts usual captions ("can't" is "ca n't").
    """
    found = WORD.findall(text.lower().replace("’", "'"))
    return " ".join(CONTRACTION.sub(r" \1", word) for word in found)


def grams(words: Sequence[str]) -> Grams:
    """How often each n-gram of 1 to 4 words occurs."""
    return Counter(tuple(words[at : at + n]) for n in range(1, MOST + 1) for at in range(len(words) - n + 1))


def cider_d(written: Sequence[str], references: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """(N,): 10 times the mean over references and n of the clipped tf-idf cosine, damped by the length difference.

    Document frequencies are those of the references of these N clips, so a score depends on the whole set, and two
    clips are needed. Vedantam et al. 2015, arXiv 1411.5726, section 5 (CIDEr-D).
    """
    if len(written) < 2:
        raise DataError("CIDEr-D counts how rare words are among the clips: it needs at least two")
    known = [[grams(text.split()) for text in some] for some in references]
    frequency: Grams = Counter(gram for some in known for gram in set().union(*some))
    total = log(len(references))

    def weighted(counts: Grams) -> tuple[list[dict[tuple[str, ...], float]], list[float]]:
        vectors: list[dict[tuple[str, ...], float]] = [{} for _ in range(MOST)]
        for gram, count in counts.items():
            vectors[len(gram) - 1][gram] = count * (total - log(max(1, frequency[gram])))
        return vectors, [sum(v * v for v in one.values()) ** 0.5 for one in vectors]

    scores = np.zeros(len(written))
    for i, (text, some) in enumerate(zip(written, known, strict=True)):
        mine, norms = weighted(grams(text.split()))
        for counts in some:
            other, other_norms = weighted(counts)
            longer = len(text.split()) - _length(counts)
            for n in range(MOST):
                dot = sum(min(v, other[n][g]) * other[n][g] for g, v in mine[n].items() if g in other[n])
                scale = norms[n] * other_norms[n]
                scores[i] += (dot / scale if scale else dot) * np.exp(-(longer**2) / (2 * SIGMA**2))
        scores[i] *= 10 / MOST / len(some)
    return scores


def _length(counts: Grams) -> int:
    return sum(count for gram, count in counts.items() if len(gram) == 1)


def rouge_l(written: Sequence[str], references: Sequence[Sequence[str]]) -> NDArray[np.float64]:
    """(N,): F of the longest common subsequence, with the best precision and the best recall over the references.

    Lin 2004 (W04-1013), with beta 1.2 as the captioning challenges take it.
    """
    scores = np.zeros(len(written))
    for i, (text, some) in enumerate(zip(written, references, strict=True)):
        words, others = text.split(), [one.split() for one in some]
        common = [_subsequence(words, other) for other in others]
        precision = max(c / len(words) for c in common) if words else 0.0
        recall = max(c / len(other) if other else 0.0 for c, other in zip(common, others, strict=True))
        if precision and recall:
            scores[i] = (1 + BETA**2) * precision * recall / (recall + BETA**2 * precision)
    return scores


def _subsequence(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence."""
    row = [0] * (len(b) + 1)
    for word in a:
        before = 0
        for j, other in enumerate(b, 1):
            before, row[j] = row[j], before + 1 if word == other else max(row[j], row[j - 1])
    return row[-1]


def bleu_counts(written: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, NDArray[Any]]:
    """What BLEU sums over clips (Papineni et al. 2002): n-grams that a reference holds, too (N, 4), all n-grams (N, 4),
    words (N,) and words of the reference of the closest length, the shorter of two (N,)."""
    right, guessed = np.zeros((len(written), MOST), np.int64), np.zeros((len(written), MOST), np.int64)
    words, closest = np.zeros(len(written), np.int64), np.zeros(len(written), np.int64)
    for i, (text, some) in enumerate(zip(written, references, strict=True)):
        mine, known = grams(text.split()), [grams(one.split()) for one in some]
        words[i] = len(text.split())
        closest[i] = min((abs(_length(one) - words[i]), _length(one)) for one in known)[1]
        for gram, count in mine.items():
            guessed[i, len(gram) - 1] += count
            right[i, len(gram) - 1] += min(count, max(one[gram] for one in known))
    return {"bleu_right": right, "bleu_guessed": guessed, "bleu_words": words, "bleu_closest": closest}
