"""Vectors of phrases without context: characters, kinds of phrases and views of three granularities.

Legend: B phrases, E width, G character trigrams of a word.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated
from zlib import crc32

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, embedding_bag

from aural.core.config import Config
from aural.data.text.phrases import TYPES
from aural.data.text_views import misspelled, reorder_spans, trigrams
from aural.nn.functional import unit
from aural.objectives.sentences.contrast import sentence_contrast
from aural.train.sentences.base import TOGGLES, Shape, Step, Toggle
from aural.train.sentences.wording import joined, split_words


class PhraseConfig(Config):
    """Options of phrase vectors."""

    temperature: Annotated[float, Field(gt=0)] = 0.05
    characters: bool = True
    """Add the mean vector of the character trigrams."""
    buckets: Annotated[int, Field(ge=1)] = 2048
    """Vectors of trigrams; a trigram is hashed to one of them."""
    kinds: Annotated[float, Field(ge=0)] = 0.2
    """Weight of the classification of the kind of phrase; 0: none."""
    letters: bool = True
    """Views with misspelled words."""
    words: bool = True
    """Views with words in another order."""
    paraphrases: bool = True
    """Views that are paraphrases of the phrase."""


@TOGGLES.register("phrase")
class Phrase(Toggle):
    """Contrast phrases with views of letters, words and phrases; characters are an input, the kind of phrase a target.

    Source: Chen et al. 2024, PEARL (arXiv 2401.10407), section 3.
    """

    config_type = PhraseConfig
    config: PhraseConfig

    def __init__(self, config: PhraseConfig, shape: Shape) -> None:
        super().__init__(config, shape)
        width = shape.text.dim
        self.kind = nn.Linear(width, len(TYPES))
        if config.characters:
            noise = torch.randn(config.buckets, width, generator=torch.Generator().manual_seed(0))
            self.grams = nn.Parameter(noise / width**0.5)

    def forward(self, step: Step) -> dict[str, Tensor]:
        texts = [example.text for example in step.examples]
        views = [self.view(i, step) for i in range(len(texts))]
        rows = self.vectors(step, [*texts, *views])
        a, p = unit(rows).split(len(texts))
        loss = sentence_contrast(a, p, temperature=self.config.temperature)
        if self.config.kinds:
            kind = torch.tensor([example.phrase_type for example in step.examples], device=step.device)
            loss = loss + self.config.kinds * cross_entropy(self.kind(rows[: len(texts)]), kind)
        return {"loss": loss}

    def view(self, number: int, step: Step) -> str:
        """Return a view of one of the granularities that are on; the phrase itself if none is."""
        example, config = step.examples[number], self.config
        flags = {"letters": config.letters, "words": config.words, "paraphrases": config.paraphrases}
        kinds = [name for name, on in flags.items() if on]
        kind = kinds[int(step.rng.integers(len(kinds)))] if kinds else "same"
        if kind == "paraphrases" and example.paraphrases:
            return example.paraphrases[int(step.rng.integers(len(example.paraphrases)))]
        words = split_words(example.text)
        if kind == "letters":
            return joined(misspelled(words, step.rng, 0.5))
        return joined(reorder_spans(words, step.rng)) if kind == "words" else example.text

    def vectors(self, step: Step, texts: Sequence[str]) -> Tensor:
        """Return the vectors (B, E): of the words, plus those of the characters."""
        pooled = step.vectors(texts)
        if not self.config.characters:
            return pooled
        grams = [[crc32(g.encode()) % self.config.buckets for w in split_words(t) for g in trigrams(w)] for t in texts]
        starts = torch.tensor([0, *(len(row) for row in grams[:-1])], device=step.device).cumsum(0)
        flat = torch.tensor([g for row in grams for g in row], device=step.device)
        return pooled + self.grams.shape[1] ** 0.5 * embedding_bag(flat, self.grams, starts, mode="mean")

    def embed(self, step: Step, texts: Sequence[str]) -> Tensor | None:
        return self.vectors(step, texts)
