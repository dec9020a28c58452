"""The sounds and classes that show what a dimension of a space is worth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from aural.core.errors import DataError
from aural.core.names import DEFAULT_TEMPLATE
from aural.core.types import FloatArray
from aural.data.manifest import read_manifest
from aural.models.embedding import EmbeddingModel
from aural.models.prune import Classes
from aural.train.distill import embedded
from aural.train.distill.sounds import is_manifest, list_sounds


def pruning_data(
    model: EmbeddingModel, data: Sequence[str | Path], limit: int, *, held_out: float = 0.5
) -> tuple[FloatArray, Classes | None]:
    """Return the vectors (N, E) of up to `limit` held-out sounds, and their classes if the data are manifests.

    held_out: share of the sounds of a folder; a manifest has splits.

    Raises:
        DataError: fewer than two sounds can be read.
    """
    sounds = list_sounds(data, held_out).held_out
    order = np.random.default_rng(0).permutation(len(sounds))[:limit]
    chosen = [sounds[int(i)] for i in order]
    rows = embedded(model, chosen)
    good = np.isfinite(rows[:, 0])
    if good.sum() < 2:
        raise DataError(f"{int(good.sum())} of {len(chosen)} sounds can be read; give more")
    names = _class_names(data)
    labels = [names.get((sound.address, sound.start_s), "") for sound in chosen]
    classes = sorted(set(labels) - {""})
    if not all(map(is_manifest, data)) or len(classes) < 2 or "" in labels:
        return rows[good], None
    prompts = model.embed_text([DEFAULT_TEMPLATE.replace("{}", name) for name in classes])
    truth = np.array([classes.index(label) for label in labels], np.int64)[good]
    return rows[good], Classes(prompts, truth)


def _class_names(data: Sequence[str | Path]) -> dict[tuple[str, float], str]:
    names: dict[tuple[str, float], str] = {}
    for place in data:
        if is_manifest(place):
            manifest = read_manifest(place)
            names |= {(str(manifest.file(row).absolute()), row.start_s): row.class_name for row in manifest}
    return names
