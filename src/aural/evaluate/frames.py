"""Frame-wise detection by words: which class sounds in which second, from a model's frames (or windows).

Legend: N clips, S segments, W frames of a clip, K classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import AuralError, DataError
from aural.core.scoring import NEUTRAL, Calibration, label_prompts
from aural.core.types import FloatArray
from aural.evaluate.cards import TaskCard
from aural.evaluate.chance import chance_scores
from aural.evaluate.embedders import frames_of, has_frames
from aural.evaluate.metrics import average_precision
from aural.evaluate.outcome import RUNNERS, Context, Outcome
from aural.evaluate.psds import SETTINGS, Event, psds_arrays
from aural.evaluate.store import source
from aural.evaluate.truth import examples, meta
from aural.evaluate.zero_shot import prompts


@RUNNERS.register("frames/zero-shot")
def frames(context: Context, card: TaskCard) -> Outcome:
    """A segment's vector is the mean of the frames over it, each weighted by its overlap; targets: what sounds in it.

    Segments cover the clip as far as its frames reach; an event touches a segment if they share any time.
    """
    if not has_frames(context.embedder):
        raise DataError("the model gives no frames (embed_frames, or stream_audio with keep_windows)")
    found = examples(card, context.root)
    text = context.store.texts(prompts(card, found.classes, card.prompt))
    neutral = context.store.texts(label_prompts([NEUTRAL], card.prompt))[0]
    calibration = Calibration.of(context.embedder)
    scores, thresholds, targets, units = [], [], [], []
    known: list[list[Event]] = []
    durations: list[float] = []
    for unit, number in enumerate(found.numbers):
        try:
            vectors, times = context.store.frames(
                found.corpus, int(number), lambda n: frames_of(context.embedder, source(found.corpus, n))
            )
        except AuralError as error:
            context.store.unreadable[found.corpus.rows[int(number)].path] = str(error)
            continue
        spread = overlap(times, card.segment_s)  # (S, W)
        segments = spread @ vectors
        scores.append(segments @ text.T)
        thresholds.append(calibration.threshold(segments @ neutral))
        events = meta(found.corpus.rows[int(number)]).get("events", [])
        known.append([(float(a), float(b), found.classes.index(str(c))) for a, b, c in events if c in found.classes])
        durations.append(float(times[:, 1].max()))
        targets.append(touched(events, found.classes, len(spread), card.segment_s))
        units.append(np.full(len(spread), unit))
        context.say(unit + 1, len(found.numbers))
    if not scores:
        raise DataError(f"{found.corpus.folder}: none of its sounds can be read")
    dense = np.unique(np.concatenate(units), return_inverse=True)[1].ravel().astype(np.int64)
    arrays: dict[str, NDArray[Any]] = {
        "scores": np.concatenate(scores).astype(np.float32),
        "threshold": np.concatenate(thresholds).astype(np.float32),
        "targets": np.concatenate(targets),
        "units": dense,
    }
    if set(SETTINGS) & set(card.all_metrics):
        arrays |= psds_arrays(scores, known, durations, card.segment_s)
    outcome = Outcome(arrays, found.classes, per_class_metric="average precision")
    values = average_precision(arrays["targets"], arrays["scores"])
    outcome.per_class = {n: float(v) for n, v in zip(found.classes, values, strict=True) if np.isfinite(v)}
    outcome.chance = chance_scores(card.metric, arrays)
    outcome.details = {"segments": len(dense), "segment_s": card.segment_s}
    return outcome


def overlap(times: NDArray[np.float64], segment_s: float) -> FloatArray:
    """(S, W): the share of each frame in each segment; rows sum to 1. A gap between frames takes the nearest frame."""
    count = max(1, int(np.ceil(times[:, 1].max() / segment_s - 1e-6)))
    starts = np.arange(count) * segment_s
    shared = np.minimum(times[None, :, 1], starts[:, None] + segment_s) - np.maximum(times[None, :, 0], starts[:, None])
    shared = np.maximum(shared, 0)
    centers = np.abs((times[:, 0] + times[:, 1])[None] / 2 - (starts[:, None] + segment_s / 2))
    empty = shared.sum(axis=1) == 0
    shared[empty, centers[empty].argmin(axis=1)] = 1
    return (shared / shared.sum(axis=1, keepdims=True)).astype(np.float32)


def touched(events: list[list[object]], classes: tuple[str, ...], segments: int, segment_s: float) -> NDArray[np.uint8]:
    """(S, K): 1 where an event of the class shares time with the segment."""
    targets = np.zeros((segments, len(classes)), np.uint8)
    for onset, offset, label in events:
        if str(label) in classes:
            first = int(np.floor(float(str(onset)) / segment_s + 1e-6))
            last = max(first + 1, int(np.ceil(float(str(offset)) / segment_s - 1e-6)))
            targets[first:last, classes.index(str(label))] = 1
    return targets
