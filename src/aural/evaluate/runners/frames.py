"""Frame-wise detection by words: which class sounds in which second, from a model's frames or windows.

Legend: N clips, S segments, W frames of a clip, K classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import AuralError, DataError
from aural.core.scoring import Calibration
from aural.core.types import FloatArray
from aural.evaluate.adapters.embedders import frames_of
from aural.evaluate.examples import LoadedTask, meta
from aural.evaluate.kinds import KINDS
from aural.evaluate.metrics.chance import chance_scores
from aural.evaluate.metrics.labels import average_precision
from aural.evaluate.metrics.psds import SETTINGS, Event, psds_arrays
from aural.evaluate.outcome import Context, Outcome, units_of
from aural.evaluate.runners.label_outcome import neutral_vector, prompts


@KINDS["frames"].runner("zero-shot")
def frames(context: Context, task: LoadedTask) -> Outcome:
    """Score segments by the mean of the frames over them, each weighted by its overlap.

    Segments cover the clip as far as its frames reach. An event belongs to every segment that it shares time with.
    """
    card, clips = task.card, task.test
    text = context.cache.texts(prompts(card, clips.classes, card.prompt))
    neutral = neutral_vector(context, card.prompt)
    calibration = Calibration.of(context.embedder)
    scores, thresholds, targets, units = [], [], [], []
    truth: list[list[Event]] = []
    durations: list[float] = []
    for unit, number in enumerate(clips.numbers):
        try:
            vectors, times = context.cache.frames(
                clips.corpus, int(number), lambda n: frames_of(context.embedder, clips.corpus.source(n))
            )
        except AuralError as error:
            context.cache.unreadable[clips.corpus.rows[int(number)].path] = str(error)
            continue
        shares = overlap(times, card.segment_s)
        segments: FloatArray = shares @ vectors
        scores.append(segments @ text.T)
        cosines: FloatArray = segments @ neutral
        thresholds.append(calibration.threshold(cosines))
        events = meta(clips.corpus.rows[int(number)]).get("events", [])
        truth.append([(float(a), float(b), clips.classes.index(str(c))) for a, b, c in events if c in clips.classes])
        durations.append(float(times[:, 1].max()))
        targets.append(segment_targets(events, clips.classes, len(shares), card.segment_s))
        units.append(np.full(len(shares), unit))
        context.say(unit + 1, len(clips.numbers))
    if not scores:
        raise DataError(f"{clips.corpus.folder}: none of its sounds can be read")
    unit_of_segment = np.concatenate(units)
    arrays: dict[str, NDArray[Any]] = {
        "scores": np.concatenate(scores).astype(np.float32),
        "threshold": np.concatenate(thresholds).astype(np.float32),
        "targets": np.concatenate(targets),
        "units": units_of(unit_of_segment),
    }
    if set(SETTINGS) & set(card.all_metrics):
        arrays |= psds_arrays(scores, truth, durations, card.segment_s)
    ids = clips.ids
    unit_ids = tuple(ids[n] for n in np.unique(unit_of_segment))
    outcome = Outcome(arrays, unit_ids, clips.classes, per_class_metric="average precision")
    values = average_precision(arrays["targets"], arrays["scores"])
    outcome.per_class = {n: float(v) for n, v in zip(clips.classes, values, strict=True) if np.isfinite(v)}
    outcome.chance = chance_scores(card.metric, arrays)
    outcome.details = {"segments": len(unit_of_segment), "segment_s": card.segment_s}
    return outcome


def overlap(times: NDArray[np.float64], segment_s: float) -> FloatArray:
    """Return the share (S, W) of each frame in each segment, from frame times (W, 2) in seconds; rows sum to 1.

    A segment in a gap between frames takes the nearest frame.
    """
    count = max(1, int(np.ceil(times[:, 1].max() / segment_s - 1e-6)))
    starts = np.arange(count) * segment_s
    shared = np.minimum(times[None, :, 1], starts[:, None] + segment_s) - np.maximum(times[None, :, 0], starts[:, None])
    shared = np.maximum(shared, 0)
    centers = np.abs((times[:, 0] + times[:, 1])[None] / 2 - (starts[:, None] + segment_s / 2))
    empty = shared.sum(axis=1) == 0
    shared[empty, centers[empty].argmin(axis=1)] = 1
    return (shared / shared.sum(axis=1, keepdims=True)).astype(np.float32)


def segment_targets(
    events: list[list[object]], classes: tuple[str, ...], segments: int, segment_s: float
) -> NDArray[np.uint8]:
    """Return targets (S, K): 1 where an event [onset_s, offset_s, class] shares time with the segment."""
    targets = np.zeros((segments, len(classes)), np.uint8)
    for onset, offset, label in events:
        if str(label) in classes:
            first = int(np.floor(float(str(onset)) / segment_s + 1e-6))
            last = max(first + 1, int(np.ceil(float(str(offset)) / segment_s - 1e-6)))
            targets[first:last, classes.index(str(label))] = 1
    return targets
