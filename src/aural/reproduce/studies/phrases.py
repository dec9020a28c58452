"""Embed what captions call the classes of a corpus, by frozen MiniLM.

The phrases come from the manifest alone, so the vectors can be computed before any sound is read, and carried to a
machine without the language model.

Legend: P phrases, D width of the vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aural.data.manifest import Manifest, read_manifest
from aural.data.simulate.corpus import label_of, phrases_of
from aural.data.simulate.sounds import clean_phrases
from aural.models.language import LANGUAGE_MODELS
from aural.reproduce.shared import shared_arrays
from aural.reproduce.study import StudyContext
from aural.reproduce.worlds import corpus_folder


class Phrases:
    """The vectors of all phrases (P, D); a phrase is named by its number."""

    def __init__(self, phrases: Sequence[str], vectors: Tensor) -> None:
        self.phrases = list(phrases)
        self.number = {phrase: i for i, phrase in enumerate(self.phrases)}
        self.vectors = vectors

    def of(self, phrases: Iterable[str]) -> list[int]:
        """Return the numbers of phrases."""
        return [self.number[phrase] for phrase in phrases]


def load_phrases(context: StudyContext) -> Phrases:
    """Return the phrases of all named clips of the corpus, with vectors in float32 on the device."""
    texts = phrases_in(read_manifest(corpus_folder(context.data, context.out)))
    vectors = vectors_of(context, texts)
    device = torch.device("cpu" if context.device == "auto" else context.device)
    return Phrases(texts, vectors.to(device))


def phrases_in(manifest: Manifest) -> list[str]:
    """Return the phrases of all named clips, and the names of their classes, sorted."""
    texts: set[str] = set()
    for row in manifest:
        if label := label_of(row):
            texts |= {label.replace("_", " "), *clean_phrases(phrases_of(row), label)}
    return sorted(texts)


def vectors_of(context: StudyContext, texts: Sequence[str]) -> Tensor:
    """Return unit vectors of texts (P, D) by MiniLM, computed once per corpus."""

    def compute() -> dict[str, NDArray[Any]]:
        return {"vectors": LANGUAGE_MODELS["minilm"](None).embed(list(texts)).half().numpy()}

    stored = shared_arrays(context, "phrases", repr(("minilm", list(texts))), compute)
    vectors = torch.from_numpy(stored["vectors"].astype(np.float32))
    return torch.nn.functional.normalize(vectors, dim=1)
