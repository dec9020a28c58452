"""Contrast of sentences with views of themselves or with related texts: SimCSE and what was built on it.

Legend: B examples, E width, P vectors of a soft prompt.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from aural.core.config import Config
from aural.data.text.example import Example
from aural.data.text_views import anchor_and_positive
from aural.encoders.bert import BertFeatures
from aural.nn.functional import unit
from aural.objectives.sentences.contrast import energy_hinge, sentence_contrast
from aural.objectives.sentences.negatives import confident, inverse_propensity, noise_negatives, suspicion
from aural.objectives.sentences.views import attention_information
from aural.train.sentences.base import TOGGLES, Shape, Step, Toggle
from aural.train.sentences.wording import View, split_words, view_of

Share = Annotated[float, Field(ge=0, le=1)]
Positive = Literal["view", "paraphrase", "entailed", "context", "span", "translation"]


class ContrastConfig(Config):
    """Options of the contrast."""

    temperature: Annotated[float, Field(gt=0)] = 0.05
    positive: Positive = "view"
    """view: a view of the text itself. paraphrase, entailed: the related text. context: the sentence that contains the
    phrase (Phrase-BERT). span: a span of the same story that touches the anchor span (DeCLUTR). translation: the
    sentence in one of the toy languages (LaBSE)."""
    view: View = "same"
    """How the words of a view are changed; "same": only dropout differs (SimCSE)."""
    rate: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Dropout of both views; None: that of the system."""
    hard: bool = False
    """Use the contradicting text of each example as a hard negative."""
    hinge: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the energy hinge between the positive and the hard negative (PromCSE)."""
    margin: float = 0.15
    prompt: Annotated[int, Field(ge=0)] = 0
    """Number of learned vectors in front of every text, also at test time (PromCSE)."""
    attention: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the agreement of the attention maps of both views (miCSE)."""


@TOGGLES.register("simcse")
class Contrast(Toggle):
    """Find the positive of each sentence among those of the batch.

    Source: SimCSE (arXiv 2104.08821): `view: same` is the unsupervised, `positive: entailed, hard: true` the supervised
    version, `rate: 0` the control without dropout. Mirror-BERT (arXiv 2104.08027): `view: mask-span`. CLEAR (arXiv
    2012.15466): the other views. PromCSE (arXiv 2203.06875): `prompt`, `hinge`. miCSE (arXiv 2211.04928): `attention`.
    DeCLUTR (arXiv 2006.03659): `positive: span`. Phrase-BERT (arXiv 2109.06304): `positive: paraphrase` or `context`.
    LaBSE (arXiv 2007.01852): `positive: translation`.
    """

    config_type = ContrastConfig
    config: ContrastConfig

    def __init__(self, config: ContrastConfig, shape: Shape) -> None:
        super().__init__(config, shape)
        if config.prompt:
            rows = shape.bert.words.detach()[-config.prompt :]
            self.prompt = nn.Parameter(rows.clone())

    def forward(self, step: Step) -> dict[str, Tensor]:
        anchors, positives, examples = self.pairs(step)
        texts = [*anchors, *positives]
        if self.config.hard or self.config.hinge:
            texts += [example.contradicted for example in examples]
        features = self.encode(step, texts, rate=self.config.rate, attention=self.config.attention > 0)
        a, p, *hard = unit(features.pooled).split(len(anchors))
        options = self.negatives(step, anchors, a, p)
        negative = hard[0] if self.config.hard else None
        loss = sentence_contrast(a, p, temperature=self.config.temperature, hard=negative, **options)
        if self.config.hinge:
            loss = loss + self.config.hinge * energy_hinge(a, p, hard[0], self.config.margin)
        if self.config.attention:
            loss = loss + self.config.attention * agreement(features, len(anchors))
        return {"loss": loss, "alignment": (a - p).square().sum(1).mean()}

    def pairs(self, step: Step) -> tuple[list[str], list[str], Sequence[Example]]:
        """Return the texts of the anchors and of the positives, and the examples that they belong to."""
        if self.config.positive == "span":
            spans = [spans_of(example, step) for example in step.examples]
            return [a for a, _ in spans], [b for _, b in spans], step.examples
        anchors = [example.text for example in step.examples]
        positives = [self.positive(example, step) for example in step.examples]
        return anchors, positives, step.examples

    def positive(self, example: Example, step: Step) -> str:
        """Return the positive of one example; the text itself where it has none of the kind."""
        kind = self.config.positive
        related = example.text
        if kind == "paraphrase" and example.paraphrases:
            related = example.paraphrases[int(step.rng.integers(len(example.paraphrases)))]
        if kind == "translation" and example.translations:
            related = example.translations[int(step.rng.integers(len(example.translations)))]
        if kind == "entailed":
            related = example.entailed or example.text
        if kind == "context":
            related = example.context or example.text
        return view_of(related, self.config.view, step.rng)

    def negatives(self, step: Step, texts: list[str], a: Tensor, p: Tensor) -> dict[str, Tensor]:
        """Return `extra` negatives and `weights` of the negatives for `sentence_contrast`."""
        return {}

    def encode(self, step: Step, texts: Sequence[str], *, rate: float | None, attention: bool) -> BertFeatures:
        prefix = self.prompt if self.config.prompt else None
        return step.encode(texts, prefix=prefix, rate=rate, attention=attention)

    def embed(self, step: Step, texts: Sequence[str]) -> Tensor | None:
        if not self.config.prompt:
            return None
        return self.encode(step, texts, rate=None, attention=False).pooled


