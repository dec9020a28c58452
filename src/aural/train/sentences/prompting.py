"""Classification from few examples: prompts with class words, and contrast of views with the same label.

Legend: B examples, C classes, E width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from aural.core.config import Config
from aural.data.text import lexicon as lx
from aural.data.text_views import prompted
from aural.nn.functional import unit
from aural.objectives.sentences.restore import class_word_logits, demonstration_contrast
from aural.objectives.sup_con import SupCon
from aural.train.sentences.base import TOGGLES, Shape, Step, Toggle
from aural.train.sentences.restoring import Words
from aural.train.sentences.wording import split_words, view_of

TEMPLATES: Final = ("{} this is a [MASK].", "you can hear a [MASK]: {}", "the [MASK] sound: {}", "{} and the [MASK].")
CLASSES: Final = len(lx.STREET)


def same_label(rows: Tensor, label: Tensor, temperature: float) -> Tensor:
    """Return the supervised contrast of unit rows (N, E) with labels (N,)."""
    scale = rows.new_tensor(1 / temperature)
    return SupCon()({"audio_emb": rows, "audio_group": label, "logit_scale": scale})["loss"]


class PromptConfig(Config):
    """Options of prompt tuning."""

    views: Literal["none", "templates", "paraphrase", "easy", "translated"] = "none"
    """Second view of the supervised contrast: none; templates: another prompt and a demonstration (LM-SupCon);
    paraphrase (LM-CPPF); easy: EDA; translated: every word with a synonym by its synonym and two runs exchanged, which
    stands in for back-translation."""
    contrast: Annotated[float, Field(ge=0)] = 1.0
    """Weight of the contrast of views."""
    demonstrations: Annotated[float, Field(ge=0)] = 0.0
    """Weight of the contrast of learned demonstrations, one vector per class in front of the prompt; 0: none."""
    temperature: Annotated[float, Field(gt=0)] = 0.1


@TOGGLES.register("prompt")
class Prompt(Toggle):
    """Classify a sentence by the class words that fit the mask of a prompt, as few-shot prompt tuning does.

    The class words are the first words of the things of a topic ("dog", "cat"). The head of the masked language model
    is learned again.

    Source: LM-BFF (arXiv 2012.15723); `views: templates` as in LM-SupCon (arXiv 2205.01308), `views: paraphrase` as in
    LM-CPPF (arXiv 2305.18169), `demonstrations` as in Demo-tuning (arXiv 2204.04392).
    """

    config_type = PromptConfig
    config: PromptConfig

    def __init__(self, config: PromptConfig, shape: Shape) -> None:
        super().__init__(config, shape)
        self.head = Words(shape.text.dim, shape.text.vocab_size)
        to_id = shape.tokenizer.backend.token_to_id
        self.class_words = [[to_id(words[0]) or 0 for words in lx.THINGS[topic]] for topic in lx.STREET]
        if config.demonstrations:
            start = [shape.bert.words.detach()[words].mean(0) for words in self.class_words]
            self.virtual = nn.Parameter(torch.stack(start))

    def states(self, step: Step, texts: Sequence[str]) -> Tensor:
        """Return the states (B, E) of the masks of prompts."""
        tokens = step.tokens(texts)
        prefix = self.virtual if self.config.demonstrations else None
        features = step.encode(tokens, prefix=prefix)
        place = (tokens.ids == step.special.mask).int().argmax(1)
        return features.tokens[torch.arange(len(place), device=place.device), place]

    def logits(self, step: Step, states: Tensor) -> Tensor:
        """Return the scores (B, C) of the classes."""
        return class_word_logits(self.head(states, step.bert.words), self.class_words)

    def forward(self, step: Step) -> dict[str, Tensor]:
        texts = [example.text for example in step.examples]
        label = torch.tensor([example.label for example in step.examples], device=step.device)
        states = self.states(step, [prompt(text) for text in texts])
        loss = cross_entropy(self.logits(step, states), label)
        if self.config.views != "none":
            others = self.states(step, [self.view(i, step) for i in range(len(texts))])
            rows = unit(torch.cat([states, others]))
            loss = loss + self.config.contrast * same_label(rows, label.repeat(2), self.config.temperature)
        if self.config.demonstrations:
            part = demonstration_contrast(unit(self.virtual), unit(states), label, temperature=self.config.temperature)
            loss = loss + self.config.demonstrations * part
        return {"loss": loss}

    def view(self, number: int, step: Step) -> str:
        """Return the prompt of a second view of an example."""
        example = step.examples[number]
        kind = self.config.views
        if kind == "templates":
            template = TEMPLATES[int(step.rng.integers(1, len(TEMPLATES)))]
            same = [other.text for other in step.examples if other.label == example.label]
            shown = same[int(step.rng.integers(len(same)))]
            word = lx.THINGS[example.label][0][0]
            return prompt(example.text, template) + f" {shown} a {word}."
        if kind == "paraphrase":
            return prompt(example.paraphrases[int(step.rng.integers(len(example.paraphrases)))])
        if kind == "easy":
            return prompt(view_of(example.text, "easy", step.rng))
        return prompt(view_of(view_of(example.text, "substitute", step.rng), "reorder", step.rng))

    def classify(self, step: Step, texts: Sequence[str]) -> Tensor:
        """Return the scores (N, C) of the classes of texts."""
        return self.logits(step, self.states(step, [prompt(text) for text in texts]))


def prompt(text: str, template: str = TEMPLATES[0]) -> str:
    """Return a text in a prompt.

    >>> prompt("a dog barks.")
    'a dog barks . this is a [MASK].'
    """
    return " ".join(prompted(split_words(text), template))


class LabelsConfig(Config):
    """Options of the training with labels."""

    loss: Literal["cross-entropy", "contrast"] = "contrast"
    rates: tuple[float, ...] = (0.0, 0.1, 0.2, 0.3)
    """contrast: dropout of each view."""
    temperature: Annotated[float, Field(gt=0)] = 0.1


@TOGGLES.register("labels")
class Labels(Toggle):
    """Train with labels: several views of a sentence under other dropout rates, contrasted by label, or cross entropy.

    Source: Sedghamiz et al. 2021, SupCL-Seq (arXiv 2109.07424).
    """

    config_type = LabelsConfig
    config: LabelsConfig

    def __init__(self, config: LabelsConfig, shape: Shape) -> None:
        super().__init__(config, shape)
        self.head = nn.Linear(shape.text.dim, CLASSES)

    def forward(self, step: Step) -> dict[str, Tensor]:
        tokens = step.tokens([example.text for example in step.examples])
        label = torch.tensor([example.label for example in step.examples], device=step.device)
        if self.config.loss == "cross-entropy":
            return {"loss": cross_entropy(self.head(step.vectors(tokens)), label)}
        rows = unit(torch.cat([step.encode(tokens, rate=rate).pooled for rate in self.config.rates]))
        return {"loss": same_label(rows, label.repeat(len(self.config.rates)), self.config.temperature)}
