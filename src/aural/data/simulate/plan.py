"""Plan the events of a scene before any sample is computed: a pure function of sounds, settings and a generator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from aural.core.errors import DataError
from aural.data.simulate.config import SceneConfig
from aural.data.simulate.room import SimulatedRoom
from aural.data.simulate.sounds import FRAME_S, Sound, SoundBank
from aural.data.simulate.truth import Background, Event, Occurrence, Room, SceneTruth

# All times below are whole samples. A take is a stretch of a sound, a part is one event to be, starting at 0.


@dataclass(frozen=True, slots=True)
class Take:
    sound: Sound
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Part:
    """An event with its takes and their onsets from its own start."""

    takes: tuple[Take, ...]
    onsets: tuple[int, ...]

    @property
    def span(self) -> int:
        return self.onsets[-1] + self.takes[-1].length

    @property
    def label(self) -> str:
        return self.takes[0].sound.label


Group = list[tuple[Part, int]]  # parts that sound together, each with its onset in the group


def plan_scene(
    bank: SoundBank,
    pool: Mapping[str, list[Sound]],
    rooms: Sequence[SimulatedRoom],
    config: SceneConfig,
    generator: np.random.Generator,
    seed: int = 0,
    index: int = 0,
) -> SceneTruth:
    """Draw the truth of one scene, its events from `pool` (see `usable`).

    Sounds stand alone or in overlapping pairs; groups follow one another with a pause. What does not fit is given up in
    this order: repetitions, then events down to the fewest allowed, then length.
    """
    rate = config.sample_rate_hz
    total = round(generator.uniform(*config.duration_s) * rate)
    wanted = min(int(generator.integers(config.events[0], config.events[1] + 1)), len(pool))
    labels = _draw_labels(pool, wanted, config, generator)
    parts = [_draw_part(pool[label], config, generator) for label in labels]
    groups = _fit(_pair_up(parts, config, generator), total, config, generator)
    placed = _place(groups, total, config, generator)
    background, background_snr = _draw_background(bank, labels, config, generator)
    room = rooms[int(generator.integers(len(rooms)))] if rooms and generator.random() < config.room_chance else None
    positions = generator.permutation(len(room.responses)) if room else None
    levels = _draw_levels(groups, config, generator)
    floor = min(levels.values()) - background_snr if background else None
    events = [
        _event(part, at, levels[part.label], floor, positions, number, rate)
        for number, (part, at) in enumerate(placed)
    ]  # fmt: skip
    return SceneTruth(
        seed=seed,
        index=index,
        duration_s=total / rate,
        sample_rate_hz=rate,
        events=tuple(sorted(events, key=lambda event: (event.onset_s, event.label))),
        background=None if background is None or floor is None else replace(background, level_db=floor),
        room=None if room is None else Room(room.kind, list(rooms).index(room), room.rt60_s, room.size_m),
    )


def usable(bank: SoundBank, config: SceneConfig) -> dict[str, list[Sound]]:
    """Return the sounds of each class that are long enough for an event; DataError if these are too few classes."""
    labels = config.classes or tuple(bank.events)
    shortest = round(config.event_s[0] * config.sample_rate_hz)
    pool = {
        label: [sound for sound in bank.events.get(label, ()) if len(sound.samples) >= shortest] for label in labels
    }
    pool = {label: sounds for label, sounds in pool.items() if sounds}
    if len(pool) < config.events[0]:
        raise DataError(
            f"only {len(pool)} classes have a sound of {config.event_s[0]:g} s or more, but every scene holds at least "
            f"{config.events[0]} events of different classes; add clips or lower events or event_s"
        )
    return pool


def _draw_labels(
    pool: Mapping[str, list[Sound]], count: int, config: SceneConfig, generator: np.random.Generator
) -> list[str]:
    shares = None
    if config.class_exponent:
        weights = np.arange(1, len(pool) + 1, dtype=np.float64) ** -config.class_exponent
        shares = weights / weights.sum()
    chosen = generator.choice(len(pool), size=count, replace=False, p=shares)
    names = list(pool)
    return [names[number] for number in chosen]


def _draw_part(sounds: list[Sound], config: SceneConfig, generator: np.random.Generator) -> Part:
    """One sound, or one repeated; a voice repeats in other words of the same speaker or in other speakers' voices."""
    first = sounds[int(generator.integers(len(sounds)))]
    takes = [_cut(first, config, generator)]
    if (first.single or first.speaker is not None) and generator.random() < config.repeat_chance:
        count = int(generator.integers(config.repetitions[0], config.repetitions[1] + 1))
        for sound in _again(first, sounds, count - 1, generator):
            takes.append(takes[0] if sound is first else _cut(sound, config, generator))
    gaps = generator.uniform(*config.repetition_gap_s, len(takes)) * config.sample_rate_hz
    return _lay(takes, [round(gap) for gap in gaps])


