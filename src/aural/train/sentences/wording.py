"""Views of a text of the text world as texts: the functions of `aural.data.text_views` by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Final, Literal, TypeAlias

import numpy as np

from aural.data.text import lexicon as lx
from aural.data.text_views import (
    Words,
    delete_span,
    delete_words,
    mask_span,
    misspelled,
    reorder_spans,
    substitute,
)

View: TypeAlias = Literal[
    "same", "delete-words", "delete-span", "reorder", "substitute", "mask-span", "misspell", "any", "easy"
]
WORD: Final = re.compile(r"\[[A-Z]+\]|\w+|[^\w\s]")


def split_words(text: str) -> Words:
    """Return the words and punctuation marks of a text, special tokens in one piece.

    >>> split_words("[MASK] barks, twice.")
    ['[MASK]', 'barks', ',', 'twice', '.']
    """
    return WORD.findall(text)


def joined(words: Sequence[str]) -> str:
    """Return words as a text."""
    return " ".join(words)


def view_of(text: str, view: View, rng: np.random.Generator) -> str:
    """Return a view of a text. any: one of the four of CLEAR (arXiv 2012.15466); easy: one of those of EDA
    (arXiv 1901.11196) except insertion."""
    if view == "same":
        return text
    if view in CHOICES:
        choices = CHOICES[view]
        view = choices[int(rng.integers(len(choices)))]
    return joined(VIEWS[view](split_words(text), rng))


def substituted(words: Sequence[str], rng: np.random.Generator) -> Words:
    """Return words of which some are replaced by synonyms of the lexicon."""
    return substitute(words, synonyms(), rng)


@lru_cache(maxsize=1)
def synonyms() -> dict[str, list[str]]:
    """Return the other words of each single word's entry in the lexicon, in the same form."""
    others: dict[str, list[str]] = {}
    for words in _entries():
        for word in words:
            others.setdefault(word, []).extend(w for w in words if w != word)
    return others


def _entries() -> Iterator[tuple[str, ...]]:
    for topic in lx.THINGS:
        for nouns in topic:
            yield nouns
            yield tuple(lx.plural(noun) for noun in nouns)
    for topic in lx.ACTIONS:
        for verbs in topic:
            yield verbs
            yield tuple(lx.third_person(verb) for verb in verbs)
            yield tuple(lx.ing(verb) for verb in verbs)
    yield from lx.MANNERS
    yield from lx.QUALITIES


VIEWS: Final[dict[str, Callable[[Sequence[str], np.random.Generator], Words]]] = {
    "delete-words": delete_words,
    "delete-span": delete_span,
    "reorder": reorder_spans,
    "substitute": substituted,
    "mask-span": mask_span,
    "misspell": misspelled,
}
CHOICES: Final[dict[str, tuple[View, ...]]] = {
    "any": ("delete-words", "delete-span", "reorder", "substitute"),
    "easy": ("delete-words", "reorder", "substitute"),
}
