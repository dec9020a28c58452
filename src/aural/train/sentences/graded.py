"""Graded similarity, ranked lists and entailment as supervision.

Legend: B examples, K graded variants, E width.
"""

from __future__ import annotations

from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from aural.core.config import Config
from aural.nn.functional import unit
from aural.objectives.sentences.context import pair_features
from aural.objectives.sentences.contrast import energy_hinge
from aural.objectives.sentences.ranks import graded_cosine, list_mle, list_net
from aural.train.sentences.base import TOGGLES, Shape, Step, Toggle


class GradedConfig(Config):
    """Options of the regression of cosines."""

    error: Annotated[float, Field(ge=0)] = 0.1
    """Standard deviation of the errors of the scorer that stands in for a language model."""
    binary: bool = False
    """Only say whether a pair is similar (a score of at least `bound`): 1 or 0."""
    bound: float = 0.6


@TOGGLES.register("graded")
class Graded(Toggle):
    """Make the cosine of a sentence and one of its graded variants equal to a score.

    The score is the gold similarity of the text world plus errors: a scorer that stands in for a language model.

    Source: Cheng et al. 2023, CLAIF (arXiv 2305.01918), section 3.2.
    """

    config_type = GradedConfig
    config: GradedConfig

    def forward(self, step: Step) -> dict[str, Tensor]:
        drawn = [example.ranked[int(step.rng.integers(len(example.ranked)))] for example in step.examples]
        texts = [example.text for example in step.examples]
        a, b = unit(step.vectors([*texts, *(text for text, _ in drawn)])).split(len(texts))
        errors = self.config.error * step.rng.standard_normal(len(drawn))
        scores = a.new_tensor([score + error for (_, score), error in zip(drawn, errors, strict=True)]).clamp(0, 1)
        if self.config.binary:
            scores = (scores >= self.config.bound).to(a)
        return {"loss": graded_cosine(a, b, scores)}


class RankedConfig(Config):
    """Options of the ranking loss."""

    loss: Literal["list-net", "list-mle", "triplet"] = "list-net"
    temperature: Annotated[float, Field(gt=0)] = 0.05
    margin: float = 0.1


@TOGGLES.register("ranked")
class Ranked(Toggle):
    """Order the graded variants of a sentence by their gold similarity.

    triplet: two of the variants, drawn at random, instead of the list.

    Source: ranking-sentence synthesis (row 134 of the list; latent-controlled generation of ranked sentences): ranked
    variants are written by the text world; losses as in RankCSE (arXiv 2305.16726).
    """

    config_type = RankedConfig
    config: RankedConfig

    def forward(self, step: Step) -> dict[str, Tensor]:
        count = min(len(example.ranked) for example in step.examples)
        lists = [example.ranked[:count] for example in step.examples]
        texts = [example.text for example in step.examples] + [text for row in lists for text, _ in row]
        rows = unit(step.vectors(texts))
        a = rows[: len(lists)]
        variants = rows[len(lists) :].view(len(lists), count, -1)
        gold = a.new_tensor([[score for _, score in row] for row in lists])
        scores = torch.einsum("be,bke->bk", a, variants)
        options = {"temperature": self.config.temperature}
        if self.config.loss == "triplet":
            places = torch.from_numpy(np.stack([step.rng.choice(count, 2, replace=False) for _ in lists])).to(a.device)
            of_two, pair = gold.gather(1, places), places
            order = of_two.argsort(1, descending=True)
            nearer, farther = (variants[torch.arange(len(lists)), pair.gather(1, order)[:, i]] for i in range(2))
            return {"loss": energy_hinge(a, nearer, farther, self.config.margin)}
        loss = list_net if self.config.loss == "list-net" else list_mle
        return {"loss": loss(scores, gold, **options)}


ENTAILED, NEUTRAL, CONTRADICTED = range(3)


@TOGGLES.register("entailment")
class Entailment(Toggle):
    """Classify pairs of a premise and a text as entailed, neutral or contradicted from two vectors.

    Source: Conneau et al. 2017, InferSent (arXiv 1705.02364); as the training that carries less stereotype in Luo and
    Glass 2023, Logic Against Bias (arXiv 2303.05670).
    """

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        width = shape.text.dim
        self.head = nn.Sequential(nn.Linear(4 * width, width), nn.GELU(), nn.Linear(width, 3))

    def forward(self, step: Step) -> dict[str, Tensor]:
        examples = step.examples
        texts = [e.text for e in examples] + [e.entailed for e in examples]
        texts += [e.neutral for e in examples] + [e.contradicted for e in examples]
        premise, *others = step.vectors(texts).split(len(examples))
        logits = self.head(torch.cat([pair_features(premise, other) for other in others]))
        answer = torch.arange(3, device=logits.device).repeat_interleave(len(examples))
        accuracy = (logits.argmax(1) == answer).float().mean()
        return {"loss": nn.functional.cross_entropy(logits, answer), "accuracy": accuracy}
