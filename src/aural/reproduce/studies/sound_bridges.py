"""Bridges between scenes and the frozen decoder of `word_decoder`: what they read, how they are trained, what they say.

Legend: N scenes, B scenes of a batch, E joint dimensions, T frames, F columns, P prefix positions, W width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from aural.core.config import Config
from aural.nn.bridges.inject import injected
from aural.nn.bridges.mapper import MapperConfig, mapper
from aural.nn.bridges.qformer import QFormer, QFormerConfig
from aural.nn.bridges.temporal import TemporalMapper
from aural.nn.decoder import KeysValues
from aural.reproduce.shared import shared_arrays
from aural.reproduce.studies.scene_pair import Training
from aural.reproduce.studies.word_decoder import HINT, Padded, WordDecoder
from aural.reproduce.study import StudyContext
from aural.train.draw import ITEM, generator

VERSION = 1


class BridgeConfig(Config):
    """A description of what a bridge reads and how its result enters the decoder.

    kind: mlp and transformer read the vector of the sound; temporal reads the vector and the frames; qformer reads the
    frames. A prefix follows the mark of a hint, which the decoder copies names from. inject: the positions are keys and
    values of the layers from `first_layer` on instead of a prefix.
    """

    kind: Literal["mlp", "transformer", "temporal", "qformer"] = "mlp"
    length: int = 8
    segments: int = 8
    inject: bool = False
    first_layer: int = 0
    frames: Literal["tagger", "tower", "both"] = "tagger"
    """The frames of the frozen tagger, those of the sound tower, or both side by side (an ensemble of encoders)."""


class Heard(nn.Module):
    """A bridge to a decoder of a width. `forward` gives a prefix (B, P, W) or the cache of an injected sound."""

    def __init__(self, config: BridgeConfig, vector_dim: int, frame_dim: int, decoder: WordDecoder) -> None:
        super().__init__()
        self.config, self.decoder = config, [decoder]  # in a list: its weights are not the bridge's
        width = decoder.decoder.config.dim
        kind: Any = "transformer" if config.kind == "transformer" else "mlp"
        sizes = MapperConfig(
            d_in=vector_dim, d_out=width, kind=kind, length=config.length, slots=config.length, depth=2, heads=4
        )
        if config.kind == "qformer":
            self.reader: nn.Module = QFormer(QFormerConfig(d_in=frame_dim, d_out=width, queries=config.length))
        elif config.kind == "temporal":
            self.reader = TemporalMapper(sizes, frame_dim, config.segments)
        else:
            self.reader = mapper(sizes)
        self.scale = nn.Parameter(2 * decoder.decoder.tokens.weight.detach().std().cpu())
        self.head = nn.Linear(width, vector_dim)
        """Projects the mean prefix to the space of captions, for auxiliary losses."""

    def forward(self, vector: Tensor, frames: Tensor) -> tuple[Tensor | None, KeysValues | None]:
        if self.config.kind == "qformer":
            rows = self.reader(frames)
        elif self.config.kind == "temporal":
            rows = self.reader(vector, frames)
        else:
            rows = self.reader(vector)
        if self.config.inject:
            return None, injected(self.decoder[0].decoder, rows * self.scale, first_layer=self.config.first_layer)
        mark = self.decoder[0].decoder.embed(torch.full((len(rows), 1), HINT, device=rows.device))
        return torch.cat([mark, rows * self.scale], dim=1), None


@dataclass(frozen=True)
class Fit(Training):
    """Settings of the training of a bridge."""

    lr: float = 2e-3
    weight_decay: float = 0.02


# The loss of a step: (bridge, scenes of the batch, generator) -> a scalar.
Step = Callable[[Heard, NDArray[np.int64], np.random.Generator], Tensor]


def fitted(context: StudyContext, bridge: Heard, scenes: int, step: Step, fit: Fit, key: str) -> Heard:
    """Train a bridge, or read it from the cache of this key. Step k of a seed has the same scenes in every arm."""
    fit = Fit(steps=2, batch=8, warmup=0) if context.smoke else fit

    @torch.enable_grad()
    def compute() -> dict[str, NDArray[Any]]:
        optimizer = torch.optim.AdamW(bridge.parameters(), lr=fit.lr, weight_decay=fit.weight_decay)
        share = min(0.3, max(fit.warmup, 1) / max(fit.steps, 2))
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, fit.lr, max(fit.steps, 2), pct_start=share)
        bridge.train()
        for number in range(fit.steps):
            rng = generator(context.seed, ITEM, 11, number)
            chosen = rng.permutation(scenes)[: fit.batch]
            loss = step(bridge, chosen, rng)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(bridge.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        return {name: tensor.detach().cpu().numpy() for name, tensor in bridge.state_dict().items()}

    key = repr((VERSION, fit, context.seed, bridge.config, key, bridge.decoder[0].digest()))
    stored = shared_arrays(context, "bridge", key, compute)
    bridge.load_state_dict({name: torch.from_numpy(np.asarray(array)) for name, array in stored.items()})
    return bridge.eval()


def mean_loss(decoder: WordDecoder, bridge: Heard | None, vector: Tensor, frames: Tensor, batch: Padded) -> Tensor:
    """Return the mean negative log-likelihood per token to predict of each row, (B,). bridge: None reads no sound."""
    prefix, cache = (None, None) if bridge is None else bridge(vector, frames)
    return decoder.token_losses(prefix, batch, cache).sum(1) / batch.target.sum(1)


@torch.no_grad()
def option_scores(
    decoder: WordDecoder, bridge: Heard | None, vector: Tensor, frames: Tensor, batch: Padded
) -> NDArray[np.float64]:
    """Return the log-likelihood of the tokens to predict of each row, (R,)."""
    rows = []
    for part in torch.arange(len(batch.ids)).split(512):
        prefix, cache = (None, None) if bridge is None else bridge(vector[part], frames[part])
        rows.append(-decoder.token_losses(prefix, Padded(*(one[part] for one in batch)), cache).sum(1))
    return torch.cat(rows).double().cpu().numpy()


def prompts(decoder: WordDecoder, prefix: Tensor | None, tokens: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
    """Return the vectors (B, P + L, W) of a prefix and then tokens, padded on the left, and their mask."""
    width, device = max(len(row) for row in tokens), decoder.device
    before = 0 if prefix is None else prefix.shape[1]
    ids = torch.tensor([[0] * (width - len(row)) + list(row) for row in tokens], device=device)
    vectors = decoder.decoder.embed(ids)
    mask = torch.tensor([[0] * (width - len(row)) + [1] * (before + len(row)) for row in tokens], device=device)
    if prefix is None:
        return vectors, mask
    joined = [
        torch.cat([vectors[n, : width - len(row)], prefix[n], vectors[n, width - len(row) :]])
        for n, row in enumerate(tokens)
    ]
    return torch.stack(joined), mask
