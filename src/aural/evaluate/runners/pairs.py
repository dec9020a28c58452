"""Choice between a true and a false caption of the same clip.

Legend: N clips, P pairs, E joint dimensions.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TypeAlias

import numpy as np

from aural.core.errors import DataError
from aural.core.types import FloatArray
from aural.evaluate.examples import LoadedTask, captions, meta
from aural.evaluate.kinds import KINDS
from aural.evaluate.outcome import Context, Outcome, units_of

PairItem: TypeAlias = tuple[int, str, str, str]
"""Number of a clip, true text, false text, kind of question."""


@KINDS["pairs"].runner("zero-shot")
def pairs(context: Context, task: LoadedTask) -> Outcome:
    """Score each (true, false) pair of captions; the margin is the true caption's cosine minus the false one's.

    The manifest's rows hold the true caption first in `captions`, and `negatives` in meta: [[kind, text], ...].
    """
    card = task.card
    clips, audio = context.readable(task.test)
    items: list[PairItem] = []
    for n, one in enumerate(clips.rows):
        for kind, text in meta(one).get("negatives", ()):
            if not card.pair_kinds or kind in card.pair_kinds:
                items.append((n, captions(one, card)[0], str(text), str(kind)))
    if not items:
        raise DataError(f"{clips.corpus.folder}: no clip has a false caption of kind {', '.join(card.pair_kinds)}")
    outcome = pair_outcome(context, clips.ids, audio, items)
    outcome.per_class = dict(sorted(outcome.per_class.items()))
    return outcome


def pair_outcome(
    context: Context,
    ids: Sequence[str],
    audio: FloatArray,
    items: Sequence[PairItem],
    *,
    scored: Collection[str] = (),
) -> Outcome:
    """Return the margins of pairs of texts, and the pair accuracy of each kind; a tie counts half.

    ids (N) and audio (N, E): Clips with their embeddings.
    scored: The kinds whose pairs count for the task; empty for all.
    """
    clip = np.array([item[0] for item in items])
    kinds = np.array([item[3] for item in items])
    true = context.cache.texts([item[1] for item in items])
    false = context.cache.texts([item[2] for item in items])
    margin = np.sum(audio[clip] * (true - false), axis=1).astype(np.float64)
    counts = np.isin(kinds, tuple(scored)) if scored else np.ones(len(items), dtype=bool)
    unit_ids = tuple(ids[n] for n in np.unique(clip))
    outcome = Outcome({"margin": margin[counts], "units": units_of(clip[counts])}, unit_ids, chance=0.5)
    for kind in dict.fromkeys(kinds):
        of_kind = margin[kinds == kind]
        outcome.per_class[str(kind)] = float(np.mean((of_kind > 0) + 0.5 * (of_kind == 0)))
    outcome.per_class_metric = "pair accuracy"
    return outcome
