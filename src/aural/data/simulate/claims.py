"""The claims of a caption about a scene, and whether they are true.

A claim is a tuple that JSON can store: ("present", a), ("before", a, b), ("while", a, b), ("count", a, n),
("louder", a, b), ("faint", a), ("voices", a, "same" | "different"), ("background", a), ("room", kind), where a and b
are labels. `Judge` evaluates it with the margins of the settings: True, False, or None where the scene is too near the
line for anyone to say.
"""

from __future__ import annotations

from dataclasses import dataclass

from aural.data.simulate.config import SceneConfig
from aural.data.simulate.truth import Event, SceneTruth

Claim = tuple[str | int, ...]
TINY_S = 1e-6


@dataclass(frozen=True, slots=True)
class Mention:
    """An event as a caption mentions it; `count` and `voices` are None when they are left unsaid."""

    label: str
    count: int | None = None
    voices: str | None = None
    faint: bool = False


@dataclass(frozen=True, slots=True)
class Content:
    """The content of one caption. `groups` are in the order of time; the mentions of one group sound together."""

    groups: tuple[tuple[Mention, ...], ...]
    louder: tuple[str, str] | None = None
    background: str | None = None
    room: str | None = None

    @property
    def mentions(self) -> tuple[Mention, ...]:
        return tuple(mention for group in self.groups for mention in group)

    def claims(self) -> tuple[Claim, ...]:
        claims: list[Claim] = [("present", mention.label) for mention in self.mentions]
        for number, group in enumerate(self.groups):
            claims += [("while", a.label, b.label) for at, a in enumerate(group) for b in group[at + 1 :]]
            claims += [
                ("before", a.label, b.label) for a in group for later in self.groups[number + 1 :] for b in later
            ]
        for mention in self.mentions:
            if mention.count is not None:
                claims.append(("count", mention.label, mention.count))
            if mention.voices is not None:
                claims.append(("voices", mention.label, mention.voices))
            if mention.faint:
                claims.append(("faint", mention.label))
        if self.louder is not None:
            claims.append(("louder", *self.louder))
        if self.background is not None:
            claims.append(("background", self.background))
        if self.room is not None:
            claims.append(("room", self.room))
        return tuple(claims)


class Judge:
    """Says of any claim whether it is true of one scene; None: neither clearly true nor clearly false."""

    def __init__(self, truth: SceneTruth, config: SceneConfig) -> None:
        self.truth, self.config = truth, config
        self.events = {event.label: event for event in truth.events}
        self.steady = truth.background.label if truth.background is not None else None
        self._verdicts: dict[Claim, bool | None] = {}

    def __call__(self, claim: Claim) -> bool | None:
        if claim not in self._verdicts:
            self._verdicts[claim] = self._judge(claim)
        return self._verdicts[claim]

    def _judge(self, claim: Claim) -> bool | None:
        kind, *arguments = claim
        if kind == "room":
            return self.truth.room is not None and self.truth.room.kind == arguments[0]
        if kind == "background":
            return True if arguments[0] == self.steady else None if arguments[0] in self.events else False
        names = [str(name) for name in arguments[: 2 if kind in ("before", "while", "louder") else 1]]
        if any(name not in self.events and name != self.steady for name in names):
            return False
        if kind == "present":
            return True
        if self.steady in names:  # it sounds throughout: with everything, before nothing
            return True if kind == "while" else False if kind in ("before", "count") else None
        first, *rest = (self.events[name] for name in names)
        if kind == "before":
            return _before(first, rest[0], self.config)
        if kind == "while":
            return _together(first, rest[0], self.config)
        if kind == "louder":
            return _louder(first, rest[0], self.config.loudness_margin_db)
        if kind == "faint":
            return _faint(first, self.truth, self.config)
        if kind == "count":
            return first.count == arguments[1] if first.countable else None
        assert kind == "voices", kind
        return _voices(first, str(arguments[1]))


def _before(first: Event, second: Event, config: SceneConfig) -> bool | None:
    if _separate(first, second, config):
        return True
    return False if _separate(second, first, config) or _together(first, second, config) else None


def _separate(first: Event, second: Event, config: SceneConfig) -> bool:
    return second.onset_s - first.offset_s >= config.order_margin_s - TINY_S


def _together(first: Event, second: Event, config: SceneConfig) -> bool | None:
    if _separate(first, second, config) or _separate(second, first, config):
        return False
    pairs = [(a, b) for a in first.occurrences for b in second.occurrences]
    overlap_s = sum(max(0.0, min(a.offset_s, b.offset_s) - max(a.onset_s, b.onset_s)) for a, b in pairs)
    shortest_s = min(o.offset_s - o.onset_s for o in first.occurrences + second.occurrences)
    return True if overlap_s >= min(config.overlap_margin_s, shortest_s / 2) - TINY_S else None


def _louder(first: Event, second: Event, margin_db: float) -> bool | None:
    """By the margin in plain and in A-weighted level: neither a boomy nor a shrill sound wins by one of them alone."""
    differences = (first.level_db - second.level_db, first.level_dba - second.level_dba)
    return True if min(differences) >= margin_db else False if max(differences) <= -margin_db else None


def _faint(event: Event, truth: SceneTruth, config: SceneConfig) -> bool | None:
    if any(_louder(other, event, config.faint_margin_db) for other in truth.events):
        return True
    loudest = all(event.level_db >= other.level_db and event.level_dba >= other.level_dba for other in truth.events)
    return False if loudest else None


def _voices(event: Event, claimed: str) -> bool | None:
    speakers = [occurrence.speaker for occurrence in event.occurrences]
    if None in speakers or len(speakers) < 2:
        return None
    if claimed == "same":
        return len(set(speakers)) == 1
    return len(set(speakers)) == len(speakers) if len(set(speakers)) in (1, len(speakers)) else None
