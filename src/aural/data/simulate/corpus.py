"""Clips for scenes out of a manifest."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Literal

from aural.audio.io import read
from aural.core.errors import DataError
from aural.data.manifest import Manifest, Row
from aural.data.simulate.sounds import LabelledClip

LASTING = (
    "rain", "wind", "sea waves", "stream", "waterfall", "forest", "night", "crowd", "traffic", "fire", "crickets",
    "water flowing", "river", "fire crackling",
)  # fmt: skip
FRAME = re.compile(
    r"^(?:(?:this|here|there) is|(?:you can|one) hears?|(?:the|a|an)(?: single)? "
    r"(?:sound|recording|audio clip|sound clip|note)(?: played)?(?: of| on|:)) | can be heard$",
    re.IGNORECASE,
)
SENTENCE = re.compile(r" (?:is|are|plays?|was|were|can|says) ")


def clips_of(
    manifest: Manifest,
    sample_rate_hz: int,
    *,
    split: str | Collection[str] = "train",
    backgrounds: Collection[str] = LASTING,
    longest_s: float = 20.0,
    per_class: int | None = None,
) -> list[LabelledClip]:
    """Read the clips of one split, decoded to mono and resampled; longer sounds are read up to `longest_s`.

    A clip's class is its `class_name` (else its `label`), and "speech" in each language is a separate class. Classes
    in `backgrounds` become backgrounds. At most `per_class` clips of each class, the first ones, are taken. Rows
    without a name are passed over. Raises DataError if nothing is left.
    """
    taken: dict[str, int] = {}
    clips = []
    for row in manifest.filter(split=[split] if isinstance(split, str) else list(split)):
        label = label_of(row)
        if not label or (per_class is not None and taken.get(label, 0) >= per_class):
            continue
        taken[label] = taken.get(label, 0) + 1
        length_s = min(row.duration_s or longest_s, longest_s)
        sound = read(
            manifest.file(row), sample_rate_hz=sample_rate_hz, mono=True, start_s=row.start_s, duration_s=length_s
        )
        role: Literal["event", "background"] = "background" if label in backgrounds else "event"
        name = row.path + (f"#{row.start_s:g}" if row.start_s else "")
        clips.append(LabelledClip(sound.samples[0], label, name, phrases_of(row), role, row.speaker or None))
    if not clips:
        raise DataError(f"{manifest.folder}: the manifest has no named clip in split {split}; choose another split")
    return clips


def label_of(row: Row) -> str:
    """Return the class that a clip belongs to in scenes."""
    name = row.class_name or row.label
    return f"{name} ({row.language})" if row.language and row.transcript else name


def phrases_of(row: Row) -> tuple[str, ...]:
    """Return what a caption may call the clip: the noun phrases within its short captions, else its label."""
    if row.language:
        return (row.caption_label,) if row.caption_label else ()
    texts = (
        (row.caption_short, *row.captions) if row.caption_short else ()
    )  # captions without a short one may be long stories
    candidates = (noun_phrase(text) for text in texts)
    phrases = dict.fromkeys(text for text in candidates if text and len(text.split()) < 9)
    return tuple(phrases) or ((row.caption_label,) if row.caption_label else ())


def noun_phrase(caption: str) -> str:
    """Return the noun phrase: "You can hear a hen clucking." -> "a hen clucking"; "" if a sentence remains."""
    text = FRAME.sub("", caption.strip().rstrip("."))
    return "" if SENTENCE.search(text) else text[:1].lower() + text[1:]
