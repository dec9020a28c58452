"""Choose the kernels of attention for steps whose shapes vary.

cuDNN's attention builds a plan for each new shape, forward and backward, which takes as long as several steps. The
other kernels of torch need none. On shapes that come often, cuDNN's is the fastest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

PLAN_AFTER: Final = 8
"""Steps of one shape without cuDNN's attention: about as much slower together as one plan takes."""
WITHOUT_PLANS: Final = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


class AttentionKernels:
    """Leaves out cuDNN's attention until a shape has come `PLAN_AFTER` times.

    varying: whether the shapes of steps vary; if not, nothing is left out.
    """

    def __init__(self, *, varying: bool) -> None:
        self.varying = varying
        self.counts: Counter[tuple[torch.Size, ...]] = Counter()

    def of(self, batch: Mapping[str, Any]) -> AbstractContextManager[None]:
        """Return the context in which a step computes this batch."""
        if not self.varying:
            return nullcontext()
        shapes = tuple(value.shape for value in batch.values() if isinstance(value, Tensor))
        self.counts[shapes] += 1
        return nullcontext() if self.counts[shapes] > PLAN_AFTER else sdpa_kernel(WITHOUT_PLANS)
