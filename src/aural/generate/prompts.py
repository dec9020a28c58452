"""Prompts in words that are retrieved for a sound: the texts nearest to it, for a decoder to read.

Hard prompts of Zhang et al. 2024, "Zero-shot audio captioning using soft and hard prompts" (row 20, arXiv 2406.06295);
retrieval prompts of RECAP (Ghosh et al. 2023, arXiv 2309.09836).

Legend: B sounds, M texts, E dimensions.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aural.core.errors import ConfigError
from aural.core.types import FloatArray


def nearest_texts(
    audio: FloatArray, rows: FloatArray, texts: Sequence[str], *, count: int = 3, least: float = -1.0
) -> list[list[str]]:
    """Return for each sound up to `count` of the texts, the nearest first, without repetition.

    audio: unit rows (B, E). rows: unit rows of the texts (M, E). least: texts with a cosine below it are left out.

    >>> audio, rows = np.eye(2, dtype=np.float32), np.array([[1, 0], [0.8, 0.6]], np.float32)
    >>> nearest_texts(audio, rows, ["rain", "a dog"], least=0.7)
    [['rain', 'a dog'], []]
    """
    if len(rows) != len(texts):
        raise ConfigError(f"{len(rows)} vectors and {len(texts)} texts do not belong together")
    chosen = []
    for cosines in audio @ rows.T:
        order = (int(i) for i in np.argsort(-cosines, kind="stable") if cosines[i] >= least)
        chosen.append(list(dict.fromkeys(texts[i] for i in order))[:count])
    return chosen


def prompt_of(texts: Sequence[str], template: str = "Sounds: {}.") -> str:
    """Return texts as a prompt; "" for none.

    >>> prompt_of(["a dog", "rain"])
    'Sounds: a dog, rain.'
    """
    return template.format(", ".join(texts)) if texts else ""
