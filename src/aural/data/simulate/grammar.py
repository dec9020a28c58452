"""A small English grammar: says a `Content`, in many ways.

Every choice of words is taken from a `Style`, a row of numbers drawn once. The same style says the same content in the
same words, and a changed content in words as near as can be: that is how a caption and its hard negatives differ in
nothing but the claim.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from aural.data.simulate.claims import Content, Mention

COUNTS = {1: ("once",), 2: ("twice", "two times"), 3: ("three times", "thrice"), 4: ("four times",), 5: ("five times",)}
VOICES = {
    "same": ("in the same voice", "by one and the same person", "by a single speaker"),
    "different": ("in different voices", "by different people", "each time by another speaker"),
}
FAINT = ("faint", "barely audible", "very quiet")
TOGETHER = (
    "{a} together with {b}", "{a} at the same time as {b}", "{a} overlapping with {b}", "{a} along with {b}",
)  # fmt: skip
WHILE = (
    "{a} and {b} at the same time",
    "{a} while {b} is heard",
    "while {b} can be heard, {a}",
    "{b} is heard while {a} goes on",
)
ALONE = ("{a}", "{a} can be heard", "there is {a}", "this is {a}")
TWO = (
    "{a} followed by {b}", "{a}, then {b}", "{a} before {b}", "{b} after {a}", "first {a}, then {b}",
    "after {a} comes {b}", "before {b} comes {a}", "{b} comes after {a}", "{a} precedes {b}", "{a} and then {b}",
)  # fmt: skip
CHAIN = (", then ", ", followed by ", ", and then ", ", after that ", ", next ")
LOUDER = (
    "{a} is louder than {b}",
    "{b} is quieter than {a}",
    "{b} is softer than {a}",
    "{a} is the louder, {b} the quieter",
)
BACKGROUND_TAIL = (", with {a} in the background", ", over a background of {a}", ", against a background of {a}")
BACKGROUND = ("{a} is heard in the background", "in the background there is {a}", "the background is {a}")
ROOMS = {"small room": ("small room", "little room"), "large hall": ("large hall", "big hall", "huge echoing hall")}
ROOM_HEAD = ("in a {a}, ", "inside a {a}, ")
ROOM = ("it sounds like a {a}", "the place is a {a}", "all this happens in a {a}")


@dataclass(frozen=True, slots=True)
class Style:
    """A row of numbers from which all choices are made, one each, in a fixed order."""

    numbers: tuple[int, ...]

    @classmethod
    def draw(cls, generator: np.random.Generator) -> Style:
        return cls(tuple(generator.integers(0, 1 << 20, 16).tolist()))


@lru_cache(maxsize=1 << 14)
def _number_of(label: str) -> int:
    return zlib.crc32(label.encode())


class _Choices:
    """Takes choices from a style; each slot has its own stretch, so that one choice more does not move the others."""

    def __init__(self, style: Style, phrases: Mapping[str, Sequence[str]], mentions: Sequence[Mention]) -> None:
        self.numbers = style.numbers
        self.said = {label: self.phrase(label, phrases[label]) for label in (mention.label for mention in mentions)}

    def phrase(self, label: str, options: Sequence[str]) -> str:
        """Depends on the label, not on its place, so that swapping two events changes nothing else."""
        return options[(self.numbers[15] + _number_of(label)) % len(options)]

    def pick(self, options: Sequence[str], slot: int) -> str:
        return options[self.number(slot, len(options))]

    def number(self, slot: int, below: int) -> int:
        return self.numbers[slot] % below


def say(content: Content, style: Style, phrases: Mapping[str, Sequence[str]]) -> str:
    """Write the content in English; `phrases` gives what each label may be called."""
    choices = _Choices(style, phrases, content.mentions)
    sentences = list(_body(content, choices))
    head = content.room is not None and choices.number(1, 2) == 0
    tail = content.background is not None and choices.number(2, 2) == 0
    if content.background is not None:
        background = choices.phrase(content.background, phrases[content.background])
        if tail:
            sentences[-1] += choices.pick(BACKGROUND_TAIL, 4).format(a=background)
        else:
            sentences.append(choices.pick(BACKGROUND, 4).format(a=background))
    if content.louder is not None:
        a, b = (choices.said.get(label) or phrases[label][0] for label in content.louder)
        sentences.append(choices.pick(LOUDER, 5).format(a=a, b=b))
    if content.room is not None:
        room = choices.pick(ROOMS[content.room], 6)
        if head:
            sentences[0] = choices.pick(ROOM_HEAD, 7).format(a=room) + sentences[0]
        else:
            sentences.append(choices.pick(ROOM, 7).format(a=room))
    return " ".join(sentence[0].upper() + sentence[1:] + "." for sentence in sentences)


def _body(content: Content, choices: _Choices) -> Iterator[str]:
    """The events in their order: one sentence, or one for every group."""
    groups = content.groups
    form = choices.number(0, 4)
    if len(groups) == 1:
        yield _group(groups[0], choices, alone=True)
    elif form == 0:
        words = ["first", *["then"] * (len(groups) - 2), "finally"]
        for word, group in zip(words, groups, strict=True):
            yield f"{word}, {_group(group, choices, alone=True)}"
    elif len(groups) == 2:
        a, b = (_group(group, choices) for group in groups)
        yield choices.pick(TWO, 8).format(a=a, b=b)
    elif form == 1:
        links = [", then ", *[", next "] * (len(groups) - 3), ", and finally "]
        rest = zip(links, groups[1:], strict=True)
        yield f"first {_group(groups[0], choices)}" + "".join(link + _group(group, choices) for link, group in rest)
    elif form == 2 and len(groups) == 3:
        a, b, c = (_group(group, choices) for group in groups)
        yield f"{b} after {a} and before {c}"
    else:
        yield choices.pick(CHAIN, 8).join(_group(group, choices) for group in groups)


def _group(group: tuple[Mention, ...], choices: _Choices, alone: bool = False) -> str:
    """`alone`: the group is a sentence, so that "while" cannot reach beyond it."""
    texts = [_mention(mention, choices) for mention in group]
    if len(group) == 1:
        return choices.pick(ALONE, 9).format(a=texts[0]) if alone else texts[0]
    return choices.pick(WHILE if alone and choices.number(10, 2) else TOGETHER, 11).format(a=texts[0], b=texts[1])


def _mention(mention: Mention, choices: _Choices) -> str:
    text = choices.said[mention.label]
    if mention.faint:
        word = choices.pick(FAINT, 12)
        article, _, rest = text.partition(" ")
        text = f"a {word} {rest}" if article in ("a", "an") and rest else f"{word} {text}"
    if mention.count is not None:
        text += " " + choices.pick(COUNTS[mention.count], 13)
    if mention.voices is not None:
        text += " " + choices.pick(VOICES[mention.voices], 14)
    return text
