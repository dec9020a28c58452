"""Prune dimensions of the space that sounds and texts share: choose them, measure what they cost, write the model.

Paissan and Farella (2023), "tinyCLAP", arXiv 2311.14517: entries of the shared space that contribute least to the
similarities are left out of both towers, after training.

Legend: N sounds, M texts, E dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aural.core.errors import ConfigError
from aural.core.types import FloatArray
from aural.core.vectors import nearest_others, shared_neighbors, unit_rows
from aural.models.clap import ClapConfig
from aural.models.format import save_own
from aural.models.pipeline import Model
from aural.models.publish import tokenizer_of
from aural.models.student import stored_text

SHARES: Final = (1.0, 0.75, 0.5, 0.375, 0.25, 0.1875, 0.125, 0.0625, 0.03125)
"""Kept dimensions of a curve, as shares of all."""
LINEAR: Final = ("linear", "log-linear")


@dataclass(frozen=True)
class Kept:
    """The cost of keeping a number of dimensions.

    cosine: mean cosine of each sound's vector with itself after pruning. overlap: share of the nearest sounds that
    stay the nearest; random: the same with as many dimensions chosen at random. accuracy: zero-shot accuracy, if the
    sounds have classes.
    """

    dimensions: int
    cosine: float
    overlap: float
    random: float
    accuracy: float | None = None


def contributions(rows: FloatArray) -> FloatArray:
    """Return the mean contribution (E,) of each dimension to the similarity of a sound with itself; their sum is 1.

    rows: unit vectors (N, E) of sounds.

    >>> contributions(np.array([[0.0, 1.0], [0.0, 1.0]], np.float32)).tolist()
    [0.0, 1.0]
    """
    means: FloatArray = np.square(rows).mean(0)
    return means


def order_of(rows: FloatArray) -> NDArray[np.int64]:
    """Return the dimensions (E,) from the largest to the smallest contribution."""
    return np.argsort(-contributions(rows), kind="stable")


@dataclass(frozen=True)
class Classes:
    """The vectors (M, E) of class prompts, and the class (N,) of each sound."""

    prompts: FloatArray
    truth: NDArray[np.int64]


def kept_curve(
    rows: FloatArray, counts: Sequence[int], *, classes: Classes | None = None, nearest: int = 10, seed: int = 0
) -> list[Kept]:
    """Return what each number of kept dimensions costs, for unit vectors (N, E) of sounds."""
    order = order_of(rows)
    shuffled = np.random.default_rng(seed).permutation(rows.shape[1])
    nearest = min(nearest, len(rows) - 1)
    before = nearest_others(rows, nearest)

    def same(dimensions: NDArray[np.int64]) -> float:
        return shared_neighbors(before, nearest_others(unit_rows(rows[:, dimensions]), nearest))

    curve = []
    for count in counts:
        keep = order[:count]
        accuracy = None
        if classes is not None:
            scores = unit_rows(rows[:, keep]) @ unit_rows(classes.prompts[:, keep]).T
            accuracy = float(np.mean(scores.argmax(1) == classes.truth))
        cosine = float(np.linalg.norm(rows[:, keep], axis=1).mean())
        curve.append(Kept(int(count), cosine, same(keep), same(shuffled[:count]), accuracy))
    return curve


def write_pruned(model: Model, keep: NDArray[np.int64], folder: str | Path) -> Path:
    """Write a model with some dimensions of both towers, in this order; `aural.load` opens the folder.

    Its vectors are the kept numbers of the model's vectors, scaled to unit length. Raises ConfigError if a tower does
    not end in a linear map (`aural distill` trains one that does) or keeps a second branch.
    """
    config, name = model.config, Path(model.name).name
    _check(model.name, config)
    places = torch.from_numpy(np.ascontiguousarray(keep))
    text, text_from, int8 = stored_text(model)
    tensors = {key: tensor for key, tensor in model.checkpoint.tensors.items() if not key.startswith("text.")} | text
    tensors |= _rows(tensors, "audio.projection.", places)
    kind = config.text_projection
    if kind == "none":
        kind = "linear"
        tensors["text.projection.weight"] = torch.eye(config.embed_dim)[places]
        tensors["text.projection.bias"] = torch.zeros(len(places))
    else:
        tensors |= _rows(tensors, "text.projection.", places)
    kept = f"{len(keep)} of {config.embed_dim} dimensions"
    return save_own(
        folder,
        config.model_copy(update={"embed_dim": len(keep), "text_projection": kind}),
        tensors,
        source=f"{name}, {kept}",
        card=f"# {name}, pruned\n\n{kept} of the shared space of {name}, written by `aural models prune`.\n",
        tokenizer_json=tokenizer_of(model),
        text_from=text_from,
        int8=int8,
    )


def _check(name: str, config: ClapConfig) -> None:
    audio = config.audio
    if audio.branch is not None or audio.moment or audio.projection not in LINEAR:
        raise ConfigError(
            f"{name}: its tower of sound does not end in a linear map; prune a student of `aural distill`"
        )
    if config.text_projection not in ("none", *LINEAR):
        raise ConfigError(
            f'{name}: its text tower ends in "{config.text_projection}", whose dimensions cannot be left out one by one'
        )


def _rows(tensors: dict[str, Tensor], prefix: str, places: Tensor) -> dict[str, Tensor]:
    return {name: tensor[places] for name, tensor in tensors.items() if name.startswith(prefix)}
