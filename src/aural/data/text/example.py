"""The record of one training text: the text, related texts, and the truth about them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Example:
    """A text of the text world. Fields that its kind does not have are empty.

    Attributes:
        kind: "sentence", "story", "dialogue", "phrase" or "bias".
        text: the sentence, the phrase, or the sentences of a story or the turns of a dialogue, joined.
        paraphrases: texts of the same meaning in other words.
        entailed: a text that follows from `text`.
        contradicted: a text that cannot be true with `text`.
        neutral: a text that may or may not be true with `text`.
        ranked: texts and their gold similarity to `text` (0 to 1), most similar first.
        label: number of the topic (`lexicon.TOPICS`), -1 without one.
        duplicate: number of the item whose meaning this planted duplicate repeats, -1 otherwise.
        translations: the sentence in two toy languages.
        sentences, sections: of a story, in order; 0 opening, 1 middle, 2 ending.
        turns, acts, intent: of a dialogue; numbers of `dialogue.ACTS` per turn and of `dialogue.INTENTS`.
        phrase_type: number of `phrases.TYPES`, -1 without one.
        context: a sentence that contains the phrase.
        group, trait: the planted group word and the trait word of a bias example.
    """

    kind: str
    text: str
    paraphrases: tuple[str, ...] = ()
    entailed: str = ""
    contradicted: str = ""
    neutral: str = ""
    ranked: tuple[tuple[str, float], ...] = ()
    label: int = -1
    duplicate: int = -1
    translations: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()
    sections: tuple[int, ...] = ()
    turns: tuple[str, ...] = ()
    acts: tuple[int, ...] = ()
    intent: int = -1
    phrase_type: int = -1
    context: str = ""
    group: str = ""
    trait: str = ""

    def to_facts(self) -> dict[str, Any]:
        """Return the record as the facts of a world's item."""
        return dict(vars(self))

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Example:
        """Return the record that `to_facts` wrote."""
        return cls(**facts)
