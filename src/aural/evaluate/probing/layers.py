"""The features of every layer of a model for given clips, and what linear and other probes read from them.

Legend: N clips, K classes, D width of a layer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from aural.audio.length import windows
from aural.core.errors import ConfigError
from aural.core.types import AudioSource, FloatArray
from aural.evaluate.probing.cca import mean_cca, permuted
from aural.evaluate.probing.information import mutual_information

Layers: TypeAlias = dict[str, FloatArray]
CLUSTERS = 16
"""Clusters of a layer whose information about the classes is reported."""


@runtime_checkable
class LayerEmbedder(Protocol):
    """A model that gives the features of its layers."""

    def embed_layers(self, clips: Iterable[AudioSource]) -> Mapping[str, FloatArray]:
        """Return name of a layer -> features (N, D), first layer to last."""
        ...


def layers_of(model: Any, clips: Sequence[AudioSource]) -> Layers:
    """Return the layers of a model for clips, each averaged over the first window of the clip.

    The model has `embed_layers`, or it is a model of this package with an audio tower; then the layers are those of its
    encoder and of its branch, if it has one, and the last one is the embedding.

    Raises:
        ConfigError: the model gives no layers.
    """
    if isinstance(model, LayerEmbedder):
        return dict(model.embed_layers(clips))
    if not hasattr(model, "audio_tower"):
        raise ConfigError("the model gives no layers; add a method embed_layers(clips) -> {name: array (N, D)}")
    rows: dict[str, list[FloatArray]] = {}
    for clip in clips:
        for name, row in _tower_layers(model, clip).items():
            rows.setdefault(name, []).append(row)
    return {name: np.stack(some) for name, some in rows.items()}


def _tower_layers(model: Any, clip: AudioSource) -> Layers:
    import torch

    audio, tower = model.config.audio, model.audio_tower
    wave = first_window(clip, audio.sample_rate_hz, audio.window_s, audio.shorter)
    waves = torch.from_numpy(wave).to(model.device)[None]
    rows: Layers = {}
    for part, name in ((tower, "layer"), (tower.branch, "branch layer")):
        if part is not None:
            with torch.inference_mode():
                layers = part.encoder(part.front_end(waves), layers=True).layers
            rows |= {f"{name} {i}": pooled(one, part.encoder.layer_channels) for i, one in enumerate(layers or (), 1)}
    return rows | {"embedding": model.embed_waves(wave[None])[0]}


def pooled(layer: Any, channels: int) -> FloatArray:
    """Return the mean (D,) of one clip's layer (1, ...) over all axes but that of its channels."""
    row: FloatArray = layer.float().movedim(channels, -1).flatten(0, -2).mean(0).cpu().numpy()
    return row


def first_window(clip: AudioSource, sample_rate_hz: int, window_s: float, shorter: Any) -> FloatArray:
    """Return the first window (T,) of a clip."""
    return next(iter(windows(clip, sample_rate_hz, window_s, longer="first", shorter=shorter))).samples


def content(rows: FloatArray, labels: NDArray[np.int64], seed: int) -> dict[str, float]:
    """Return how a layer (N, D) relates to classes (N,), each with the value for classes in random order.

    cca: mean canonical correlation with the classes. information: bits that k-means clusters share with the classes.
    """
    from sklearn.cluster import KMeans

    wide = rows.astype(np.float64)
    classes = np.eye(int(labels.max()) + 1)[labels][:, np.unique(labels)]
    clusters = KMeans(min(CLUSTERS, len(np.unique(wide, axis=0))), n_init=1, random_state=seed).fit(wide).labels_
    mixed = permuted(labels, seed)
    return {
        "cca": mean_cca(wide, classes),
        "cca of random order": mean_cca(wide, permuted(classes, seed)),
        "information": mutual_information(clusters, labels),
        "information of random order": mutual_information(clusters, mixed),
    }
