"""Objectives of sentence vectors (toggles) for the text tower of `tune_libre_base.py`, and checks with other words.

Legend: B texts, L tokens, E joint dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, cast

import numpy as np
import torch
from torch import Tensor, nn

from aural.core.errors import ConfigError
from aural.data.text import Example
from aural.data.text.world import TextConfig, TextExamples
from aural.data.text_views import misspelled
from aural.encoders.bert import Bert, BertFeatures
from aural.encoders.tokenize import Tokenizer
from aural.models.clap import TextTower
from aural.train.sentences import TOGGLES, Shape, Step, Toggle
from aural.train.system import PartConfig, build_part

SIZE = 64
"""Most examples of a step."""


class TextTask(PartConfig):
    """A toggle and the texts that it sees."""

    texts: Literal["captions", "world"] = "captions"
    """captions: those of the clips of the batch, one clip per class, each with the other captions of its clip as
    paraphrases. world: sentences about sounds of the text world, which are synthetic."""


class Tower:
    """A text tower with the interface that toggles have for an encoder: `pooled` is its embedding (B, E)."""

    def __init__(self, tower: TextTower) -> None:
        self.tower = tower

    @property
    def words(self) -> Tensor:
        return cast(Tensor, self.tower.encoder.model.get_input_embeddings().weight)  # type: ignore[operator]

    def __call__(self, ids: Tensor, mask: Tensor, *, rate: float | None = None, **others: Any) -> BertFeatures:
        """Return the features of texts (B, L); rate: dropout, 0.1 by default."""
        if any(value is not None and value is not False for value in others.values()):
            raise ConfigError(f"toggles of libre-base's text tower have no {', '.join(sorted(others))}")
        encoder = self.tower.encoder
        for module in encoder.modules():
            if isinstance(module, nn.Dropout):
                module.p = 0.1 if rate is None else rate
        encoder.train()
        out = encoder(ids, mask, layers=True)
        encoder.eval()
        return BertFeatures(self.tower.projection(out.pooled).float(), out.tokens, mask, out.layers)


class TextLosses(nn.Module):
    """The weighted losses of the toggles of a run. Their random choices are a function of the seed and the step."""

    def __init__(self, tasks: Sequence[TextTask], tower: TextTower, tokenizer: Tokenizer, seed: int) -> None:
        super().__init__()
        self.tasks, self.seed, self.number = tasks, seed, 0
        self.encoder = cast(Bert, Tower(tower))
        self.shape = Shape(tower.encoder.config, tokenizer, self.encoder)
        self.toggles = nn.ModuleList(build_part(TOGGLES, task, self.shape, key="toggles") for task in tasks)
        self.world = TextExamples(TextConfig(seed=seed))
        self.special = self.shape.special

    def forward(self, captions: Sequence[Example], device: torch.device) -> Tensor:
        """Return the loss, with the examples of the captions of this step."""
        sentences = [self.world.example(self.world.place(self.number * SIZE + i)) for i in range(SIZE)]
        total = torch.zeros((), device=device)
        for number, (task, toggle) in enumerate(zip(self.tasks, self.toggles, strict=True)):
            examples = captions[:SIZE] if task.texts == "captions" else sentences
            rng = np.random.default_rng((self.seed, self.number, number))
            step = Step(
                examples, self.encoder, None, self.shape.tokenizer, self.special, rng, self.number, device
            )  # fmt: skip
            total = total + task.weight * cast(Toggle, toggle)(step)["loss"].float()
        self.number += 1
        return total


def misspelled_texts(texts: Sequence[str], seed: int = 0) -> list[str]:
    """Return texts with half of the longer words misspelled, the same for every model."""
    rng = np.random.default_rng(seed)
    return [" ".join(misspelled(text.split(), rng, 0.5)) for text in texts]
