"""Audio taggers: networks without a text tower that score a fixed list of classes over time and embed sounds.

Legend: N windows, T samples, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from aural.audio.length import Shorter
from aural.core.config import Config
from aural.core.errors import CheckpointError, ConfigError
from aural.core.types import AudioSource, FloatArray
from aural.models.clap import Branch, BranchConfig
from aural.models.device import pick_device
from aural.models.embedding import EmbeddingModel, Precision, SourceResult
from aural.models.rounding import with_steps
from aural.models.systems import OPENERS, WEIGHTS
from aural.models.weight_files import read_safetensors
from aural.nn.functional import unit

CPU_BATCH, GPU_BATCH = 8, 256


class TaggerConfig(Config):
    """The network, its input and its classes, one output per class in this order."""

    sample_rate_hz: int
    window_s: float = Field(gt=0)
    shorter: Shorter
    network: BranchConfig
    classes: list[str] = Field(min_length=1)


class TaggerNetwork(nn.Module):
    """Waveforms (N, T) to features (N, D) and class logits (N, K)."""

    def __init__(self, config: TaggerConfig) -> None:
        super().__init__()
        self.network = Branch(config.network)
        self.classes = nn.Linear(self.network.encoder.dim, len(config.classes))

    def forward(self, wave: Tensor) -> tuple[Tensor, Tensor]:
        features = self.network(wave)
        return features, self.classes(features)


@dataclass
class TaggedSound(SourceResult):
    """The class scores (K,) of one source and (W, K) of its windows, see `SourceResult`."""

    scores: FloatArray | None = None


class Tagger(EmbeddingModel):
    """A tagger ready to use. As an embedding model it gives unit features and refuses texts."""

    def __init__(self, network: TaggerNetwork, config: TaggerConfig, *, name: str, device: Any) -> None:
        self.name, self.config, self.device = name, config, torch.device(device)
        self.precision: Precision = "fp32"
        self.embed_dim = network.network.encoder.dim
        self.windows_a_batch = CPU_BATCH if self.device.type == "cpu" else GPU_BATCH
        self.network = network.requires_grad_(False).eval().to(self.device)

    @property
    def classes(self) -> list[str]:
        return self.config.classes

    @property
    def audio_input(self) -> TaggerConfig:
        return self.config

    @property
    def logit_scale(self) -> float:
        return 1.0

    @property
    def logit_bias(self) -> float | None:
        return None

    def embed_waves(self, waves: FloatArray) -> FloatArray:
        """Embed waveforms (N, T) to unit features (N, D)."""
        vectors: FloatArray = unit(self._outputs(waves)[0]).cpu().numpy()
        return vectors

    def embed_texts(self, texts: list[str]) -> FloatArray:
        raise ConfigError(f"{self.name}: has no text tower; it embeds and tags sounds only (`aural tag`)")

    def _outputs(self, waves: FloatArray) -> tuple[Tensor, Tensor]:
        with torch.inference_mode():
            features, logits = self.network(torch.as_tensor(waves, device=self.device))
        return features, logits

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


class _Scores(Tagger):
    """A tagger whose vectors of windows are its class scores."""

    def __init__(self, tagger: Tagger) -> None:
        super().__init__(tagger.network, tagger.config, name=tagger.name, device=tagger.device)
        self.embed_dim = len(self.classes)

    def embed_waves(self, waves: FloatArray) -> FloatArray:
        scores: FloatArray = self._outputs(waves)[1].sigmoid().cpu().numpy()
        return scores


@OPENERS.register("tagger")
def open_tagger(
    folder: Path, options: Mapping[str, Any], device: str | torch.device | None, precision: Precision
) -> Tagger:
    """Open the folder of a tagger.

    Raises CheckpointError for tensors that are missing, unexpected or misshaped.
    """
    if precision != "fp32":
        raise ConfigError(f"{folder}: a tagger computes in fp32, not {precision}")
    config = TaggerConfig.parse(options, str(folder / "config.json"))
    network = TaggerNetwork(config)
    front_end = {f"network.front_end.{k}": t for k, t in network.network.front_end.state_dict().items()}
    stored = with_steps(read_safetensors(folder / WEIGHTS))
    tensors = {k if k.startswith("classes.") else f"network.{k}": t for k, t in stored.items()}
    try:
        network.load_state_dict(front_end | tensors, strict=True)
    except RuntimeError as error:
        raise CheckpointError(f"{folder}: {' '.join(str(error).split())[:160]}; copy the whole folder again") from None
    return Tagger(network, config, name=str(folder), device=pick_device(device))
