"""The goldens' own modules (layouts, inputs, random_weights, golden_tokenizers) are imported from tests/golden."""

import os
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "golden"))


@pytest.fixture(scope="module")
def golden(request: pytest.FixtureRequest) -> dict[str, np.ndarray]:
    """The stored outputs of a peer, by the file that the test module names as GOLDEN; `make parity` computes them."""
    from layouts import HERE

    place = Path(os.environ.get("AURAL_GOLDENS", HERE)) / request.module.GOLDEN
    if not place.is_file():
        pytest.skip(f"{request.module.GOLDEN} was not computed again: its peer was not given")
    with np.load(place) as stored:
        return dict(stored)
