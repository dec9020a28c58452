"""Retrieved prompts: nearest texts by hand."""

from __future__ import annotations

import numpy as np
import pytest

from aural.core.errors import ConfigError
from aural.generate.prompts import nearest_texts, prompt_of


def test_the_nearest_texts_without_repetition() -> None:
    rows = np.array([[1, 0], [0.8, 0.6], [0.9, 0.1], [0, 1]], np.float32)
    texts = ["rain", "wind", "rain", "a dog"]
    assert nearest_texts(np.array([[1, 0]], np.float32), rows, texts, count=2) == [["rain", "wind"]]
    assert nearest_texts(np.array([[0, 1]], np.float32), rows, texts, count=3, least=0.5) == [["a dog", "wind"]]
    assert nearest_texts(np.array([[-1, 0]], np.float32), rows, texts, least=0.5) == [[]]
    with pytest.raises(ConfigError, match="4 vectors and 1 texts"):
        nearest_texts(np.eye(2, dtype=np.float32), rows, ["rain"])
    assert prompt_of([]) == ""
