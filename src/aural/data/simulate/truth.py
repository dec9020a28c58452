"""The truth record of a scene: what sounds when, how loud, how often, from which clip, by whom, over what, and where.

Times are seconds from the start of the scene and fall on whole samples. Onset and offset bound the *dry* active part of
a sound; a room's tail rings on after the offset.

`level_db` of an event is the RMS of one occurrence as rendered (alone, in its room) from its onset to its offset, in dB
re full scale: 20 log10(sqrt(mean(x^2))), so a full-scale square wave has 0 dB and a full-scale sine -3.01 dB.
`level_dba` is the same with the source clip's A-weighting (IEC 61672-1) added. `snr_db` is `level_db` less the level of
the background, which is its RMS over the whole scene.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import DataError

TRUTH_VERSION = 1


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One sounding of an event: `clip` from its own time `clip_start_s` (within its active part) on."""

    onset_s: float
    offset_s: float
    clip: str
    clip_start_s: float
    speaker: str | None


@dataclass(frozen=True, slots=True)
class LabeledSound:
    """A sound of a scene: its class, the phrases that name it, and its clip."""

    label: str
    phrases: tuple[str, ...]
    clip: str


@dataclass(frozen=True, slots=True)
class Event(LabeledSound):
    """A sound of one class, sounding `count` times. `countable`: each occurrence is heard as a single sound."""

    onset_s: float
    offset_s: float
    level_db: float
    level_dba: float
    snr_db: float | None
    count: int
    countable: bool
    speaker: str | None
    position: int | None
    occurrences: tuple[Occurrence, ...]


@dataclass(frozen=True, slots=True)
class Background(LabeledSound):
    """A sound that lasts for the whole scene, looped from its own time `clip_start_s` on."""

    clip_start_s: float
    level_db: float


@dataclass(frozen=True, slots=True)
class Room:
    """Room number `room` of the bank; `rt60_s` as measured from its impulse responses; a source position per event."""

    kind: str
    room: int
    rt60_s: float
    size_m: tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class SceneTruth:
    """The truth record of a scene; `gain_db` was subtracted from every level to keep the peak below 1."""

    seed: int
    index: int
    duration_s: float
    sample_rate_hz: int
    events: tuple[Event, ...]
    background: Background | None
    room: Room | None
    gain_db: float = 0.0
    version: int = TRUTH_VERSION

    def to_json(self) -> str:
        return json.dumps(_plain(self), default=_plain, ensure_ascii=False, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> SceneTruth:
        values: dict[str, Any] = json.loads(text)
        if values.get("version") != TRUTH_VERSION:
            raise DataError(f"truth record: version {values.get('version')} is not {TRUTH_VERSION}; simulate it again")
        events = tuple(
            Event(**event | {"phrases": tuple(event["phrases"]), "occurrences": _occurrences(event)})
            for event in values.pop("events")
        )
        background, room = values.pop("background"), values.pop("room")
        return cls(
            **values,
            events=events,
            background=background and Background(**background | {"phrases": tuple(background["phrases"])}),
            room=room and Room(**room | {"size_m": tuple(room["size_m"])}),
        )

    def to_facts(self) -> dict[str, Any]:
        """Return the record as plain JSON values, with two derived keys.

        "classes" lists the classes of the events in order of onset and "event_count" is their number. The background
        is not among them.
        """
        record: dict[str, Any] = json.loads(self.to_json())
        return record | {"classes": [event.label for event in self.events], "event_count": len(self.events)}

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> SceneTruth:
        """Return the record that `to_facts` made; other keys are ignored."""
        names = [field.name for field in fields(cls) if field.name in facts]
        return cls.from_json(json.dumps({name: facts[name] for name in names}))

    def shifted(self, gain_db: float) -> SceneTruth:
        """Return the same scene with every level moved by `gain_db`."""
        events = tuple(
            replace(event, level_db=event.level_db + gain_db, level_dba=event.level_dba + gain_db)
            for event in self.events
        )
        background = self.background and replace(self.background, level_db=self.background.level_db + gain_db)
        return replace(self, events=events, background=background, gain_db=self.gain_db + gain_db)


def _plain(record: Any) -> dict[str, Any]:
    return {field.name: getattr(record, field.name) for field in fields(record)}


def _occurrences(event: dict[str, Any]) -> tuple[Occurrence, ...]:
    return tuple(Occurrence(**occurrence) for occurrence in event["occurrences"])


def frame_labels(
    truth: SceneTruth, classes: tuple[str, ...], frame_rate_hz: float, *, background: bool = True
) -> NDArray[np.uint8]:
    """Return (frames, classes) of 0 and 1; frame k spans k to k + 1 frame periods, ceil(duration * rate) frames in all.

    A frame is 1 where any occurrence of the class touches it; a background class is 1 throughout. Classes that do not
    sound stay 0; events of other classes are left out.
    """
    if frame_rate_hz <= 0:
        raise DataError(f"frame rate {frame_rate_hz:g} Hz is not above 0")
    column = {label: number for number, label in enumerate(classes)}
    frames = int(np.ceil(truth.duration_s * frame_rate_hz - 1e-9))
    labels = np.zeros((frames, len(classes)), np.uint8)
    for event in truth.events:
        if event.label in column:
            for occurrence in event.occurrences:
                first = int(np.floor(occurrence.onset_s * frame_rate_hz + 1e-9))
                last = int(np.ceil(occurrence.offset_s * frame_rate_hz - 1e-9))
                labels[first:last, column[event.label]] = 1
    if background and truth.background is not None and truth.background.label in column:
        labels[:, column[truth.background.label]] = 1
    return labels
