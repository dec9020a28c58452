"""What a runner gives back, what it is given, and the picture of the embedding space that goes with it.

Legend: N clips, E joint dimensions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import DataError
from aural.core.registry import Registry
from aural.core.types import FloatArray
from aural.evaluate.cards import TaskCard
from aural.evaluate.store import Store
from aural.evaluate.truth import DataRoot, Examples
from aural.evaluate.tuning import FineTune

MAP_POINTS = 300


@dataclass
class Context:
    """All that runners share."""

    store: Store
    root: DataRoot
    embedder: Any
    seed: int = 0
    shots: tuple[int, ...] = (1, 5)
    repeats: int = 5
    fine_tune: FineTune = field(default_factory=FineTune)
    resamples: int | None = None  # of the bootstrap; None: 1,000, fewer for large tables
    say: Callable[[int, int], None] = lambda done, total: None

    def generator(self) -> np.random.Generator:
        """A fresh generator of the run's seed: results do not depend on what ran before."""
        return np.random.default_rng(self.seed)

    def audio(self, found: Examples) -> FloatArray:
        """(N, E) of a task's clips; NaN rows where a sound cannot be read."""
        return self.store.audio(found.corpus, found.numbers, say=self.say)

    def heard(self, found: Examples) -> tuple[Examples, FloatArray]:
        """The clips that can be read, with their vectors."""
        vectors = self.audio(found)
        keep = ~np.isnan(vectors[:, 0])
        if not keep.any():
            raise DataError(f"{found.corpus.folder}: none of its {len(keep)} sounds can be read")
        return found.subset(keep), vectors[keep]


@dataclass
class Outcome:
    """The predictions of one task and what is told about them beside the scores.

    arrays: what the metrics read, and `units` (which items belong together) and perhaps `folds`.
    """

    arrays: dict[str, NDArray[Any]]
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


Runner: TypeAlias = Callable[[Context, TaskCard], Outcome]
RUNNERS: Registry[Runner] = Registry("runner")  # "KIND/METHOD"


def space_of(audio: FloatArray, text: FloatArray, pairs: NDArray[np.int64], names: list[str]) -> dict[str, Any]:
    """Modality gap, alignment, uniformity, and a plane for drawing.

    gap: distance of the mean sound and the mean text vector (Liang et al. 2022). alignment: mean squared distance of
    matched pairs; uniformity: log of the mean of exp(-2 d^2) over pairs of different items (Wang and Isola 2020), of
    sounds and of texts. pairs: (P, 2) of matched (sound, text). plane: the first two principal components of both.
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
    """log mean exp(-2 |x - y|^2) over pairs of at most 1,000 different items; unit rows: |x - y|^2 = 2 - 2 x.y"""
    some = vectors[np.linspace(0, len(vectors) - 1, min(len(vectors), 1000)).astype(int)].astype(np.float64)
    if len(some) < 2:
        return None
    cosines = (some @ some.T)[np.triu_indices(len(some), 1)]
    return float(np.log(np.mean(np.exp(-2 * (2 - 2 * cosines)))))


def confusion(targets: NDArray[np.int64], predicted: NDArray[np.int64], size: int) -> list[list[int]]:
    """Rows are true classes, columns predicted ones."""
    counts = np.bincount(targets * size + predicted, minlength=size * size).reshape(size, size)
    return [[int(c) for c in one] for one in counts]
