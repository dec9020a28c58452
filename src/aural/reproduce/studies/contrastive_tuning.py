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

With option `sounds` "yamnet", the encoder is frozen YAMNet with two trained layers that are added to its features and
start at zero, and views are drawn by dropout. Learning rates are then the better ones of 0.0003 and 0.001 for
cross-entropy and for contrast on a quarter of the training clips.

Task: family, 1 if the family of a test clip of the corpus is right. Test clips come from other sources.

Legend: N clips, B clips of a batch, D features, E dimensions of the projection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aural.nn.functional import unit
from aural.objectives import SupCon
from aural.reproduce.sentence_scores import probed_rows
from aural.reproduce.studies import masked_and_matched
from aural.reproduce.studies.clip_pair import MASKS, load, smaller
from aural.reproduce.studies.frozen_text import Data
from aural.reproduce.studies.scene_pair import Training, fit
from aural.reproduce.studies.small_encoders import embedded, inputs, masked
from aural.reproduce.studies.without_negatives import Batch, frozen_sounds, vector_batch
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
ADAPTER: Final = 256
"""Hidden units of the layers on frozen YAMNet."""
STAGED_LR: Final = 1e-3
"""Of the contrastive stage of these layers; arms with one stage take `LR`."""
ARMS: Final = ("frozen", "cross", "confit", "joint", "self", "shuffled")


class MelEncoder(nn.Module):
    """A transformer over log-mels that returns pooled features (B, D)."""

    def __init__(self, encoder: nn.Module, dim: int) -> None:
        super().__init__()
        self.encoder, self.dim = encoder, dim

    def forward(self, mel: Tensor) -> Tensor:
        pooled: Tensor = self.encoder(mel).pooled
        return pooled


class Adapter(nn.Module):
    """Two layers added to features (B, D) of a frozen encoder. They start at zero."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim
        first, last = nn.Linear(dim, ADAPTER), nn.Linear(ADAPTER, dim)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.layers = nn.Sequential(first, nn.ReLU(), last)

    def forward(self, features: Tensor) -> Tensor:
        added: Tensor = self.layers(features)
        return features + added


class TunedEncoder(nn.Module):
    """A pretrained encoder with a projection for contrast and a linear classifier."""

    def __init__(self, encoder: MelEncoder | Adapter, classes: int, seed: int) -> None:
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


@dataclass(frozen=True)
class Material:
    """The sounds and the encoder that all arms of a seed start from."""

    encoder: MelEncoder | Adapter
    views: Batch
    """Numbers of labeled clips -> their drawn views."""
    train: Array
    """Features (N, D) of the labeled clips before tuning."""
    embed: Callable[[nn.Module, Callable[[Tensor], Tensor]], Array]
    """Rows of the test clips by a function, with the module in evaluation mode."""
    staged_lr: float


def run(context: StudyContext, *, sounds: str = "mel") -> Scores:
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
    of_sounds = material_of_vectors if sounds == "yamnet" else material_of_mels
    material = of_sounds(context, data, vectors, chosen, tested)
    scores: dict[str, dict[str, Array]] = {}
    for arm in ARMS:
        if arm == "frozen":
            rows = material.embed(material.encoder, material.encoder)
            scores[arm] = {"family": probed_rows(material.train, labels, rows, truth, ridge=RIDGE)}
            continue
        model = TunedEncoder(material.encoder, len(names), context.seed).to(data.device)
        given = rng.permutation(labels) if arm == "shuffled" else labels
        tune(model, arm, material, torch.from_numpy(given).to(data.device), context)
        predicted = material.embed(model, lambda x, model=model: model.logits(model.encoder(x))).argmax(1)  # type: ignore[misc]
        scores[arm] = {"family": (predicted == truth).astype(np.float64)}
    return scores


def material_of_mels(
    context: StudyContext, data: Data, vectors: Tensor, chosen: NDArray[np.intp], tested: NDArray[np.intp]
) -> Material:
    """Return log-mels, and an encoder that is pretrained without labels on the training clips."""
    test = data.test.mel[torch.from_numpy(tested).to(data.device)]
    train = data.train.mel[torch.from_numpy(chosen).to(data.device)]
    duo = masked_and_matched.DuoPair(vectors, context.seed)
    pretraining = smaller(PRETRAINING, context)
    fit(duo, len(data.train.rows), masked_and_matched.loss_of("m2d", data), pretraining, context.seed)
    vit = duo.eval().pair.encoder
    encoder = MelEncoder(vit, vit.dim)
    return Material(
        encoder,
        lambda numbers, rng: masked(inputs(train[list(numbers)]), rng, MASKS),
        embedded(encoder, encoder, train),
        lambda module, embed: embedded(module, embed, test),
        LR,
    )


def material_of_vectors(
    context: StudyContext, data: Data, vectors: Tensor, chosen: NDArray[np.intp], tested: NDArray[np.intp]
) -> Material:
    """Return vectors of frozen YAMNet, and layers that start at zero."""
    del vectors
    train, test = frozen_sounds(context, data)
    train, test = train[torch.from_numpy(chosen).to(data.device)], test[torch.from_numpy(tested).to(data.device)]
    torch.manual_seed(context.seed)
    adapter = Adapter(train.shape[1]).to(data.device)

    @torch.no_grad()
    def embed(module: nn.Module, function: Callable[[Tensor], Tensor]) -> Array:
        module.eval()
        rows: Array = function(test).double().cpu().numpy()
        return rows

    return Material(adapter, vector_batch(train), train.double().cpu().numpy(), embed, STAGED_LR)


def tune(model: TunedEncoder, arm: str, material: Material, labels: Tensor, context: StudyContext) -> None:
    """Take the steps of an arm: all in one stage, or contrast and then a classifier on frozen features."""
    staged = arm not in ("cross", "joint")
    lr = material.staged_lr if staged else LR
    first = Training(STEPS - CLASSIFIER if staged else STEPS, BATCH, lr)
    fit(model, len(labels), loss_of(arm, material.views, labels), smaller(first, context), context.seed)
    if staged:
        model.encoder.requires_grad_(requires_grad=False)
        second = Training(CLASSIFIER, BATCH, 10 * lr, warmup=5)
        loss = loss_of("classifier", material.views, labels)
        fit(model, len(labels), loss, smaller(second, context), context.seed)


def loss_of(arm: str, views: Batch, labels: Tensor) -> Callable[[Any, Sequence[int], np.random.Generator], Tensor]:
    """Return the loss of an arm or of the classifier."""
    contrast = SupCon()

    def loss(model: TunedEncoder, numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
        target = labels[list(numbers)]
        pooled = model.encoder(views(numbers, rng))
        cross = nn.functional.cross_entropy(model.logits(pooled), target)
        if arm in ("cross", "classifier"):
            return cross
        other = model.encoder(views(numbers, rng))
        emb = unit(model.projection(torch.cat([pooled, other])))
        group = torch.arange(len(numbers), device=emb.device) if arm == "self" else target
        given = {"audio_emb": emb, "audio_group": group.repeat(2), "logit_scale": emb.new_tensor(1 / TEMPERATURE)}
        total: Tensor = contrast(given)["loss"]
        return total + cross if arm == "joint" else total

    return loss
