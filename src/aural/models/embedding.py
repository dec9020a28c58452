"""The interface of a loaded model: embed sounds and texts as unit vectors, and classify sounds.

`pipeline.Model` computes with torch and `onnx_model.OnnxModel` with onnxruntime; neither library is imported here.

Legend: N items, E joint dimensions, W windows, T samples.
"""

from __future__ import annotations

import random
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal, Self, get_args

import numpy as np

from aural.audio.decode import source_name
from aural.audio.io import as_source
from aural.audio.length import Longer, Shorter, Window, windows
from aural.core.errors import AudioError, AuralError, CheckpointError, ConfigError
from aural.core.names import DEFAULT_TEMPLATE
from aural.core.types import AudioSource, FloatArray
from aural.core.vectors import check_vector, unit_vector
from aural.models.arguments import as_sources, check_count, check_texts, check_words
from aural.models.frame_calibration import FrameCalibration
from aural.models.frames import AudioInput, FrameLayout, joined, stream_frames
from aural.models.locate import LocateConfig, Located, Locator
from aural.models.zeroshot import Classifier, Prediction

Precision = Literal["fp32", "bf16"]
CPU_BATCH, GPU_BATCH = 4, 64
"""Windows that are computed together."""


@dataclass
class SourceResult:
    """The result for one source: the vectors (W, E) of its windows, on request, with their times, or its error."""

    index: int
    windows: FloatArray | None = None
    times_s: list[tuple[float, float]] = field(default_factory=list)
    silent: bool = False
    error: AuralError | None = None

    @property
    def duration_s(self) -> float:
        return self.times_s[-1][1] if self.times_s else 0.0


@dataclass
class AudioEmbedding(SourceResult):
    """The vector (E,) of one source, see `SourceResult`."""

    embedding: FloatArray | None = None


