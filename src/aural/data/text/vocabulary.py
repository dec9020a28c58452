"""The closed vocabulary of the text world as a WordPiece tokenizer: its words, and letters for what is misspelled."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from aural.data.text import dialogue, phrases, stories
from aural.data.text import lexicon as lx

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPECIAL: Final = ("[PAD]", "[CLS]", "[MASK]", "[UNK]", "[SEP]")
FUNCTION_WORDS: Final = (
    "a an the one is are it was you can hear sound of there that i have rather after before while no not and then"
)
MULTIPLE: Final = 64
"""The vocabulary is filled up with unused entries to a multiple of this."""


@lru_cache(maxsize=1)
def world_vocabulary() -> tuple[str, ...]:
    """Return the entries of the vocabulary in the order of their ids."""
    nouns = [word for topic in lx.THINGS for words in topic for word in words]
    verbs = [word for topic in lx.ACTIONS for words in topic for word in words]
    words = set(nouns) | {lx.plural(noun) for noun in nouns} | set(verbs)
    words |= {lx.third_person(verb) for verb in verbs} | {lx.ing(verb) for verb in verbs}
    words |= set(re.findall("[a-z]+", " ".join([FUNCTION_WORDS, *_strings(_wordings())])))
    words |= {phrases.invented(language, *key) for language in range(phrases.LANGUAGES) for key in _parts()}
    letters = [*string.ascii_lowercase, *(f"##{letter}" for letter in string.ascii_lowercase), ".", ","]
    entries = [*SPECIAL, *letters, *sorted(words - set(letters))]
    unused = -len(entries) % MULTIPLE
    return (*entries, *(f"[unused{i}]" for i in range(unused)))


def _wordings() -> tuple[Any, ...]:
    """Return everything of the lexicon and of the other kinds that is written unchanged."""
    return (lx.MANNERS, lx.PLACES, lx.TIMES, lx.ORDERS, lx.COUNTS, lx.QUALITIES, lx.GROUPS, lx.TRAITS, lx.TRADES,
            lx.DEEDS, lx.UNDONE, stories.ARRIVALS, stories.NOTICES, stories.DEPARTURES, stories.CLOSINGS,
            tuple(dialogue.WISHES.values()), tuple(dialogue.DONE.values()), tuple(dialogue.SAID.values()))  # fmt: skip


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    else:
        for one in value:
            yield from _strings(one)


def _parts() -> Iterator[tuple[str | int, ...]]:
    """Yield the keys of all parts of a meaning, as `phrases.translate` names them."""
    for name, groups in (("thing", lx.THINGS), ("action", lx.ACTIONS)):
        yield from ((name, topic, i) for topic, entries in enumerate(groups) for i in range(len(entries)))
    entries = {"manner": lx.MANNERS, "place": lx.PLACES, "time": lx.TIMES, "quality": lx.QUALITIES, "count": lx.COUNTS,
               "order": lx.ORDERS}  # fmt: skip
    for name, values in entries.items():
        yield from ((name, i) for i in range(len(values)))


def world_backend() -> Tokenizer:
    """Return a new tokenizer over the vocabulary: [CLS] text [SEP], lower case."""
    from tokenizers.implementations import BertWordPieceTokenizer  # type: ignore[attr-defined]

    vocabulary = {entry: i for i, entry in enumerate(world_vocabulary())}
    return BertWordPieceTokenizer(vocabulary, lowercase=True)._tokenizer
