"""Distill a small encoder from sounds alone, and prune the shared space (tinyCLAP).

Claim: a student of at most a tenth of the teacher's parameters, trained without captions, keeps 95% of its zero-shot
accuracy, and dimensions that contribute little can be left out. Paper: tinyCLAP (arXiv 2311.14517).

The teacher is a small pair of towers that learned from captions of the corpus. Students see the same sounds, masked and
for half of them mixed with another clip, and the teacher's vectors of them. All have the teacher's text tower but
"captions", which learns from captions itself. Arms:

    teacher     the pair
    teacher-95  95% of the teacher's scores
    student     cosine distance to the teacher's vector of the same sound (`regress`)
    captions    control: the same small encoder, trained by `info_nce` on captions
    shuffled    control: the teacher's vectors of other clips
    kept-N      the student, with the N of 128 dimensions that contribute most (`aural.models.prune`)
    random-N    control: N dimensions at random

Tasks, one item per test clip: zero-shot-families and text-to-audio as in `frozen_text`; cosine with the teacher.
"share" is the number of parameters as a share of the teacher's.

Legend: N clips, B clips of a batch, E joint dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aural.core.vectors import unit_rows
from aural.models.prune import order_of
from aural.objectives.regress import Regress
from aural.reproduce.studies.clip_pair import (
    EMBED_DIM,
    ENCODER,
    ClipPair,
    batch_mel,
    batch_texts,
    load,
    smaller,
)
from aural.reproduce.studies.frozen_text import Data, scores_of_rows
from aural.reproduce.studies.scene_pair import Training, fit
from aural.reproduce.studies.small_encoders import embedded, inputs, masked
from aural.reproduce.study import Scores, StudyContext

Array: TypeAlias = NDArray[np.float64]
TEACHER: Final = Training(steps=500, batch=128, lr=1e-3)
STUDENT: Final = Training(steps=700, batch=128, lr=2e-3)
SMALL: Final = ENCODER.model_copy(update={"dim": 40, "depth": 2})
KEPT: Final = (64, 32, 16, 8)
TASKS: Final = ("zero-shot-families", "text-to-audio")


def run(context: StudyContext) -> Scores:
    """Return arm -> task -> scores."""
    data, vectors = load(context)
    rng = np.random.default_rng(context.seed)
    count = len(data.train.rows)
    teacher = ClipPair(vectors, context.seed)
    fit(teacher, count, captions_loss(data), smaller(TEACHER, context), context.seed)
    teacher.eval().requires_grad_(requires_grad=False)
    students = {arm: ClipPair(vectors, context.seed, SMALL) for arm in ("student", "captions", "shuffled")}
    order = torch.from_numpy(rng.permutation(count)).to(data.device)
    losses = {
        "student": distilled_loss(data, teacher, torch.arange(count, device=data.device)),
        "captions": captions_loss(data),
        "shuffled": distilled_loss(data, teacher, order),
    }
    for arm, student in students.items():
        fit(student, count, losses[arm], smaller(STUDENT, context), context.seed)
    places = torch.arange(len(data.texts), device=data.device)
    texts = {name: pair.embed_texts(places).detach().double().cpu().numpy()
             for name, pair in (("teacher", teacher), ("captions", students["captions"]))}  # fmt: skip
    audio = {"teacher": embedded(teacher, teacher.embed_mel, data.test.mel)}
    audio |= {arm: embedded(pair, pair.embed_mel, data.test.mel) for arm, pair in students.items()}
    scores: dict[str, dict[str, Any]] = {}
    for arm, rows in audio.items():
        scores[arm] = chosen(rows, texts["captions" if arm == "captions" else "teacher"], data)
        scores[arm]["cosine"] = (rows * audio["teacher"]).sum(1)
        scores[arm]["share"] = sound_parameters(students.get(arm, teacher)) / sound_parameters(teacher)
    scores["teacher-95"] = {task: 0.95 * scores["teacher"][task] for task in TASKS}
    learned = embedded(students["student"], students["student"].embed_mel, data.train.mel)
    best, drawn = order_of(learned.astype(np.float32)), rng.permutation(EMBED_DIM)
    for kept in KEPT:
        for name, dimensions in (("kept", best[:kept]), ("random", drawn[:kept])):
            sounds, words = (
                unit_rows(rows[:, dimensions]).astype(np.float64) for rows in (audio["student"], texts["teacher"])
            )
            scores[f"{name}-{kept}"] = chosen(sounds, words, data)
    return scores


def chosen(audio: Array, texts: Array, data: Data) -> dict[str, Any]:
    """Return the scores of `TASKS`."""
    scores = scores_of_rows(audio, texts, data)
    return {task: scores[task] for task in TASKS}


def sound_parameters(pair: ClipPair) -> int:
    """Return the number of parameters of the tower of sound."""
    return sum(p.numel() for part in (pair.encoder, pair.projection) for p in part.parameters())


def captions_loss(data: Data) -> Callable[[Any, Sequence[int], np.random.Generator], Tensor]:
    """Return the loss of clips and their captions."""

    def loss(pair: ClipPair, numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
        audio = pair.embed_mel(batch_mel(data, numbers, rng))
        return pair.matched(audio, pair.embed_texts(batch_texts(data, numbers, rng)))

    return loss


def distilled_loss(
    data: Data, teacher: ClipPair, target: Tensor
) -> Callable[[Any, Sequence[int], np.random.Generator], Tensor]:
    """Return the loss of a student; target: the clip (N,) whose vector belongs to each clip."""
    regress = Regress()

    def loss(student: ClipPair, numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
        places = torch.tensor(numbers, device=data.device)
        others = places[torch.from_numpy(rng.permutation(len(numbers))).to(places.device)]
        quieter = torch.from_numpy(rng.uniform(0.0, 2.0, (len(numbers), 1, 1)).astype(np.float32)).to(places.device)
        mixed = torch.from_numpy(rng.random(len(numbers)) < 0.5).to(places.device)[:, None, None]

        def batch(first: Tensor, second: Tensor) -> Tensor:
            one, two = inputs(data.train.mel[first]), inputs(data.train.mel[second]) - quieter
            return torch.where(mixed, torch.maximum(one, two), one)

        with torch.no_grad():
            wanted = teacher.embed_mel(batch(target[places], target[others]))
        given = {"audio_emb": student.embed_mel(masked(batch(places, others), rng)), "teacher_audio_emb": wanted}
        total: Tensor = regress(given)["loss"]
        return total

    return loss
