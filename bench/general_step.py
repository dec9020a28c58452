"""Measure one step of every system: at once or with gradient caching, compiled or not, and split with FSDP.

    python bench/train.py --only step                     on a GPU, about a minute
    python bench/train.py --only step --device cpu --tiny the same, small

Each row is the step of `aural train`: forward, loss, backward, gradient norm and optimizer, on one synthetic batch that
is already on the device, without dropout. "gradient" is the largest difference from the gradients of the first row of
the system, in units of the norm of the tensor (at least 1e-4 of the largest norm, because the gradient of the biases of
keys is zero and only rounding is left of it): 1e-5 in fp32, 1e-2 in bf16. On the CPU "compiled" is the traced graph
without code generation.
"""

from __future__ import annotations

import json
import os
import socket
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import Tensor, nn

from aural.train import parallel
from aural.train.config import Recipe
from aural.train.loop import compile_parts
from aural.train.losses import Losses
from aural.train.optimizer import build_optimizer
from aural.train.parallel import Place
from aural.train.selected import system_of
from aural.train.shorthand import objectives_of
from aural.train.step import Stepper

SYSTEMS = ("pair", "heads", "frames")
CLASSES = tuple(f"class {i}" for i in range(50))
FRAMES = 40
HEADER = ("system", "way", "ms", "clips/s", "first s", "peak GiB", "loss", "gradient")


@dataclass(frozen=True)
class Size:
    """Sizes of the towers and the batch."""

    dim: int
    depth: int
    batch: int
    micro: int
    repeats: int
    precision: str


GPU = Size(dim=512, depth=4, batch=256, micro=64, repeats=10, precision="bf16")
TINY = Size(dim=16, depth=1, batch=8, micro=2, repeats=2, precision="fp32")


@dataclass(frozen=True)
class Way:
    """How a step is done: `micro` clips at a time (0: all), compiled, with `world` FSDP processes (0: without FSDP)."""

    micro: int = 0
    compile: bool = False
    world: int = 0

    @property
    def name(self) -> str:
        parts = [f"cached, {self.micro} at a time" if self.micro else "at once"]
        parts += ["compiled"] if self.compile else []
        parts += [f"FSDP on {self.world}"] if self.world else []
        return ", ".join(parts)


def recipe_of(system: str, size: Size, way: Way) -> Recipe:
    """Return a recipe of a vision transformer on log-mels, and of BERT where the system has texts."""
    mel = {"sample_rate_hz": 16000, "n_fft": 512, "hop": 160, "n_mels": 64, "fmin_hz": 50, "fmax_hz": 8000}
    vit = {
        "n_mels": 64, "patch_frames": 16, "patch_mels": 16, "stride_frames": 16, "stride_mels": 16, "dim": size.dim,
        "depth": size.depth, "heads": 2, "mlp_ratio": 4.0, "drop_path": 0.0, "max_frames": 512,
    }  # fmt: skip
    audio = {"sample_rate_hz": 16000, "window_s": 5, "shorter": "repeat-pad", "mel": mel, "encoder": "vit",
             "encoder_options": vit, "projection": "mlp"}  # fmt: skip
    text = {
        "architecture": "bert", "dim": size.dim, "depth": size.depth, "heads": 2, "hidden_dim": 4 * size.dim,
        "vocab_size": 30522, "positions": 96, "layer_norm_eps": 1e-12, "pooling": "mean",
        "tokenizer": "bert-base-uncased", "special_tokens": "bert", "pad_id": 0, "max_tokens": 64,
    }  # fmt: skip
    towers = {"audio": {"audio": audio}, "text": {"text": text, "text_projection": "mlp"}}
    options: dict[str, dict[str, Any]] = {
        "pair": {"embed_dim": 128, "towers": towers},
        "heads": {"audio": audio, "tasks": {"names": {"kind": "classify", "classes": CLASSES}}},
        "frames": {"audio": audio, "classes": CLASSES, "frames": FRAMES},
    }
    head = dict.fromkeys(("paper", "shows", "command", "cost", "expected"), "bench/general_step.py")
    values = {
        "system": {"name": system, **options[system]},
        "data": {"sources": [{"manifest": "none"}]},
        "optimizer": {"clip_grad": 1.0},
        "loop": {"steps": 1, "batch": size.batch, "micro_batch": way.micro, "precision": size.precision},
    }
    objectives = {"frames": [{"name": "frame_binary"}], "pair": [{"name": "info_nce"}]}.get(system)
    return Recipe.parse(head | values | ({"objectives": objectives} if objectives else {}), "bench")


def batch_of(system: str, total: int, place: Place) -> dict[str, Any]:
    """Return the share of a process in `total` synthetic clips with captions or labels."""
    draw = torch.Generator().manual_seed(0)
    size = total // place.world
    share = slice(place.rank * size, (place.rank + 1) * size)
    batch = {
        "mel": (256 * (-30 + 15 * torch.randn(total, 501, 64, generator=draw))).clamp(-32768, 32767).to(torch.int16)
    }
    if system == "pair":
        batch["ids"] = torch.randint(1000, 30000, (total, 24), generator=draw)
        batch["mask"] = (torch.arange(24) < torch.randint(8, 25, (total, 1), generator=draw)).long()
    elif system == "heads":
        batch["task"] = torch.zeros(total, dtype=torch.long)
        batch["label.names"] = torch.randint(0, len(CLASSES), (total,), generator=draw)
    else:
        batch["frame_labels"] = (torch.rand(total, FRAMES, len(CLASSES), generator=draw) < 0.05).float()
    return {"keys": [""] * size} | {name: tensor[share].to(place.device) for name, tensor in batch.items()}


