"""A scorer of the text alone: the control of tasks that choose between a true and a false caption.

It is trained to distinguish true captions of the training scenes from false ones of the same kinds. Where false
captions can be recognized by their wording, it scores above chance and the task is not a test of hearing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import softplus

from aural.models.clap import TextTower
from aural.reproduce.studies.scene_pair import TEXT, Captioned, Texts, Training, fit
from aural.reproduce.studies.scene_scores import BATCH_OF_TEXTS, pairs_of, per_scene


class TextScorer(nn.Module):
    """A text tower with one output."""

    def __init__(self, texts: Texts, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.tower = TextTower(TEXT, "mlp", 64)
        self.output = nn.Linear(64, 1)
        self.texts = texts

    def forward(self, numbers: Sequence[int]) -> Tensor:
        """Return one score per text (M,)."""
        score: Tensor = self.output(self.tower(*self.texts.tokens(numbers)))[:, 0]
        return score

    @torch.no_grad()
    def score(self, numbers: Sequence[int]) -> NDArray[np.float64]:
        """Return one score per text (M,)."""
        parts = [self(numbers[at : at + BATCH_OF_TEXTS]) for at in range(0, len(numbers), BATCH_OF_TEXTS)]
        return torch.cat(parts).double().cpu().numpy()


def train_scorer(train: Captioned, texts: Texts, kinds: Sequence[str], training: Training, seed: int) -> TextScorer:
    """Return a scorer trained on pairs of the true and a false caption of a scene.

    Loss: log(1 + exp(f(false) - f(true))).
    """
    scorer = TextScorer(texts, seed).to(train.scenes.frames.device)
    pairs = pairs_of(train, kinds)

    def loss(module: TextScorer, numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
        scores = module([pairs[i][1] for i in numbers] + [pairs[i][2] for i in numbers])
        return softplus(scores[len(numbers) :] - scores[: len(numbers)]).mean()

    fit(scorer, len(pairs), loss, training, seed)
    return scorer


def text_only(
    train: Captioned, test: Captioned, texts: Texts, kinds: Sequence[str], training: Training, seed: int
) -> dict[str, NDArray[np.float64]]:
    """Return kind -> per test scene how often the caption scores above its false ones; chance is 0.5."""
    scorer = train_scorer(train, texts, kinds, training, seed)
    return {kind: _accuracy(scorer, test, kind) for kind in kinds}


def _accuracy(scorer: TextScorer, test: Captioned, kind: str) -> NDArray[np.float64]:
    pairs = pairs_of(test, [kind])
    margin = scorer.score([true for _, true, _ in pairs]) - scorer.score([false for _, _, false in pairs])
    return per_scene(pairs, margin)
