"""What users hold, whatever computes it: sounds and sentences in, unit vectors out, by repeatable policies.

`pipeline.Model` computes by torch, `onnx_model.OnnxModel` by onnxruntime; neither library is imported here.

Legend: N items, E joint dimensions, W windows, T samples.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal, get_args

import numpy as np

from aural.audio.length import Longer, Shorter, Window, windows
from aural.core.errors import AuralError, ConfigError
from aural.core.names import DEFAULT_TEMPLATE
from aural.core.types import AudioSource, FloatArray
from aural.core.vectors import unit_vector
from aural.models.arguments import as_sources, check_texts
from aural.models.zeroshot import Classifier, Prediction

Precision = Literal["fp32", "bf16"]


@dataclass
class AudioEmbedding:
    """What one source gave: its vector (E,), its windows' vectors (W, E) with their times, or the error it met."""

    index: int
    embedding: FloatArray | None = None
    windows: FloatArray | None = None
    times_s: list[tuple[float, float]] = field(default_factory=list)
    silent: bool = False
    error: AuralError | None = None

    @property
    def duration_s(self) -> float:
        return self.times_s[-1][1] if self.times_s else 0.0


class EmbeddingModel(ABC):
    """Two towers, ready to use, an `Embedder`. A form of it says how windows and batches of texts are computed."""

    name: str
    device: Any
    """Where the model is computed: a torch.device, or "cpu" for onnxruntime."""
    precision: Precision
    windows_a_batch: int

    @property
    @abstractmethod
    def sample_rate_hz(self) -> int:
        """Rate that windows are read at."""

    @property
    @abstractmethod
    def embed_dim(self) -> int:
        """E, the dimensions of the joint space."""

    @property
    @abstractmethod
    def window_s(self) -> float:
        """Length of one input; longer sounds are read in windows."""

    @property
    @abstractmethod
    def shorter(self) -> Shorter:
        """How a sound shorter than the window fills it."""

    @property
    @abstractmethod
    def logit_scale(self) -> float:
        """The learned temperature's inverse: cosines are multiplied by it before a softmax."""

    @property
    @abstractmethod
    def logit_bias(self) -> float | None:
        """The learned bias of the sigmoid loss, where the model has one."""

    @property
    def computes(self) -> Precision:
        """The precision really used."""
        return self.precision

    @abstractmethod
    def embed_waves(self, waves: FloatArray) -> FloatArray:
        """Waveforms (N, T), mono at the model's rate and of the window's length, to (N, E) unit rows."""

    @abstractmethod
    def embed_texts(self, texts: list[str]) -> FloatArray:
        """One batch of texts, similar in length, to (N, E) unit rows."""

    # Sound ---------------------------------------------------------------------------------------------------------

    def embed_audio(
        self,
        clips: Iterable[AudioSource],
        *,
        batch_size: int | None = None,
        longer: Longer = "windows",
        shorter: Shorter | None = None,
        generator: random.Random | None = None,
    ) -> FloatArray:
        """(N, E) float32 unit rows.

        longer: "windows" (default) reads the whole sound in windows and averages their unit vectors, each weighted by
        the new sound it brings; "first", "center" or "random" (with a generator) reads one window. shorter: how a sound
        shorter than the window fills it (default: the way the model was trained). Digital silence is embedded as it is.

        Raises AudioError on the first source that cannot be read; `stream_audio` goes on past such sources.
        """
        clips = list(as_sources(clips))
        rows = np.empty((len(clips), self.embed_dim), np.float32)
        for found in self.stream_audio(
            clips, batch_size=batch_size, longer=longer, shorter=shorter, generator=generator
        ):
            if found.error is not None:
                raise found.error
            rows[found.index] = found.embedding
        return rows

    def stream_audio(
        self,
        clips: Iterable[AudioSource],
        *,
        batch_size: int | None = None,
        longer: Longer = "windows",
        shorter: Shorter | None = None,
        generator: random.Random | None = None,
        keep_windows: bool = False,
    ) -> Iterator[AudioEmbedding]:
        """One AudioEmbedding a source, in order, as soon as it is whole; sources with an error are told, not raised.

        Windows of successive sources share batches, and a long sound never lies in memory whole.
        """
        if batch_size is not None and batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}; it must be at least 1")
        if longer not in get_args(Longer):
            raise ConfigError(f'longer="{longer}" is not known; use {", ".join(get_args(Longer))}')
        if shorter is not None and shorter not in get_args(Shorter):
            raise ConfigError(f'shorter="{shorter}" is not known; use {", ".join(get_args(Shorter))}')
        sources = as_sources(clips)
        size = batch_size or self.windows_a_batch
        policy = {"longer": longer, "shorter": shorter or self.shorter, "generator": generator}
        waiting: list[AudioEmbedding] = []
        sums: dict[int, tuple[FloatArray, list[FloatArray]]] = {}

        def tagged() -> Iterator[tuple[AudioEmbedding, Window]]:
            for index, source in enumerate(sources):
                found = AudioEmbedding(index, silent=True)
                waiting.append(found)
                try:
                    for window in windows(source, self.sample_rate_hz, self.window_s, **policy):  # type: ignore[arg-type]
                        yield found, window
                except AuralError as error:
                    found.error = error
                closed.add(index)

        closed: set[int] = set()
        stream = tagged()
        while batch := list(islice(stream, size)):
            vectors = self.embed_waves(np.stack([window.samples for _, window in batch]))
            for (found, window), vector in zip(batch, vectors, strict=True):
                total, kept = sums.setdefault(found.index, (np.zeros(self.embed_dim, np.float32), []))
                total += vector * np.float32(window.fresh_s)
                found.times_s.append((window.start_s, window.end_s))
                found.silent &= window.silent
                if keep_windows:
                    kept.append(vector)
            while waiting and waiting[0].index in closed:
                yield _finish(waiting.pop(0), sums)
        for found in waiting:
            yield _finish(found, sums)

    # Text ----------------------------------------------------------------------------------------------------------

    def embed_text(self, texts: Sequence[str], *, batch_size: int = 64) -> FloatArray:
        """(N, E) float32 unit rows. A text longer than the tower reads is cut before its closing token.

        Texts are sorted by length into batches, so that short labels do not pay for long captions.
        """
        if batch_size < 1:
            raise ConfigError(f"batch_size is {batch_size}; it must be at least 1")
        texts = check_texts(texts)
        rows = np.empty((len(texts), self.embed_dim), np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for at in range(0, len(order), batch_size):
            chosen = order[at : at + batch_size]
            rows[chosen] = self.embed_texts([texts[i] for i in chosen])
        return rows

    # Both ----------------------------------------------------------------------------------------------------------

    def similarity(self, clips: Iterable[AudioSource], texts: Sequence[str]) -> FloatArray:
        """Cosine of every sound with every text, (N, M)."""
        return self.embed_audio(clips) @ self.embed_text(texts).T

    def classify(
        self,
        clips: Iterable[AudioSource],
        labels: Sequence[str],
        *,
        template: str = DEFAULT_TEMPLATE,
        multi_label: bool = False,
        top: int | None = None,
    ) -> list[list[Prediction]]:
        """Labels of each sound, best first: zero-shot classification with the prompt `template.format(label)`."""
        if top is not None and top < 1:
            raise ConfigError(f"top is {top}; it must be at least 1")
        classifier = self.classifier(labels, template=template, multi_label=multi_label)
        return [classifier.predict(vector, top) for vector in self.embed_audio(clips)]

    def classifier(
        self, labels: Sequence[str], *, template: str = DEFAULT_TEMPLATE, multi_label: bool = False
    ) -> Classifier:
        """The labels embedded once, to score any number of sounds."""
        return Classifier(self, labels, template, multi_label)


def _finish(found: AudioEmbedding, sums: dict[int, tuple[FloatArray, list[FloatArray]]]) -> AudioEmbedding:
    total, kept = sums.pop(found.index, (None, []))
    if found.error is None and total is not None:
        found.embedding = unit_vector(total)
        found.windows = np.stack(kept) if kept else None
    else:
        found.silent = False
    return found
