"""Random generators that are functions of a seed and a key, so that nothing depends on what was drawn before."""

from __future__ import annotations

import numpy as np

ORDER = 0
"""First part of the key of the order of samples; `aural.train.draw` continues the numbering."""


def generator(seed: int, *key: int) -> np.random.Generator:
    """Return a separate generator for each key."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(seed, spawn_key=key)))
