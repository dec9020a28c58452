"""InfoNCE and sigmoid loss with memory linear in the batch, computed from tiles of the similarity matrix.

Legend: n pairs at this rank, N over all ranks, M captions in memory (n, N, or more if extra captions are
negatives), D dimensions; dots = <audio_i, text_j>; weights = d (sum of losses) / d logits.

A tile of dots is computed, used in both directions, and overwritten. InfoNCE needs two sweeps. The first accumulates
every tile into log-sums of rows and columns. The second computes the tiles again and converts them to weights, whose
products with the towers are the gradients: 2 N^2 D + 2 N^2 D + 4 N^2 D = 8 N^2 D operations, the 6 of the
plain loss and one recomputation. The sigmoid loss has no sums over the batch, so one sweep gives loss and gradients: 6
N^2 D operations. The gradient of the temperature needs no extra product:
sum_ij weights_ij dots_ij = sum_i <audio_i, (weights . text)_i>.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor
from torch.autograd.function import once_differentiable

from aural.core.config import Config
from aural.core.errors import ConfigError
from aural.objectives.base import OBJECTIVES, Objective
from aural.objectives.exchange import Exchange, ExchangeName, Group, check_equal, exchange_between
from aural.objectives.precision import MatmulPrecision, Products
from aural.objectives.tile_math import meets, merged, tile_math


class TiledConfig(Config):
    """Options of both tiled losses. They change precision, speed and memory, not what is computed."""

    matmul_precision: MatmulPrecision = "float32"
    tile: int = Field(default=0, ge=0)
    """Side of a tile in pairs. 0 chooses 4,096 or 8,192 on CUDA and 1,024 elsewhere."""
    fused: bool = True
    """Whether Triton kernels may do the element-wise passes on CUDA."""
    exchange: ExchangeName = "none"
    """How ranks exchange captions (exchange.py). With "none", each rank compares only its own pairs."""
    over_ranks: Literal["mean", "sum"] = "mean"
    """How the trainer combines parameter gradients over ranks. DDP and FSDP take the mean."""
    check_ranks: bool = True
    """Refuse unequal numbers of pairs per rank, for which collectives would wait forever: one small all-reduce and a
    wait for the device per call. The training loop turns it off, because its ranks are equal by construction."""


class Scalars(NamedTuple):
    """The loss and its two detached parts, each ()."""

    loss: Tensor
    first: Tensor
    second: Tensor


def tiled_info_nce(
    audio: Tensor, text: Tensor, scale: Tensor, config: TiledConfig | None = None, group: Group = None
) -> Scalars:
    """Return the loss and its audio-to-text and text-to-audio parts, as InfoNCE over the global batch.

    audio (n, D), text (M, D), scale (). The first n captions match the clips. In one process, further captions may
    follow (M > n); they are negatives of every clip and are not used as queries.
    """
    config = config or TiledConfig()
    exchange = _checked(audio, text, config, group)
    loss, first, second = _TiledInfoNCE.apply(audio, text, scale, config, exchange)
    return Scalars(loss, first, second)


def tiled_sigmoid(
    audio: Tensor, text: Tensor, scale: Tensor, bias: Tensor, config: TiledConfig | None = None, group: Group = None
) -> Scalars:
    """Return the loss and its shares of matching and other pairs, as Sigmoid over the global batch.

    Arguments as for `tiled_info_nce`, and bias ().
    """
    config = config or TiledConfig()
    exchange = _checked(audio, text, config, group)
    wanted = torch.is_grad_enabled()
    loss, first, second = _TiledSigmoid.apply(audio, text, scale, bias, config, exchange, wanted)
    return Scalars(loss, first, second)


def _checked(audio: Tensor, text: Tensor, config: TiledConfig, group: Group) -> Exchange:
    exchange = exchange_between(config.exchange, group)
    fits = audio.ndim == text.ndim == 2 and audio.shape[1] == text.shape[1] and 1 <= len(audio) <= len(text)
    if exchange.world > 1:
        fits = fits and len(audio) == len(text)
        if config.check_ranks:
            check_equal(
                len(audio) if fits else 0, audio, group
            )  # also where this rank alone does not fit: the others wait
    if not fits:
        raise ConfigError(
            f"audio_emb {tuple(audio.shape)} and text_emb {tuple(text.shape)} must both be (B, E) with B >= 1"
            + (", the same B at every rank" if exchange.world > 1 else " (more captions than clips are allowed)")
        )
    return exchange


class _Tile(NamedTuple):
    row: slice  # clips
    column: slice  # captions
    dots: Tensor  # (R, C)
    weights: tuple[Tensor, ...]  # memory for (R, C) weights: the dots themselves, or bf16 parts
    rows: Tensor  # operand of the clips, see Products
    columns: Tensor  # operand of the captions


class _TileSweep:
    """Computes the tiles of one rank's clips against blocks of captions, one after the other, in reused memory."""

    def __init__(self, audio: Tensor, text: Tensor, config: TiledConfig) -> None:
        self.audio = audio.detach().contiguous()
        self.products = Products(config.matmul_precision, audio, text)
        self.dtype = self.products.dtype
        self.math = tile_math(audio.device, self.dtype, config.fused)
        self.side = config.tile or _default_tile(audio, config)

    def tiles(self, text: Tensor, weighted: bool) -> Iterator[_Tile]:
        """Yield every tile with its dots. The next tile overwrites its memory. `weighted` adds memory for weights."""
        columns = self.products.columns(text)
        height, width = min(self.side, len(self.audio)), min(self.side, len(text))
        room = self.audio.new_empty(height * width, dtype=self.dtype)
        rooms = self.products.weight_room(room) if weighted else []
        for row in self._strips(len(self.audio)):
            rows = self.products.rows(self.audio[row])
            for column in self._strips(len(text)):
                block = columns[column]
                shape = len(rows), len(block)
                dots, *weights = (x[: shape[0] * shape[1]].view(shape) for x in (room, *rooms))
                self.products.logits(rows, block, dots)
                yield _Tile(row, column, dots, tuple(weights) or (dots,), rows, block)

    def _strips(self, length: int) -> Iterator[slice]:
        return (slice(start, min(start + self.side, length)) for start in range(0, length, self.side))

    def running(self, length: int, other: int) -> Tensor:
        """Return (2, S, length) empty log-sums over `other` columns (rows)."""
        empty = self.audio.new_zeros((2, self.math.slots(min(self.side, other)), length), dtype=self.dtype)
        empty[0] = -math.inf
        return empty

    def gradients(self, tile: _Tile, to_audio: Tensor, to_text: Tensor) -> None:
        """Add the contribution of a tile to the gradients of both towers; an empty gradient is skipped."""
        if to_audio.numel():
            self.products.add_to_audio(tile.weights, tile.columns, to_audio[tile.row])
        if to_text.numel():
            self.products.add_to_text(tile.weights, tile.rows, to_text[tile.column])

    def zeros_like(self, tower: Tensor, wanted: bool) -> Tensor:
        return torch.zeros((len(tower) if wanted else 0, tower.shape[1]), dtype=self.dtype, device=tower.device)

    def inner(self, tower: Tensor, gradient: Tensor) -> Tensor:
        """Return sum_id tower_id gradient_id in float64, without a temporary tensor of the size of the towers."""
        total = torch.zeros((), dtype=torch.float64, device=tower.device)
        for part in self._strips(len(gradient)):
            total += (tower[part].to(self.dtype) * gradient[part]).sum(1).double().sum()
        return total


