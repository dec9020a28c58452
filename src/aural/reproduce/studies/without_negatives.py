"""Match sounds and captions without negatives, and shrink the batch (SLAP).

Claim: pretraining of sound and text without negatives loses less retrieval than CLAP when the batch shrinks from 256
to 16, has a smaller modality gap, and collapses without a predictor. Paper: SLAP (arXiv 2506.17815).

Both methods train the same towers on recordings of the corpus, with batch normalization in both projections. SLAP has
a predictor per tower and an averaged copy of both towers as the target; its loss is the mean of `byol` across
modalities and within each modality. All arms see as many clips; the learning rate and the forgetting of the averaged
copy follow the batch. Arms: clap-256, clap-16, slap-256, slap-16, and

    no-predictor   slap-256 without predictors
    untrained      random weights

The first attempt (`slap`) compared clips and captions by the projections, as CLAP does. But the loss of SLAP moves the
predictions of both towers toward both targets, and nothing moves the projections of the student toward each other.
Option `predictions` compares the outputs of the predictors. Option `distinct` counts equal captions of a batch as right
for each other in CLAP, so that they are not false negatives in large batches. Option `sounds` "yamnet" replaces the
trained transformer by standardized vectors of frozen YAMNet with dropout.

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
from numpy.typing import NDArray
from torch import Tensor, nn

import aural
from aural.data.manifest import Row, read_manifest
from aural.evaluate.audit.geometry import modality_gap
from aural.nn.functional import unit
from aural.objectives import Byol, MultiPositive
from aural.reproduce.shared import shared_arrays
from aural.reproduce.studies.clip_pair import (
    EMBED_DIM,
    ClipPair,
    batch_mel,
    batch_texts,
    load,
    smaller,
)
from aural.reproduce.studies.frozen_text import SECONDS, Data, scores_of_rows
from aural.reproduce.studies.scene_pair import Training, fit
from aural.reproduce.studies.small_encoders import embedded
from aural.reproduce.study import Scores, StudyContext
from aural.reproduce.worlds import RATE_HZ, corpus_folder, corpus_wave

SAMPLES: Final = 51_200
"""Clips that an arm sees."""
LR: Final = 1e-3
"""At batch 256; it falls with the root of the batch."""
MOMENTUM: Final = 0.95
"""Of the averaged copy at batch 256, per step; smaller batches forget as much per clip."""
LARGE: Final = 256
DROPOUT: Final = 0.1
"""Of the columns of frozen vectors."""
LARGEST: Final = 4.0
"""Of a standardized column."""
ARMS: Final = ("clap-256", "clap-16", "slap-256", "slap-16", "no-predictor-256", "untrained-256")


def normalized_mlp(d_in: int, d_out: int) -> nn.Module:
    """Return the head of BYOL: linear, batch normalization, ReLU, linear."""
    return nn.Sequential(nn.Linear(d_in, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Linear(256, d_out))


class SiamesePair(nn.Module):
    """A pair of towers with predictors, and its averaged copy. predictions: embed by the predictors."""

    def __init__(
        self, vectors: Tensor, seed: int, *, predictor: bool, predictions: bool = False, columns: int = 0
    ) -> None:
        super().__init__()
        self.pair = VectorPair(vectors, seed, columns) if columns else ClipPair(vectors, seed)
        if not columns:
            self.pair.projection = normalized_mlp(self.pair.encoder.dim, EMBED_DIM)
        self.pair.text = normalized_mlp(vectors.shape[1], EMBED_DIM)
        heads = [normalized_mlp(EMBED_DIM, EMBED_DIM) if predictor else nn.Identity() for _ in range(2)]
        self.predict_audio, self.predict_text = heads
        self.predictions = predictions
        self.teacher = deepcopy(self.pair).requires_grad_(requires_grad=False)
        self.to(vectors.device)

    @torch.no_grad()
    def average(self, momentum: float) -> None:
        """Move the averaged copy toward the pair."""
        for mean, value in zip(self.teacher.parameters(), self.pair.parameters(), strict=True):
            mean.lerp_(value, 1 - momentum)
        for copied, counted in zip(self.teacher.buffers(), self.pair.buffers(), strict=True):
            copied.copy_(counted)

    def embed_mel(self, mel: Tensor) -> Tensor:
        """Return the unit rows (B, E) that clips are compared by."""
        rows = self.pair.embed_mel(mel)
        return unit(self.predict_audio(rows)) if self.predictions else rows

    def embed_texts(self, places: Tensor) -> Tensor:
        """Return the unit rows (M, E) that texts are compared by."""
        rows = self.pair.embed_texts(places)
        return unit(self.predict_text(rows)) if self.predictions else rows


class VectorPair(ClipPair):
    """A pair of towers whose clips are vectors (B, columns) of a frozen encoder."""

    def __init__(self, vectors: Tensor, seed: int, columns: int) -> None:
        super().__init__(vectors, seed)
        del self.encoder
        self.projection = normalized_mlp(columns, EMBED_DIM)

    def embed_mel(self, mel: Tensor) -> Tensor:
        """Return unit rows (B, E) of vectors."""
        return unit(self.projection(mel))


Batch = Callable[[Sequence[int], np.random.Generator], Tensor]


def run(context: StudyContext, *, predictions: bool = False, distinct: bool = False, sounds: str = "mel") -> Scores:
    """Return arm -> task -> scores."""
    data, vectors = load(context)
    frozen = frozen_sounds(context, data) if sounds == "yamnet" else None
    scores = {}
    for arm in ARMS:
        method, _, size = arm.rpartition("-")
        batch = int(size)
        columns = 0 if frozen is None else frozen[0].shape[1]
        model = SiamesePair(vectors, context.seed, predictor=method == "slap", predictions=predictions, columns=columns)
        training = Training(SAMPLES // batch, batch, LR * math.sqrt(batch / LARGE), warmup=SAMPLES // batch // 20)
        if method != "untrained":
            clips = mel_batch(data) if frozen is None else vector_batch(frozen[0])
            momentum = MOMENTUM ** (batch / LARGE)
            loss = (
                clap_loss(data, clips, distinct=distinct) if method == "clap" else siamese_loss(data, clips, momentum)
            )
            fit(model, len(data.train.rows), loss, smaller(training, context), context.seed)
        name = arm if method in ("clap", "slap") else method
        scores[name] = evaluate(model.eval(), data, None if frozen is None else frozen[1])
    return scores


def mel_batch(data: Data) -> Batch:
    """Return masked log-mels of training clips."""
    return lambda numbers, rng: batch_mel(data, numbers, rng)


def vector_batch(vectors: Tensor) -> Batch:
    """Return vectors (B, columns) of training clips, some columns replaced by zeros."""

    def batch(numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
        rows = vectors[list(numbers)]
        kept = torch.from_numpy(rng.random(rows.shape, dtype=np.float32) >= DROPOUT).to(rows.device)
        return rows * kept / (1 - DROPOUT)

    return batch


def frozen_sounds(context: StudyContext, data: Data) -> tuple[Tensor, Tensor]:
    """Return vectors of the training and test clips by frozen YAMNet, standardized on the training clips."""
    train, test = (torch.from_numpy(yamnet_vectors(context, part.rows)).float() for part in (data.train, data.test))
    mean, spread = train.mean(0), train.std(0) + 1e-3
    rows = [((part - mean) / spread).clamp(-LARGEST, LARGEST).to(data.device) for part in (train, test)]
    return rows[0], rows[1]


def yamnet_vectors(context: StudyContext, rows: Sequence[Row]) -> NDArray[np.float16]:
    """Return features (N, 1024) of YAMNet, the mean over the patches of the first five seconds."""
    if context.smoke:
        return np.random.default_rng(0).random((len(rows), 16)).astype(np.float16)
    manifest = read_manifest(corpus_folder(context.data, context.out))

    @torch.inference_mode()
    def compute() -> dict[str, NDArray[Any]]:
        tagger: Any = aural.load("yamnet", engine="torch", device="cpu")
        branch, size = tagger.network.network, round(tagger.config.window_s * RATE_HZ)
        means = []
        for row in rows:
            wave = corpus_wave(manifest, row)[: round(SECONDS * RATE_HZ)]
            windows = np.resize(wave, (max(1, len(wave) // size), size)).astype(np.float32)
            means.append(branch.encoder(branch.front_end(torch.from_numpy(windows))).tokens.mean((0, 1)).numpy())
        return {"vectors": np.stack(means).astype(np.float16)}

    key = repr([(row.path, row.sha256) for row in rows])
    stored: NDArray[np.float16] = shared_arrays(context, "yamnet-vectors", key, compute)["vectors"]
    return stored


def clap_loss(
    data: Data, clips: Batch, *, distinct: bool
) -> Callable[[Any, Sequence[int], np.random.Generator], Tensor]:
    """Return InfoNCE of clips and captions. distinct: clips and captions of equal captions match each other."""
    objective = MultiPositive()

    def loss(model: SiamesePair, numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
        audio = model.pair.embed_mel(clips(numbers, rng))
        places = batch_texts(data, numbers, rng)
        text = model.pair.embed_texts(places)
        if not distinct:
            return model.pair.matched(audio, text)
        given = {"audio_emb": audio, "text_emb": text, "audio_group": places, "text_group": places}
        total: Tensor = objective(given | {"logit_scale": model.pair.scale})["loss"]
        return total

    return loss


def siamese_loss(
    data: Data, clips: Batch, momentum: float
) -> Callable[[Any, Sequence[int], np.random.Generator], Tensor]:
    """Return the mean of the losses across and within modalities; the copy is averaged before each step."""
    objective = Byol()

    def loss(model: SiamesePair, numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
        model.average(momentum)
        mel, places = clips(numbers, rng), batch_texts(data, numbers, rng)
        audio = model.predict_audio(model.pair.embed_mel(mel))
        text = model.predict_text(model.pair.embed_texts(places))
        with torch.no_grad():
            targets = model.teacher.embed_mel(mel), model.teacher.embed_texts(places)
        predicted = {"predicted_a": audio, "predicted_b": text}
        across = objective(predicted | {"target_a": targets[0], "target_b": targets[1]})["loss"]
        within = objective(predicted | {"target_a": targets[1], "target_b": targets[0]})["loss"]
        return (across + within) / 2

    return loss


@torch.no_grad()
def evaluate(model: SiamesePair, data: Data, vectors: Tensor | None = None) -> dict[str, Any]:
    """Return the scores of all tasks; vectors: of the test clips, if these take the place of log-mels."""
    if vectors is None:
        audio = embedded(model, model.embed_mel, data.test.mel)
    else:
        audio = model.embed_mel(vectors).double().cpu().numpy()
    text = model.embed_texts(torch.arange(len(data.texts), device=data.device)).double().cpu().numpy()
    scores: dict[str, Any] = scores_of_rows(audio, text, data)
    captions = sorted({place for of_clip in data.test.captions for place in of_clip})
    first = np.array(captions)[(audio @ text[captions].T).argmax(1)]
    scores["R@1"] = np.array([best in of_clip for best, of_clip in zip(first, data.test.captions, strict=True)])
    scores["gap"] = modality_gap(audio.astype(np.float32), text[captions].astype(np.float32))
    scores["spread"] = float(math.sqrt(EMBED_DIM) * audio.std(0).mean())
    return scores
