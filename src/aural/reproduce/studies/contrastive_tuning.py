"""Fine-tune an audio encoder on few labels, with a contrastive stage before the classifier (AudioConFit).

Claim: with few labeled clips, supervised contrast followed by a classifier is better than fine-tuning with
cross-entropy. Paper: Audio Contrastive based Fine-tuning (arXiv 2309.11895).

The encoder is pretrained without labels by Masked Modeling Duo on all training clips of the corpus. Then it is tuned on
ten labeled clips per family, with masked views. All tuning arms take as many steps. Arms:

    frozen      ridge regression on the pretrained features
    cross       cross-entropy through a linear classifier, all weights
    confit      `sup_con` over two views of each clip for most of the steps, then a classifier on frozen features
    joint       the sum of both losses
    self        `sup_con` with the number of the clip as its label: contrast without labels, then the classifier
    shuffled    control: "confit" with the labels of other clips

Task: family, 1 if the family of a test clip of the corpus is right. Test clips come from other sources.

Legend: N clips, B clips of a batch, D features, E dimensions of the projection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aural.encoders.vit import Vit
from aural.nn.functional import unit
from aural.objectives import SupCon
from aural.reproduce.sentence_scores import probed_rows
from aural.reproduce.studies import masked_and_matched
from aural.reproduce.studies.clip_pair import MASKS, load, smaller
from aural.reproduce.studies.scene_pair import Training, fit
from aural.reproduce.studies.small_encoders import embedded, inputs, masked
from aural.reproduce.study import Scores, StudyContext

Array: TypeAlias = NDArray[np.float64]
PRETRAINING: Final = Training(steps=500, batch=128, lr=1e-3)
STEPS: Final = 240
CLASSIFIER: Final = 60
"""Steps of the classifier on frozen features, of `STEPS`."""
BATCH: Final = 64
LR: Final = 3e-4
SHOTS: Final = 10
TEMPERATURE: Final = 0.1
RIDGE: Final = 30.0
ARMS: Final = ("frozen", "cross", "confit", "joint", "self", "shuffled")


class TunedEncoder(nn.Module):
    """A pretrained encoder with a projection for contrast and a linear classifier."""

    def __init__(self, encoder: Vit, classes: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.encoder = deepcopy(encoder)
        self.projection = nn.Sequential(nn.Linear(encoder.dim, encoder.dim), nn.ReLU(), nn.Linear(encoder.dim, 64))
        self.norm = nn.LayerNorm(encoder.dim)
        self.classes = nn.Linear(encoder.dim, classes)

    def logits(self, pooled: Tensor) -> Tensor:
        """Return class logits of pooled features (B, D)."""
        scores: Tensor = self.classes(self.norm(pooled))
        return scores


def run(context: StudyContext) -> Scores:
    """Return arm -> task -> scores."""
    data, vectors = load(context)
    families = [np.array([row.family for row in part.rows]) for part in (data.train, data.test)]
    names = [n for n in np.unique(families[0]) if (families[0] == n).sum() >= (2 if context.smoke else SHOTS)]
    names = [name for name in names if (families[1] == name).any()]
    rng = np.random.default_rng(context.seed)
    chosen = np.concatenate([rng.permutation(np.flatnonzero(families[0] == name))[:SHOTS] for name in names])
    labels = np.array([names.index(family) for family in families[0][chosen]])
    tested = np.flatnonzero(np.isin(families[1], names))
    truth = np.array([names.index(family) for family in families[1][tested]])
    test = data.test.mel[torch.from_numpy(tested).to(data.device)]
    train = data.train.mel[torch.from_numpy(chosen).to(data.device)]
    duo = masked_and_matched.DuoPair(vectors, context.seed)
    pretraining = smaller(PRETRAINING, context)
    fit(duo, len(data.train.rows), masked_and_matched.loss_of("m2d", data), pretraining, context.seed)
    encoder = duo.eval().pair.encoder
    scores: dict[str, dict[str, Array]] = {}
    for arm in ARMS:
        if arm == "frozen":
            rows = [embedded(encoder, lambda m: encoder(m).pooled, mel) for mel in (train, test)]
            scores[arm] = {"family": probed_rows(rows[0], labels, rows[1], truth, ridge=RIDGE)}
            continue
        model = TunedEncoder(encoder, len(names), context.seed).to(data.device)
        given = rng.permutation(labels) if arm == "shuffled" else labels
        tune(model, arm, train, torch.from_numpy(given).to(data.device), context)
        predicted = embedded(model, lambda m, model=model: model.logits(model.encoder(m).pooled), test).argmax(1)  # type: ignore[misc]
        scores[arm] = {"family": (predicted == truth).astype(np.float64)}
    return scores


def tune(model: TunedEncoder, arm: str, train: Tensor, labels: Tensor, context: StudyContext) -> None:
    """Take the steps of an arm: all in one stage, or contrast and then a classifier on frozen features."""
    staged = arm not in ("cross", "joint")
    first = Training(STEPS - CLASSIFIER if staged else STEPS, BATCH, LR)
    fit(model, len(train), loss_of(arm, train, labels), smaller(first, context), context.seed)
    if staged:
        model.encoder.requires_grad_(requires_grad=False)
        second = Training(CLASSIFIER, BATCH, 10 * LR, warmup=5)
        fit(model, len(train), loss_of("classifier", train, labels), smaller(second, context), context.seed)


def loss_of(arm: str, train: Tensor, labels: Tensor) -> Callable[[Any, Sequence[int], np.random.Generator], Tensor]:
    """Return the loss of an arm or of the classifier."""
    contrast = SupCon()

    def loss(model: TunedEncoder, numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
        clips, target = inputs(train[list(numbers)]), labels[list(numbers)]
        pooled = model.encoder(masked(clips, rng, MASKS)).pooled
        cross = nn.functional.cross_entropy(model.logits(pooled), target)
        if arm in ("cross", "classifier"):
            return cross
        other = model.encoder(masked(clips, rng, MASKS)).pooled
        emb = unit(model.projection(torch.cat([pooled, other])))
        group = torch.arange(len(numbers), device=emb.device) if arm == "self" else target
        given = {"audio_emb": emb, "audio_group": group.repeat(2), "logit_scale": emb.new_tensor(1 / TEMPERATURE)}
        total: Tensor = contrast(given)["loss"]
        return total + cross if arm == "joint" else total

    return loss
