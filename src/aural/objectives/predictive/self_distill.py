"""Match a student's soft assignment of a view to that of an averaged teacher.

Legend: R rows, V prototypes.
"""

from __future__ import annotations

from torch import Tensor


def self_distillation(
    student: Tensor, teacher: Tensor, center: Tensor, *, temperature: float = 0.1, teacher_temperature: float = 0.05
) -> Tensor:
    """Return the cross-entropy (R,) of the student's assignment under the teacher's, which gets no gradient.

    Formula: -sum_v softmax((t - c) / tau_t)_v log softmax(s / tau)_v with c the running mean of the teacher's scores;
    centering prevents that one prototype takes all rows, the low teacher temperature that all are equal.

    Args:
        student, teacher: scores (R, V). center: (V,).

    Source: Caron et al. 2021, DINO (arXiv 2104.14294), equation 1 and section 3.1; used for clips and for patches by
    ASiT (arXiv 2211.13189), section 3.2.

    >>> import torch
    >>> zero = torch.zeros(1, 4)
    >>> round(float(self_distillation(zero, zero, torch.zeros(4))), 4)  # log 4
    1.3863
    """
    target = ((teacher.detach() - center).float() / teacher_temperature).softmax(-1)
    return -(target * (student.float() / temperature).log_softmax(-1)).sum(-1)
