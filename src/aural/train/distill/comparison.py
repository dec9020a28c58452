"""Compare the vectors of a student with those of its teacher.

Legend: N sounds, E dimensions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from aural.core.types import FloatArray
from aural.core.vectors import nearest_others, shared_neighbors

NEAREST: Final = 10


@dataclass(frozen=True)
class Agreement:
    """The agreement of a student with its teacher on sounds that neither the training nor its choices used.

    cosine: mean cosine with the teacher's vector; low, high: 5% and 95% quantiles. overlap: share of the nearest
    sounds of each sound that are the same in both spaces; nearest: how many nearest sounds are compared.
    """

    sounds: int
    cosine: float
    low: float
    high: float
    overlap: float
    nearest: int


def agreement(teacher: FloatArray, student: FloatArray) -> Agreement:
    """Compare unit rows (N, E) of the same sounds; of two sounds and more, each with its nearest others.

    >>> rows = np.eye(3, dtype=np.float32)
    >>> agreement(rows, rows).cosine
    1.0
    """
    cosines = (teacher * student).sum(1)
    count = min(NEAREST, len(teacher) - 1)
    low, high = np.quantile(cosines, [0.05, 0.95])
    return Agreement(
        sounds=len(teacher),
        cosine=float(cosines.mean()),
        low=float(low),
        high=float(high),
        overlap=shared_neighbors(nearest_others(teacher, count), nearest_others(student, count)),
        nearest=count,
    )
