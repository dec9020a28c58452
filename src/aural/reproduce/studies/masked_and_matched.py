"""Masked modeling and the match of sound and text in one checkpoint (M2D-CLAP).

Claim: an encoder trained by Masked Modeling Duo and CLAP together gives better linear probes and regression than CLAP
alone, at the zero-shot accuracy of CLAP. Paper: M2D-CLAP (arXiv 2406.02032).

Recordings of the corpus with captions of a grammar; all arms start from the same weights. Arms:

    clap        `info_nce` of clips and captions
    m2d         Masked Modeling Duo, without captions (`aural.encoders.masked_duo`)
    m2d-clap    the sum of both losses
    shuffled    control: "m2d-clap" with the captions of other clips
    untrained   random weights

Tasks, one item per test clip:
    zero-shot-families, text-to-audio   as in `frozen_text`
    probe       1 if ridge regression on the pooled features gives the family of the clip
    regression  1 - squared error / variance, averaged over center, level and change of the log-mel; the mean is R^2

Legend: N clips, B clips of a batch, P patches, D features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aural.encoders.masked_duo import MaskedDuo
from aural.reproduce.sentence_scores import probed_rows
from aural.reproduce.studies.clip_pair import (
    FRAMES,
    ClipPair,
    batch_mel,
    batch_texts,
    drawn_patches,
    load,
    scores_of,
    smaller,
)
from aural.reproduce.studies.frozen_text import Data
from aural.reproduce.studies.scene_pair import Training, fit
from aural.reproduce.studies.small_encoders import embedded, inputs
from aural.reproduce.study import Scores, StudyContext

Array: TypeAlias = NDArray[np.float64]
TRAINING: Final = Training(steps=600, batch=128, lr=1e-3)
SHARE: Final = 0.35
"""Of the patches that are visible."""
MOMENTUM: Final = 0.99
MASKED: Final = 0.5
"""Weight of masked modeling; the match has the weight 1."""
RIDGE: Final = 30.0
ARMS: Final = ("clap", "m2d", "m2d-clap", "shuffled", "untrained")


class DuoPair(nn.Module):
    """A pair of towers with Masked Modeling Duo on its audio encoder."""

    def __init__(self, vectors: Tensor, seed: int) -> None:
        super().__init__()
        self.pair = ClipPair(vectors, seed)
        self.patches = int(np.prod(self.pair.encoder.grid(FRAMES)))
        self.duo = MaskedDuo(self.pair.encoder, self.patches).to(vectors.device)


def run(context: StudyContext) -> Scores:
    """Return arm -> task -> scores."""
    data, vectors = load(context)
    order = np.random.default_rng(context.seed).permutation(len(data.train.rows))
    scores = {}
    for arm in ARMS:
        captions = data.train.captions
        if arm == "shuffled":
            captions = [captions[i] for i in order]
        given = replace(data, train=replace(data.train, captions=captions))
        model = DuoPair(vectors, context.seed)
        if arm != "untrained":
            fit(model, len(order), loss_of(arm, given), smaller(TRAINING, context), context.seed)
        scores[arm] = evaluate(model.eval().pair, data)
    return scores


def loss_of(arm: str, data: Data) -> Callable[[Any, Sequence[int], np.random.Generator], Tensor]:
    """Return the loss of an arm."""

    def loss(model: DuoPair, numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
        pair = model.pair
        mel, places = batch_mel(data, numbers, rng), batch_texts(data, numbers, rng)
        total = mel.new_zeros(())
        if arm != "m2d":
            total = total + pair.matched(pair.embed_mel(mel), pair.embed_texts(places))
        if arm != "clap":
            model.duo.average(pair.encoder, MOMENTUM)
            clean = inputs(data.train.mel[list(numbers)])
            visible, hidden = (p.to(mel.device) for p in drawn_patches(len(numbers), model.patches, SHARE, rng))
            total = total + MASKED * model.duo(pair.encoder, clean, visible, hidden)[0]
        return total

    return loss


def evaluate(pair: ClipPair, data: Data) -> dict[str, Array]:
    """Return the scores of all tasks."""
    scores = scores_of(pair, data)
    train, test = (embedded(pair, lambda m: pair.encoder(m).pooled, part.mel) for part in (data.train, data.test))
    families = [np.array([row.family for row in part.rows]) for part in (data.train, data.test)]
    scores["probe"] = probed_rows(train, families[0], test, families[1], ridge=RIDGE)
    measured = [measures(inputs(part.mel)) for part in (data.train, data.test)]
    scores["regression"] = explained(train, measured[0], test, measured[1])
    return scores


def measures(mel: Tensor) -> Array:
    """Return the center in bands, the level and the mean change between frames of log-mels, (N, 3)."""
    power = torch.exp(2 * mel)
    band = torch.arange(mel.shape[2], device=mel.device)
    center = (power * band).sum((1, 2)) / power.sum((1, 2))
    change = mel.diff(dim=1).abs().mean((1, 2))
    return torch.stack([center, mel.mean((1, 2)), change], dim=1).double().cpu().numpy()


def explained(train: Array, targets: Array, test: Array, truth: Array) -> Array:
    """Return 1 - squared error / variance per test row (N,), averaged over targets, of ridge regression.

    >>> rows = np.arange(200.0)[:, None]
    >>> bool(explained(rows[::2], rows[::2], rows[1::2], rows[1::2]).mean() > 0.9)
    True
    """
    center, spread = train.mean(0), train.std(0) + 1e-6
    train, test = (np.column_stack([(part - center) / spread, np.ones(len(part))]) for part in (train, test))
    weights = np.linalg.solve(train.T @ train + RIDGE * np.eye(train.shape[1]), train.T @ targets)
    errors = (test @ weights - truth) ** 2
    return np.asarray((1 - errors / truth.var(0)).mean(1), np.float64)