def _again(first: Sound, sounds: list[Sound], count: int, generator: np.random.Generator) -> list[Sound]:
    if first.speaker is None:
        return [first] * count
    others = [sound for sound in sounds if sound.speaker not in (None, first.speaker)]
    speakers = list(dict.fromkeys(sound.speaker for sound in others))
    if len(speakers) >= count and generator.random() < 0.5:
        chosen = [speakers[number] for number in generator.permutation(len(speakers))[:count]]
        pools = [[sound for sound in others if sound.speaker == speaker] for speaker in chosen]
        return [pool[int(generator.integers(len(pool)))] for pool in pools]
    same_speaker = [sound for sound in sounds if sound.speaker == first.speaker and sound is not first] or [first]
    return [same_speaker[int(generator.integers(len(same_speaker)))] for _ in range(count)]


def _cut(sound: Sound, config: SceneConfig, generator: np.random.Generator) -> Take:
    longest = round(config.event_s[1] * config.sample_rate_hz)
    length = len(sound.samples)
    start = 0
    if length > 2 * longest:  # a long texture: from anywhere that sounds
        frame = round(FRAME_S * config.sample_rate_hz)
        starts = np.flatnonzero(sound.active[: (length - longest) // frame])
        start = frame * int(starts[int(generator.integers(len(starts)))])
    return _shorten(Take(sound, start, length - start), longest, config.sample_rate_hz)


def _shorten(take: Take, longest: int, rate: int) -> Take:
    """At most `longest` samples, ending with an active frame."""
    if take.length <= longest:
        return take
    frame = round(FRAME_S * rate)
    first = take.start // frame
    active = np.flatnonzero(take.sound.active[first : first + max(1, longest // frame)])
    return replace(take, length=min(longest, frame * (int(active[-1]) + 1)))


def _lay(takes: list[Take], gaps: list[int]) -> Part:
    """The takes one after the other, each followed by its gap."""
    onsets = [0]
    for take, gap in zip(takes[:-1], gaps, strict=False):
        onsets.append(onsets[-1] + take.length + gap)
    return Part(tuple(takes), tuple(onsets))


def _pair_up(parts: list[Part], config: SceneConfig, generator: np.random.Generator) -> list[Group]:
    """Groups of one part, or of two that overlap, each with its onset in the group."""
    groups: list[Group] = []
    left = list(parts)
    while left:
        together = [left.pop(0)]
        if left and generator.random() < config.overlap_chance:
            together.append(left.pop(0))
        groups.append(_grouped(together, config, generator))
    return groups


def _grouped(parts: list[Part], config: SceneConfig, generator: np.random.Generator) -> Group:
    return [(parts[0], 0), *((other, _offset(parts[0], other, config, generator)) for other in parts[1:])]


def _offset(part: Part, other: Part, config: SceneConfig, generator: np.random.Generator) -> int:
    """An onset for `other` at which the two sound together for long enough; 0 always does."""
    need = _need(part, other, config)
    for _ in range(8):
        at = int(generator.integers(0, max(1, part.span - need)))
        if _together(part, other, at) >= need:
            return at
    return 0


def _need(part: Part, other: Part, config: SceneConfig) -> int:
    """Half of the shortest take, at most the margin; one sample over, so that rounding never undoes it."""
    shortest = min(take.length for take in part.takes + other.takes)
    return min(round(config.overlap_margin_s * config.sample_rate_hz), -(-shortest // 2)) + 1


def _together(part: Part, other: Part, at: int) -> int:
    return sum(
        max(0, min(a + take.length, b + at + mate.length) - max(a, b + at))
        for a, take in zip(part.onsets, part.takes, strict=True)
        for b, mate in zip(other.onsets, other.takes, strict=True)
    )


def _fit(groups: list[Group], total: int, config: SceneConfig, generator: np.random.Generator) -> list[Group]:
    """Groups that fit: without repetitions if need be, then closer together, fewer, and last of all shorter."""
    pause = round(config.order_margin_s * config.sample_rate_hz) + 1

    def needed() -> int:
        return sum(_span(group) for group in groups) + pause * (len(groups) - 1)

    if needed() > total:
        once = [[_lay([part.takes[0]], []) for part, _ in group] for group in groups]
        groups = [_grouped(parts, config, generator) for parts in once]
    if needed() > total:
        groups = [[(part, 0) for part, _ in group] for group in groups]
    while needed() > total and sum(map(len, groups)) > config.events[0]:
        groups[-1].pop()
        groups = [group for group in groups if group]
    if needed() > total:
        share = (total - pause * (len(groups) - 1)) // len(groups)
        rate = config.sample_rate_hz
        groups = [[(_lay([_shorten(part.takes[0], share, rate)], []), 0) for part, _ in group] for group in groups]
    return groups


def _span(group: list[tuple[Part, int]]) -> int:
    return max(at + part.span for part, at in group)


def _place(
    groups: list[Group], total: int, config: SceneConfig, generator: np.random.Generator
) -> list[tuple[Part, int]]:
    """Every part with its onset in the scene: the time left over is shared out at random around the groups."""
    pause = round(config.order_margin_s * config.sample_rate_hz) + 1
    slack = total - sum(_span(group) for group in groups) - pause * (len(groups) - 1)
    shares = np.floor(generator.dirichlet(np.ones(len(groups) + 1)) * slack).astype(int)
    placed, at = [], int(shares[0])
    for group, share in zip(groups, shares[1:], strict=True):
        placed += [(part, at + offset) for part, offset in group]
        at += _span(group) + pause + int(share)
    return placed


def _draw_levels(groups: list[Group], config: SceneConfig, generator: np.random.Generator) -> dict[str, float]:
    levels: dict[str, float] = {}
    for group in groups:
        drawn = [float(generator.uniform(*config.level_db)) for _ in group]
        floor = max(drawn) - config.pair_level_db
        levels |= {part.label: max(level, floor) for (part, _), level in zip(group, drawn, strict=True)}
    return levels


def _draw_background(
    bank: SoundBank, labels: list[str], config: SceneConfig, generator: np.random.Generator
) -> tuple[Background | None, float]:
    choices = [sound for sound in bank.backgrounds if sound.label not in labels]
    if not choices or generator.random() >= config.background_chance:
        return None, 0.0
    sound = choices[int(generator.integers(len(choices)))]
    start = int(generator.integers(len(sound.samples)))
    snr_db = float(generator.uniform(*config.background_snr_db))
    return Background(sound.label, sound.phrases, sound.clip, start / config.sample_rate_hz, 0.0), snr_db


def _event(
    part: Part,
    at: int,
    level_db: float,
    floor: float | None,
    positions: np.ndarray[tuple[int], np.dtype[np.int64]] | None,
    number: int,
    rate: int,
) -> Event:
    first = part.takes[0].sound
    speakers = {take.sound.speaker for take in part.takes}
    same_words = all(take.sound.phrases == first.phrases for take in part.takes)
    occurrences = tuple(
        Occurrence(
            onset_s=(at + onset) / rate,
            offset_s=(at + onset + take.length) / rate,
            clip=take.sound.clip,
            clip_start_s=take.start / rate,
            speaker=take.sound.speaker,
        )
        for onset, take in zip(part.onsets, part.takes, strict=True)
    )
    return Event(
        label=first.label,
        phrases=first.phrases if same_words else (first.label.replace("_", " "),),
        clip=first.clip,
        onset_s=at / rate,
        offset_s=(at + part.span) / rate,
        level_db=level_db,
        level_dba=level_db + first.weighting_db,
        snr_db=None if floor is None else level_db - floor,
        count=len(part.takes),
        countable=all(take.sound.single for take in part.takes),
        speaker=first.speaker if len(speakers) == 1 else None,
        position=None if positions is None else int(positions[number % len(positions)]),
        occurrences=occurrences,
    )
