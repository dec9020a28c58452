"""Turn frames into tokens: by random projection, by centers of features, or by a trained quantizer; never trained here.

Legend: B clips, N frames, F bands, T tokens, D width, G codebooks, V codes, E width of a part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import layer_norm, normalize

from aural.core.config import Config
from aural.core.errors import CheckpointError, ConfigError
from aural.encoders.sequence import SequenceEncoder
from aural.nn.nearest_code import nearest

Count = Annotated[int, Field(ge=1)]
PROJECTED = 16
Load: TypeAlias = Callable[[Path], nn.Module]
"""Opens the folder of a trained model."""


class TokenizerConfig(Config):
    """The kind and the files of a tokenizer."""

    kind: Literal["random", "centers", "quantizer"] = "random"
    """random: the nearest of random codes after a random projection of the frames. centers: the nearest of the centers
    in `file`. quantizer: the codes of the quantizer of the model in `folder`."""
    groups: Count = 1
    codes: Count = 64
    file: str = ""
    """Arrays "centers" (G, V, E) and "layer", written by `save_centers`."""
    folder: str = ""
    """A trained model whose layer the centers are of; empty: of the frames."""
    seed: int = 0


class Tokenizer(nn.Module):
    """Frames (B, N, F), or the sounds of the batch where a model gives them, to token ids (B, T, G).

    Source: random projection: Chiu et al. 2022, BEST-RQ (arXiv 2202.01855), section 3, the first tokenizer of BEATs;
    centers of an encoder's layer: HuBERT (arXiv 2106.07447); of several parts of it: multi-codebook tokens of SPEAR
    (arXiv 2510.25955).
    """

    centers: Tensor
    projection: Tensor

    def __init__(self, config: TokenizerConfig, bands: int, stride: int, load: Load) -> None:
        super().__init__()
        self.config, self.stride = config, stride
        self.model: Any = load(Path(config.folder)).requires_grad_(False) if config.folder else None
        self.layer = 0
        generator = torch.Generator().manual_seed(config.seed)
        self.register_buffer("projection", torch.randn(bands * stride, config.groups * PROJECTED, generator=generator))
        centers = normalize(torch.randn(config.groups, config.codes, PROJECTED, generator=generator), dim=-1)
        if config.kind == "centers":
            centers, self.layer = read_centers(Path(config.file))
        self.register_buffer("centers", centers)

    @property
    def size(self) -> tuple[int, int]:
        """Return (G, V)."""
        if self.config.kind == "quantizer":
            return self.model.quantizer.groups, self.model.quantizer.codes
        return self.centers.shape[0], self.centers.shape[1]

    def forward(self, frames: Tensor, batch: Mapping[str, Any]) -> Tensor:
        if self.model is not None:
            frames = self.model.frames(batch)  # its front end may have been trained
        if self.config.kind == "quantizer":
            ids: Tensor = self.model.quantizer(self.model.encoder.latents(frames)).ids
            return ids
        if self.config.kind == "random":
            points = stacked(frames, self.stride) @ self.projection
            parts = normalize(points.unflatten(-1, (self.config.groups, -1)), dim=-1)
        else:
            points = (
                stacked(frames, self.stride) if self.model is None else layer_points(self.model, frames, self.layer)
            )
            parts = points.unflatten(-1, (self.centers.shape[0], -1))
        return nearest(parts, self.centers)

    def train(self, mode: bool = True) -> Tokenizer:
        """Stay in evaluation mode."""
        return super().train(False)


class Tokenizers(nn.Module):
    """The tokens (B, T, G) of several tokenizers side by side."""

    def __init__(self, configs: Sequence[TokenizerConfig], bands: int, stride: int, load: Load) -> None:
        super().__init__()
        parts = [Tokenizer(config, bands, stride, load) for config in configs]
        self.parts = nn.ModuleList(parts)
        sizes = [part.size for part in parts]
        if len({codes for _, codes in sizes}) > 1:
            raise ConfigError("system.tokenizers: all must have the same number of codes")
        self.size: tuple[int, int] = (sum(groups for groups, _ in sizes), sizes[0][1])

    def forward(self, frames: Tensor, batch: Mapping[str, Any]) -> Tensor:
        return torch.cat([part(frames, batch) for part in self.parts], -1)


def stacked(frames: Tensor, stride: int) -> Tensor:
    """Return normalized frames of each token side by side: (B, N, F) to (B, N // stride, stride F)."""
    x = SequenceEncoder.normalized(frames)[:, : frames.shape[1] // stride * stride]
    return x.unflatten(1, (-1, stride)).flatten(2)


def layer_points(model: Any, frames: Tensor, layer: int) -> Tensor:
    """Return a layer (B, T, D) of a model, 0 for its latents, each row normalized."""
    points: Tensor = model.encoder(frames, layers=True).layers[layer]
    return layer_norm(points, points.shape[-1:])


def save_centers(file: Path, centers: Tensor, layer: int) -> None:
    """Write centers (G, V, E) of a layer as a file that `TokenizerConfig.file` names."""
    np.savez(file, centers=centers.cpu().numpy(), layer=np.array(layer))


def read_centers(file: Path) -> tuple[Tensor, int]:
    """Return the centers (G, V, E) and their layer.

    Raises:
        CheckpointError: there is no such file.
    """
    try:
        with np.load(file, allow_pickle=False) as stored:
            return torch.from_numpy(stored["centers"]), int(stored["layer"])
    except (OSError, KeyError, ValueError) as error:
        raise CheckpointError(f"system.tokenizers: {file} holds no centers ({error}); write it again") from None
