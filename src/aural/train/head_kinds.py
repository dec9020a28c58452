"""Kinds of supervised tasks by name: how a kind reads answers, and its head and loss.

A plug-in adds a kind by registering a subclass of `HeadKind` in `HEAD_KINDS`.

Legend: B clips, D width of the encoder, C classes, L caption tokens, V vocabulary.
"""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, pad, smooth_l1_loss

from aural.core.errors import DataError, near_miss
from aural.core.registry import Registry
from aural.encoders.base import AudioFeatures
from aural.encoders.tokenize import Tokenizer, load_backend
from aural.train.config import TaskConfig
from aural.train.draw import ITEM, number
from aural.train.sources import answer, listed

if TYPE_CHECKING:
    from aural.train.sources import Item

IGNORE = -100
CAPTION_TOKENIZER, CAPTION_END = "gpt2", 50256


class HeadKind(ABC):
    """A kind of supervised task, for one task of a recipe.

    Args:
        name: of the task, for errors.
        task: its options.
        classes: the class names of a kind with classes.
        seed: of choices among several answers.
    """

    has_classes: ClassVar[bool] = False
    reads_column: ClassVar[bool] = True
    """The answer is the value of `task.column`, which the first clip of a source must have."""

    def __init__(self, name: str, task: TaskConfig, classes: Sequence[str] = (), seed: int = 0) -> None:
        self.name, self.task, self.classes, self.seed = name, task, tuple(classes), seed

    def answer(self, item: Item) -> Any:
        """Return the answer of a clip.

        Raises:
            DataError: it has none.
        """
        try:
            return answer(item.facts, self.task.column)
        except DataError as error:
            raise DataError(f"tasks.{self.name}: {error}") from None

    @abstractmethod
    def labels(self, answers: Sequence[Any]) -> Tensor:
        """Return the labels (B, ...) of a batch; None stands for a clip of another task, whose row is not used."""

    def head(self, d_audio: int) -> nn.Module:
        """Return the head for an encoder of width D."""
        return nn.Linear(d_audio, self.width)

    @property
    def width(self) -> int:
        """Outputs of a linear head."""
        return len(self.classes)

    @abstractmethod
    def loss(self, head: nn.Module, features: AudioFeatures, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and the score of each clip, both (B,). Rows of other tasks may hold any finite number."""


HEAD_KINDS: Registry[type[HeadKind]] = Registry("kind of task head")


@HEAD_KINDS.register("classify")
class Classify(HeadKind):
    """One of C classes; the score is 1 for a right answer."""

    has_classes = True

    def labels(self, answers: Sequence[Any]) -> Tensor:
        return torch.tensor([IGNORE if value is None else self._class(str(value)) for value in answers])

    def _class(self, value: str) -> int:
        if value not in self.classes:
            hint = near_miss(value, self.classes)
            raise DataError(f'tasks.{self.name}: "{value}" is not one of its classes; {hint}')
        return self.classes.index(value)

    def loss(self, head: nn.Module, features: AudioFeatures, labels: Tensor) -> tuple[Tensor, Tensor]:
        logits = head(features.pooled).float()
        losses = cross_entropy(logits, labels, ignore_index=IGNORE, reduction="none")
        return losses, (logits.argmax(1) == labels).float()


@HEAD_KINDS.register("tag")
class Tag(HeadKind):
    """Any number of C classes; the score is the share of right decisions."""

    has_classes = True

    def labels(self, answers: Sequence[Any]) -> Tensor:
        return multi_hot([() if value is None else listed(value) for value in answers], self.classes)

    def loss(self, head: nn.Module, features: AudioFeatures, labels: Tensor) -> tuple[Tensor, Tensor]:
        logits = head(features.pooled).float()
        losses = binary_cross_entropy_with_logits(logits, labels, reduction="none").mean(1)
        return losses, ((logits > 0) == (labels > 0.5)).float().mean(1)


@HEAD_KINDS.register("regress")
class Regress(HeadKind):
    """A number; the score is minus the absolute error."""

    width = 1

    def labels(self, answers: Sequence[Any]) -> Tensor:
        return torch.tensor([float(IGNORE) if value is None else self._number(value) for value in answers])

    def _number(self, value: Any) -> float:
        try:
            return float(value)
        except (TypeError, ValueError):
            message = f'tasks.{self.name}: {self.task.column} holds "{value}", which is not a number'
            raise DataError(message) from None

    def loss(self, head: nn.Module, features: AudioFeatures, labels: Tensor) -> tuple[Tensor, Tensor]:
        values = head(features.pooled).float()[:, 0]
        return smooth_l1_loss(values, labels, reduction="none"), -(values - labels).abs()


@HEAD_KINDS.register("count")
class Count(Regress):
    """A whole number from 0 to `task.highest`, as one of so many classes."""

    @property
    def width(self) -> int:  # type: ignore[override]
        return self.task.highest + 1

    def labels(self, answers: Sequence[Any]) -> Tensor:
        values = super().labels(answers).tolist()
        return torch.tensor([int(v) if v == IGNORE else min(int(v), self.task.highest) for v in values])

    loss = Classify.loss


@HEAD_KINDS.register("caption")
class Caption(HeadKind):
    """A caption, token by token; the score is the share of right tokens."""

    reads_column = False

    def answer(self, item: Item) -> str:
        if not item.captions:
            raise DataError(f"{item.key}: has no caption, which its task needs")
        return item.captions[number(self.seed, ITEM, zlib.crc32(item.place.encode())) % len(item.captions)]

    def labels(self, answers: Sequence[Any]) -> Tensor:
        longest = self.task.max_tokens
        tokens = _caption_tokenizer(longest)([text or " " for text in answers])
        ids = torch.where(tokens.mask.bool(), tokens.ids, IGNORE)
        ids = pad(ids, (0, longest - ids.shape[1]), value=IGNORE)  # always the same shape
        return torch.where(torch.tensor([text is not None for text in answers])[:, None], ids, IGNORE)

    def head(self, d_audio: int) -> nn.Module:
        return Decoder(self.task, d_audio, CAPTION_END + 1)

    def loss(self, head: nn.Module, features: AudioFeatures, labels: Tensor) -> tuple[Tensor, Tensor]:
        begin = torch.full_like(labels[:, :1], CAPTION_END)
        inputs = torch.cat([begin, labels[:, :-1]], 1).clamp_min(0)
        logits = head(inputs, features.tokens).float()  # (B, L, V)
        losses = cross_entropy(logits.transpose(1, 2), labels, ignore_index=IGNORE, reduction="none")
        length = (labels != IGNORE).sum(1).clamp_min(1)
        return losses.sum(1) / length, (logits.argmax(2) == labels).sum(1) / length


@lru_cache(maxsize=4)
def _caption_tokenizer(max_tokens: int) -> Tokenizer:
    backend = load_backend(CAPTION_TOKENIZER)
    return Tokenizer(backend, special="none", max_tokens=max_tokens, pad_id=CAPTION_END, suffix=" <|endoftext|>")


class Decoder(nn.Module):
    """Captioning head: a causal transformer with cross attention to the audio tokens.

    Maps the ids (B, L) so far to logits (B, L, V) of the next tokens.
    """

    def __init__(self, task: TaskConfig, d_audio: int, vocabulary: int) -> None:
        super().__init__()
        self.embed = nn.Embedding(vocabulary, task.dim)
        self.position = nn.Parameter(0.02 * torch.randn(task.max_tokens, task.dim))
        self.memory = nn.Linear(d_audio, task.dim)
        layer = nn.TransformerDecoderLayer(
            task.dim, max(1, task.dim // 64), 4 * task.dim, dropout=0.1, activation="gelu", batch_first=True,
            norm_first=True,
        )  # fmt: skip
        self.layers = nn.TransformerDecoder(layer, task.depth)
        nn.init.normal_(self.embed.weight, std=0.02)

    def forward(self, ids: Tensor, audio: Tensor) -> Tensor:
        x = self.embed(ids) + self.position[: ids.shape[1]]
        causal = nn.Transformer.generate_square_subsequent_mask(ids.shape[1], ids.device, x.dtype)
        x = self.layers(x, self.memory(audio), tgt_mask=causal, tgt_is_causal=True)
        return x @ self.embed.weight.T


def multi_hot(names: Sequence[Sequence[str]], classes: Sequence[str]) -> Tensor:
    """Return (B, C) float: 1 where the row's names hold the class.

    >>> multi_hot([["dog"], ["rain", "dog"], []], ["dog", "rain"]).tolist()
    [[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]]
    """
    column = {name: place for place, name in enumerate(classes)}
    values = torch.zeros(len(names), len(classes))
    for row, row_names in enumerate(names):
        for name in row_names:
            if name in column:
                values[row, column[name]] = 1.0
    return values
