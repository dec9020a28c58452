"""Reword noun phrases by rules of English grammar. No rule adds or removes a word with content.

a dog barking          the barking of a dog, a barking dog
leaves rustling        the rustling of leaves, rustling leaves
the bark of a dog      a dog's bark
a person laughing      someone laughing, ...
a note on a flute      a flute note, a flute playing a note
"""

from __future__ import annotations

import re
from typing import Final

NOT_VERBS: Final = frozenset((
    "string", "spring", "ring", "king", "wing", "thing", "building", "evening", "ceiling", "bowstring",
))  # fmt: skip
"""Nouns in -ing."""
PREPOSITIONS: Final = frozenset((
    "of", "on", "in", "to", "into", "from", "at", "by", "off", "out", "onto", "over", "against", "through",
    "with", "and", "or", "as",
))  # fmt: skip


def article(word: str) -> str:
    """Return "a" or "an" for the word that follows, by its letters.

    >>> [article(word) for word in ("dog", "anvil", "hour", "ukulele", "English")]
    ['a', 'an', 'an', 'a', 'an']
    """
    word = word.lower()
    if word.startswith(("hour", "honest")):
        return "an"
    return "an" if word[:1] in "aeio" or (word[:1] == "u" and not word.startswith(("uk", "uni", "us"))) else "a"


def rewordings(phrase: str) -> list[str]:
    """Return the other wordings of a phrase that the rules give, without the phrase.

    >>> rewordings("a church bell tolling")
    ['the tolling of a church bell', 'a tolling church bell']
    >>> rewordings("the clang of an anvil")
    ["an anvil's clang"]
    >>> rewordings("a note on an organ")
    ['an organ note', 'an organ playing a note']
    """
    texts: list[str] = []
    words = phrase.split()
    bare = words[1:] if words[0] in ("a", "an") else words
    if _is_participle(words) and not PREPOSITIONS & set(words) and len(bare) in (2, 3, 4):
        noun, verb = " ".join(words[:-1]), words[-1]
        texts.append(f"the {verb} of {noun}")
        inner = " ".join([verb, *bare[:-1]])
        texts.append(inner if bare is words else f"{article(verb)} {inner}")
    if match := re.fullmatch(r"the (\w+) of ((?:a|an) [\w ]+)", phrase):
        sound, owner = match.groups()
        if not PREPOSITIONS & set(owner.split()) and not sound.endswith("ing") and not owner.endswith("s"):
            texts.append(f"{owner}'s {sound}")
    if phrase.startswith("a person "):
        texts.append(f"someone {phrase.removeprefix('a person ')}")
    elif phrase.startswith("someone "):
        texts.append(f"a person {phrase.removeprefix('someone ')}")
    if match := re.fullmatch(r"a note on (?:a|an) ([\w ]+)", phrase):
        name = match[1]
        texts += [f"{article(name)} {name} note", f"{article(name)} {name} playing a note"]
    return [text for text in dict.fromkeys(texts) if text != phrase]


def _is_participle(words: list[str]) -> bool:
    """Return whether the last word is a verb in -ing of the noun before it ("a dog barking", "rain falling")."""
    last = words[-1]
    if len(words) < 2 or not last.endswith("ing") or last in NOT_VERBS or words[0] in ("the", "someone", "something"):
        return False
    return len(words) > 2 if words[0] in ("a", "an") else len(words) == 2
