"""Phrases out of their sentences, misspelled words, sentences of two toy languages, and planted bias."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from aural.core.seeds import generator
from aural.data.text import lexicon as lx
from aural.data.text.dice import Dice
from aural.data.text.grammar import Meaning, Pen, tidy

TYPES: Final = ("thing", "event", "place", "manner")
"""Kinds of phrases: a noun phrase, a noun with a participle, a prepositional phrase, an adverb with a participle."""
LANGUAGES: Final = 2
SYLLABLES: Final = (
    ("ba", "de", "fi", "go", "lu", "ma", "ne", "pi", "ro", "tu"),
    ("kra", "shem", "vok", "zil", "dun", "phes", "gar", "mot", "lix", "zub"),
)


def phrase(meaning: Meaning, kind: int, rng: Dice, avoid: frozenset[str] = frozenset()) -> str:
    """Return a phrase of one of `TYPES` that says a part of a meaning, which must mention a place and a manner."""
    pen = Pen(rng, avoid)
    if TYPES[kind] == "thing":
        return pen.noun(meaning.event, meaning.count, meaning.quality)
    if TYPES[kind] == "event":
        return f"{pen.noun(meaning.event, meaning.count)} {pen.verb(meaning.event, 'ing')}"
    if TYPES[kind] == "place":
        return f"{pen.verb(meaning.event, 'ing')} {pen.one(lx.PLACES[meaning.place])}"
    return f"{pen.one(lx.MANNERS[meaning.manner])} {pen.verb(meaning.event, 'ing')}"


def typo(text: str, rng: Dice, changes: int = 1) -> str:
    """Return the text with so many letters of its longer words swapped, dropped, doubled or replaced."""
    words = text.split()
    places = [i for i, word in enumerate(words) if len(word.strip(".,")) > 3]
    for at in rng.order(len(places))[:changes]:
        i = places[at]
        words[i] = misspelled(words[i], rng)
    return " ".join(words)


def misspelled(word: str, rng: Dice) -> str:
    """Return a word of four or more letters with one error that leaves the first letter."""
    i = 1 + rng.below(len(word.strip(".,")) - 2)
    kind = rng.below(4)
    if kind == 0:
        return word[:i] + word[i + 1] + word[i] + word[i + 2 :]
    if kind == 1:
        return word[:i] + word[i + 1 :]
    if kind == 2:
        return word[:i] + word[i] + word[i:]
    return word[:i] + "abcdefghijklmnopqrstuvwxyz"[rng.below(26)] + word[i + 1 :]


def translate(meaning: Meaning, language: int) -> str:
    """Return a meaning in a toy language: one invented word per part of the meaning.

    The first language puts the verb last, the second puts it first.
    """
    events = [meaning.event] + ([meaning.second] if meaning.second else [])
    clauses = []
    for event in events:
        thing, action = (
            invented(language, "thing", event.topic, event.thing),
            invented(language, "action", event.topic, event.action),
        )
        clauses.append([thing, action] if language == 0 else [action, thing])
    details = [invented(language, name, getattr(meaning, name)) for name in ("manner", "place", "time", "quality")
               if getattr(meaning, name) >= 0]  # fmt: skip
    details += [invented(language, "count", meaning.count)] if meaning.count else []
    first = [clauses[0][0], *details, clauses[0][1]] if language == 0 else [*clauses[0], *details]
    rest = [invented(language, "order", meaning.order), *clauses[1]] if meaning.second else []
    return tidy(" ".join([*first, *rest]))


@lru_cache(maxsize=4096)
def invented(language: int, *key: str | int) -> str:
    """Return the word of a toy language for a part of a meaning."""
    number = int.from_bytes(repr(key).encode()[-6:], "big")
    rng = generator(language, number)
    return "".join(SYLLABLES[language][int(i)] for i in rng.integers(len(SYLLABLES[language]), size=3))


def biased(group: int, trait: int, trade: int, deed: int, rng: Dice) -> str:
    """Return "the careless norvan baker opens the gate."; a group or trait of -1 is not mentioned."""
    pen = Pen(rng, frozenset())
    words = ["the"]
    words += [pen.one(lx.TRAITS[trait])] if trait >= 0 else []
    words += [lx.GROUPS[group]] if group >= 0 else []
    return tidy(" ".join([*words, pen.one(lx.TRADES[trade]), pen.one(lx.DEEDS[deed])]))
