"""Sentences about sounds: what a sentence means, how two meanings compare, and how a meaning is written in words.

A meaning is one event or two, with circumstances. `write` renders it in one of several constructions with any of the
synonyms of each word, so that equal meanings may share no word and unlike meanings may share most of them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final
from zlib import crc32

from aural.core.errors import ConfigError
from aural.data.text import lexicon as lx
from aural.data.text.dice import Dice

SPLITS: Final = ("train", "test")
TEST_SHARE: Final = 5
"""One of this many combinations of thing, action and place is held out for tests."""
DOMAINS: Final = {"street": lx.STREET, "shifted": lx.SHIFTED}
WEIGHTS: Final = {"manner": 0.14, "place": 0.14, "time": 0.08, "quality": 0.08, "count": 0.06}
"""Shares of the circumstances in the similarity of two meanings; the events have the rest."""
RELATED: Final = 0.4
"""Similarity of two things, or two actions, of one topic."""
SWAPPED: Final = 0.6
"""Factor of the similarity of two events that come in the other order."""
SLOTS: Final = (*WEIGHTS, "thing", "action", "second")


@dataclass(frozen=True)
class Event:
    """A thing of a topic and what it does, as numbers of the lexicon."""

    topic: int
    thing: int
    action: int


@dataclass(frozen=True)
class Meaning:
    """The content of a sentence. Circumstances are numbers of the lexicon; -1: not mentioned."""

    event: Event
    second: Event | None = None
    order: int = 0
    """Relation of the two events, a number of `lexicon.ORDERS`."""
    manner: int = -1
    place: int = -1
    time: int = -1
    quality: int = -1
    count: int = 0

    @property
    def split(self) -> str:
        """The split that this combination of thing, action and place belongs to."""
        key = (self.event.topic, self.event.thing, self.event.action, self.place)
        return "test" if crc32(repr(key).encode()) % TEST_SHARE == 0 else "train"


def draw(rng: Dice, split: str, domain: str = "street") -> Meaning:
    """Return a random meaning of a split and domain."""
    if split not in SPLITS or domain not in DOMAINS:
        raise ConfigError(f'split "{split}" and domain "{domain}": give one of {SPLITS} and one of {tuple(DOMAINS)}')
    while True:
        second = draw_event(rng, DOMAINS[domain]) if rng.random() < 0.35 else None
        meaning = Meaning(
            draw_event(rng, DOMAINS[domain]),
            second,
            rng.below(len(lx.ORDERS)) if second else 0,
            manner=optional(rng, lx.MANNERS, 0.6),
            place=optional(rng, lx.PLACES, 0.75),
            time=optional(rng, lx.TIMES, 0.4),
            quality=optional(rng, lx.QUALITIES, 0.3),
            count=rng.weighted((0.7, 0.15, 0.15)),
        )
        if meaning.split == split:
            return meaning


def draw_event(rng: Dice, topics: Sequence[int]) -> Event:
    topic = int(topics[rng.below(len(topics))])
    return Event(topic, rng.below(len(lx.THINGS[topic])), rng.below(len(lx.ACTIONS[topic])))


def optional(rng: Dice, entries: Sequence[lx.Words], share: float) -> int:
    """Return the number of an entry, or -1."""
    number = rng.below(len(entries))
    return number if rng.random() < share else -1


def similarity(a: Meaning, b: Meaning) -> float:
    """Return the gold similarity of two meanings, 0 to 1: 1 for equal ones.

    Circumstances that neither mentions do not count; one that only one mentions counts half.
    """
    total, weight = 0.0, 0.0
    for name, share in WEIGHTS.items():
        one, other = getattr(a, name), getattr(b, name)
        if one < 0 and other < 0:
            continue
        equal = 0.5 if min(one, other) < 0 else float(one == other)
        total, weight = total + share * equal, weight + share
    rest = 1.0 - sum(WEIGHTS.values())
    return (total + rest * same_events(a, b)) / (weight + rest)


def same_events(a: Meaning, b: Meaning) -> float:
    """Return the similarity of the events of two meanings, 0 to 1."""
    if a.second is None and b.second is None:
        return same_event(a.event, b.event)
    if a.second is None or b.second is None:
        one, two = (a, b) if a.second is None else (b, a)
        assert two.second is not None
        return 0.75 * max(same_event(one.event, two.event), same_event(one.event, two.second))
    direct = same_event(a.event, b.event) + same_event(a.second, b.second)
    crossed = same_event(a.event, b.second) + same_event(a.second, b.event)
    together = a.order == b.order == 1
    best = max(direct, crossed if together else SWAPPED * crossed) / 2
    return best if a.order == b.order else 0.85 * best


def same_event(a: Event, b: Event) -> float:
    """Return the similarity of two events: things count 0.6, actions 0.4, those of one topic `RELATED`."""
    if a.topic != b.topic:
        return 0.0
    thing = 1.0 if a.thing == b.thing else RELATED
    action = 1.0 if a.action == b.action else RELATED
    return 0.6 * thing + 0.4 * action


def change(meaning: Meaning, slot: str, rng: Dice, domain: str = "street") -> Meaning:
    """Return the meaning with another value in one slot of `SLOTS`; unchanged where it has no such slot."""
    event = meaning.event
    if slot == "thing":  # of the same topic in half of the cases
        if rng.random() < 0.5:
            return replace(meaning, event=replace(event, thing=other(rng, len(lx.THINGS[event.topic]), event.thing)))
        return replace(meaning, event=draw_event(rng, [t for t in DOMAINS[domain] if t != event.topic]))
    if slot == "action":
        return replace(meaning, event=replace(event, action=other(rng, len(lx.ACTIONS[event.topic]), event.action)))
    if slot == "second":
        return replace(meaning, second=draw_event(rng, DOMAINS[domain])) if meaning.second else meaning
    entries = {"manner": lx.MANNERS, "place": lx.PLACES, "time": lx.TIMES, "quality": lx.QUALITIES, "count": lx.COUNTS}
    value = getattr(meaning, slot)
    if value < 0:
        return meaning
    new = other(rng, len(entries[slot]), value)
    return Meaning(**{**vars(meaning), slot: new})


def other(rng: Dice, count: int, value: int) -> int:
    """Return a random number below `count` that is not `value`."""
    return (value + 1 + rng.below(count - 1)) % count


def varied(meaning: Meaning, changes: int, rng: Dice, domain: str = "street") -> Meaning:
    """Return the meaning with so many of its slots changed, in random order."""
    slots = [s for s in SLOTS if s in ("thing", "action") or (s == "second" and meaning.second) or s == "count"
             or (s in WEIGHTS and getattr(meaning, s) >= 0)]  # fmt: skip
    for i in rng.order(len(slots))[:changes]:
        meaning = change(meaning, slots[i], rng, domain)
    return meaning


def less(meaning: Meaning, rng: Dice) -> Meaning:
    """Return a meaning that follows from this one: some circumstances, or the second event, are not mentioned."""
    named = [name for name in ("manner", "place", "time", "quality") if getattr(meaning, name) >= 0]
    dropped = [name for name in named if rng.random() < 0.6] or named[:1]
    shorter = Meaning(**{**vars(meaning), **dict.fromkeys(dropped, -1)})
    return replace(shorter, second=None) if meaning.second and rng.random() < 0.5 else shorter


def opposite(meaning: Meaning, rng: Dice) -> Meaning:
    """Return a meaning that cannot be true with this one: other words in one place, most of the sentence the same."""
    choices = ["action", "thing"]
    choices += ["manner"] if meaning.manner >= 0 else []
    choices += ["quality"] if meaning.quality >= 0 else []
    choices += ["order"] if meaning.second and meaning.order == 0 and meaning.second != meaning.event else []
    slot = choices[rng.below(len(choices))]
    if slot == "manner":
        return replace(meaning, manner=lx.OPPOSITE_MANNERS[meaning.manner])
    if slot == "quality":
        return replace(meaning, quality=lx.OPPOSITE_QUALITIES[meaning.quality])
    if slot == "order":
        assert meaning.second is not None
        return replace(meaning, event=meaning.second, second=meaning.event)
    return change(meaning, slot, rng)


def write(meaning: Meaning, rng: Dice, avoid: Collection[str] = (), frame: int = -1) -> str:
    """Return a sentence with this meaning.

    avoid: words that are not used where a synonym exists. frame: number of the construction; -1: random.
    """
    pen = Pen(rng, frozenset(avoid))
    frame = rng.below(FRAMES) if frame < 0 else frame
    first = pen.noun(meaning.event, meaning.count, meaning.quality)
    verb = pen.verb(meaning.event, "plural" if meaning.count else "third")
    going = pen.verb(meaning.event, "ing")
    manner, place, time = (
        pen.one(entries[number]) if number >= 0 else ""
        for entries, number in ((lx.MANNERS, meaning.manner), (lx.PLACES, meaning.place), (lx.TIMES, meaning.time))
    )
    clauses = (
        f"{first} {verb} {manner} {place} {time}",
        f"{time} {place} {first} {manner} {verb}",
        f"you can hear {first} {going} {manner} {place} {time}",
        f"the sound of {first} {going} {manner} {place} {time}",
        f"{place} there {'are' if meaning.count else 'is'} {first} {going} {manner} {time}",
        f"{first} , {time} {place} , {manner} {verb}",
    )
    text = clauses[frame % FRAMES]
    if meaning.second is not None:
        text = pen.joined(text, meaning, frame)
    return tidy(text)


FRAMES: Final = 6


class Pen:
    """Chooses words."""

    def __init__(self, rng: Dice, avoid: frozenset[str]) -> None:
        self.rng, self.avoid = rng, avoid

    def one(self, words: lx.Words) -> str:
        """Return one of the synonyms, if possible one without avoided words."""
        left = [word for word in words if not self.avoid & set(word.split())] if self.avoid else words
        left = left or words
        return left[self.rng.below(len(left))]

    def noun(self, event: Event, count: int = 0, quality: int = -1) -> str:
        """Return a thing with its number and quality: "two big dogs"."""
        noun = self.one(lx.THINGS[event.topic][event.thing])
        words = [self.one(lx.COUNTS[count])]
        words += [self.one(lx.QUALITIES[quality])] if quality >= 0 else []
        words.append(lx.plural(noun) if count else noun)
        if words[0] == "a" and words[1][0] in "aeiou":
            words[0] = "an"
        return " ".join(words)

    def verb(self, event: Event, form: str) -> str:
        """Return what a thing does: form "third" (runs), "plural" (run) or "ing" (running)."""
        verb = self.one(lx.ACTIONS[event.topic][event.action])
        if form == "third":
            return lx.third_person(verb)
        return lx.ing(verb) if form == "ing" else verb

    def joined(self, text: str, meaning: Meaning, frame: int) -> str:
        """Return the first event's clause with the second event: "A before B", or "B after A", which is the same."""
        assert meaning.second is not None
        clause = f"{self.noun(meaning.second)} {self.verb(meaning.second, 'third')}"
        if meaning.order == 0 and frame in (0, 1, 5) and self.rng.random() < 0.4:
            return f"{clause} after {text}"
        return f"{text} {self.one(lx.ORDERS[meaning.order])} {clause}"


def tidy(text: str) -> str:
    """Return a text with single spaces, without empty clauses, and with a full stop.

    >>> tidy("a dog ,   , barks")
    'a dog barks.'
    """
    words = " ".join(text.split()).replace(" , ,", " ")
    return " ".join(words.strip(" ,").split()).replace(" ,", ",") + "."


def words_of(text: str) -> frozenset[str]:
    """Return the words of a text without punctuation."""
    return frozenset(text.replace(",", "").replace(".", "").split())
