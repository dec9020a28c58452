"""Any model as an `Embedder`: ours, msclap's, transformers' ClapModel, or an object named "module:attribute".

Legend: N items, W windows, E joint dimensions, T samples.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from aural.core.errors import AuralError, ConfigError, MissingDependencyError
from aural.core.types import AudioSource, Clip, Embedder, FloatArray

BATCH = 8


@runtime_checkable
class FrameEmbedder(Protocol):
    """An embedder that tells where in a clip something sounds."""

    def embed_frames(self, clip: AudioSource) -> tuple[FloatArray, list[tuple[float, float]]]:
        """(W, E) unit rows and the (start, end) of each in seconds."""
        ...


@runtime_checkable
class Captioner(Protocol):
    """An object that describes sounds in words."""

    def caption(self, clips: Sequence[AudioSource]) -> Sequence[str]:
        """One sentence a clip."""
        ...


class WindowedEmbedder:
    """A foreign model that embeds windows of a fixed length, read over whole sounds as ours reads them.

    A model's own package may crop a long sound at random, so that two calls differ; here windows over the file are
    embedded and averaged, each weighted by the new sound it brings.
    """

    def __init__(
        self,
        name: str,
        sample_rate_hz: int,
        window_s: float,
        embed_dim: int,
        waves: Callable[[FloatArray], FloatArray],
        texts: Callable[[list[str]], FloatArray],
        shorter: str = "repeat",
    ) -> None:
        self.name, self.sample_rate_hz, self.window_s, self.embed_dim = name, sample_rate_hz, window_s, embed_dim
        self._waves, self._texts, self._shorter = waves, texts, shorter

    def embed_audio(self, clips: Iterable[AudioSource]) -> FloatArray:
        """(N, E) unit rows."""
        rows = [self._one(clip) for clip in clips]
        return np.stack(rows) if rows else np.empty((0, self.embed_dim), np.float32)

    def _one(self, clip: AudioSource) -> FloatArray:
        vectors, _, fresh = self._windows(clip)
        total = (vectors * np.asarray(fresh, np.float32)[:, None]).sum(axis=0)
        return total / max(float(np.linalg.norm(total)), 1e-12)

    def embed_frames(self, clip: AudioSource) -> tuple[FloatArray, list[tuple[float, float]]]:
        """Windows as frames."""
        vectors, times, _ = self._windows(clip)
        return vectors, times

    def _windows(self, clip: AudioSource) -> tuple[FloatArray, list[tuple[float, float]], list[float]]:
        from aural.audio.length import windows

        cut = list(windows(clip, self.sample_rate_hz, self.window_s, shorter=self._shorter))  # type: ignore[arg-type]
        waves = np.stack([w.samples for w in cut])
        parts = [self._waves(waves[at : at + BATCH]) for at in range(0, len(waves), BATCH)]
        return unit(np.concatenate(parts)), [(w.start_s, w.end_s) for w in cut], [w.fresh_s for w in cut]

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        """(N, E) unit rows."""
        if not texts:
            return np.empty((0, self.embed_dim), np.float32)
        parts = [self._texts(list(texts[at : at + BATCH])) for at in range(0, len(texts), BATCH)]
        return unit(np.concatenate(parts))


def from_msclap(clap: Any, name: str = "msclap") -> WindowedEmbedder:
    """An `msclap.CLAP` object: its own tokens and towers, our repeatable windows at its own rate."""
    import torch

    rate, window_s = int(clap.args.sampling_rate), float(clap.args.duration)

    def waves(samples: FloatArray) -> FloatArray:
        with torch.no_grad():
            device = next(clap.clap.parameters()).device
            projected = clap.clap.audio_encoder(torch.from_numpy(samples).to(device))[0]
        return np.asarray(projected.float().cpu())

    def texts(sentences: list[str]) -> FloatArray:
        with torch.no_grad():
            return np.asarray(clap.get_text_embeddings(sentences).float().cpu())

    return WindowedEmbedder(name, rate, window_s, int(clap.args.d_proj), waves, texts)


def from_transformers(model: Any, processor: Any, name: str = "ClapModel") -> WindowedEmbedder:
    """A transformers ClapModel and its processor."""
    import torch

    extractor = processor.feature_extractor
    rate, window_s = int(extractor.sampling_rate), extractor.nb_max_samples / extractor.sampling_rate

    def pooled(output: Any) -> FloatArray:
        vectors = output if torch.is_tensor(output) else output.pooler_output
        return np.asarray(vectors.float().cpu())

    def waves(samples: FloatArray) -> FloatArray:
        inputs = extractor(list(samples), sampling_rate=rate, return_tensors="pt").to(model.device)
        with torch.no_grad():
            return pooled(model.get_audio_features(**inputs))

    def texts(sentences: list[str]) -> FloatArray:
        inputs = processor.tokenizer(sentences, padding=True, truncation=True, return_tensors="pt").to(model.device)
        with torch.no_grad():
            return pooled(model.get_text_features(**inputs))

    return WindowedEmbedder(name, rate, window_s, int(model.config.projection_dim), waves, texts, "repeat-pad")


def open_embedder(name: str, load: Callable[[str], Embedder]) -> Any:
    """An embedder by name: "module:attribute" (an object, or something to call for one), "msclap:VERSION",
    "transformers:REPOSITORY", or whatever `load` opens (a name of `aural models list`, a path, a repository)."""
    kind, _, rest = name.partition(":")
    if not rest or "/" in kind or "\\" in kind or len(kind) == 1:
        return load(name)
    if kind == "msclap":
        return from_msclap(_import("msclap").CLAP(version=rest, use_cuda=False), name)
    if kind == "transformers":
        package = _import("transformers")
        model = package.ClapModel.from_pretrained(rest).eval()
        return from_transformers(model, package.ClapProcessor.from_pretrained(rest), name)
    found: Any = _import(kind)
    for attribute in rest.split("."):
        if not hasattr(found, attribute):
            raise ConfigError(f'module {kind} has no "{rest}"; name an object with embed_audio and embed_text')
        found = getattr(found, attribute)
    if isinstance(found, type) or (callable(found) and not usable(found)):
        found = found()
    if not usable(found):
        raise ConfigError(f"{name} has neither embed_audio and embed_text nor caption")
    return found


def usable(model: Any) -> bool:
    """Whether an object can be scored: as an embedder or as a captioner."""
    return not isinstance(model, type) and (
        (hasattr(model, "embed_audio") and hasattr(model, "embed_text")) or hasattr(model, "caption")
    )


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingDependencyError(f"{module} cannot be imported ({error}); install it or mend PYTHONPATH") from None


def unit(vectors: FloatArray) -> FloatArray:
    """Rows scaled to length one, in float32."""
    rows = np.asarray(vectors, np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=-1, keepdims=True), 1e-12)


def frames_of(embedder: Any, clip: AudioSource) -> tuple[FloatArray, list[tuple[float, float]]] | None:
    """A clip's frames: by `embed_frames`, or the windows that `stream_audio` keeps; None if it gives neither."""
    if hasattr(embedder, "embed_frames"):
        vectors, times = embedder.embed_frames(clip)
        return unit(vectors), times
    if hasattr(embedder, "stream_audio"):
        (found,) = embedder.stream_audio([clip], keep_windows=True)
        if found.error is not None:
            raise found.error
        return unit(found.windows), found.times_s
    return None


