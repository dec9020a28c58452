"""Describe a run before it starts: model, parameters, data, memory and the first batch. Refuse what cannot work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from aural.models.device import pick_device
from aural.train.config import Recipe
from aural.train.loader import Batch, rms_db
from aural.train.loop import build, prepare
from aural.train.parallel import Place
from aural.train.step import cut
from aural.train.system import System

GIB = 2**30
MEASURED_CLIPS = 2


def describe(recipe: Recipe, device: str | None = None) -> str:
    """Return the page that `--dry-run` prints."""
    place = Place(0, 1, pick_device(device))
    batches = prepare(recipe, place).batches
    with torch.random.fork_rng():
        torch.manual_seed(recipe.seed)
        model = build(recipe, batches)
    batch = batches[0]
    if "error" in batch:
        raise batch["error"][0](batch["error"][1])
    lines = [recipe.shows, f"paper     {recipe.paper}", f"expected  {recipe.expected}", f"cost      {recipe.cost}", ""]
    lines += [f"model     {line}" for line in _model(model)]
    lines += [f"data      {source.name}: {len(source):,} clips" for source in batches.sources]
    epoch = batches.clips / recipe.loop.batch
    lines.append(f"run       {batches.steps:,} steps of {recipe.loop.batch} clips, {batches.steps / epoch:.2f} epochs")
    lines += [f"memory    {line}" for line in _memory(model, batch, recipe)]
    lines += [f"batch     {line}" for line in _batch(batch)]
    return "\n".join(lines)


def _model(model: System) -> Iterator[str]:
    for name, part in {**model.parts(), "all": model}.items():
        total = sum(p.numel() for p in part.parameters())
        trained = sum(p.numel() for p in part.parameters() if p.requires_grad)
        yield f"{name}: {total / 1e6:.1f} M parameters, {trained / 1e6:.1f} M of them trained"


def _memory(model: nn.Module, batch: Batch, recipe: Recipe) -> Iterator[str]:
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total = sum(p.numel() for p in model.parameters())
    average = total * 4 if recipe.optimizer.ema else 0
    fixed = total * 4 + trained * 12 + average  # float32 weights; gradient and two moments
    yield f"{fixed / GIB:.2f} GiB for weights, gradients, optimizer" + (" and the average" if average else "")
    part = cut(batch, MEASURED_CLIPS)[0]
    size = recipe.loop.micro_batch or recipe.loop.batch
    with counted() as held, torch.autocast("cpu", torch.bfloat16, enabled=recipe.loop.precision == "bf16"):
        model.train()(part)
    per_clip = held[0] / len(part["keys"])
    yield f"{per_clip * size / GIB:.2f} GiB kept by {size} clips for the backward pass, measured on {len(part['keys'])}"


@contextmanager
def counted() -> Iterator[list[int]]:
    """Yield a list whose one number grows by the bytes of the tensors that autograd keeps, each storage once."""
    held, seen = [0], set[int]()

    def keep(tensor: Tensor) -> Tensor:
        at = tensor.untyped_storage().data_ptr()
        if at not in seen and not isinstance(tensor, nn.Parameter):
            seen.add(at)
            held[0] += tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield held


def _batch(batch: Batch) -> Iterator[str]:
    for name, value in batch.items():
        if isinstance(value, Tensor):
            yield f"{name} {tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    for i, key in enumerate(batch["keys"][:3]):
        level = f"{rms_db(batch['wave'][i].float().numpy()):.1f} dB, " if "wave" in batch else ""
        words = f'"{batch["captions"][i]}"' if "captions" in batch else ""
        yield f"{key}: {level}{words}"
    for sentence in batch["bad"][:3]:
        yield f"not used: {sentence}"
