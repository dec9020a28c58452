"""A scorer that never hears a sound: the control of tasks that choose between a true and a false caption.

It is trained to tell true captions of the training scenes from false ones of the same kinds. Where false captions can
be recognized by their wording, it scores above chance and the task is not a test of hearing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import softplus

from aural.models.clap import TextTower
from aural.reproduce.studies.scene_pair import BATCH_OF_TEXTS, TEXT, Captioned, Texts, Training, draw, fit


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
    pairs = [(n, kind) for n, of_kind in enumerate(train.negatives) for kind in kinds if kind in of_kind]

    def loss(module: TextScorer, numbers: Sequence[int], rng: np.random.Generator) -> Tensor:
        chosen = [pairs[i] for i in numbers]
        true = draw([train.captions[n][:1] for n, _ in chosen], rng)
        false = draw([train.negatives[n][kind] for n, kind in chosen], rng)
        scores = module(true + false)
        return softplus(scores[len(true) :] - scores[: len(true)]).mean()

    fit(scorer, len(pairs), loss, training, seed)
    return scorer


def text_only(
    train: Captioned, test: Captioned, texts: Texts, kinds: Sequence[str], training: Training, seed: int
) -> dict[str, NDArray[np.float64]]:
    """Return kind -> per test scene how often the caption scores above its false ones; chance is 0.5."""
    scorer = train_scorer(train, texts, kinds, training, seed)
    return {kind: _accuracy(scorer, test, kind) for kind in kinds}


def _accuracy(scorer: TextScorer, test: Captioned, kind: str) -> NDArray[np.float64]:
    scenes = [n for n, of_kind in enumerate(test.negatives) if kind in of_kind]
    true = scorer.score([test.captions[n][0] for n in scenes])
    return preferred(true, [scorer.score(test.negatives[n][kind]) for n in scenes])


def preferred(true: NDArray[np.float64], false: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return per scene the share of the scores of false captions that are below that of the true one; ties count half.

    >>> preferred(np.array([1.0, 2.0]), [np.array([0.0, 2.0]), np.array([2.0])]).tolist()
    [0.5, 0.5]
    """
    return np.array([np.mean((one < own) + 0.5 * (one == own)) for own, one in zip(true, false, strict=True)])
