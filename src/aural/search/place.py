"""Place hits: say where in its window each hit holds what was searched for, and rank the hits by it.

The model that locates is passed in as a function, so that every embedder can be searched and those with frames placed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final, TypeAlias

from aural.audio.io import read
from aural.core.errors import AudioError, ConfigError
from aural.core.types import AudioSource, Clip
from aural.search.fuse import value
from aural.search.index import Hit
from aural.search.locations import source_of

MOST: Final = 50
"""Hits that are placed; the others keep their place below them."""
WEIGHT: Final = 1.0
"""What a confidence of 1 adds to a hit's rank value. Chosen on validation scenes; see docs/models/locate.md."""


Spot: TypeAlias = "tuple[float, float, float]"
"""Onset and offset in seconds from the start of a sound, and the confidence that a text is heard there."""


def place(
    hits: Sequence[Hit],
    locate: Callable[[AudioSource], Iterable[Spot]],
    on_error: Callable[[AudioError], None] = lambda error: None,
) -> list[Hit]:
    """Return the hits with onset, offset and confidence, ranked again.

    locate: returns the spots of a sound. on_error: receives the error of a hit whose sound cannot be read; the hit is
    kept without a place.
    """
    result = []
    for hit in hits[:MOST]:
        try:
            result.append(placed(hit, locate(window_of(hit))))
        except AudioError as error:
            on_error(error)
            result.append(hit)
    return ranked([*result, *hits[MOST:]])


def window_of(hit: Hit) -> Clip:
    """Return the sound of a hit's window, mono at the rate of the file."""
    return read(source_of(hit.path), mono=True, start_s=hit.start_s, duration_s=hit.end_s - hit.start_s)


def placed(hit: Hit, spots: Iterable[Spot]) -> Hit:
    """Return a hit with its most confident spot; the spots' times are relative to the hit's window."""
    best = max(spots, key=lambda spot: spot[2], default=None)
    if best is None:
        return hit
    onset_s, offset_s, confidence = best
    return replace(hit, onset_s=hit.start_s + onset_s, offset_s=hit.start_s + offset_s, confidence=confidence)


def ranked(hits: Sequence[Hit]) -> list[Hit]:
    """Return hits by the sum of their rank value and `WEIGHT` times their confidence; those after `MOST` stay below."""
    first = sorted(hits[:MOST], key=lambda hit: (-(value(hit) + WEIGHT * (hit.confidence or 0.0)), hit.file))
    return [*first, *hits[MOST:]]


def check_placeable(words: Sequence[str]) -> list[str]:
    """Return the distinct words to locate; ConfigError if there are none."""
    texts = list(dict.fromkeys(text.strip() for text in words if text.strip()))
    if not texts:
        raise ConfigError("hits are placed by words; give words to search for")
    return texts