def _default_tile(audio: Tensor, config: TiledConfig) -> int:
    """Return a side that is large enough to hide kernel launches and small compared with the towers."""
    if audio.device.type != "cuda":
        return 1024
    return 4096 if config.matmul_precision == "bf16x3" and len(audio) <= 32768 else 8192


class _TiledInfoNCE(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, audio: Tensor, text: Tensor, scale: Tensor, config: TiledConfig, exchange: Exchange
    ) -> tuple[Tensor, Tensor, Tensor]:
        sweep = _TileSweep(audio, text, config)
        n, factor = len(audio), _scalar(scale, sweep)
        row_sums = sweep.running(n, len(text) * exchange.world)
        pair_dots = torch.empty(n, dtype=sweep.dtype, device=audio.device)

        def body(columns: tuple[Tensor, ...], first: int, log_sums: Tensor) -> None:
            col_sums = sweep.running(len(columns[0]), n)
            for tile in sweep.tiles(columns[0], weighted=False):
                diagonal = exchange.rank * n + tile.row.start - first - tile.column.start
                if meets(diagonal, tile.dots):
                    matches = tile.dots.diagonal(diagonal)
                    pair_dots.narrow(0, tile.row.start + max(-diagonal, 0), len(matches)).copy_(matches)
                sweep.math.log_sums(tile.dots, factor, row_sums[..., tile.row], col_sums[..., tile.column])
            log_sums.copy_(merged(torch.cat([col_sums, log_sums.T[:, None]], dim=1)).T)

        with sweep.products.exactly():
            empty = sweep.running(len(text), 1)[:, 0].T.contiguous()
            by_column = exchange.visit((text.detach().contiguous(),), empty, "log_sum", body)  # (M, 2)
            by_row = merged(row_sums)  # (2, n)
        by_row[1].log_()
        by_column[:, 1].log_()
        by_column[n:, 1] = math.inf  # extra captions are no queries
        pair_dots *= factor
        sums = torch.stack([((top - pair_dots) + rest).double().sum() for top, rest in (by_row, by_column[:n].T)])
        first, second = (exchange.total(sums) / (n * exchange.world)).to(sweep.dtype)
        ctx.save_for_backward(audio, text, scale, by_row, by_column)
        ctx.config, ctx.exchange = config, exchange
        ctx.mark_non_differentiable(first, second)
        return (first + second) / 2, first, second

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        audio, text, scale, by_row, by_column = ctx.saved_tensors
        exchange: Exchange = ctx.exchange
        sweep = _TileSweep(audio, text, ctx.config)
        n, factor = len(audio), _scalar(scale, sweep)
        want_audio, want_text, want_scale = ctx.needs_input_grad[:3]
        to_audio = sweep.zeros_like(audio, want_audio or (want_scale and not want_text))

        def body(columns: tuple[Tensor, ...], first: int, to_text: Tensor) -> None:
            text, by_column = columns[0], columns[1].T.contiguous()  # (M, D), (2, M)
            for tile in sweep.tiles(text, weighted=True):
                diagonal = exchange.rank * n + tile.row.start - first - tile.column.start
                sweep.math.softmax_weights(
                    tile.dots, factor, by_row[:, tile.row], by_column[:, tile.column], diagonal, tile.weights
                )
                sweep.gradients(tile, to_audio, to_text)

        with sweep.products.exactly():
            columns = (text.detach().contiguous(), by_column)
            to_text = exchange.visit(columns, sweep.zeros_like(text, want_text), "sum", body)
        share = grad.to(sweep.dtype) / (2 * n * (exchange.world if ctx.config.over_ranks == "sum" else 1))
        gradients = _finish(sweep, (audio, text, scale), ctx.needs_input_grad, (to_audio, to_text), share, factor)
        return (*gradients, None, None)


