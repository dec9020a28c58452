"""Find the same recording inside other files by fingerprints of their segments, and say where.

Legend: S segments, E dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import AuralError
from aural.core.types import FloatArray
from aural.search.library import Library
from aural.search.locations import source_of

ALIKE: Final = 0.6
"""Least cosine of two segments that can be the same sound."""
SURE: Final = 0.85
"""Least mean cosine of a run of one segment; a run of n needs SURE - (SURE - ALIKE) (1 - 1 / n)."""
BLOCK_ROWS: Final = 2048
GAP: Final = 3
"""Largest distance of segments of one run, in segments."""


class Prints(NamedTuple):
    """The fingerprints of a sound: unit rows (S, E), and the starts (S,) of their segments in seconds."""

    rows: FloatArray
    starts_s: FloatArray


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A part of one sound that is heard in another one.

    at_s and inside_at_s: where the part starts in the sound and in the other one. duration_s: from the start of the
    first segment to the end of the last one. cosine: mean of the segments.
    """

    sound: int
    inside: int
    at_s: float
    inside_at_s: float
    duration_s: float
    cosine: float
    segments: int


def occurrences(sounds: Sequence[Prints], *, segment_s: float, hop_s: float) -> list[Occurrence]:
    """Return the parts of sounds that are heard in other sounds, each pair once: the shorter sound inside the longer.

    Every segment is compared with all of the others in blocks, so memory is bounded by the fingerprints.
    """
    owner = np.repeat(np.arange(len(sounds)), [len(one.rows) for one in sounds])
    if not len(owner):
        return []
    rows = np.concatenate([one.rows for one in sounds])
    ticks = np.rint(np.concatenate([one.starts_s for one in sounds]) / hop_s).astype(np.int64)
    hits = list[NDArray[np.float64]]()
    for first in range(0, len(rows), BLOCK_ROWS):
        for second in range(first, len(rows), BLOCK_ROWS):
            cosines = rows[first : first + BLOCK_ROWS] @ rows[second : second + BLOCK_ROWS].T
            left, right = np.nonzero(cosines >= ALIKE)
            values = cosines[left, right]
            left, right = left + first, right + second
            keep = owner[left] < owner[right]
            hits.append(np.stack([left[keep], right[keep], values[keep]], 1))
    table = np.concatenate(hits)
    pairs = table[:, :2].astype(np.int64)
    codes = owner[pairs[:, 0]] * len(sounds) + owner[pairs[:, 1]]
    parts = list[Occurrence]()
    order = np.argsort(codes, kind="stable")
    for part in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
        if len(part):
            left, right = pairs[part].T
            run = longest_run(ticks[left], ticks[right], table[part, 2])
            if run is not None:
                lengths = [len(sounds[int(owner[i])].rows) for i in (left[0], right[0])]
                parts.append(_occurrence(run, int(owner[left[0]]), int(owner[right[0]]), lengths, segment_s, hop_s))
    return sorted(parts, key=lambda one: (-one.duration_s, -one.cosine, one.sound, one.inside))


class Run(NamedTuple):
    """Segments of two sounds in the same order: their first ticks, the ticks from first to last, and their cosine."""

    left: int
    right: int
    ticks: int
    cosine: float
    segments: int


def longest_run(left: NDArray[np.int64], right: NDArray[np.int64], cosines: NDArray[np.float64]) -> Run | None:
    """Return the run with the largest sum of cosines above `ALIKE`, or None if none is sure enough.

    left and right: ticks of pairs of like segments. A run holds pairs whose distance `right - left` differs by at most
    one tick and that are at most `GAP` ticks apart.
    """
    best: tuple[float, Run] | None = None
    shifts = right - left
    for shift in np.unique(shifts):
        here = np.flatnonzero((shifts == shift) | (shifts == shift + 1))
        # per segment of the left sound the better of the two
        here = here[np.lexsort((-cosines[here], left[here]))]
        here = here[np.r_[True, np.diff(left[here]) > 0]]
        for part in np.split(here, np.flatnonzero(np.diff(left[here]) > GAP) + 1):
            mean, count = float(cosines[part].mean()), len(part)
            if mean < SURE - (SURE - ALIKE) * (1 - 1 / count):
                continue
            weight = float((cosines[part] - ALIKE).sum())
            if best is None or weight > best[0]:
                ticks = int(left[part[-1]] - left[part[0]])
                best = weight, Run(int(left[part[0]]), int(right[part[0]]), ticks, mean, count)
    return None if best is None else best[1]


def _occurrence(
    run: Run, first: int, second: int, lengths: Sequence[int], segment_s: float, hop_s: float
) -> Occurrence:
    """Return a run as the shorter sound inside the longer one."""
    sounds, ticks = [first, second], [run.left, run.right]
    if lengths[0] > lengths[1]:
        sounds.reverse()
        ticks.reverse()
    duration_s = run.ticks * hop_s + segment_s
    at_s, inside_at_s = (tick * hop_s for tick in ticks)
    return Occurrence(sounds[0], sounds[1], at_s, inside_at_s, duration_s, run.cosine, run.segments)


def library_prints(
    library: Library, prints_of: Callable[[Any], tuple[FloatArray, FloatArray]]
) -> Iterator[tuple[str, Prints | AuralError]]:
    """Yield the path of every file of a library with its fingerprints, or with the error that skips it.

    prints_of: returns rows and starts of one sound (`aural.models.segment_prints.segment_prints`).
    """
    for path in sorted(file.path for file in library.files().values()):
        try:
            yield path, Prints(*prints_of(source_of(path)))
        except AuralError as error:
            yield path, error
