"""Targets from a second view of the encoder: inner layers of a frozen copy, a queue, and a teacher that sees more.

Legend: B texts, E width, Q rows of the queue, K layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from aural.core.config import Config
from aural.encoders.bert import mean_over
from aural.nn.functional import unit
from aural.objectives.sentences.contrast import sentence_contrast
from aural.objectives.sentences.views import cross_view, layers_distance, self_guided
from aural.train.sentences.base import TOGGLES, Shape, Step, Toggle
from aural.train.sentences.wording import View, view_of


class GuidedConfig(Config):
    """Options of self-guidance."""

    temperature: Annotated[float, Field(gt=0)] = 0.1


@TOGGLES.register("self-guided")
class SelfGuided(Toggle):
    """Train the first token as the sentence vector, by contrast with the mean of each layer of a frozen copy.

    No text is changed. At test time the vector is the state of the first token.

    Source: Kim et al. 2021, Self-Guided Contrastive Learning for BERT (arXiv 2106.07345).
    """

    config_type = GuidedConfig
    config: GuidedConfig
    second = "frozen"

    def forward(self, step: Step) -> dict[str, Tensor]:
        tokens = step.tokens([example.text for example in step.examples])
        assert step.second is not None
        with torch.no_grad():
            frozen = step.second(tokens.ids, tokens.mask)
        layers = torch.stack([mean_over(layer, tokens.mask) for layer in frozen.layers], 1)  # (B, K, E)
        anchors = step.encode(tokens).tokens[:, 0]
        return {"loss": self_guided(unit(anchors), unit(layers), temperature=self.config.temperature)}

    def embed(self, step: Step, texts: Sequence[str]) -> Tensor | None:
        return step.encode(texts).tokens[:, 0]


class CrossViewConfig(Config):
    """Options of the cross-view comparison."""

    queue: Annotated[int, Field(ge=1)] = 1024
    view: View = "mask-span"
    """How the words of the second view are changed."""
    temperature: Annotated[float, Field(gt=0)] = 0.05
    sharpness: Annotated[float, Field(gt=0)] = 0.03


@TOGGLES.register("cross-view")
class CrossView(Toggle):
    """Make two views equally similar to the sentences of a queue.

    The queue holds vectors of earlier batches of the averaged encoder. Until it is full, its random start counts.

    Source: Limkonchotiwat et al. 2023, SCT (arXiv 2311.03228), section 3.
    """

    config_type = CrossViewConfig
    config: CrossViewConfig
    second = "ema"
    queue: Tensor
    at: Tensor

    def __init__(self, config: CrossViewConfig, shape: Shape) -> None:
        super().__init__(config, shape)
        noise = torch.randn(config.queue, shape.text.dim, generator=torch.Generator().manual_seed(0))
        self.register_buffer("queue", unit(noise))
        self.register_buffer("at", torch.zeros((), dtype=torch.long))

    def forward(self, step: Step) -> dict[str, Tensor]:
        texts = [example.text for example in step.examples]
        views = [view_of(text, self.config.view, step.rng) for text in texts]
        first, second = unit(step.vectors([*texts, *views])).split(len(texts))
        new = unit(step.second_vectors(texts))
        options = {"temperature": self.config.temperature, "sharpness": self.config.sharpness}
        loss = cross_view(first, second, self.queue.clone(), **options)
        if self.training:
            places = (self.at + torch.arange(len(new), device=new.device)) % len(self.queue)
            self.queue[places] = new.to(self.queue)
            self.at.copy_((self.at + len(new)) % len(self.queue))
        return {"loss": loss}


@TOGGLES.register("future")
class Future(Toggle):
    """Match the layers of a teacher that reads a complete dialogue with those of a student that reads its beginning.

    The teacher is the exponential average of the encoder.

    Source: Zeng et al. 2023, FutureTOD (arXiv 2306.10315), section 2.2.
    """

    second = "ema"

    def forward(self, step: Step) -> dict[str, Tensor]:
        complete = [example.turns for example in step.examples]
        past = [turns[: int(step.rng.integers(1, len(turns)))] for turns in complete]
        student = step.encode([" ".join(turns) for turns in past])
        tokens = step.tokens([" ".join(turns) for turns in complete])
        assert step.second is not None
        with torch.no_grad():
            teacher = step.second(tokens.ids, tokens.mask)
        pairs = [[mean_over(layer, features.mask) for layer in features.layers[1:]] for features in (student, teacher)]
        return {"loss": layers_distance(*pairs)}


@TOGGLES.register("past")
class Past(Toggle):
    """Contrast the beginning of a dialogue with itself under another dropout: SimCSE on dialogues, for comparison.

    Source: Gao et al. 2021, SimCSE (arXiv 2104.08821), equation 4.
    """

    def forward(self, step: Step) -> dict[str, Tensor]:
        texts = []
        for example in step.examples:
            turns = example.turns
            texts.append(" ".join(turns[: int(step.rng.integers(1, len(turns)))]))
        first, second = unit(step.vectors([*texts, *texts])).split(len(texts))
        return {"loss": sentence_contrast(first, second)}