def measure(system: str, size: Size, way: Way, place: Place) -> dict[str, Any]:
    """Return the times of one way; "gradients" are those of the first step."""
    recipe = recipe_of(system, size, way)
    kind, config = system_of(recipe)
    torch.manual_seed(0)
    plain = kind(config, SimpleNamespace(classes={"names": CLASSES})).to(place.device).train()  # type: ignore[arg-type]
    model: nn.Module = parallel.shard(plain, place) if way.world else plain
    optimizer = build_optimizer(plain, recipe.optimizer, place.device)
    for module in plain.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    if way.compile and place.device.type == "cuda":
        compile_parts(plain)
    elif way.compile:
        for encoder in plain.parts().values():
            encoder.compile(backend="aot_eager")
    plan = config.plan(recipe)
    losses = None if plan.gives_loss else Losses(objectives_of(recipe))
    stepper = Stepper(model, losses, recipe, plan=plan, device=place.device)
    batch = batch_of(system, size.batch, place)
    began = time.perf_counter()
    loss = float(stepper.gradients(batch, 0)["loss"])
    gradients = {
        name: parallel.full(p.grad).detach().float().cpu() for name, p in plain.named_parameters() if p.grad is not None
    }
    first_s = time.perf_counter() - began
    if place.device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(3 + size.repeats):
        _wait(place)
        began = time.perf_counter()
        optimizer.zero_grad(set_to_none=True)
        stepper.gradients(batch, 0)
        parallel.clip(model, 1.0)
        optimizer.step()
        _wait(place)
        times.append(time.perf_counter() - began)
    seconds = statistics.median(times[3:])
    peak = torch.cuda.max_memory_allocated() / 2**30 if place.device.type == "cuda" else 0.0
    return {"system": system, "way": way.name, "ms": 1e3 * seconds, "clips/s": size.batch / seconds,
            "first s": first_s, "peak GiB": peak, "loss": loss, "gradients": gradients}  # fmt: skip


def _wait(place: Place) -> None:
    if place.device.type == "cuda":
        torch.cuda.synchronize(place.device)


def ways_of(system: str, size: Size, worlds: tuple[int, ...]) -> list[Way]:
    """Return the ways to measure; for "pair" all combinations."""
    ways = [Way(), Way(compile=True), Way(micro=size.micro)]
    sharded = [Way(world=world) for world in worlds]
    if system == "pair":
        ways.append(Way(micro=size.micro, compile=True))
        sharded += [Way(micro=size.micro // worlds[-1], world=worlds[-1]), Way(compile=True, world=worlds[-1])]
    return ways + sharded


def rows(device: torch.device, *, tiny: bool = False) -> Iterator[dict[str, Any]]:
    """Yield a row per system and way, without tensors."""
    size = TINY if tiny else GPU
    worlds = (1, 2) if device.type != "cuda" or torch.cuda.device_count() > 1 else (1,)
    ways = {system: ways_of(system, size, worlds) for system in SYSTEMS}
    sharded: dict[tuple[str, Way], dict[str, Any]] = {}
    for world in worlds:
        sharded |= _sharded([(s, way) for s in SYSTEMS for way in ways[s] if way.world == world], size, world, device)
    for system in SYSTEMS:
        first: dict[str, Tensor] | None = None
        for way in ways[system]:
            row = sharded[system, way] if way.world else measure(system, size, way, Place(0, 1, device))
            gradients = row.pop("gradients")
            first = gradients if first is None else first
            yield row | {"gradient": _difference(gradients, first)}


def _difference(gradients: dict[str, Tensor], others: dict[str, Tensor]) -> float:
    assert gradients.keys() == others.keys()
    largest = max(float(grad.norm()) for grad in others.values())
    return max(
        float((gradients[name] - grad).norm()) / max(float(grad.norm()), 1e-4 * largest)
        for name, grad in others.items()
    )


def _sharded(
    cases: list[tuple[str, Way]], size: Size, world: int, device: torch.device
) -> dict[tuple[str, Way], dict[str, Any]]:
    """Measure in `world` processes."""
    with tempfile.TemporaryDirectory() as folder:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        file = Path(folder) / "rows.pt"
        mp.spawn(_rank, args=(cases, size, world, device.type, port, str(file)), nprocs=world)
        return dict(zip(cases, torch.load(file, weights_only=True), strict=True))


def _rank(rank: int, cases: list[tuple[str, Way]], size: Size, world: int, kind: str, port: int, file: str) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    device = torch.device(kind, rank) if kind == "cuda" else torch.device(kind)
    if kind == "cuda":
        torch.cuda.set_device(device)
    else:
        torch.set_num_threads(1)
    dist.init_process_group("nccl" if kind == "cuda" else "gloo", rank=rank, world_size=world)
    try:
        measured = [measure(system, size, way, Place(rank, world, device)) for system, way in cases]
        if rank == 0:
            torch.save(measured, file)
    finally:
        dist.destroy_process_group()


def table(measured: list[dict[str, Any]]) -> str:
    """Return the rows as text in columns."""
    formats = {"ms": ".2f", "clips/s": ".0f", "first s": ".1f", "peak GiB": ".2f", "loss": ".5f", "gradient": ".1e"}
    cells = [HEADER, *(tuple(format(row[name], formats.get(name, "")) for name in HEADER) for row in measured)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(HEADER))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in cells)


def run(device: torch.device, *, tiny: bool = False) -> list[dict[str, Any]]:
    """Print a line per row, then the table; return the rows."""
    measured = []
    for row in rows(device, tiny=tiny):
        measured.append(row)
        print(json.dumps(row), flush=True)
    print(table(measured), flush=True)
    return measured
