"""Captions, paraphrases and hard negatives of a scene: what to say, and what to say that is false."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import combinations
from math import gcd
from typing import Any

import numpy as np

from aural.data.simulate.claims import Claim, Content, Judge, Mention
from aural.data.simulate.config import SceneConfig
from aural.data.simulate.grammar import ROOMS, Style, say
from aural.data.simulate.sounds import SoundBank
from aural.data.simulate.truth import Event, SceneTruth

# The share of captions that mention loudness, place ... where possible; order and number are always mentioned.
SAY_LOUDER, SAY_FAINT, SAY_BACKGROUND, SAY_ROOM, SAY_ONCE = 0.6, 0.7, 0.8, 0.5, 0.15
SMALL_WORDS = frozenset("a an the of in on with and or to at from for by into sound sounds noise".split())  # noqa: SIM905


@dataclass(frozen=True, slots=True)
class Negative:
    """A caption that is false for its scene: `kind` says what was changed, `false` which claims are untrue."""

    kind: str
    text: str
    false: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class Captions:
    caption: str
    paraphrases: tuple[str, ...]
    negatives: tuple[Negative, ...]
    claims: tuple[Claim, ...]


def describe(truth: SceneTruth, bank: SoundBank, config: SceneConfig, generator: np.random.Generator) -> Captions:
    """Write a caption with true claims only, its paraphrases, and captions with one change that makes them false."""
    judge = Judge(truth, config)
    content = true_content(judge, generator)
    phrases = _Lexicon(truth, bank)
    style = Style.draw(generator)
    texts = {say(content, style, phrases): None}
    for _ in range(4 * config.paraphrases):
        if len(texts) > config.paraphrases:
            break
        texts[say(content, Style.draw(generator), phrases)] = None
    caption, *paraphrases = texts
    negatives = hard_negatives(content, style, judge, phrases, generator)
    return Captions(caption, tuple(paraphrases), tuple(negatives), content.claims())


def true_content(judge: Judge, generator: np.random.Generator) -> Content:
    """Return the claims about the scene that are certain; events with unclear order are left out."""
    truth = judge.truth
    groups = _in_order(judge)
    labels = [event.label for group in groups for event in group]
    louder = [pair for a, b in combinations(labels, 2) for pair in ((a, b), (b, a)) if judge(("louder", *pair))]
    faint = [label for label in labels if judge(("faint", label))]
    draw, once = generator.random(4), generator.random(len(labels))
    quiet = faint[int(generator.integers(len(faint)))] if faint and draw[1] < SAY_FAINT else None
    mentions = {
        event.label: Mention(
            event.label,
            event.count if event.countable and (event.count > 1 or chance < SAY_ONCE) else None,
            next((said for said in ("same", "different") if judge(("voices", event.label, said))), None),
            event.label == quiet,
        )
        for event, chance in zip((event for group in groups for event in group), once, strict=True)
    }
    return Content(
        groups=tuple(tuple(mentions[event.label] for event in group) for group in groups),
        louder=louder[int(generator.integers(len(louder)))] if louder and draw[0] < SAY_LOUDER else None,
        background=truth.background.label if truth.background and draw[2] < SAY_BACKGROUND else None,
        room=truth.room.kind if truth.room and draw[3] < SAY_ROOM else None,
    )


def _in_order(judge: Judge) -> list[list[Event]]:
    """The events in groups of one or two that sound together, each group clearly before the next."""
    groups: list[list[Event]] = []
    for event in judge.truth.events:
        if not all(judge(("before", other.label, event.label)) for group in groups[:-1] for other in group):
            continue
        last = groups[-1] if groups else []
        if all(judge(("before", other.label, event.label)) for other in last):
            groups.append([event])
        elif len(last) == 1 and judge(("while", last[0].label, event.label)):
            last.append(event)
    return groups


class _Lexicon(Mapping[str, Sequence[str]]):
    """What a label may be called: as the clips of this scene are, else as its class is."""

    def __init__(self, truth: SceneTruth, bank: SoundBank) -> None:
        self.here = {event.label: event.phrases for event in truth.events}
        if truth.background is not None:
            self.here[truth.background.label] = truth.background.phrases
        self.bank = bank

    def __getitem__(self, label: str) -> Sequence[str]:
        return self.here[label] if label in self.here else self.bank.phrases(label)

    def __iter__(self) -> Iterator[str]:
        return iter(self.bank.labels)

    def __len__(self) -> int:
        return len(self.bank.labels)


# ---------------------------------------------------------------------------------------------------------------------


# A change makes a content; it is carried out only if it is drawn.
Change = Callable[[], Content]


def hard_negatives(
    content: Content, style: Style, judge: Judge, phrases: _Lexicon, generator: np.random.Generator
) -> list[Negative]:
    """Return up to `negatives_per_kind` negatives of each possible kind; each has a claim that `judge` finds False."""
    negatives: list[Negative] = []
    for kind, changes in KINDS.items():
        by_text: dict[str, Negative] = {}
        for change in _shuffled(changes(content, judge, phrases, generator), generator):
            if len(by_text) == judge.config.negatives_per_kind:
                break
            changed = change()
            if false := tuple(claim for claim in changed.claims() if judge(claim) is False):
                text = say(changed, style, phrases)
                by_text.setdefault(text, Negative(kind, text, false))
        negatives += by_text.values()
    return negatives


def _shuffled(items: list[Any], generator: np.random.Generator) -> list[Any]:
    return [items[number] for number in generator.permutation(len(items))] if len(items) > 1 else items


def _with(content: Content, changed: Mapping[str, Mention]) -> Content:
    """The mentions of these labels replaced."""
    groups = tuple(tuple(changed.get(mention.label, mention) for mention in group) for group in content.groups)
    return Content(groups, content.louder, content.background, content.room)


def _order(content: Content, judge: Judge, phrases: _Lexicon, generator: np.random.Generator) -> list[Change]:
    """Two events of different groups change places."""
    pairs = [(a, b) for x, y in combinations(content.groups, 2) for a in x for b in y]
    return [partial(_with, content, {a.label: b, b.label: a}) for a, b in pairs]


def _overlap(content: Content, judge: Judge, phrases: _Lexicon, generator: np.random.Generator) -> list[Change]:
    """Claim that two consecutive events overlap, or that two overlapping events are consecutive."""
    groups = content.groups
    changed: list[tuple[tuple[Mention, ...], ...]] = []
    for at, group in enumerate(groups):
        if len(group) == 2:
            changed.append((*groups[:at], group[:1], group[1:], *groups[at + 1 :]))
        elif at + 1 < len(groups) and len(groups[at + 1]) == 1:
            changed.append((*groups[:at], (*group, *groups[at + 1]), *groups[at + 2 :]))
    return [partial(Content, new, content.louder, content.background, content.room) for new in changed]


def _attribute(content: Content, judge: Judge, phrases: _Lexicon, generator: np.random.Generator) -> list[Change]:
    """An attribute goes to another event, or turns into its opposite."""
    changes: list[Change] = []
    if content.louder is not None:
        changes.append(partial(replace, content, louder=content.louder[::-1]))
    if content.room is not None:
        changes += [partial(replace, content, room=kind) for kind in ROOMS if kind != content.room]
    for mention in content.mentions:
        if mention.voices is not None:
            other = "different" if mention.voices == "same" else "same"
            changes.append(partial(_with, content, {mention.label: replace(mention, voices=other)}))
        if content.background is not None and mention.label not in (content.louder or ()):
            changes.append(partial(_background_swapped, content, mention))
    for a, b in combinations(content.mentions, 2):
        if a.faint != b.faint:
            moved = {a.label: replace(a, faint=b.faint), b.label: replace(b, faint=a.faint)}
            changes.append(partial(_with, content, moved))
        if a.count != b.count:
            moved = {a.label: replace(a, count=b.count), b.label: replace(b, count=a.count)}
            changes.append(partial(_with, content, moved))
    return changes


def _background_swapped(content: Content, mention: Mention) -> Content:
    """Claim that the event is the background, and that the background is an event in its place."""
    assert content.background is not None
    steady = Mention(content.background, faint=mention.faint)
    return replace(_with(content, {mention.label: steady}), background=mention.label)


def _absent(content: Content, judge: Judge, phrases: _Lexicon, generator: np.random.Generator) -> list[Change]:
    """An event is replaced by one of a class that is nothing like any that sounds."""
    heard = {*judge.events, *([judge.steady] if judge.steady else [])}
    words = {word for label in heard for word in _words(label, phrases)}
    alike = {label for group in judge.config.alike if heard & set(group) for label in group}
    classes = list(phrases.bank.events)
    mentions = content.mentions
    changes: list[Change] = []
    start = int(generator.integers(len(classes)))
    stride = _coprime(int(generator.integers(1, len(classes) + 1)), len(classes))
    for step in range(len(classes)):  # all classes once, in an order that costs no permutation of thousands
        label = classes[(start + step * stride) % len(classes)]
        if label not in heard | alike and words.isdisjoint(_words(label, phrases)):
            mention = mentions[int(generator.integers(len(mentions)))]
            changes.append(partial(_replaced_by, content, mention, label))
            if len(changes) == judge.config.negatives_per_kind:
                break
    return changes


def _coprime(number: int, size: int) -> int:
    while gcd(number, size) > 1:
        number += 1
    return number


def _replaced_by(content: Content, mention: Mention, label: str) -> Content:
    changed = _with(content, {mention.label: replace(mention, label=label, voices=None)})
    if content.louder is None:
        return changed
    first, second = (label if name == mention.label else name for name in content.louder)
    return replace(changed, louder=(first, second))


def _words(label: str, phrases: _Lexicon) -> frozenset[str]:
    """Return the words that name the class: those of its name and of all its phrases."""
    return _split((label.replace("_", " "), *phrases[label]))


@lru_cache(maxsize=1 << 14)
def _split(texts: tuple[str, ...]) -> frozenset[str]:
    return frozenset(" ".join(texts).lower().split()) - SMALL_WORDS


def _count(content: Content, judge: Judge, phrases: _Lexicon, generator: np.random.Generator) -> list[Change]:
    """Another number of times."""
    return [
        partial(_counted, content, mention, count)
        for mention in content.mentions
        if judge.events[mention.label].countable
        for count in range(1, 5)
        if count != judge.events[mention.label].count
    ]


def _counted(content: Content, mention: Mention, count: int) -> Content:
    return _with(content, {mention.label: replace(mention, count=count)})


KINDS: dict[str, Callable[[Content, Judge, _Lexicon, np.random.Generator], list[Change]]] = {
    "order": _order,
    "overlap": _overlap,
    "attribute": _attribute,
    "absent": _absent,
    "count": _count,
}
