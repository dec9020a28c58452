"""Views of a sentence as lists of words: deletion, reordering, substitution, spans, typing errors, and prompts.

Every function takes a generator and returns a new list with at least one word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

Words = list[str]


def delete_words(words: Sequence[str], rng: np.random.Generator, share: float = 0.2) -> Words:
    """Return the words without a random share of them, each deleted independently.

    Source: Wu et al. 2020, CLEAR (arXiv 2012.15466), section 3.2.
    """
    kept = [word for word, drawn in zip(words, rng.random(len(words)), strict=True) if drawn >= share]
    return kept or [words[int(rng.integers(len(words)))]]


def delete_span(words: Sequence[str], rng: np.random.Generator, share: float = 0.3) -> Words:
    """Return the words without one random run of about `share` of them.

    Source: Wu et al. 2020, CLEAR (arXiv 2012.15466), section 3.2.

    >>> len(delete_span(["a"] * 10, np.random.default_rng(0)))
    7
    """
    start, stop = span(len(words), rng, share)
    kept = [*words[:start], *words[stop:]]
    return kept or [words[0]]


def reorder_spans(words: Sequence[str], rng: np.random.Generator, share: float = 0.2) -> Words:
    """Return the words with two random runs of about `share` exchanged; too short sentences stay unchanged.

    Source: Wu et al. 2020, CLEAR (arXiv 2012.15466), section 3.2.
    """
    length = max(1, round(share * len(words)))
    free = len(words) - 2 * length
    if free < 0:
        return list(words)
    first, gap = np.sort(rng.integers(0, free + 1, 2))
    a, b = int(first), int(gap) + length
    return [*words[:a], *words[b : b + length], *words[a + length : b], *words[a : a + length], *words[b + length :]]


def substitute(
    words: Sequence[str], synonyms: Mapping[str, Sequence[str]], rng: np.random.Generator, share: float = 0.3
) -> Words:
    """Return the words, a random share of those with synonyms replaced by one of them.

    Source: Wu et al. 2020, CLEAR (arXiv 2012.15466), section 3.2.

    >>> substitute(["dog", "barks"], {"dog": ["hound"]}, np.random.default_rng(0), share=1.0)
    ['hound', 'barks']
    """
    out = []
    for word in words:
        others = synonyms.get(word, ())
        swap = rng.random() < share and len(others) > 0
        out.append(others[int(rng.integers(len(others)))] if swap else word)
    return out


def mask_span(words: Sequence[str], rng: np.random.Generator, length: int = 2, mask: str = "[MASK]") -> Words:
    """Return the words with one random run of `length` words replaced by one mask.

    Source: Liu et al. 2021, Mirror-BERT (arXiv 2104.08027), section 2.1 (random span masking).

    >>> mask_span(["a", "b"], np.random.default_rng(0), length=2)
    ['[MASK]']
    """
    length = min(length, len(words))
    start = int(rng.integers(len(words) - length + 1))
    return [*words[:start], mask, *words[start + length :]]


def span(size: int, rng: np.random.Generator, share: float) -> tuple[int, int]:
    """Return start and stop of a random run of about `share` of `size` places, at least one."""
    length = max(1, round(share * size))
    start = int(rng.integers(size - length + 1))
    return start, start + length


def anchor_and_positive(
    size: int, rng: np.random.Generator, *, anchor: int = 2, positive: int = 1
) -> tuple[range, range]:
    """Return the sentences of two spans of a document of `size` sentences: an anchor and a span that touches it.

    The positive starts inside the anchor or right after its end, or ends right before it: it overlaps, is contained, or
    is adjacent. Both are cut at the ends of the document.

    Source: Giorgi et al. 2021, DeCLUTR (arXiv 2006.03659), section 3.1, equations 1 to 4.
    """
    anchor, positive = min(anchor, size), min(positive, size)
    start = int(rng.integers(size - anchor + 1))
    earliest = max(0, start - positive)
    latest = min(size - positive, start + anchor)
    at = int(rng.integers(earliest, latest + 1))
    return range(start, start + anchor), range(at, at + positive)


def misspell(word: str, rng: np.random.Generator, letters: str = "abcdefghijklmnopqrstuvwxyz") -> str:
    """Return the word with one letter deleted, doubled, replaced or exchanged with the next; short words stay.

    Source: Chen et al. 2024, PEARL (arXiv 2401.10407), section 3.3 (character-level augmentation).

    >>> misspell("at", np.random.default_rng(0))
    'at'
    """
    if len(word) < 3:
        return word
    at, kind = int(rng.integers(len(word) - 1)), int(rng.integers(4))
    if kind == 0:
        return word[:at] + word[at + 1 :]
    if kind == 1:
        return word[:at] + word[at] + word[at:]
    if kind == 2:
        return word[:at] + letters[int(rng.integers(len(letters)))] + word[at + 1 :]
    return word[:at] + word[at + 1] + word[at] + word[at + 2 :]


def misspelled(words: Sequence[str], rng: np.random.Generator, share: float = 0.3) -> Words:
    """Return the words, each misspelled with probability `share`."""
    return [misspell(word, rng) if rng.random() < share else word for word in words]


def prompted(words: Sequence[str], template: str) -> Words:
    """Return the words inside a template whose "{}" is the sentence.

    Source: Jian et al. 2022, LM-SupCon (arXiv 2205.01308), section 3.2 (prompts as views).

    >>> prompted(["it", "rains"], "this is about [MASK] : {}")
    ['this', 'is', 'about', '[MASK]', ':', 'it', 'rains']
    """
    return [part for piece in template.split() for part in (words if piece == "{}" else [piece])]


def trigrams(word: str) -> list[str]:
    """Return the character trigrams of a word with its boundaries.

    Source: Bojanowski et al. 2017 (arXiv 1607.04606), section 3.2; as the character level of PEARL (arXiv 2401.10407).

    >>> trigrams("dog")
    ['<do', 'dog', 'og>']
    """
    framed = f"<{word}>"
    return [framed[i : i + 3] for i in range(len(framed) - 2)]