def spans_of(example: Example, step: Step) -> tuple[str, str]:
    """Return an anchor span and a positive span of a story as texts."""
    sentences = example.sentences or (example.text,)
    anchor, positive = anchor_and_positive(len(sentences), step.rng)
    return " ".join(sentences[i] for i in anchor), " ".join(sentences[i] for i in positive)


def agreement(features: BertFeatures, count: int) -> Tensor:
    """Return the mutual-information loss of the attention maps of two views of the same `count` texts."""
    maps = torch.cat(features.attention, 1)  # (2B, layers * heads, L, L)
    first, second = maps[:count], maps[count : 2 * count]
    both = features.mask[:count] * features.mask[count : 2 * count]
    return attention_information(first, second, both)


class DebiasedConfig(ContrastConfig):
    """Options of the contrast with weighted and noise negatives."""

    threshold: float = 0.9
    """Cosine from which a negative is left out as a false one; 2: none is."""
    noise: Annotated[int, Field(ge=0)] = 0
    """Number of noise negatives."""
    after: Annotated[int, Field(ge=0)] = 100
    """Step from which vectors of the encoder itself decide; before it no negative is left out."""


@TOGGLES.register("debiased-negatives")
class DebiasedNegatives(Contrast):
    """Contrast without the negatives that seem to be false, and with noise that was moved toward the sentences.

    The encoder's vectors without gradient stand in for the paper's complementary model.

    Source: Zhou et al. 2022, DCLR (arXiv 2205.00656), section 3.
    """

    config_type = DebiasedConfig
    config: DebiasedConfig

    def negatives(self, step: Step, texts: list[str], a: Tensor, p: Tensor) -> dict[str, Tensor]:
        options: dict[str, Tensor] = {}
        hard = len(a) if self.config.hard else 0
        kept = torch.ones(len(a), len(a) + hard + self.config.noise, device=a.device)
        if step.number >= self.config.after:
            kept[:, : len(a)] = (suspicion(a) < self.config.threshold).float()
        options["weights"] = kept
        if self.config.noise:
            options["extra"] = noise_negatives(a, self.config.noise)
        return options


class PropensityConfig(ContrastConfig):
    """Options of the contrast with inverse propensity weights."""

    power: Annotated[float, Field(ge=0)] = 1.0
    positives: bool = True
    """Draw positives that look different; else each candidate equally."""
    weigh: bool = True
    """Weigh negatives that look alike but mean something else more."""
    after: Annotated[int, Field(ge=0)] = 50
    """Step from which the encoder's vectors count as similarity of meaning."""


CANDIDATES: tuple[View, ...] = ("same", "delete-words", "delete-span", "reorder", "substitute")


