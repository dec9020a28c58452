"""Order as supervision: neighboring sentences of stories, their places, and turns of dialogues.

Legend: N sentences of a batch, E width, T turns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from aural.core.config import Config
from aural.nn.functional import unit
from aural.nn.vector_decoder import VectorDecoder
from aural.objectives.sentences.context import (
    curved_targets,
    mixture_scores,
    mixtures,
    neighbor_contrast,
    pair_features,
)
from aural.objectives.sentences.contrast import sentence_contrast
from aural.objectives.sentences.restore import restored
from aural.train.sentences.base import TOGGLES, Shape, Step, Toggle

SECTIONS: Final = 3


def sentences_of(step: Step) -> tuple[list[str], Tensor, Tensor, Tensor]:
    """Return all sentences of the stories of a batch, and document, place and section of each (N,)."""
    texts: list[str] = []
    document: list[int] = []
    place: list[int] = []
    section: list[int] = []
    for number, example in enumerate(step.examples):
        texts += example.sentences
        document += [number] * len(example.sentences)
        place += list(range(len(example.sentences)))
        section += example.sections
    columns = [torch.tensor(column, device=step.device) for column in (document, place, section)]
    return texts, columns[0], columns[1], columns[2]


class NeighborsConfig(Config):
    """Options of the contrast of neighbors."""

    scale: Annotated[float, Field(gt=0)] = 10.0
    """Multiplier of the cosines: 1 / temperature."""


@TOGGLES.register("neighbors")
class Neighbors(Toggle):
    """Find the sentences before and after each sentence of a story among all sentences of the batch.

    Sentence and context have their own linear layers over one encoder; the paper has two encoders.

    Source: Logeswaran and Lee 2018, Quick-Thoughts (arXiv 1803.02893).
    """

    config_type = NeighborsConfig
    config: NeighborsConfig

    def __init__(self, config: NeighborsConfig, shape: Shape) -> None:
        super().__init__(config, shape)
        width = shape.text.dim
        self.sentence, self.context = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, step: Step) -> dict[str, Tensor]:
        texts, document, place, _ = sentences_of(step)
        vectors = step.vectors(texts)
        first, second = unit(self.sentence(vectors)), unit(self.context(vectors))
        return {"loss": neighbor_contrast(self.config.scale * first, second, document, place)}


@TOGGLES.register("next-words")
class NextWords(Toggle):
    """Predict the words of the next sentence of a story from the vector of this one, all at once: the decoder baseline
    of Quick-Thoughts.

    The paper compares with recurrent decoders (Kiros et al. 2015, Skip-Thought, arXiv 1506.06726), which are slower.
    """

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        self.decoder = VectorDecoder(shape.text.dim, shape.text.dim, depth=2)

    def forward(self, step: Step) -> dict[str, Tensor]:
        texts, document, _, _ = sentences_of(step)
        pairs = (document[1:] == document[:-1]).tolist()
        first = [text for text, follows in zip(texts, pairs, strict=False) if follows]
        second = step.tokens([text for text, follows in zip(texts[1:], pairs, strict=True) if follows])
        words = ~torch.isin(second.ids, second.ids.new_tensor(step.special.all))
        blank = second.ids.masked_fill(words, step.special.mask)
        places = step.bert.embeddings.position_embeddings.weight[: blank.shape[1]]
        states = self.decoder(step.vectors(first), step.bert.embed(blank) + places, second.mask)
        return {"loss": restored(states @ step.bert.words.T, second.ids, words)}


class DiscourseConfig(Config):
    """Options of the objectives of document structure."""

    section: bool = True
    """Classify the section of a sentence."""
    order: bool = True
    """Say whether two neighbors of a story are in order."""
    place: bool = True
    """Regress the place of a sentence, 0 to 1."""


@TOGGLES.register("discourse")
class Discourse(Toggle):
    """Predict the structure of stories from vectors of their sentences: section, order of neighbors, and place.

    Source: Chen et al. 2019, DiscoEval (arXiv 1909.00142), section 4 (training objectives from document structure).
    """

    config_type = DiscourseConfig
    config: DiscourseConfig

    def __init__(self, config: DiscourseConfig, shape: Shape) -> None:
        super().__init__(config, shape)
        width = shape.text.dim
        self.section, self.place = nn.Linear(width, SECTIONS), nn.Linear(width, 1)
        self.order = nn.Linear(4 * width, 2)

    def forward(self, step: Step) -> dict[str, Tensor]:
        texts, document, place, section = sentences_of(step)
        vectors = step.vectors(texts)
        loss = 0.0 * vectors.sum()
        if self.config.section:
            loss = loss + cross_entropy(self.section(vectors), section)
        if self.config.place:
            last = torch.zeros_like(place).scatter_reduce(0, document, place, "amax")[document]
            loss = loss + (self.place(vectors)[:, 0] - place / last.clamp(min=1)).square().mean()
        if self.config.order:
            at = (document[1:] == document[:-1]).nonzero()[:, 0]
            swapped = torch.from_numpy(step.rng.integers(0, 2, len(at))).to(at)
            features = pair_features(vectors[at + swapped], vectors[at + 1 - swapped])
            loss = loss + cross_entropy(self.order(features), swapped)
        return {"loss": loss}


class TurnsConfig(Config):
    """Options of the contrast of turns."""

    window: Annotated[int, Field(ge=2)] = 5
    """Turns over which similarity falls to 0."""
    triples: bool = True
    """Train mixtures of two turns for the one that follows (triple encoder). Otherwise pairs of turns (bi-encoder)."""
    temperature: Annotated[float, Field(gt=0)] = 0.1


BEFORE, LAST, AFTER = range(3)
LATEST: Final = 8
"""Turns of the history that are mixed."""


@TOGGLES.register("turns")
class Turns(Toggle):
    """Encode turns of a dialogue one by one, so that mixtures of earlier turns are near the turn that follows.

    A turn has a learned vector of its role in front: the earlier or the later of two turns, or the turn that follows.
    Pairs: the cosine of an earlier turn and a later one is regressed onto `curved_targets`, also backward.
    Triples: the unit sum of two turns (i < j) is contrasted with the turn after j; the other turns of the batch, those
    of the same dialogue included, are negatives.

    Source: Erker et al. 2022, curved contrastive learning (arXiv 2211.07591); Erker et al. 2024, Triple-Encoders (arXiv
    2402.12332). The paper regresses the mixtures as well.
    """

    config_type = TurnsConfig
    config: TurnsConfig

    def __init__(self, config: TurnsConfig, shape: Shape) -> None:
        super().__init__(config, shape)
        noise = torch.randn(3, 1, shape.text.dim, generator=torch.Generator().manual_seed(0))
        self.roles = nn.Parameter(0.05 * noise)

    def encode(self, step: Step, texts: Sequence[str], role: int) -> Tensor:
        """Return unit rows (N, E) of texts in one role."""
        return unit(step.encode(texts, prefix=self.roles[role]).pooled)

    def forward(self, step: Step) -> dict[str, Tensor]:
        drawn = [self.draw(example.turns, step) for example in step.examples]
        before = self.encode(step, [turns[i] for turns, i, _ in drawn], BEFORE)
        after = self.encode(step, [turns[j] for turns, _, j in drawn], AFTER)
        if self.config.triples:
            last = self.encode(step, [turns[j - 1] for turns, _, j in drawn], LAST)
            mixed = mixtures(before, last)
            negatives = self.encode(step, [turns[i] for turns, i, _ in drawn], AFTER)
            loss = sentence_contrast(mixed, after, temperature=self.config.temperature, extra=negatives)
            return {"loss": loss}
        distance = before.new_tensor([j - i for _, i, j in drawn])
        loss = ((before * after).sum(1) - curved_targets(distance, self.config.window)).square().mean()
        others = (before @ after.T).fill_diagonal_(0.0)
        return {"loss": loss + others.square().sum() / max(1, len(others) * (len(others) - 1))}

    def draw(self, turns: Sequence[str], step: Step) -> tuple[Sequence[str], int, int]:
        """Return turns, a place, and the place of a later turn, at least two after it for triples."""
        if self.config.triples:
            after = int(step.rng.integers(2, len(turns)))
            return turns, int(step.rng.integers(max(0, after - LATEST), after - 1)), after
        i, j = step.rng.choice(len(turns), 2, replace=False)
        return turns, int(i), int(j)

    def next_scores(self, step: Step, turns: Sequence[str], candidates: Tensor) -> Tensor:
        """Return the scores (N,) of candidates, rows (N, E) in the role AFTER, as the turn after these turns."""
        recent = turns[-LATEST:]
        before = self.encode(step, recent, BEFORE)
        if not self.config.triples or len(recent) < 2:
            return (before @ candidates.T).mean(0)
        return mixture_scores(before, self.encode(step, recent, LAST), candidates)
