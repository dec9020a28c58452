"""Audio taggers: models without a text tower that score a fixed list of classes over time and embed sounds.

`tagger.Tagger` computes with torch and `onnx_tagger.OnnxTagger` with onnxruntime; neither library is imported here.

Legend: N windows, T samples, D features, K classes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from pydantic import Field

from aural.audio.length import Shorter
from aural.core.config import Config
from aural.core.errors import ConfigError
from aural.core.types import AudioSource, FloatArray
from aural.core.vectors import unit_rows
from aural.models.embedding import EmbeddingModel, SourceResult


class TaggerInput(Config):
    """The input of a tagger and its classes, one output per class in this order."""

    sample_rate_hz: int
    window_s: float = Field(gt=0)
    shorter: Shorter
    classes: list[str] = Field(min_length=1)


class TaggerOutput(NamedTuple):
    """Features (N, D) and class scores (N, K) of windows."""

    features: FloatArray
    scores: FloatArray


@dataclass
class TaggedSound(SourceResult):
    """The class scores (K,) of one source and (W, K) of its windows, see `SourceResult`."""

    scores: FloatArray | None = None


class TaggingModel(EmbeddingModel):
    """A tagger ready to use. As an embedding model it gives unit features and refuses texts.

    Subclasses define how a batch of windows is computed.
    """

    config: TaggerInput

    @abstractmethod
    def outputs(self, waves: FloatArray) -> TaggerOutput:
        """Compute waveforms (N, T), mono at the model's rate and of the window's length."""

    @property
    def classes(self) -> list[str]:
        return self.config.classes

    @property
    def audio_input(self) -> TaggerInput:
        return self.config

    @property
    def logit_scale(self) -> float:
        return 1.0

    @property
    def logit_bias(self) -> float | None:
        return None

    def embed_waves(self, waves: FloatArray) -> FloatArray:
        """Embed waveforms (N, T) to unit features (N, D)."""
        vectors: FloatArray = unit_rows(self.outputs(waves).features)
        return vectors

    def embed_texts(self, texts: list[str]) -> FloatArray:
        raise ConfigError(f"{self.name}: has no text tower; it embeds and tags sounds only (`aural tag`)")

    def tag(self, clips: Iterable[AudioSource]) -> Iterator[TaggedSound]:
        """Yield the class scores of each source in order; the scores of a sound are the mean over its seconds.

        Errors of a source are stored in its result, not raised.
        """
        for result in _Scores(self).stream_audio(clips, keep_windows=True):
            tagged = TaggedSound(result.index, result.windows, result.times_s, result.silent, result.error)
            if result.windows is not None:
                ends = np.array([end for _, end in result.times_s])
                tagged.scores = np.average(result.windows, axis=0, weights=np.diff(ends, prepend=0.0))
            yield tagged


class _Scores(TaggingModel):
    """A tagger whose vectors of windows are its class scores."""

    def __init__(self, tagger: TaggingModel) -> None:
        self.tagger, self.config, self.name, self.device = tagger, tagger.config, tagger.name, tagger.device
        self.precision, self.windows_a_batch = tagger.precision, tagger.windows_a_batch
        self.embed_dim = len(self.classes)

    def outputs(self, waves: FloatArray) -> TaggerOutput:
        return self.tagger.outputs(waves)

    def embed_waves(self, waves: FloatArray) -> FloatArray:
        return self.outputs(waves).scores
