"""A self-supervised encoder of sounds as a model that tasks can probe.

Legend: N clips, D width, T samples.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch

from aural.core.errors import ConfigError
from aural.core.types import AudioSource, FloatArray
from aural.core.vectors import unit_rows
from aural.evaluate.probing.layers import first_window
from aural.train.systems.self_supervised import load_self_supervised

AT_ONCE = 32


class SoundLayers:
    """An encoder that `aural train self_supervised` wrote: embeddings are means of its last layer."""

    def __init__(self, folder: str | Path, device: str | None = None) -> None:
        self.name = str(folder)
        self.model = load_self_supervised(Path(folder)).to(device or "cpu")
        self.audio = self.model.config.audio
        self.sample_rate_hz, self.embed_dim = self.audio.sample_rate_hz, self.model.encoder.dim

    def embed_audio(self, clips: Iterable[AudioSource]) -> FloatArray:
        """Return unit rows (N, D): the mean of the last layer over the first window of each clip."""
        layers = self.embed_layers(clips)
        return unit_rows(layers[list(layers)[-1]])

    def embed_layers(self, clips: Iterable[AudioSource]) -> dict[str, FloatArray]:
        """Return the means over time (N, D) of the frames, the latents and the context layers."""
        waves = [first_window(clip, self.sample_rate_hz, self.audio.window_s, self.audio.shorter) for clip in clips]
        rows: dict[str, list[FloatArray]] = {}
        for at in range(0, len(waves), AT_ONCE):
            batch = torch.from_numpy(np.stack(waves[at : at + AT_ONCE])).to(self.model.encoder.mask_vector.device)
            frames, latents, *context = self.model.layers(batch)
            named = {"frames": frames, "latents": latents} | {f"context {i}": c for i, c in enumerate(context, 1)}
            for name, layer in named.items():
                rows.setdefault(name, []).append(layer.float().mean(1).cpu().numpy())
        return {name: np.concatenate(parts) for name, parts in rows.items()}

    def embed_text(self, texts: Sequence[str]) -> FloatArray:
        """Raise ConfigError: the encoder has no texts."""
        raise ConfigError(f"{self.name}: is an encoder without texts; use --method layer-probe or linear-probe")
