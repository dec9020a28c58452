"""Describe a run before it starts: model, parameters, data, memory and the first batch. Refuse what cannot work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from aural.models.device import pick_device
from aural.train.config import BatchingConfig, Recipe
from aural.train.loader import Batch, Batches, rms_db
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
    lines.append(f"run       {_length(recipe, batches)}")
    lines += [f"memory    {line}" for line in _memory(model, _two_clips(recipe, batch), recipe)]
    lines += [f"batch     {line}" for line in _batch(batch)]
    return "\n".join(lines)


def _length(recipe: Recipe, batches: Batches) -> str:
    if recipe.data.batching.name == "lengths":
        epochs = batches.steps / max(1, batches.steps_per_epoch)
        return f"{batches.steps:,} steps of clips of similar length, {epochs:.2f} epochs"
    epoch = batches.clips / recipe.loop.batch
    return f"{batches.steps:,} steps of {recipe.loop.batch} clips, {batches.steps / epoch:.2f} epochs"


def _two_clips(recipe: Recipe, batch: Batch) -> Batch:
    """Return a batch of two clips, as windows and with padded captions; packed captions cannot be cut."""
    data = recipe.data
    if data.batching.name == "windows" and not data.pack_text:
        return cut(batch, MEASURED_CLIPS)[0]
    loop = recipe.loop.model_copy(update={"batch": MEASURED_CLIPS, "micro_batch": 0})
    windows = data.model_copy(update={"batching": BatchingConfig(), "pack_text": 0})
    return Batches(recipe.model_copy(update={"loop": loop, "data": windows}))[0]


def _model(model: System) -> Iterator[str]:
    for name, part in {**model.parts(), "all": model}.items():
        total = sum(p.numel() for p in part.parameters())
        trained = sum(p.numel() for p in part.parameters() if p.requires_grad)
        yield f"{name}: {total / 1e6:.1f} M parameters, {trained / 1e6:.1f} M of them trained"


def _memory(model: nn.Module, part: Batch, recipe: Recipe) -> Iterator[str]:
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    total = sum(p.numel() for p in model.parameters())
    average = total * 4 if recipe.optimizer.ema else 0
    fixed = total * 4 + trained * 12 + average  # float32 weights; gradient and two moments
    yield f"{fixed / GIB:.2f} GiB for weights, gradients, optimizer" + (" and the average" if average else "")
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
