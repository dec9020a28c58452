"""Types and protocols that the parts share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any, BinaryIO, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Clip:
    """Decoded sound: `samples` is float32 of shape (C, T), full scale at 1.0; rate in Hz."""

    samples: FloatArray
    sample_rate_hz: int

    @property
    def channels(self) -> int:
        return int(self.samples.shape[0])

    @property
    def frames(self) -> int:
        return int(self.samples.shape[1])

    @property
    def duration_s(self) -> float:
        return self.frames / self.sample_rate_hz


# A sound as users hand it over: a path, encoded bytes, an open binary file, a decoded clip,
# or (samples, rate in Hz) where samples is a numpy array or torch tensor of shape (T,) or (C, T).
AudioSource: TypeAlias = "str | PathLike[str] | bytes | BinaryIO | Clip | tuple[Any, int]"


@runtime_checkable
class Embedder(Protocol):
    """A model as evaluation, search and serving use it.

    An embedder may also have the attributes `logit_scale` (float) and `logit_bias` (float or None): the learned scale
    and bias that turn its cosines into zero-shot scores. `aural.core.scoring.Calibration.of` reads them; the default
    is a scale of 100 and no bias.
    """

    @property
    def sample_rate_hz(self) -> int: ...

    @property
    def embed_dim(self) -> int: ...

    def embed_audio(self, clips: Iterable[AudioSource]) -> FloatArray:
        """(N, E) float32, unit rows."""
        ...

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        """(N, E) float32, unit rows."""
        ...
