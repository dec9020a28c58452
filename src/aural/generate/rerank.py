"""Order candidate texts by the decoder's likelihood and by how well they fit a sound.

Zero-shot and hybrid re-ranking as in the DCASE 2023 winner (row 107): the decoder proposes, the sound-and-text model
decides.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import ConfigError


def hybrid_order(
    log_likelihoods: Sequence[float], similarities: Sequence[float], *, weight: float = 0.5
) -> NDArray[np.intp]:
    """Return the places (N,) of candidates, the best first.

    log_likelihoods: (N,), per token. similarities: (N,), cosines of each text with the sound. Both are brought to mean
    0 and deviation 1 over the candidates, and mixed: `weight` is the share of the similarity. Equal candidates keep
    their order.

    >>> [hybrid_order([-1.0, -2.0], [0.1, 0.9], weight=weight).tolist() for weight in (0.0, 1.0)]
    [[0, 1], [1, 0]]
    """
    if not 0 <= weight <= 1:
        raise ConfigError(f"weight {weight} is not from 0 to 1")
    likely, fits = (_standard(np.asarray(values, dtype=np.float64)) for values in (log_likelihoods, similarities))
    if likely.shape != fits.shape:
        raise ConfigError(f"{likely.size} log-likelihoods and {fits.size} similarities do not belong together")
    return np.argsort(-((1 - weight) * likely + weight * fits), kind="stable")


def summed_order(
    log_likelihoods: Sequence[float],
    similarities: Sequence[float],
    *,
    weight: float,
    penalties: Sequence[float] | None = None,
) -> NDArray[np.intp]:
    """Return the places (N,) of candidates by similarity + weight * log-likelihood per token - penalty, the best first.

    Unlike `hybrid_order`, the values are not brought to the same scale, so that a candidate keeps its value whatever
    the others are. Equal candidates keep their order.

    >>> summed_order([-1.0, -2.0], [0.1, 0.4], weight=0.1).tolist()
    [1, 0]
    >>> summed_order([-1.0, -2.0], [0.1, 0.4], weight=0.1, penalties=[0.0, 0.3]).tolist()
    [0, 1]
    """
    if len(log_likelihoods) != len(similarities):
        raise ConfigError(
            f"{len(log_likelihoods)} log-likelihoods and {len(similarities)} similarities do not belong together"
        )
    values = np.asarray(similarities, np.float64) + weight * np.asarray(log_likelihoods, np.float64)
    return np.argsort(-(values - np.asarray(penalties if penalties is not None else 0.0)), kind="stable")


def _standard(values: NDArray[np.float64]) -> NDArray[np.float64]:
    spread = values.std()
    return (values - values.mean()) / spread if spread > 0 else np.zeros_like(values)
