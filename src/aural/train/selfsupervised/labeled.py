"""Train with labels: transcripts by connectionist temporal classification, and classes of clips."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, ctc_loss

from aural.core.config import Config
from aural.train.fields import FIELDS, Sample, Tensors, read_fact
from aural.train.fields import Field as BatchField
from aural.train.selfsupervised.base import PRETEXTS, Outcome, Pretext, Shape, Step

LETTERS = " abcdefghijklmnopqrstuvwxyz"


class TranscriptsConfig(Config):
    """The column and the letters of transcripts."""

    column: str = "transcript"
    letters: str = LETTERS
    """Letters that have a number, from 1; others are left out."""


@FIELDS.register("transcripts")
class TranscriptsField(BatchField):
    """Transcripts as numbers of letters: "letters" (B, L), 0 after the end, and "letter_counts" (B,)."""

    config_type = TranscriptsConfig

    @property
    def gives(self) -> frozenset[str]:
        return frozenset({"letters", "letter_counts"})

    def collate(self, samples: Sequence[Sample]) -> Tensors:
        texts = [str(read_fact(sample.item, self.config.column, "transcripts")).lower() for sample in samples]
        rows = [[self.config.letters.index(c) + 1 for c in text if c in self.config.letters] for text in texts]
        letters = torch.zeros(len(rows), max(1, *(len(row) for row in rows)), dtype=torch.int64)
        for place, row in enumerate(rows):
            letters[place, : len(row)] = torch.tensor(row, dtype=torch.int64)
        return {"letters": letters, "letter_counts": torch.tensor([len(row) for row in rows])}


class FactsConfig(Config):
    """The column of a fact."""

    column: str
    """A key of the truth record or a column of the manifest."""


@FIELDS.register("facts")
class FactsField(BatchField):
    """A fact per clip: "facts", a list of strings."""

    config_type = FactsConfig

    @property
    def gives(self) -> frozenset[str]:
        return frozenset()

    def collate(self, samples: Sequence[Sample]) -> Tensors:
        return {"facts": [str(read_fact(sample.item, self.config.column, "facts")) for sample in samples]}


@PRETEXTS.register("ctc")
class Ctc(Pretext):
    """Write the transcript with one letter or a blank per token; all alignments count (torch's `ctc_loss`).

    The loss of a clip is divided by its letters. A clip with more letters than tokens has no alignment and loss 0.

    Source: Graves et al. 2006, connectionist temporal classification (doi 10.1145/1143844.1143891), equation 8.
    """

    fields = {"transcripts": {}}  # noqa: RUF012 - a constant of the class

    def __init__(self, config: Config, shape: Shape) -> None:
        super().__init__(config, shape)
        self.head = nn.Linear(shape.encoder.dim, len(LETTERS) + 1)

    def forward(self, step: Step) -> Outcome:
        logs = self.head(step.layers[-1]).float().log_softmax(-1).transpose(0, 1)  # (T, B, letters)
        counts = step.batch["letter_counts"]
        lengths = torch.full_like(counts, len(logs))
        losses = ctc_loss(logs, step.batch["letters"], lengths, counts, reduction="none", zero_infinity=True)
        per_clip = losses / counts.clamp(min=1)
        return Outcome(per_clip.mean(), per_clip)

    def texts(self, states: Tensor) -> list[str]:
        """Return the most likely letters of states (B, T, D), repetitions and blanks removed."""
        return [best_path(row) for row in self.head(states).argmax(-1).tolist()]


def best_path(ids: Sequence[int]) -> str:
    """Return the text of the best letters of a clip: repetitions are merged, then blanks (0) are removed.

    >>> best_path([0, 2, 2, 0, 2, 3])
    'aab'
    """
    merged = [now for before, now in zip([0, *ids], ids, strict=False) if now != before]
    return "".join(LETTERS[now - 1] for now in merged if now)


class TagsConfig(Config):
    """Options of classes of clips."""

    classes: Annotated[int, Field(ge=2)] = 2


@PRETEXTS.register("classes")
class Classes(Pretext):
    """Classify clips by the mean of their tokens: cross-entropy with "label", which the field "labels" gives.

    It stands for pretraining by tags, with which features without labels are compared. Clips without a class are left
    out.
    """

    config_type = TagsConfig

    def __init__(self, config: TagsConfig, shape: Shape) -> None:
        super().__init__(config, shape)
        self.head = nn.Linear(shape.encoder.dim, config.classes)

    def forward(self, step: Step) -> Outcome:
        labels = step.batch["label"]
        losses = cross_entropy(self.head(step.layers[-1].mean(1)).float(), labels.clamp(min=0), reduction="none")
        per_clip = torch.where(labels >= 0, losses, 0.0)
        return Outcome(per_clip.mean(), per_clip)
