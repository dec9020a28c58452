"""Say when something is heard: score short frames of a sound against texts and join them into spans.

Legend: W frames, L texts, E joint dimensions.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import ConfigError
from aural.core.names import DEFAULT_TEMPLATE
from aural.core.scoring import label_prompts
from aural.core.types import AudioSource, FloatArray, FrameScorer
from aural.models.embedding import EmbeddingModel
from aural.models.frames import check_frames, stream_frames


@dataclass(frozen=True)
class Span:
    """A time in which a text is heard. `confidence` is the highest score of its frames, 0 to 1."""

    text: str
    onset_s: float
    offset_s: float
    confidence: float


@dataclass(frozen=True)
class LocateConfig:
    """Options of `Locator`.

    threshold: a span holds at least one frame with this score, and reaches as far as scores stay above half of it.
    frame_s, hop_s: length of the frames and distance of their starts in seconds.
    """

    template: str = DEFAULT_TEMPLATE
    threshold: float = 0.5
    frame_s: float = 1.0
    hop_s: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1:
            raise ConfigError(f"threshold is {self.threshold:g}; it must be above 0 and below 1")


@dataclass
class Located:
    """The result for one sound: its spans by onset, and for each text its highest frame score with its time."""

    duration_s: float = 0.0
    spans: list[Span] = field(default_factory=list)
    best: dict[str, tuple[float, float]] = field(default_factory=dict)


class Locator:
    """Finds texts in sounds of any length; the texts are embedded once.

    A frame's score is the multi-label score of `aural.core.scoring`: a sigmoid of the model's scaled cosine, against
    its learned bias or the neutral prompt. A `FrameScorer`, such as PE-A-Frame, has frames and probabilities of its
    architecture; `frame_s` and `hop_s` do not apply to it.
    """

    def __init__(self, model: EmbeddingModel, texts: Sequence[str], config: LocateConfig | None = None) -> None:
        self.model, self.config = model, config or LocateConfig()
        check_frames(model, self.config.frame_s, self.config.hop_s)
        self.classifier = model.classifier(texts, template=self.config.template, multi_label=True)

    @property
    def texts(self) -> list[str]:
        return self.classifier.labels

    def locate(self, source: AudioSource) -> Located:
        """Return all spans of one sound.

        Raises:
            AudioError: the sound cannot be read.
        """
        result, open_spans = Located(), [_Open(text, self.config.threshold) for text in self.texts]
        for scores, times_s in self._scored(source):
            result.spans += self._closed(scores, times_s, open_spans, result)
            result.duration_s = float(times_s[-1, 1])
        result.spans += [span for one in open_spans if (span := one.close()) is not None]
        result.spans.sort(key=lambda span: (span.onset_s, span.text))
        return result

    def _scored(self, source: AudioSource) -> Iterator[tuple[FloatArray, NDArray[np.float64]]]:
        """Yield batches of scores (W, L) with the times (W, 2) of their frames."""
        if isinstance(self.model, FrameScorer):
            prompts = label_prompts(self.texts, self.config.template)
            probabilities, times = self.model.frame_probabilities(source, prompts)
            yield probabilities.T, np.asarray(times)
            return
        for frames in stream_frames(self.model, source, frame_s=self.config.frame_s, hop_s=self.config.hop_s):
            scores = self.classifier.scores(frames.vectors)
            scores[frames.silent] = 0.0
            yield scores, frames.times_s

    def _closed(
        self, scores: FloatArray, times_s: NDArray[np.float64], open_spans: list[_Open], result: Located
    ) -> Iterator[Span]:
        """Add a batch of scored frames and yield the spans that end in it."""
        for row, (start_s, end_s) in zip(scores.tolist(), times_s.tolist(), strict=True):
            for one, score in zip(open_spans, row, strict=True):
                if score > result.best.get(one.text, (-1.0, 0.0))[0]:
                    result.best[one.text] = score, (start_s + end_s) / 2
                if (span := one.add(start_s, end_s, score)) is not None:
                    yield span


@dataclass
class _Open:
    """The span of one text that may still grow."""

    text: str
    threshold: float
    times_s: tuple[float, float] = (0.0, 0.0)
    highest: float = 0.0
    """0: no frame belongs to it yet."""

    def add(self, start_s: float, end_s: float, score: float) -> Span | None:
        """Add a frame; return the span that it ends, if any."""
        if score < self.threshold / 2:
            return self.close()
        self.times_s = self.times_s[0] if self.highest else start_s, end_s
        self.highest = max(self.highest, score)
        return None

    def close(self) -> Span | None:
        """End the span; return it if one of its frames reached the threshold."""
        highest, self.highest = self.highest, 0.0
        if highest < self.threshold:
            return None
        return Span(self.text, *self.times_s, highest)
