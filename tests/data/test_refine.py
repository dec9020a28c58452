from __future__ import annotations

import numpy as np
import pytest

from aural.core.errors import ConfigError
from aural.data.refine import refined


def test_planted_captions_go_first() -> None:
    scores = np.array([0.9, 0.1, 0.8, 0.2, 0.7])
    assert refined(scores, share=0.6).tolist() == [0, 2, 4]
    assert refined(scores, threshold=0.2).tolist() == [0, 2, 3, 4]
    assert refined(scores, share=1.0).tolist() == [0, 1, 2, 3, 4]
    assert refined(np.zeros(0), share=0.5).tolist() == []


@pytest.mark.parametrize("options", [{}, {"share": 0.5, "threshold": 0.1}, {"share": 1.5}])
def test_unclear_rules_are_refused(options: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match="refined:"):
        refined(np.zeros(3), **options)
