"""Refine machine-written captions by the score of a model: keep those that fit their sound.

Legend: N captions.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import ConfigError


def refined(scores: NDArray[Any], *, share: float | None = None, threshold: float | None = None) -> NDArray[np.int64]:
    """Return the numbers of the captions to keep, in order, from the similarity of each caption with its sound (N,).

    share: keep this share of the captions, those with the highest scores. threshold: keep scores of at least this.

    Source: Bai et al. 2024, AudioSetCaps (arXiv 2411.18953), refinement by CLAP score: captions whose similarity is low
    are taken for hallucinated and rejected.

    >>> refined(np.array([0.3, 0.1, 0.5, 0.2]), share=0.5).tolist()
    [0, 2]
    >>> refined(np.array([0.3, 0.1, 0.5, 0.2]), threshold=0.2).tolist()
    [0, 2, 3]

    Raises:
        ConfigError: not exactly one of share and threshold, or a share outside 0 to 1.
    """
    if (share is None) == (threshold is None):
        raise ConfigError("refined: give either share or threshold")
    if threshold is not None:
        return np.flatnonzero(np.asarray(scores) >= threshold)
    if share is None or not 0 <= share <= 1:
        raise ConfigError(f"refined: share {share} must be in 0 to 1")
    kept = np.argsort(-np.asarray(scores), kind="stable")[: round(share * len(scores))]
    return np.sort(kept)
