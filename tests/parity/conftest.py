"""The goldens' own modules (layouts, inputs, random_weights, golden_tokenizers) are imported from tests/golden."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "golden"))


def stored(name: str) -> dict[str, np.ndarray]:
    """Return the stored outputs of a peer; `make parity` computes them."""
    from layouts import HERE

    place = Path(os.environ.get("AURAL_GOLDENS", HERE)) / name
    if not place.is_file():
        pytest.skip(f"{name} was not computed again: its peer was not given")
    with np.load(place) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest) -> dict[str, np.ndarray]:
    """The stored outputs of the peer whose file the test module names as GOLDEN."""
    return stored(request.module.GOLDEN)


@pytest.fixture
def full_golden(request: pytest.FixtureRequest) -> dict[str, np.ndarray]:
    """The stored outputs of a peer at the published size; the test is parametrized with the peer's name."""
    return stored(f"parity_{request.param}_full.npz")
