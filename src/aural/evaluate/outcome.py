"""Input (`Context`) and result (`Outcome`) of runners, and the summary of the embedding space.

Legend: N clips, E joint dimensions, P matched pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import DataError
from aural.core.types import FloatArray
from aural.evaluate.cache import EmbeddingCache
from aural.evaluate.examples import Examples
from aural.evaluate.tuning import FineTune

MAP_POINTS = 300


@dataclass
class Context:
    """The model, its embedding cache and the options that all runners share."""

    cache: EmbeddingCache
    embedder: Any
    seed: int = 0
    shots: tuple[int, ...] = (1, 5)
    """Clips per class of few-shot probes."""
    repeats: int = 5
    """Draws of few-shot probes."""
    fine_tune: FineTune = field(default_factory=FineTune)
    resamples: int | None = None
    """Bootstrap resamples; None: 1,000, fewer for large tables."""
    say: Callable[[int, int], None] = lambda done, total: None

    def generator(self) -> np.random.Generator:
        """Return a new generator of the run's seed, so that results do not depend on what ran before."""
        return np.random.default_rng(self.seed)

    def audio(self, clips: Examples) -> FloatArray:
        """Return the embeddings (N, E) of clips; NaN rows where a sound cannot be read."""
        return self.cache.audio(clips.corpus, clips.numbers, say=self.say)

    def readable(self, clips: Examples) -> tuple[Examples, FloatArray]:
        """Return the clips that can be read, with their embeddings. Raises DataError if there is none."""
        vectors = self.audio(clips)
        keep = ~np.isnan(vectors[:, 0])
        if not keep.any():
            raise DataError(f"{clips.corpus.folder}: none of its {len(keep)} sounds can be read")
        return clips.subset(keep), vectors[keep]


@dataclass
class Outcome:
    """The predictions for one task, and what is reported with the scores.

    arrays: what the metrics read, `units` (N,) (which items are drawn together by the bootstrap) and optionally
    `folds`. unit_ids: the clip of each unit, as `Corpus.item_id` names it.
    """

    arrays: dict[str, NDArray[Any]]
    unit_ids: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()
    per_class: dict[str, float] = field(default_factory=dict)
    per_class_metric: str = ""
    confusion: list[list[int]] = field(default_factory=list)
    curve: dict[str, list[float]] = field(default_factory=dict)
    prompts: dict[str, float] = field(default_factory=dict)
    chance: float | None = None
    space: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)


def units_of(items: NDArray[Any]) -> NDArray[np.int64]:
    """Number the distinct values of (N,) from 0 in increasing order, as the bootstrap needs its units."""
    return np.unique(items, return_inverse=True)[1].ravel().astype(np.int64)


def space_of(audio: FloatArray, text: FloatArray, pairs: NDArray[np.int64], names: list[str]) -> dict[str, Any]:
    """Return modality gap, alignment, uniformity, and a plane for drawing.

    pairs: (P, 2) of matched (sound, text). names: of the sounds, then of the texts if there are more.

    - gap: distance between the mean sound and the mean text vector (Liang et al. 2022).
    - alignment: mean squared distance of matched pairs (Wang and Isola 2020).
    - uniformity: log of the mean of exp(-2 d^2) over pairs of different items, for sounds and for texts (same paper).
    - sounds, texts: their coordinates on the first two principal components of both.
    """
    matched = audio[pairs[:, 0]] - text[pairs[:, 1]] if len(pairs) else np.empty((0, audio.shape[1]))
    points = np.linspace(0, len(audio) - 1, min(len(audio), MAP_POINTS)).astype(int)
    words = np.linspace(0, len(text) - 1, min(len(text), MAP_POINTS)).astype(int)
    both = np.concatenate([audio[points], text[words]]).astype(np.float64)
    both -= both.mean(axis=0)
    _, _, axes = np.linalg.svd(both, full_matrices=False)
    axes = axes[:2] * np.sign(axes[:2, np.abs(axes[:2]).argmax(axis=1)].diagonal())[:, None]  # fixed signs
    plane = np.round(both @ axes.T, 4)
    return {
        "gap": float(np.linalg.norm(audio.mean(axis=0) - text.mean(axis=0))),
        "alignment": float(np.mean(np.sum(matched**2, axis=1))) if len(matched) else None,
        "uniformity_audio": _uniformity(audio),
        "uniformity_text": _uniformity(text),
        "sounds": plane[: len(points)].tolist(),
        "texts": plane[len(points) :].tolist(),
        "names": [names[n] for n in points],
        "text_names": [names[len(audio) + n] for n in words] if len(names) > len(audio) else [],
    }


def _uniformity(vectors: FloatArray) -> float | None:
    """Return log mean exp(-2 |x - y|^2) over pairs of at most 1,000 different unit rows: |x - y|^2 = 2 - 2 x.y"""
    sample = vectors[np.linspace(0, len(vectors) - 1, min(len(vectors), 1000)).astype(int)].astype(np.float64)
    if len(sample) < 2:
        return None
    cosines = (sample @ sample.T)[np.triu_indices(len(sample), 1)]
    return float(np.log(np.mean(np.exp(-2 * (2 - 2 * cosines)))))


def confusion(targets: NDArray[np.int64], predicted: NDArray[np.int64], size: int) -> list[list[int]]:
    """Return the confusion matrix: rows are true classes, columns are predicted classes."""
    counts = np.bincount(targets * size + predicted, minlength=size * size).reshape(size, size)
    return [[int(count) for count in row] for row in counts]