class EmbeddingModel(ABC):
    """A model with an audio and a text tower, ready to use; an `Embedder`.

    Subclasses define how a batch of windows and a batch of texts are computed.
    """

    name: str
    device: Any
    """Where the model is computed: a torch.device, or "cpu" for onnxruntime."""
    precision: Precision
    windows_a_batch: int
    embed_dim: int
    """E, the dimensions of the joint space."""

    @property
    @abstractmethod
    def audio_input(self) -> AudioInput:
        """The sounds that the audio tower reads."""

    @property
    def sample_rate_hz(self) -> int:
        """The sample rate of the model's input in Hz."""
        return self.audio_input.sample_rate_hz

    @property
    def window_s(self) -> float:
        """The length of one input in seconds; longer sounds are split into windows."""
        return self.audio_input.window_s

    @property
    def shorter(self) -> Shorter | None:
        """The policy that fills the window with a shorter sound; None keeps its length."""
        return self.audio_input.shorter

    @property
    @abstractmethod
    def logit_scale(self) -> float:
        """The learned scale, the inverse of the temperature, by which cosines are multiplied."""

    @property
    @abstractmethod
    def logit_bias(self) -> float | None:
        """The learned bias of the sigmoid loss, or None."""

    @property
    def least_cosine(self) -> float | None:
        """The cosine below which a sound does not match a text; None where it was not measured."""
        return None

    def __repr__(self) -> str:
        try:
            sound = f"{self.sample_rate_hz} Hz, windows of {self.window_s:g} s, "
        except (AuralError, TypeError):  # a model of texts only, or without windows
            sound = ""
        kind = type(self).__name__
        return f'{kind}("{self.name}": {sound}{self.embed_dim} dimensions, {self.precision} on {self.device})'

    def to(self, device: Any) -> Self:
        """Move the model to "cpu", "cuda", "cuda:1" or "mps" and return it, as `torch.nn.Module.to` does.

        Raises ConfigError for an unknown or missing device, and for other devices than the CPU with onnxruntime.
        """
        if isinstance(self.device, str):
            if str(device) != self.device:
                raise ConfigError(f'{self.name}: onnxruntime computes it on the CPU; load it with engine="torch"')
            return self
        from aural.models.device import pick_device

        place = pick_device(device)
        for part in vars(self).values():
            if callable(getattr(part, "parameters", None)):
                part.to(place)
        self.device = place
        self.windows_a_batch = CPU_BATCH if place.type == "cpu" else GPU_BATCH
        return self

    @property
    def computes(self) -> Precision:
        """The precision in use, which may differ from the requested one."""
        return self.precision

    @abstractmethod
    def embed_waves(self, waves: FloatArray) -> FloatArray:
        """Embed waveforms (N, T), mono at the model's rate and of the window's length, to unit rows (N, E)."""

    def embed_windows(self, windows: Sequence[FloatArray]) -> FloatArray:
        """Embed windows (T,) to unit rows (N, E); a model that keeps the length of short sounds overrides this."""
        return self.embed_waves(np.stack(windows))

    @property
    def frame_layout(self) -> FrameLayout | None:
        """Return how the frames of the encoder divide a sound; None: frames are short windows."""
        return None

    @property
    def frame_calibration(self) -> FrameCalibration | None:
        """Return what turns the cosines of frames into probabilities; None if it was not fitted for these weights."""
        return None

    def frames_of_waves(self, waves: FloatArray) -> FloatArray:
        """Embed the frames of waveforms (N, T) to unit rows (N, W, E), for a model with a `frame_layout`."""
        raise ConfigError(f"{self.name}: its encoder gives no frames; use embed_frames, which takes short windows")

    @abstractmethod
    def embed_texts(self, texts: list[str]) -> FloatArray:
        """Embed one batch of texts of similar length to unit rows (N, E)."""

    # Sound ---------------------------------------------------------------------------------------------------------

    def embed_audio(
        self,
        clips: Iterable[AudioSource],
        *,
        batch_size: int | None = None,
        longer: Longer = "windows",
        shorter: Shorter | None = None,
        generator: random.Random | None = None,
        skip_bad: bool = False,
        progress: bool = False,
    ) -> FloatArray:
        """Embed sounds to float32 unit rows (N, E).

        batch_size: number of windows that are computed together; default: what suits the device.
        longer: "windows" (default) averages the unit vectors of all windows of a sound, weighted by the seconds of
        sound that no earlier window contains; "first", "center" and "random" (needs a generator) use one window.
        shorter: how a sound shorter than the window fills it; default: as in training. Digital silence is embedded like
        any sound.
        generator: where longer="random" places the window.
        skip_bad: give a sound that cannot be read a row of NaN and go on, with one warning that counts and names them.
        progress: show a progress bar on stderr.

        Raises AudioError on the first source that cannot be read, unless `skip_bad`.
        """
        clips = list(as_sources(clips))
        results = self._reference_results(clips)
        if results is None:
            results = self.stream_audio(
                clips, batch_size=batch_size, longer=longer, shorter=shorter, generator=generator
            )
        rows = np.full((len(clips), self.embed_dim), np.nan, np.float32)
        bad: list[AuralError] = []
        for result in _with_bar(results, len(clips)) if progress else results:
            if result.error is None:
                rows[result.index] = result.embedding
            elif skip_bad:
                bad.append(result.error)
            else:
                raise result.error
        if bad:
            text = f"{len(bad)} of {len(clips)} sounds were skipped and have rows of NaN; the first: {bad[0]}"
            warnings.warn(text, stacklevel=2)
        return rows

    def _reference_results(self, clips: Sequence[AudioSource]) -> Iterable[AudioEmbedding] | None:
        """Return the results of the reference package's preprocessing, or None to use ours."""
        return None

    def stream_audio(
        self,
        clips: Iterable[AudioSource],
        *,
        keep_windows: bool = False,
        batch_size: int | None = None,
        longer: Longer = "windows",
        shorter: Shorter | None = None,
        generator: random.Random | None = None,
    ) -> Iterator[AudioEmbedding]:
        """Yield one AudioEmbedding per source, in order, as soon as all its windows are embedded.

        Errors of a source are stored in its result, not raised. Windows of successive sources share batches, and a long
        sound is never completely in memory. The options are those of `embed_audio`; keep_windows: also return the
        vectors of the windows.
        """
        if batch_size is not None:
            check_count("batch_size", batch_size)
        if longer not in get_args(Longer):
            raise ConfigError(f'longer="{longer}" is not known; use {", ".join(get_args(Longer))}')
        if shorter is not None and shorter not in get_args(Shorter):
            raise ConfigError(f'shorter="{shorter}" is not known; use {", ".join(get_args(Shorter))}')
        sources = as_sources(clips)
        size = batch_size or self.windows_a_batch
        policy = {"longer": longer, "shorter": shorter or self.shorter, "generator": generator}
        waiting: list[AudioEmbedding] = []
        names: dict[int, str] = {}
        sums: dict[int, tuple[FloatArray, list[FloatArray]]] = {}

        def tagged() -> Iterator[tuple[AudioEmbedding, Window]]:
            for index, source in enumerate(sources):
                result = AudioEmbedding(index, silent=True)
                waiting.append(result)
                names[index] = source_name(source)
                try:
                    sound = as_source(source)
                    for window in windows(sound, self.sample_rate_hz, self.window_s, **policy):  # type: ignore[arg-type]
                        yield result, window
                except AuralError as error:
                    result.error = error
                closed.add(index)

        closed: set[int] = set()
        stream = tagged()
        while batch := list(islice(stream, size)):
            vectors = self.embed_windows([window.samples for _, window in batch])
            for (result, window), vector in zip(batch, vectors, strict=True):
                try:
                    check_vector(vector, names[result.index], window.samples)
                except AudioError as error:
                    result.error = result.error or error
                    continue
                total, kept = sums.setdefault(result.index, (np.zeros(self.embed_dim, np.float32), []))
                total += vector * np.float32(window.fresh_s)
                result.times_s.append((window.start_s, window.end_s))
                result.silent &= window.silent
                if keep_windows:
                    kept.append(vector)
            while waiting and waiting[0].index in closed:
                names.pop(waiting[0].index)
                yield _finish(waiting.pop(0), sums)
        for result in waiting:
            yield _finish(result, sums)

    def embed_frames(self, clip: AudioSource) -> tuple[FloatArray, list[tuple[float, float]]]:
        """Embed one sound frame by frame: unit rows (W, E) with the (start, end) of each frame in seconds.

        Frames follow each other without gaps. They are the encoder's, in one pass over the sound, or short windows;
        `aural models show` says which. `aural.models.frames.stream_frames` yields them in bounded memory.
        """
        return joined(stream_frames(self, as_source(clip)))

    # Text ----------------------------------------------------------------------------------------------------------

    def embed_text(self, texts: Sequence[str], *, batch_size: int = 64) -> FloatArray:
        """Embed texts to float32 unit rows (N, E). A text that is too long is cut before its closing token.

        Texts are sorted by length into batches, so that short labels are not padded to long captions.
        """
        check_count("batch_size", batch_size)
        texts = check_texts(texts)
        rows = np.empty((len(texts), self.embed_dim), np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        for at in range(0, len(order), batch_size):
            chosen = order[at : at + batch_size]
            rows[chosen] = self.embed_texts([texts[i] for i in chosen])
        return checked_texts(rows, self.name)

    # Both ----------------------------------------------------------------------------------------------------------

    def similarity(self, clips: Iterable[AudioSource], texts: Sequence[str]) -> FloatArray:
        """Return the cosine (N, M) of every sound with every text; ConfigError for a blank text."""
        texts = check_words(texts)
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
        """Return the labels of each sound, best first, by zero-shot classification with prompts from `template`."""
        if top is not None:
            check_count("top", top)
        classifier = self.classifier(labels, template=template, multi_label=multi_label)
        return [classifier.predict(vector, top) for vector in self.embed_audio(clips)]

    def locate(
        self, clips: Iterable[AudioSource], texts: Sequence[str], *, config: LocateConfig | None = None
    ) -> list[Located]:
        """Return when each text is heard in each sound: spans with onset, offset and confidence.

        Long sounds are read in bounded memory. `config` holds the threshold and the other options.
        """
        locator = Locator(self, texts, config)
        return [locator.locate(clip) for clip in as_sources(clips)]

    def classifier(
        self, labels: Sequence[str], *, template: str = DEFAULT_TEMPLATE, multi_label: bool = False
    ) -> Classifier:
        """Embed the labels once and return a classifier for any number of sounds."""
        return Classifier(self, labels, template, multi_label)


def _with_bar(results: Iterable[AudioEmbedding], total: int) -> Iterator[AudioEmbedding]:
    from rich.console import Console
    from rich.progress import track

    yield from track(results, description="embedding", total=total, console=Console(stderr=True), transient=True)


def checked_texts(rows: FloatArray, name: str) -> FloatArray:
    """Return the vectors of texts (N, E). Raises CheckpointError if one is NaN or infinite."""
    if not np.isfinite(rows).all():
        raise CheckpointError(f"{name}: computes NaN for texts, so its weights are damaged; copy or train it again")
    return rows


def _finish(result: AudioEmbedding, sums: dict[int, tuple[FloatArray, list[FloatArray]]]) -> AudioEmbedding:
    total, kept = sums.pop(result.index, (None, []))
    if result.error is None and total is not None:
        result.embedding = unit_vector(total)
        result.windows = np.stack(kept) if kept else None
    else:
        result.silent = False
    return result
