"""Vectors that shards store with each sample, such as a teacher's embeddings, and the batch field that returns them.

Legend: B clips, E dimensions.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence

import numpy as np
import torch

from aural.core.config import Config
from aural.core.errors import DataError
from aural.core.types import FloatArray
from aural.train.fields import FIELDS, Field, Sample, Tensors, read_fact


def vector_to_text(vector: FloatArray) -> str:
    """Return a vector (E,) as text: its numbers as float16 in base64.

    >>> vector_to_text(np.array([1.0, -2.0], np.float32))
    'ADwAwA=='
    """
    return base64.b64encode(np.asarray(vector, "<f2").tobytes()).decode()


def vector_of_text(text: str) -> FloatArray:
    """Return the vector (E,) that `vector_to_text` wrote.

    >>> vector_of_text("ADwAwA==").tolist()
    [1.0, -2.0]
    """
    return np.frombuffer(base64.b64decode(text, validate=True), "<f2").astype(np.float32)


class VectorConfig(Config):
    """Options of stored vectors: their column, and their name in a batch."""

    column: str = "vector"
    """A key of the facts of each sample that holds the text of a vector (`vector_to_text`)."""
    gives: str = "teacher_audio_emb"


@FIELDS.register("vector")
class VectorField(Field):
    """A stored vector per clip: "teacher_audio_emb" (B, E), or the name that the option `gives` states."""

    config_type = VectorConfig

    @property
    def gives(self) -> frozenset[str]:
        return frozenset({self.config.gives})

    def collate(self, samples: Sequence[Sample]) -> Tensors:
        texts = [read_fact(sample.item, self.config.column, "vector") for sample in samples]
        try:
            rows = np.stack([vector_of_text(text) for text in texts])
        except (TypeError, ValueError, binascii.Error):
            raise DataError(
                f"data.fields.vector: {self.config.column} is not a vector of one size in every sample"
            ) from None
        return {self.config.gives: torch.from_numpy(rows)}
