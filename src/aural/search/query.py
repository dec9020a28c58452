"""Combine words, example sounds and unwanted words into one query vector.

The vector is the weighted sum of the unit vectors of the wanted parts minus the weighted sum of those of the unwanted
texts, scaled to length 1. Legend: E joint dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from aural.core.errors import ConfigError
from aural.core.types import FloatArray

NOT_WEIGHT: Final = 0.5
"""Default weight of unwanted texts. A weight of 1 would reverse most queries."""


@dataclass(frozen=True, slots=True)
class QueryWeights:
    """The weight of each kind of part of a query, 0 to 100."""

    words: float = 1.0
    like: float = 1.0
    minus: float = NOT_WEIGHT

    def __post_init__(self) -> None:
        for name, value in (("words", self.words), ("like", self.like), ("not", self.minus)):
            if not 0 <= value <= 100:
                raise ConfigError(f"the weight of {name} is {value}; it must be between 0 and 100")


def combine(
    words: Sequence[str],
    like: Sequence[FloatArray],
    minus: Sequence[str],
    embed_text: Callable[[Sequence[str]], FloatArray],
    weights: QueryWeights | None = None,
) -> FloatArray:
    """Return the unit query vector (E,) of the texts `words`, the sound vectors `like` and the unwanted texts `minus`.

    All texts are embedded in one call. Raises ConfigError if nothing is wanted, a text is blank, or the parts cancel
    out.
    """
    weights = weights or QueryWeights()
    if not words and not len(like):
        hint = "unwanted words need words or a sound to be subtracted from" if minus else "give words or a sound"
        raise ConfigError(f"nothing to search for; {hint}")
    for text in (*words, *minus):
        if not text.strip():
            raise ConfigError("a text to search for is blank; remove it or write words")
    texts = embed_text([*words, *minus]) if words or minus else np.empty((0, 0), np.float32)
    parts: list[FloatArray] = []
    if words:
        parts.append(weights.words * texts[: len(words)].sum(axis=0))
    if len(like):
        parts.append(weights.like * np.sum(np.stack(like), axis=0))
    if minus:
        parts.append(-weights.minus * texts[len(words) :].sum(axis=0))
    total = np.sum(np.stack(parts), axis=0, dtype=np.float32)
    norm = float(np.linalg.norm(total))
    if not norm > 1e-6:
        raise ConfigError("the parts of the query cancel out; change the words or weights")
    return np.asarray(total / np.float32(norm), np.float32)
