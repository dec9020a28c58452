"""Types and protocols that all packages share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, BinaryIO, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

FloatArray: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Clip:
    """A decoded sound: `samples` is float32 (C, T) with full scale 1.0; the rate is in Hz."""

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


@dataclass(frozen=True, slots=True)
class Source:
    """A stored sound that can be opened again and again, wherever its bytes are.

    Whoever knows where a sound is stored (a file, an object in a store, a member of a tar) creates a Source once; every
    reader after that calls `open` and never asks what kind of place it is. `aural.search.locations` creates them.

    name: what error messages call the sound.
    open: returns a context manager over the bytes as a seekable binary file. It raises AudioError if the sound is
        missing or unreadable. It must be picklable, so that a Source can be sent to another process.
    path: the file on this machine that holds exactly these bytes, if there is one. Decoders read it directly.

    >>> import io
    >>> Source("rain.wav", lambda: io.BytesIO(b"RIFF")).name
    'rain.wav'
    """

    name: str
    open: Callable[[], AbstractContextManager[BinaryIO]] = field(compare=False, repr=False)
    path: str | None = None

    def decoder_input(self) -> AbstractContextManager[str | BinaryIO]:
        """Return a context manager over what a decoder opens: the path if there is one, else the open file."""
        return self.open() if self.path is None else nullcontext(self.path)


# A sound as users pass it: a path, encoded bytes, an open binary file, a decoded clip, a stored source,
# or (samples, rate in Hz) where samples is a numpy array or torch tensor of shape (T,) or (C, T).
AudioSource: TypeAlias = "str | PathLike[str] | bytes | BinaryIO | Clip | Source | tuple[Any, int]"


@runtime_checkable
class Embedder(Protocol):
    """A model as evaluation, search and serving use it.

    An embedder may also have the attributes `logit_scale` (float) and `logit_bias` (float or None), the learned scale
    and bias that turn its cosines into zero-shot scores, and `least_cosine` (float or None), the least of a match.
    `aural.core.scoring.Calibration.of` reads them; the default is a scale of 100, no bias and no least cosine.
    """

    @property
    def sample_rate_hz(self) -> int: ...

    @property
    def embed_dim(self) -> int: ...

    def embed_audio(self, clips: Iterable[AudioSource]) -> FloatArray:
        """Embed N clips as float32 unit rows (N, E)."""
        ...

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        """Embed N texts as float32 unit rows (N, E)."""
        ...


# Capability protocols: what a task kind may need from a model. N items, E dimensions, W frames, T samples, C channels.


@runtime_checkable
class TextEmbedder(Protocol):
    """A model that embeds texts."""

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        """Embed N texts as float32 unit rows (N, E)."""
        ...


@runtime_checkable
class FrameEmbedder(Protocol):
    """A model that embeds a clip frame by frame."""

    def embed_frames(self, clip: AudioSource) -> tuple[FloatArray, list[tuple[float, float]]]:
        """Embed one clip as float32 unit rows (W, E), with the (start, end) of each frame in seconds."""
        ...


@runtime_checkable
class FrameScorer(Protocol):
    """A model that is trained to say when a text is heard."""

    def stream_probabilities(
        self, clip: AudioSource, texts: Sequence[str]
    ) -> Iterator[tuple[FloatArray, NDArray[np.float64]]]:
        """Yield block by block the probability (W, M) of M texts in W frames, and their times in seconds (W, 2)."""
        ...


@runtime_checkable
class Captioner(Protocol):
    """A model that describes sounds in words."""

    def caption(self, clips: Sequence[AudioSource]) -> Sequence[str]:
        """Write one sentence per clip: N clips to N strings."""
        ...


@runtime_checkable
class LanguageModel(Protocol):
    """A model that assigns probabilities to texts."""

    def log_likelihood(self, texts: Sequence[str]) -> FloatArray:
        """Return the log-probability (natural logarithm, summed over tokens) of N texts, float32 (N,)."""
        ...


@runtime_checkable
class Transcriber(Protocol):
    """A model that writes down the words spoken in a clip."""

    def transcribe(self, clips: Sequence[AudioSource]) -> Sequence[str]:
        """Return one transcript per clip: N clips to N strings."""
        ...


@runtime_checkable
class Answerer(Protocol):
    """A model that answers questions about clips."""

    def answer(self, clips: Sequence[AudioSource], questions: Sequence[str]) -> Sequence[str]:
        """Answer question n about clip n: N clips and N questions to N strings."""
        ...


@runtime_checkable
class Generator(Protocol):
    """A model that makes sounds from texts."""

    @property
    def sample_rate_hz(self) -> int: ...

    def generate(self, texts: Sequence[str], seed: int = 0) -> Sequence[Clip]:
        """Make one clip per text: N texts to N clips of samples (C, T). The same seed gives the same clips."""
        ...


@runtime_checkable
class Separator(Protocol):
    """A model that extracts described sounds from mixtures."""

    def separate(self, mixtures: Sequence[AudioSource], texts: Sequence[str]) -> Sequence[Clip]:
        """Extract from mixture n the sound that text n describes: N clips of samples (C, T), as long as the mixture."""
        ...
