"""Check that a rewording of a phrase names no sound, agent or place that the phrase does not name.

Each word of the rewording must be a word of the phrase or of its class, a word without content ("the sound of",
"someone"), or close in meaning to a word of the phrase. A word of another class, such as a second event, is
refused even if it is less close. A rewording that only leaves words out is refused too.

Distances between words are those of a sentence encoder, which the caller passes as a function. `LIMITS` were chosen on
half of the classes of tests/data/libre/rewordings.tsv; the rates on the other half are in docs/corpus.md.

Legend: N texts, E dimensions.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Embed: TypeAlias = Callable[[Sequence[str]], NDArray[Any]]
"""Texts to unit vectors (N, E)."""

EMPTY: Final = frozenset((
    "a", "an", "the", "this", "that", "these", "those", "it", "its", "it's", "of", "on", "in", "to", "into",
    "from", "at", "by", "off", "up", "out", "onto", "over", "against", "through", "when", "as", "is", "are",
    "was", "were", "be", "being", "been", "has", "have", "had", "which", "who", "there", "here", "one", "some",
    "another", "same", "way", "thing", "part", "sound", "sounds", "noise", "noises", "recording", "audio",
    "clip", "effect", "hear", "heard", "hearing", "listen", "make", "makes", "made", "making", "produce",
    "produced", "producing", "give", "gives", "given", "come", "comes", "coming", "get", "gets", "getting",
    "go", "goes", "going", "do", "does", "doing", "let", "someone", "somebody", "something", "person",
))  # fmt: skip
"""Words that name neither a sound nor an agent."""
JOINS: Final = frozenset((
    "and", "or", "with", "while", "during", "after", "before", "followed", "then", "plus", "but", "near",
    "behind", "under", "inside", "along", "amid",
))  # fmt: skip
"""Words that join a second event, agent or place. A text with one that the phrase lacks may have no new word."""
IRREGULAR: Final = {
    "struck": "strike", "drawn": "draw", "drew": "draw", "blown": "blow", "blew": "blow", "broken": "break",
    "broke": "break", "thrown": "throw", "threw": "throw", "shot": "shoot", "swung": "swing", "rang": "ring",
    "rung": "ring", "sung": "sing", "sang": "sing", "fell": "fall", "fallen": "fall", "spun": "spin", "ran": "run",
    "shaken": "shake", "played": "play", "slid": "slide", "feet": "foot", "leaves": "leaf", "shut": "shut",
    "spoken": "speak", "torn": "tear", "ground": "ground", "beaten": "beat", "rolled": "roll", "blades": "blade",
}  # fmt: skip


@dataclass(frozen=True)
class Limits:
    """Least cosines between a word of a rewording and a word of the phrase, and between the two texts."""

    word: float = 0.5
    text: float = 0.6


LIMITS: Final = Limits()


def words(text: str) -> list[str]:
    """Return the words of a text in lower case.

    >>> words("A dog's bark, twice.")
    ['a', 'dog', 'bark', 'twice']
    """
    return [word.removesuffix("'s").strip("'") for word in re.findall(r"[a-z0-9']+", text.lower())]


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """Return a word without the endings of number and tense.

    >>> [stem(word) for word in ("barking", "clapped", "breaks", "horses", "struck", "tyres", "rattle")]
    ['bark', 'clap', 'break', 'hors', 'strik', 'tyr', 'rattl']
    """
    word = IRREGULAR.get(word, word)
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3 and not word.endswith("ss"):
            word = word.removesuffix(ending)
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "sl":
        word = word[:-1]
    return word.removesuffix("e") if len(word) > 3 else word


def content(text: str) -> dict[str, str]:
    """Return the words of a text that name something, as stem -> word."""
    return {stem(word): word for word in words(text) if word not in EMPTY | JOINS}


class Additions:
    """The check, with the words of all classes.

    Args:
        phrases: Class -> its phrases.
        embed: Sentence encoder. Its vectors of single words are kept.
        limits: Least cosines.
    """

    def __init__(self, phrases: Mapping[str, Sequence[str]], embed: Embed, limits: Limits = LIMITS) -> None:
        self.embed, self.limits = embed, limits
        self.by_class = {
            name: set().union(*(content(text) for text in (name, *texts))) for name, texts in phrases.items()
        }
        self.vectors: dict[str, NDArray[Any]] = {}

    def reason(self, class_name: str, phrase: str, text: str) -> str:
        """Return why a rewording of a phrase of a class is refused, or "" if it is accepted."""
        said, kept = content(text), content(phrase)
        if not said:
            return "names nothing"
        if said.keys() < kept.keys():
            return "says less"
        stems = [stem(word) for word in words(text) if word not in EMPTY | JOINS]
        if len(stems) > len(set(stems)):
            return "repeats a word"
        allowed = kept.keys() | self.by_class.get(class_name, set())
        if not said.keys() & allowed:
            return "keeps no word"
        new = [word for key, word in said.items() if key not in allowed]
        joined = any(word in JOINS and word not in words(phrase) for word in words(text))
        for word in new:
            if joined or self._closest(word, kept.values()) < self._least(class_name, word):
                return f'adds "{word}"'
        if float(self._vector(text) @ self._vector(phrase)) < self.limits.text:
            return "has another meaning"
        return ""

    def _least(self, class_name: str, word: str) -> float:
        """Return the least cosine of a word: higher if another class is named by it."""
        other = any(stem(word) in stems for name, stems in self.by_class.items() if name != class_name)
        return self.limits.word + (0.1 if other else 0.0)

    def _closest(self, word: str, others: Iterable[str]) -> float:
        return max((float(self._vector(word) @ self._vector(other)) for other in others), default=0.0)

    def _vector(self, text: str) -> NDArray[Any]:
        if text not in self.vectors:
            self.vectors[text] = np.asarray(self.embed([text]))[0]
        return self.vectors[text]