@TOGGLES.register("propensity")
class Propensity(Contrast):
    """Contrast with positives and negatives drawn against the biases of plain sampling.

    Candidates of a positive are views of the sentence, of other length and words. A candidate is drawn by
    `inverse_propensity` of form (share of common words, times the ratio of lengths) and meaning (cosine of the
    encoder). In-batch negatives are weighted by the same rule, with mean weight 1, so that a negative of the same
    length and words counts more.

    Source: Miao et al. 2023, DebCSE (arXiv 2309.07396), section 3.
    """

    config_type = PropensityConfig
    config: PropensityConfig

    def pairs(self, step: Step) -> tuple[list[str], list[str], Sequence[Example]]:
        anchors = [example.text for example in step.examples]
        candidates = [[view_of(text, view, step.rng) for view in CANDIDATES] for text in anchors]
        surface = torch.tensor(
            [[alike(text, one) for one in row] for text, row in zip(anchors, candidates, strict=True)]
        )
        semantic = torch.ones_like(surface)
        if step.number >= self.config.after:
            with torch.no_grad():
                rows = unit(step.encode([*anchors, *(one for row in candidates for one in row)], rate=0.0).pooled)
            others = rows[len(anchors) :].view(len(anchors), len(CANDIDATES), -1)
            semantic = torch.einsum("be,bke->bk", rows[: len(anchors)], others).cpu()
        share = inverse_propensity(surface, semantic, power=self.config.power if self.config.positives else 0.0)
        cumulated = share.double().cumsum(1).numpy()
        drawn = [int((step.rng.random() > row[:-1]).sum()) for row in cumulated]
        return anchors, [row[i] for row, i in zip(candidates, drawn, strict=True)], step.examples

    def negatives(self, step: Step, texts: list[str], a: Tensor, p: Tensor) -> dict[str, Tensor]:
        if not self.config.weigh or step.number < self.config.after:
            return {}
        surface = a.new_tensor([[alike(one, other) for other in texts] for one in texts])
        share = inverse_propensity(1 - surface, 1 - (a @ a.T).detach().clamp(min=0), power=self.config.power)
        return {"weights": share * len(texts)}


def alike(first: str, second: str) -> float:
    """Return the similarity of form: Jaccard index of the words times the ratio of the lengths.

    >>> alike("a dog barks", "a dog")
    0.4444444444444444
    """
    one, other = split_words(first), split_words(second)
    shared = len(set(one) & set(other)) / len(set(one) | set(other))
    return shared * min(len(one), len(other)) / max(len(one), len(other))


class RefinedConfig(ContrastConfig):
    """Options of the three filters of generated pairs."""

    sentences: bool = False
    """Stage 1: keep one of several sentences of a batch that say nearly the same (generators repeat themselves)."""
    pairs: Share = 1.0
    """Stage 2: share of the pairs that is kept, those with the most similar positive."""
    threshold: float = 2.0
    """Stage 3: in-batch cosine from which a negative is left out; 2: none is."""
    after: Annotated[int, Field(ge=0)] = 100
    """Step from which the filters work; the encoder itself rates pairs."""


@TOGGLES.register("refined")
class Refined(Contrast):
    """Contrast on generated pairs that are filtered at three stages: sentences, pairs, and negatives of the batch.

    Source: Wang et al. 2023, MultiCSR (arXiv 2310.10962), section 3. The paper asks the language model that generated
    the data; here the encoder in training rates it.
    """

    config_type = RefinedConfig
    config: RefinedConfig

    def pairs(self, step: Step) -> tuple[list[str], list[str], Sequence[Example]]:
        anchors, positives, examples = super().pairs(step)
        if step.number < self.config.after or (not self.config.sentences and self.config.pairs == 1):
            return anchors, positives, examples
        with torch.no_grad():
            rows = unit(step.encode([*anchors, *positives], rate=0.0).pooled)
        a, p = rows.split(len(anchors))
        kept = torch.arange(len(anchors))
        if self.config.sentences:
            repeats = (suspicion(a) > REPEATED).tril().any(1)
            kept = kept[~repeats.cpu()]
        if self.config.pairs < 1:
            kept = kept[confident((a * p).sum(1).cpu()[kept], self.config.pairs)]
        places = kept.tolist()
        return [anchors[i] for i in places], [positives[i] for i in places], [examples[i] for i in places]

    def negatives(self, step: Step, texts: list[str], a: Tensor, p: Tensor) -> dict[str, Tensor]:
        if step.number < self.config.after or self.config.threshold > 1:
            return {}
        kept = (suspicion(a) < self.config.threshold).float()
        return {"weights": torch.cat([kept, torch.ones_like(kept)], 1) if self.config.hard else kept}


REPEATED = 0.95
"""Cosine from which a generated sentence counts as a repetition."""