def has_frames(embedder: Any) -> bool:
    """Whether `frames_of` gives something."""
    return hasattr(embedder, "embed_frames") or hasattr(embedder, "stream_audio")


PROBE_TEXTS = ("a dog barking", "rain on a roof and a bell far away", "words")


def model_hash(embedder: Any) -> str:
    """What an embedder is, by what it does: a hash of its vectors of three fixed sounds and three texts.

    The sounds are shorter than, about as long as and longer than usual windows, so that a change of weights, rate,
    tokens or length policy gives another hash. Our own models are known by their weights to the bit and the vectors'
    cosines to three decimals, so that another number of threads is no other model. An object may instead name itself by
    an attribute `revision`.
    """
    if isinstance(getattr(embedder, "revision", None), str):
        return hashlib.sha256(f"{type(embedder).__name__} {embedder.revision}".encode()).hexdigest()[:16]
    if not hasattr(embedder, "embed_audio"):
        name = f"{type(embedder).__module__}.{type(embedder).__qualname__}"
        return hashlib.sha256(name.encode()).hexdigest()[:16]
    rate, generator = int(embedder.sample_rate_hz), np.random.default_rng(0)
    digest = hashlib.sha256(f"{rate} {embedder.embed_dim}".encode())
    rows = []
    for seconds in (0.7, 6.5, 12.3):
        t = np.arange(round(seconds * rate)) / rate
        wave = 0.2 * np.sin(2 * np.pi * 330 * t * (1 + t / 9)) + 0.02 * generator.standard_normal(t.size)
        clip = Clip(wave.astype(np.float32)[None], rate)
        rows.append(np.asarray(embedder.embed_audio([clip]), np.float32))
    try:
        rows.append(np.asarray(embedder.embed_text(list(PROBE_TEXTS)), np.float32))
    except AuralError as error:  # its tokenizer may be missing: sounds alone can still be probed
        digest.update(str(error).encode())
    vectors = np.concatenate(rows)
    if (weights := _weights(embedder)) is None:
        digest.update(vectors.tobytes())
    else:
        digest.update(weights)
        digest.update((np.round(vectors @ vectors.T, 3) + 0.0).astype("<f4").tobytes())
    return digest.hexdigest()[:16]


def _weights(embedder: Any) -> bytes | None:
    """Hash of all tensors of one of our own models and of its config; None for other objects."""
    tensors = getattr(getattr(embedder, "checkpoint", None), "tensors", None)
    if tensors is None:
        return None
    digest = hashlib.sha256(embedder.config.model_dump_json().encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().cpu().contiguous().view(-1).numpy().tobytes())
    return digest.digest()
