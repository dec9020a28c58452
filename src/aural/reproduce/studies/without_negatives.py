"""Match sounds and captions without negatives, and shrink the batch (SLAP).

Claim: pretraining of sound and text without negatives loses less retrieval than CLAP when the batch shrinks from 256
to 16, has a smaller modality gap, and collapses without a predictor. Paper: SLAP (arXiv 2506.17815).

Both methods train the same towers on recordings of the corpus, with batch normalization in both projections. SLAP has
a predictor per tower and an averaged copy of both towers as the target; its loss is the mean of `byol` across
modalities and within each modality. All arms see as many clips; the learning rate and the forgetting of the averaged
copy follow the batch. Arms: clap-256, clap-16, slap-256, slap-16, and

    no-predictor   slap-256 without predictors
    untrained      random weights

Tasks of `frozen_text`, and
    R@1       1 if one of the clip's captions is the first of all
    gap       distance of the mean clip and the mean caption
    spread    sqrt(E) times the mean standard deviation of the dimensions of the test clips: 0 is a collapse

Legend: N clips, B clips of a batch, E joint dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from aural.evaluate.audit.geometry import modality_gap
from aural.objectives import Byol
from aural.reproduce.studies.clip_pair import (
    EMBED_DIM,
    ClipPair,
    batch_mel,
    batch_texts,
    load,
    scores_of,
    smaller,
)
from aural.reproduce.studies.frozen_text import Data
from aural.reproduce.studies.scene_pair import Training, fit
from aural.reproduce.studies.small_encoders import embedded
from aural.reproduce.study import Scores, StudyContext

SAMPLES: Final = 51_200
"""Clips that an arm sees."""
LR: Final = 1e-3
"""At batch 256; it falls with the root of the batch."""
MOMENTUM: Final = 0.95
"""Of the averaged copy at batch 256, per step; smaller batches forget as much per clip."""
LARGE: Final = 256
ARMS: Final = ("clap-256", "clap-16", "slap-256", "slap-16", "no-predictor-256", "untrained-256")


def normalized_mlp(d_in: int, d_out: int) -> nn.Module:
    """Return the head of BYOL: linear, batch normalization, ReLU, linear."""
    return nn.Sequential(nn.Linear(d_in, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Linear(256, d_out))


class SiamesePair(nn.Module):
    """A pair of towers with predictors, and its averaged copy."""

    def __init__(self, vectors: Tensor, seed: int, *, predictor: bool) -> None:
        super().__init__()
        self.pair = ClipPair(vectors, seed)
        self.pair.projection = normalized_mlp(self.pair.encoder.dim, EMBED_DIM)
        self.pair.text = normalized_mlp(vectors.shape[1], EMBED_DIM)
        heads = [normalized_mlp(EMBED_DIM, EMBED_DIM) if predictor else nn.Identity() for _ in range(2)]
        self.predict_audio, self.predict_text = heads
        self.teacher = deepcopy(self.pair).requires_grad_(requires_grad=False)
        self.to(vectors.device)

    @torch.no_grad()
    def average(self, momentum: float) -> None:
        """Move the averaged copy toward the pair."""
        for mean, value in zip(self.teacher.parameters(), self.pair.parameters(), strict=True):
            mean.lerp_(value, 1 - momentum)
        for copied, counted in zip(self.teacher.buffers(), self.pair.buffers(), strict=True):
            copied.copy_(counted)


def run(context: StudyContext) -> Scores:
    """Return arm -> task -> scores."""
    data, vectors = load(context)
    scores = {}
    for arm in ARMS:
        method, _, size = arm.rpartition("-")
        batch = int(size)
        model = SiamesePair(vectors, context.seed, predictor=method == "slap")
        training = Training(SAMPLES // batch, batch, LR * math.sqrt(batch / LARGE), warmup=SAMPLES // batch // 20)
        if method != "untrained":
            loss = clap_loss(data) if method == "clap" else siamese_loss(data, MOMENTUM ** (batch / LARGE))
            fit(model, len(data.train.rows), loss, smaller(training, context), context.seed)
        name = arm if method in ("clap", "slap") else method
        scores[name] = evaluate(model.eval().pair, data)
    return scores


def clap_loss(data: Data) -> Callable[[Any, Sequence[int], np.random.Generator], Tensor]:
    """Return InfoNCE of clips and captions."""

    def loss(model: SiamesePair, numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
        audio = model.pair.embed_mel(batch_mel(data, numbers, rng))
        return model.pair.matched(audio, model.pair.embed_texts(batch_texts(data, numbers, rng)))

    return loss


def siamese_loss(data: Data, momentum: float) -> Callable[[Any, Sequence[int], np.random.Generator], Tensor]:
    """Return the mean of the losses across and within modalities; the copy is averaged before each step."""
    objective = Byol()

    def loss(model: SiamesePair, numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
        model.average(momentum)
        mel, places = batch_mel(data, numbers, rng), batch_texts(data, numbers, rng)
        audio = model.predict_audio(model.pair.embed_mel(mel))
        text = model.predict_text(model.pair.embed_texts(places))
        with torch.no_grad():
            targets = model.teacher.embed_mel(mel), model.teacher.embed_texts(places)
        predicted = {"predicted_a": audio, "predicted_b": text}
        across = objective(predicted | {"target_a": targets[0], "target_b": targets[1]})["loss"]
        within = objective(predicted | {"target_a": targets[1], "target_b": targets[0]})["loss"]
        return (across + within) / 2

    return loss


def evaluate(pair: ClipPair, data: Data) -> dict[str, Any]:
    """Return the scores of all tasks."""
    scores: dict[str, Any] = scores_of(pair, data)
    audio = embedded(pair, pair.embed_mel, data.test.mel)
    with torch.no_grad():
        everything = torch.arange(len(data.texts), device=data.device)
        text = pair.embed_texts(everything).double().cpu().numpy()
    captions = sorted({place for of_clip in data.test.captions for place in of_clip})
    first = np.array(captions)[(audio @ text[captions].T).argmax(1)]
    scores["R@1"] = np.array([best in of_clip for best, of_clip in zip(first, data.test.captions, strict=True)])
    scores["gap"] = modality_gap(audio.astype(np.float32), text[captions].astype(np.float32))
    scores["spread"] = float(math.sqrt(EMBED_DIM) * audio.std(0).mean())
    return scores
