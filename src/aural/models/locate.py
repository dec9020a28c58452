"""Say when something is heard: score the frames of a sound against texts and join them into spans.

Legend: W frames, L texts, E joint dimensions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Literal

import numpy as np
from numpy.typing import NDArray

from aural.audio.io import as_source
from aural.core.errors import ConfigError
from aural.core.names import DEFAULT_TEMPLATE
from aural.core.scoring import NEUTRAL, Calibration, label_prompts
from aural.core.types import AudioSource, FloatArray, FrameScorer
from aural.models.arguments import check_labels
from aural.models.frames import Frames, check_frames, short_frames, stream_frames

if TYPE_CHECKING:
    from aural.models.embedding import EmbeddingModel

THRESHOLD: Final = 0.5
"""Threshold of a model whose probabilities are not calibrated."""
Origin = Literal["calibrated", "model", "score"]
"""Where confidences come from: calibrated on validation scenes, a model trained to locate, or an uncalibrated score."""


@dataclass(frozen=True)
class Span:
    """A time in which a text is heard. `confidence` is the highest probability of its frames."""

    text: str
    onset_s: float
    offset_s: float
    confidence: float


@dataclass(frozen=True, kw_only=True)
class LocateConfig:
    """Options of `Locator`.

    threshold: a span holds at least one frame with this probability; None: the model's default. Hysteresis: it
        reaches as far as probabilities stay at or above `low` times the threshold.
    max_gap_s: spans of one text that are at most so far apart are joined.
    min_duration_s: shorter spans are left out, after joining.
    frame_s, hop_s: take short windows of this length and distance in seconds as frames, also where the encoder gives
        frames. Their scores are not calibrated.
    """

    template: str = DEFAULT_TEMPLATE
    threshold: float | None = None
    low: float = 0.5
    max_gap_s: float = 0.2
    min_duration_s: float = 0.0
    frame_s: float | None = None
    hop_s: float | None = None

    def __post_init__(self) -> None:
        if self.threshold is not None and not 0 < self.threshold < 1:
            raise ConfigError(f"threshold is {self.threshold:g}; it must be above 0 and below 1")
        if not 0 < self.low <= 1:
            raise ConfigError(f"low is {self.low:g}; it must be above 0 and at most 1")
        for name, seconds in (("max_gap_s", self.max_gap_s), ("min_duration_s", self.min_duration_s)):
            if not 0 <= seconds < float("inf"):
                raise ConfigError(f"{name} is {seconds:g}; it must not be negative")


@dataclass
class Located:
    """The result for one sound: its spans by onset, and for each text its highest probability with its time."""

    duration_s: float = 0.0
    spans: list[Span] = field(default_factory=list)
    best: dict[str, tuple[float, float]] = field(default_factory=dict)
    threshold: float = THRESHOLD
    origin: Origin = "score"

    def spots(self) -> list[tuple[float, float, float]]:
        """Return onset, offset and confidence of every span, as `aural.search.place` takes them."""
        return [(span.onset_s, span.offset_s, span.confidence) for span in self.spans]


class Locator:
    """Finds texts in sounds of any length; the texts are embedded once.

    The probability of a frame comes from the model's `FrameCalibration`. A model without one has the multi-label score
    of `aural.core.scoring`, which is no probability of a frame. A `FrameScorer`, such as PE-A-Frame, has frames and
    probabilities of its architecture.

    embed_text: what embeds the prompts; default: the model.
    """

    def __init__(
        self,
        model: EmbeddingModel,
        texts: Sequence[str],
        config: LocateConfig | None = None,
        *,
        embed_text: Callable[[Sequence[str]], FloatArray] | None = None,
    ) -> None:
        self.model, self.config = model, config or LocateConfig()
        self.texts = check_labels(texts)
        self.prompts = self.prompts_of(texts, self.config)
        self._short = self.config.frame_s is not None or self.config.hop_s is not None
        if self._short:
            check_frames(model, *self._sizes)
        self._scorer = model if isinstance(model, FrameScorer) and not self._short else None
        self.calibration = None if self._short else model.frame_calibration
        self.threshold = self._default() if self.config.threshold is None else self.config.threshold
        if self._scorer is None:
            rows = (embed_text or model.embed_text)(self.prompts)
            self._vectors, self._neutral = rows[:-1], rows[-1]

    @staticmethod
    def prompts_of(texts: Sequence[str], config: LocateConfig) -> list[str]:
        """Return the prompts of the texts, and last the neutral one."""
        return label_prompts([*check_labels(texts), NEUTRAL], config.template)

    @property
    def origin(self) -> Origin:
        """Return where confidences come from."""
        if self._scorer is not None:
            return "model"
        return "score" if self.calibration is None else "calibrated"

    def locate(self, source: AudioSource) -> Located:
        """Return all spans of one sound.

        Raises:
            AudioError: the sound cannot be read.
        """
        result = Located()
        for result in self.stream(source):  # noqa: B007 - the last one is complete
            pass
        return result

    def stream(self, source: AudioSource) -> Iterator[Located]:
        """Yield the growing result after each block of some seconds; the last one is complete and sorted."""
        result = Located(threshold=self.threshold, origin=self.origin)
        tracks = [Track(text, self.threshold, self.config) for text in self.texts]
        for probabilities, times_s in self.scored(as_source(source)):
            for row, (start_s, end_s) in zip(probabilities.tolist(), times_s.tolist(), strict=True):
                for track, probability in zip(tracks, row, strict=True):
                    track.add(start_s, end_s, probability)
            result.duration_s = float(times_s[-1, 1])
            yield result
        for track in tracks:
            track.close()
            result.best[track.text] = track.best
            result.spans += track.spans()
        result.spans.sort(key=lambda span: (span.onset_s, span.text))
        yield result

    def scored(self, source: AudioSource) -> Iterator[tuple[FloatArray, NDArray[np.float64]]]:
        """Yield blocks of probabilities (W, L) of the texts, and start and end (W, 2) of their frames in seconds."""
        if self._scorer is not None:
            yield from self._scorer.stream_probabilities(source, self.prompts[:-1])
            return
        for frames in self._frames(source):
            scores = self.probabilities(frames.vectors)
            scores[frames.silent] = 0.0
            yield scores, frames.times_s

    def probabilities(self, vectors: FloatArray) -> FloatArray:
        """Return the probabilities (W, L) of the texts in frames (W, E)."""
        cosines, neutral = vectors @ self._vectors.T, vectors @ self._neutral
        scoring = Calibration.of(self.model)
        if self.calibration is not None:
            return self.calibration.probabilities(cosines, neutral, scoring.scale)
        return scoring.scores(cosines, multi_label=True, neutral=neutral)

    def _frames(self, source: AudioSource) -> Iterator[Frames]:
        if not self._short:
            return stream_frames(self.model, source)
        frame_s, hop_s = self._sizes
        return short_frames(self.model, source, frame_s=frame_s, hop_s=hop_s)

    @property
    def _sizes(self) -> tuple[float, float]:
        """The length and distance of short windows in seconds; the distance is half of the length unless given."""
        frame_s = self.config.frame_s
        if frame_s is None:
            frame_s = min(1.0, self.model.window_s)
        return frame_s, frame_s / 2 if self.config.hop_s is None else self.config.hop_s

    def _default(self) -> float:
        return THRESHOLD if self.calibration is None else self.calibration.threshold


@dataclass
class Track:
    """The spans of one text so far; the last one may still grow."""

    text: str
    threshold: float
    config: LocateConfig
    best: tuple[float, float] = (0.0, 0.0)
    closed: list[Span] = field(default_factory=list)
    times_s: tuple[float, float] = (0.0, 0.0)
    highest: float = 0.0
    """0: no frame belongs to the open span yet."""

    def add(self, start_s: float, end_s: float, probability: float) -> None:
        """Add a frame."""
        if probability > self.best[0]:
            self.best = probability, (start_s + end_s) / 2
        if probability < self.threshold * self.config.low:
            if self.highest:
                self.close()
            return
        self.times_s = self.times_s[0] if self.highest else start_s, end_s
        self.highest = max(self.highest, probability)

    def close(self) -> None:
        """End the open span; keep it if one of its frames reached the threshold, joined to the last one if near."""
        highest, self.highest = self.highest, 0.0
        if highest < self.threshold:
            return
        onset_s, offset_s = self.times_s
        if self.closed and onset_s - self.closed[-1].offset_s <= self.config.max_gap_s:
            last = self.closed.pop()
            onset_s, highest = last.onset_s, max(highest, last.confidence)
        self.closed.append(Span(self.text, onset_s, offset_s, highest))

    def spans(self) -> list[Span]:
        """Return the closed spans that are long enough."""
        least_s = self.config.min_duration_s - 1e-9
        return [span for span in self.closed if span.offset_s - span.onset_s >= least_s]
