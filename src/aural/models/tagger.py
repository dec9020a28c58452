"""Taggers that are computed by torch.

Legend: N windows, T samples, D features, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aural.core.errors import CheckpointError, ConfigError
from aural.core.types import FloatArray
from aural.encoders.mobilenet import Mobilenet
from aural.models.clap import Branch, BranchConfig
from aural.models.device import pick_device
from aural.models.embedding import Precision
from aural.models.rounding import with_steps
from aural.models.systems import OPENERS, WEIGHTS
from aural.models.tagging import TaggerInput, TaggerOutput, TaggingModel
from aural.models.weight_files import read_safetensors

CPU_BATCH, GPU_BATCH = 8, 256


class TaggerConfig(TaggerInput):
    """The input, the classes and the network."""

    network: BranchConfig


class TaggerNetwork(nn.Module):
    """Waveforms (N, T) to features (N, D) and class logits (N, K)."""

    def __init__(self, config: TaggerConfig) -> None:
        super().__init__()
        self.network = Branch(config.network)
        self.classes = nn.Linear(self.network.encoder.dim, len(config.classes))

    def forward(self, wave: Tensor) -> tuple[Tensor, Tensor]:
        features = self.network(wave)
        return features, self.classes(features)


class Tagger(TaggingModel):
    """A tagger computed by torch, see `TaggingModel`."""

    def __init__(self, network: TaggerNetwork, config: TaggerConfig, *, name: str, device: Any) -> None:
        self.name, self.config, self.device = name, config, torch.device(device)
        self.precision: Precision = "fp32"
        self.embed_dim = network.network.encoder.dim
        self.windows_a_batch = CPU_BATCH if self.device.type == "cpu" else GPU_BATCH
        self.network = network.requires_grad_(False).eval().to(self.device)
        if isinstance(network.network.encoder, Mobilenet) and self.device.type == "cpu":
            network.network.encoder.fold()

    def outputs(self, waves: FloatArray) -> TaggerOutput:
        with torch.inference_mode():
            features, logits = self.network(torch.as_tensor(waves, device=self.device))
            return TaggerOutput(features.cpu().numpy(), logits.sigmoid().cpu().numpy())


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
