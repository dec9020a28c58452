"""Any model as an `Embedder`: ours, msclap's, transformers' ClapModel, or an object named "module:attribute".

Legend: N items, W windows, E joint dimensions, T samples.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from aural.core.errors import AuralError, ConfigError, DataError, MissingDependencyError
from aural.core.types import AudioSource, Clip, Embedder, FloatArray
from aural.core.vectors import unit_rows, unit_vector
from aural.evaluate.kinds import KINDS
from aural.models.systems import system_of

if TYPE_CHECKING:
    from aural.audio.length import Shorter

BATCH = 8
PROBE_TEXTS = ("a dog barking", "rain on a roof and a bell far away", "words")


@dataclass(kw_only=True)
class WindowedEmbedder:
    """A model of another package that embeds windows of a fixed length; whole sounds are read in windows.

    The package itself may crop a long sound at random, so that two calls differ. Here the windows of a sound are
    embedded and averaged, each weighted by the seconds of sound that no earlier window contained.

    waves: (W, T) to (W, E). texts: N strings to (N, E). Neither has to return unit rows.
    """

    name: str
    sample_rate_hz: int
    window_s: float
    embed_dim: int
    waves: Callable[[FloatArray], FloatArray]
    texts: Callable[[list[str]], FloatArray]
    shorter: Shorter = "repeat"

    def embed_audio(self, clips: Iterable[AudioSource]) -> FloatArray:
        """Embed N clips as unit rows (N, E)."""
        rows = [self._one(clip) for clip in clips]
        return np.stack(rows) if rows else np.empty((0, self.embed_dim), np.float32)

    def _one(self, clip: AudioSource) -> FloatArray:
        vectors, _, fresh = self._windows(clip)
        total = (vectors * np.asarray(fresh, np.float32)[:, None]).sum(axis=0)
        return unit_vector(total)

    def embed_frames(self, clip: AudioSource) -> tuple[FloatArray, list[tuple[float, float]]]:
        """Return the windows of a clip as frames (W, E), with their (start, end) in seconds."""
        vectors, times, _ = self._windows(clip)
        return vectors, times

    def _windows(self, clip: AudioSource) -> tuple[FloatArray, list[tuple[float, float]], list[float]]:
        from aural.audio.length import windows

        pieces = list(windows(clip, self.sample_rate_hz, self.window_s, shorter=self.shorter))
        waves = np.stack([w.samples for w in pieces])
        parts = [self.waves(waves[at : at + BATCH]) for at in range(0, len(waves), BATCH)]
        return unit_rows(np.concatenate(parts)), [(w.start_s, w.end_s) for w in pieces], [w.fresh_s for w in pieces]

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        """Embed N texts as unit rows (N, E)."""
        if not texts:
            return np.empty((0, self.embed_dim), np.float32)
        parts = [self.texts(list(texts[at : at + BATCH])) for at in range(0, len(texts), BATCH)]
        return unit_rows(np.concatenate(parts))


def from_msclap(clap: Any, name: str = "msclap") -> WindowedEmbedder:
    """Wrap an `msclap.CLAP` object: its tokenizer and towers, with our repeatable windows at its rate."""
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

    return WindowedEmbedder(
        name=name, sample_rate_hz=rate, window_s=window_s, embed_dim=int(clap.args.d_proj), waves=waves, texts=texts
    )


def from_transformers(model: Any, processor: Any, name: str = "ClapModel") -> WindowedEmbedder:
    """Wrap a transformers ClapModel and its processor."""
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

    dim = int(model.config.projection_dim)
    return WindowedEmbedder(
        name=name, sample_rate_hz=rate, window_s=window_s, embed_dim=dim, waves=waves, texts=texts, shorter="repeat-pad"
    )


def open_embedder(name: str, load: Callable[[str], Embedder]) -> Any:
    """Open an embedder by name.

    name: "module:attribute" (an object, or a function or class that returns one), "msclap:VERSION",
    "transformers:REPOSITORY", or whatever `load` opens (a name of `aural models list`, a path, a repository).
    Raises ConfigError for an object without the methods of any protocol that tasks need.
    """
    kind, _, rest = name.partition(":")
    if not rest or "/" in kind or "\\" in kind or len(kind) == 1:
        if system_of(name) == "self-supervised":
            from aural.evaluate.adapters.sound_layers import SoundLayers

            return SoundLayers(name)
        return load(name)
    if kind == "msclap":
        return from_msclap(_import("msclap").CLAP(version=rest, use_cuda=False), name)
    if kind == "transformers":
        package = _import("transformers")
        model = package.ClapModel.from_pretrained(rest).eval()
        return from_transformers(model, package.ClapProcessor.from_pretrained(rest), name)
    return _named_object(kind, rest)


def _named_object(module: str, attributes: str) -> Any:
    """Import a module and return its object, or the result of calling it if it is a class or function."""
    model: Any = _import(module)
    for attribute in attributes.split("."):
        if not hasattr(model, attribute):
            raise ConfigError(f'module {module} has no "{attributes}"; name an object with embed_audio and embed_text')
        model = getattr(model, attribute)
    if isinstance(model, type) or (callable(model) and not can_be_scored(model)):
        model = model()
    if not can_be_scored(model):
        raise ConfigError(
            f"{module}:{attributes} has none of the methods that tasks need, such as embed_audio with embed_text, or "
            "caption"
        )
    return model


def can_be_scored(model: Any) -> bool:
    """Return whether an object satisfies a protocol that some task kind needs."""
    if isinstance(model, type):
        return False
    if hasattr(model, "embed_audio") and hasattr(model, "embed_text"):
        return True
    return any(isinstance(model, protocol) for name in KINDS for protocol in KINDS[name].needs)


def _import(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except (ImportError, ValueError) as error:  # ValueError: the name is empty
        raise MissingDependencyError(
            f"{module} cannot be imported ({error}); install it or correct PYTHONPATH"
        ) from None


def frames_of(embedder: Any, clip: AudioSource) -> tuple[FloatArray, list[tuple[float, float]]]:
    """Return a clip's frames (W, E) with their (start, end) in seconds.

    Frames come from `embed_frames`, or are the windows that `stream_audio` keeps. Raises DataError if the model has
    neither.
    """
    if hasattr(embedder, "embed_frames"):
        vectors, times = embedder.embed_frames(clip)
        return unit_rows(vectors), times
    if hasattr(embedder, "stream_audio"):
        (embedding,) = embedder.stream_audio([clip], keep_windows=True)
        if embedding.error is not None:
            raise embedding.error
        return unit_rows(embedding.windows), embedding.times_s
    raise DataError("the model gives no frames: it needs embed_frames, or stream_audio with keep_windows")


def model_hash(embedder: Any) -> str:
    """Return a hash that identifies a model by its behavior: its vectors of three fixed sounds and three texts.

    The sounds are shorter than, about as long as and longer than usual windows, so a change of weights, rate,
    tokenizer or length policy changes the hash. Our own models are identified by their weights to the bit and by the
    vectors' cosines to three decimals, so that the number of threads does not change the hash. An object may instead
    identify itself by a string attribute `revision`.
    """
    if isinstance(getattr(embedder, "revision", None), str):
        return hashlib.sha256(f"{type(embedder).__name__} {embedder.revision}".encode()).hexdigest()[:16]
    if not hasattr(embedder, "embed_audio"):
        return _hash_without_sounds(embedder)
    rate, generator = int(embedder.sample_rate_hz), np.random.default_rng(0)
    digest = hashlib.sha256(f"{rate} {embedder.embed_dim}".encode())
    rows: list[FloatArray] = []
    probes: list[tuple[Callable[[list[Any]], Any], list[Any]]] = []
    for seconds in (0.7, 6.5, 12.3):
        t = np.arange(round(seconds * rate)) / rate
        wave = 0.2 * np.sin(2 * np.pi * 330 * t * (1 + t / 9)) + 0.02 * generator.standard_normal(t.size)
        clip = Clip(wave.astype(np.float32)[None], rate)
        probes.append((embedder.embed_audio, [clip]))
    probes.append((embedder.embed_text, list(PROBE_TEXTS)))
    for embed, inputs in probes:
        try:
            rows.append(np.asarray(embed(inputs), np.float32))
        except AuralError as error:  # it has no audio tower, or its tokenizer is missing: the rest can be probed
            digest.update(str(error).encode())
    vectors = np.concatenate(rows)
    weights = _weights(embedder)
    if weights is None:
        digest.update(vectors.tobytes())
    else:
        digest.update(weights)
        digest.update((np.round(vectors @ vectors.T, 3) + 0.0).astype("<f4").tobytes())
    return digest.hexdigest()[:16]


def _hash_without_sounds(model: Any) -> str:
    """Return a hash of a model that embeds no sounds: of its type, and of its text vectors if it has any."""
    name = f"{type(model).__module__}.{type(model).__qualname__}"
    digest = hashlib.sha256(name.encode())
    if hasattr(model, "embed_text"):
        digest.update(np.asarray(model.embed_text(list(PROBE_TEXTS)), np.float32).tobytes())
    return digest.hexdigest()[:16]


def _weights(embedder: Any) -> bytes | None:
    """Return a hash of the tensors and the config of one of our models; None for other objects."""
    tensors = getattr(getattr(embedder, "checkpoint", None), "tensors", None)
    if tensors is None:
        return None
    digest = hashlib.sha256(embedder.config.model_dump_json().encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].detach().cpu().contiguous().view(-1).numpy().tobytes())
    return digest.digest()