def _scalar(value: Tensor, sweep: _TileSweep) -> Tensor:
    return value.detach().to(sweep.audio.device, sweep.dtype).reshape(())


def _finish(
    sweep: _TileSweep,
    inputs: tuple[Tensor, Tensor, Tensor],
    wanted: tuple[bool, ...],
    sums: tuple[Tensor, Tensor],
    share: Tensor,
    factor: Tensor,
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Return the gradients of audio, text and scale from weights . text and weights^T . audio."""
    (audio, text, scale), (to_audio, to_text) = inputs, sums
    d_audio = d_text = d_scale = None
    if wanted[2]:
        inner = sweep.inner(audio, to_audio) if to_audio.numel() else sweep.inner(text, to_text)
        d_scale = (inner * share).to(scale.dtype).reshape(scale.shape).to(scale.device)
    if wanted[0]:
        d_audio = (to_audio * (share * factor)).to(audio.dtype)
    if wanted[1]:
        d_text = (to_text * (share * factor)).to(text.dtype)
    return d_audio, d_text, d_scale


class _TiledSigmoid(torch.autograd.Function):
    """Computes loss and gradients in one sweep of the forward pass; the backward pass only scales them."""

    @staticmethod
    def forward(
        ctx: Any,
        audio: Tensor,
        text: Tensor,
        scale: Tensor,
        bias: Tensor,
        config: TiledConfig,
        exchange: Exchange,
        wanted: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        sweep = _TileSweep(audio, text, config)
        n, factor, shift = len(audio), _scalar(scale, sweep), _scalar(bias, sweep)
        want_audio, want_text, want_scale, _ = (wanted and need for need in ctx.needs_input_grad[:4])
        to_audio = sweep.zeros_like(audio, want_audio or (want_scale and not want_text))
        slots = sweep.math.slots(min(sweep.side, n)) * sweep.math.slots(min(sweep.side, len(text) * exchange.world))
        sums = torch.zeros((3, slots), dtype=torch.float64, device=audio.device)

        def body(columns: tuple[Tensor, ...], first: int, to_text: Tensor) -> None:
            weighted = to_audio.numel() + to_text.numel() > 0
            for tile in sweep.tiles(columns[0], weighted=weighted):
                diagonal = exchange.rank * n + tile.row.start - first - tile.column.start
                sweep.math.sigmoid(tile.dots, factor, shift, diagonal, sums, tile.weights if weighted else ())
                sweep.gradients(tile, to_audio, to_text)

        with sweep.products.exactly():
            columns = (text.detach().contiguous(),)
            to_text = exchange.visit(columns, sweep.zeros_like(text, want_text), "sum", body)
        local = sums.sum(1)
        first, second, _ = (exchange.total(local) / (n * exchange.world)).to(sweep.dtype)
        ctx.save_for_backward(audio, text, scale, bias, to_audio, to_text, local[2])
        ctx.config, ctx.exchange = config, exchange
        ctx.mark_non_differentiable(first, second)
        return first + second, first, second

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor, *_: Tensor) -> tuple[Tensor | None, ...]:
        audio, text, scale, bias, to_audio, to_text, weight_sum = ctx.saved_tensors
        sweep = _TileSweep(audio, text, ctx.config)
        share = grad.to(sweep.dtype) / (len(audio) * (ctx.exchange.world if ctx.config.over_ranks == "sum" else 1))
        d_bias = (weight_sum * share).to(bias.dtype).reshape(bias.shape).to(bias.device)
        wanted, factor = ctx.needs_input_grad, _scalar(scale, sweep)
        gradients = _finish(sweep, (audio, text, scale), wanted, (to_audio, to_text), share, factor)
        return (*gradients, d_bias if wanted[3] else None, None, None, None)


class _Tiled(Objective):
    """An objective with the options of the tiled losses and a process group."""

    config_type = TiledConfig
    config: TiledConfig

    def __init__(self, config: TiledConfig | None = None, group: Group = None) -> None:
        super().__init__(config)
        self.group = group


@OBJECTIVES.register(
    "tiled_info_nce", signal="pair", contrast="input-input", loss="contrastive", negatives="batch", modality="any pair"
)
class TiledInfoNCE(_Tiled):
    """InfoNCE for any batch size and any number of ranks.

    Also known as: memory-efficient CLIP loss, Inf-CL, flash contrastive loss; with "gather" also CLIP's local
    loss with gathered gradients.

    Formula: that of `info_nce`. Needs audio_emb (B, E), text_emb (B, E), logit_scale ().

    Knobs: matmul_precision (precision.py; float32 equals the plain loss to float32 rounding, bf16x3 almost, at several
    times the speed on CUDA); tile (pairs); fused; exchange; over_ranks. Extra memory: the gradients of both towers,
    a tile (64 MiB at 4,096) and its weights.

    Source: log-sums that are accumulated block by block: Milakov and Gimelshein 2018 (arXiv 1805.02867), section 3;
    for this loss by tiles and over a ring of ranks: Cheng et al. 2024 (arXiv 2410.17243), section 3.

    Relations: the same number as `info_nce` over the global batch.

    >>> import torch
    >>> unit = torch.eye(2)
    >>> scalars = TiledInfoNCE()({"audio_emb": unit, "text_emb": unit, "logit_scale": torch.tensor(1.0)})
    >>> {name: round(float(value), 4) for name, value in scalars.items()}
    {'loss': 0.3133, 'audio_to_text': 0.3133, 'text_to_audio': 0.3133}
    """

    def compute(self, **tensors: Tensor) -> dict[str, Tensor]:
        audio, text, scale = (tensors[name] for name in ("audio_emb", "text_emb", "logit_scale"))
        loss, first, second = tiled_info_nce(audio, text, scale, self.config, self.group)
        return {"loss": loss, "audio_to_text": first, "text_to_audio": second}


@OBJECTIVES.register(
    "tiled_sigmoid", signal="pair", contrast="input-input", loss="binary", negatives="batch", modality="any pair"
)
class TiledSigmoid(_Tiled):
    """The pairwise sigmoid loss for any batch size and any number of ranks.

    Also known as: chunked SigLIP loss.

    Formula: that of `sigmoid`. Needs audio_emb (B, E), text_emb (B, E), logit_scale (), logit_bias ().

    Knobs: as for `tiled_info_nce`. The forward pass holds both towers' gradients until the backward pass.

    Source: Zhai et al. 2023 (arXiv 2303.15343), section 3.3, passes blocks of captions between devices; tiles within a
    device and the gradients of the one sweep are derived above.

    Relations: the same number as `sigmoid` over the global batch.

    >>> import torch
    >>> unit = torch.eye(2)
    >>> given = {"audio_emb": unit, "text_emb": unit}
    >>> given |= {"logit_scale": torch.tensor(2.0), "logit_bias": torch.tensor(-1.0)}
    >>> {name: round(float(value), 4) for name, value in TiledSigmoid()(given).items()}
    {'loss': 0.6265, 'positive': 0.3133, 'negative': 0.3133}
    """

    needs = frozenset({"audio_emb", "text_emb", "logit_scale", "logit_bias"})

    def compute(self, **tensors: Tensor) -> dict[str, Tensor]:
        audio, text, scale = (tensors[name] for name in ("audio_emb", "text_emb", "logit_scale"))
        loss, first, second = tiled_sigmoid(audio, text, scale, tensors["logit_bias"], self.config, self.group)
        return {"loss": loss, "positive": first, "negative": second}
