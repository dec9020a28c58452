"""Questions about scenes with answers from their truth, each a choice among statements.

The chosen answer is the one whose statement has the highest cosine with the sound. A model whose least cosine of a
match was measured answers questions about presence as `aural ask` does by vectors: yes if the sound's name reaches
`Calibration.presence_limit`. The control asks the same questions with the sound of the next scene: an answer that
needs no listening stays right.

Legend: N scenes, Q questions, O options, E joint dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import DataError
from aural.core.scoring import Calibration
from aural.core.types import FloatArray
from aural.evaluate.examples import LoadedTask, meta
from aural.evaluate.kinds import KINDS
from aural.evaluate.outcome import Context, Outcome, units_of
from aural.evaluate.stats import paired_mean_interval

Asked: TypeAlias = dict[str, Any]
"""A question of the manifest, see `aural.data.simulate.statements.StoredQuestion`."""


@KINDS["scene-questions"].runner("zero-shot")
def scene_questions(context: Context, task: LoadedTask) -> Outcome:
    """Score the questions of each clip; details hold each kind's accuracy with interval, and the control.

    The manifest's rows hold `questions` in meta. Raises DataError if no clip has questions, or only one clip is there.
    """
    clips, audio = context.readable(task.test)
    asked = [(n, one) for n, row in enumerate(clips.rows) for one in meta(row).get("questions", ())]
    if not asked:
        raise DataError(
            f"{clips.corpus.folder}: no clip has questions in meta; delete the folder to have the scenes built again"
        )
    if len(audio) < 2:
        raise DataError(f"{clips.corpus.folder}: the control needs at least two clips")
    scene = np.array([n for n, _ in asked])
    questions = [one for _, one in asked]
    right = np.array([one["right"] for one in questions], np.int64)
    picked = choices(context, questions, audio[scene])
    correct = (picked == right).astype(np.float64)
    other = (choices(context, questions, audio[(scene + 1) % len(audio)]) == right).astype(np.float64)
    kinds = np.array([one["kind"] for one in questions])
    outcome = Outcome(
        {"targets": right, "predicted": picked, "units": units_of(scene)},
        tuple(clips.ids[n] for n in np.unique(scene)),
        chance=float(np.mean([1 / len(one["options"]) for one in questions])),
    )
    for kind in sorted(set(kinds.tolist())):
        at = kinds == kind
        outcome.per_class[kind] = float(correct[at].mean())
        outcome.details[kind] = {
            "questions": int(at.sum()),
            "chance": float(np.mean([1 / len(one["options"]) for one in questions if one["kind"] == kind])),
            **_scored("", correct[at], scene[at], context),
            **_scored("control_", other[at], scene[at], context),
        }
    outcome.details["control"] = _scored("", other, scene, context)
    outcome.per_class_metric = "accuracy"
    return outcome


def choices(context: Context, questions: Sequence[Asked], audio: FloatArray) -> NDArray[np.int64]:
    """Return the place of the chosen option of each question, as (Q,). audio: (Q, E), the sound of each question."""
    sizes = [len(one["statements"]) for one in questions]
    texts = context.cache.texts([text for one in questions for text in one["statements"]])
    cosines = np.sum(np.repeat(audio, sizes, axis=0) * texts, axis=1)
    starts = np.cumsum([0, *sizes])
    picked = np.array([cosines[a:b].argmax() for a, b in pairwise(starts)], np.int64)
    limit = Calibration.of(context.embedder).presence_limit
    presence = np.array([one["kind"] == "presence" for one in questions])
    if limit is not None and presence.any():
        names = context.cache.texts([one["sound"] for one in questions if one["kind"] == "presence"])
        picked[presence] = np.sum(audio[presence] * names, axis=1) < limit  # options: yes, no
    return picked


def _scored(name: str, correct: NDArray[np.float64], scene: NDArray[np.int64], context: Context) -> dict[str, Any]:
    low, high = paired_mean_interval(correct, scene, context.generator())
    return {f"{name}accuracy": float(correct.mean()), f"{name}interval": [low, high]}
