"""Describe sounds in words: what every captioner takes and returns, and the captioner that picks a known sentence.

Legend: N items, M sentences, E dimensions.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

import numpy as np

from aural.audio.decode import source_name
from aural.audio.io import is_silent
from aural.core.config import Config
from aural.core.errors import AuralError
from aural.core.types import AudioSource, Embedder, FloatArray
from aural.generate.writer import SearchConfig
from aural.models.arguments import as_sources, check_words
from aural.models.embedding import EmbeddingModel

if TYPE_CHECKING:
    from collections.abc import Iterator


SILENCE: Final = "digital silence"
"""What a captioner that picks sentences says of a sound whose samples are all 0, with a score of 1."""


class Caption(Config):
    """A sentence about a sound. score: mean log-likelihood per token, or the cosine of a sentence that was picked."""

    text: str
    score: float


@dataclass(frozen=True)
class CaptionResult:
    """The captions of one sound, the best first, or the reason why it has none."""

    source: str
    captions: tuple[Caption, ...] = ()
    error: AuralError | None = None


class Captioner(ABC):
    """A model that describes sounds."""

    caption_kind: Literal["written", "picked"] = "written"
    """Whether captions are written word by word, or picked from a list of sentences."""

    @abstractmethod
    def captions_of(self, clip: AudioSource, config: SearchConfig) -> list[Caption]:
        """Return the captions of one sound, the best first. Raises AudioError for a sound that cannot be read."""

    def stream_captions(
        self, clips: Iterable[AudioSource], config: SearchConfig | None = None
    ) -> Iterator[CaptionResult]:
        """Yield one result per sound, in order; a sound that cannot be read has an error, and the rest goes on."""
        for clip in as_sources(clips):
            try:
                captions = self.captions_of(clip, config or SearchConfig())
            except AuralError as error:
                yield CaptionResult(source=source_name(clip), error=error)
            else:
                yield CaptionResult(source=source_name(clip), captions=tuple(captions))

    def caption(self, clips: Iterable[AudioSource], config: SearchConfig | None = None) -> list[str]:
        """Return the best caption of each sound.

        Raises:
            AudioError: a sound cannot be read.
        """
        return [self.captions_of(clip, config or SearchConfig())[0].text for clip in as_sources(clips)]


def is_digital_silence(model: Embedder, clip: AudioSource) -> bool:
    """Return whether all samples of a sound are 0, for a model that decodes sounds as aural does."""
    return isinstance(model, EmbeddingModel) and is_silent(clip)


class RetrievalCaptioner(Captioner):
    """Picks, of given sentences, those that fit a sound best; for models without a decoder."""

    caption_kind = "picked"

    def __init__(
        self,
        model: Embedder,
        sentences: Sequence[str],
        rows: FloatArray | None = None,
        penalties: FloatArray | None = None,
    ) -> None:
        """Take sentences, their unit rows (M, E) by the model if they are known, and what is subtracted from cosines.

        penalties: (M,), for the order only; scores are cosines.
        """
        self.model, self.sentences = model, list(dict.fromkeys(check_words(sentences)))
        self.rows: FloatArray = model.embed_text(self.sentences) if rows is None else rows
        self.penalties = np.zeros(len(self.sentences), np.float32) if penalties is None else penalties

    def captions_of(self, clip: AudioSource, config: SearchConfig) -> list[Caption]:
        if is_digital_silence(self.model, clip):
            return [Caption(text=SILENCE, score=1.0)]
        fits = self.rows @ self.model.embed_audio([clip])[0]
        best = (fits - self.penalties).argsort(kind="stable")[::-1][: config.width]
        return [Caption(text=self.sentences[i], score=float(fits[i])) for i in best]
