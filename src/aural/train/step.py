"""One step's gradients: at once, by accumulation, or by gradient caching, on one process or many.

Gradient caching (Gao et al. 2021, arXiv 2101.06983): embed every micro-batch without gradient, take the loss over all
embeddings and its gradients by them, then embed each micro-batch again, with gradient and the same dropout, and hand it
its share. The parameters' gradients are those of the whole batch; memory is that of a micro-batch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from aural.objectives.base import Objective
from aural.objectives.exchange import all_gather, gather_with_gradient
from aural.train.config import Recipe
from aural.train.draw import STEP, number
from aural.train.loader import Batch
from aural.train.towers import norms_of

ONCE = ("logit_scale", "logit_bias")  # outputs that are not rows


class Stepper:
    """Calls the model on micro-batches and leaves the batch's gradient in its parameters."""

    def __init__(self, model: nn.Module, objective: Objective | None, recipe: Recipe, device: torch.device) -> None:
        self.model, self.objective, self.recipe, self.device = model, objective, recipe, device
        self.spread = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        self.rank = dist.get_rank() if self.spread else 0
        self.meets_itself = getattr(getattr(objective, "config", None), "exchange", "none") != "none"

    def gradients(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Backward of one batch; the scalars of its loss, detached."""
        parts = cut(batch, self.recipe.loop.micro_batch)
        if self.objective is None:
            return self._summed(parts, step)
        if len(parts) > 1 and self.recipe.loop.large_batch == "cache":
            return self._cached(batch, parts, step)
        found: dict[str, Tensor] = {}
        for i, part in enumerate(parts):
            with self._syncing(i == len(parts) - 1):
                scalars = self._loss(self._forward(part, step, i), part)
                (scalars["loss"] / len(parts)).backward()
            add(found, scalars, 1 / len(parts))
        return found

    def _summed(self, parts: list[Batch], step: int) -> dict[str, Tensor]:
        """Losses that are means over clips: micro-batches weigh by their size."""
        found: dict[str, Tensor] = {}
        size = sum(len(part["keys"]) for part in parts)
        for i, part in enumerate(parts):
            share = len(part["keys"]) / size
            with self._syncing(i == len(parts) - 1):
                out = self._forward(part, step, i)
                (out["loss"] * share).backward()
            found = add(found, {"loss": out["loss"]}, share)
            found = add(found, {name: value for name, value in out.items() if name != "loss"}, 1.0)
        return found

    def _cached(self, batch: Batch, parts: list[Batch], step: int) -> dict[str, Tensor]:
        with torch.no_grad(), norms_kept(self.model):
            outs = [self._forward(part, step, i) for i, part in enumerate(parts)]
        leaves = {k: outs[0][k] if k in ONCE else torch.cat([out[k] for out in outs]) for k in outs[0]}
        leaves = {name: tensor.detach().requires_grad_() for name, tensor in leaves.items()}
        scalars = self._loss(leaves, batch)
        scalars["loss"].backward()
        at = dict.fromkeys(leaves, 0)
        for i, part in enumerate(parts):
            last = i == len(parts) - 1
            with self._syncing(last):
                out = self._forward(part, step, i)
                handed = out["audio_emb"].new_zeros(())
                for name, tensor in out.items():
                    grad = leaves[name].grad
                    if grad is None or (name in ONCE and not last):
                        continue
                    if name not in ONCE:
                        grad = grad[at[name] : at[name] + len(tensor)]
                        at[name] += len(tensor)
                    handed = handed + (tensor * grad).sum()
                handed.backward()
        return {name: value.detach() for name, value in scalars.items()}

    def _forward(self, part: Batch, step: int, micro: int) -> dict[str, Tensor]:
        """The model on one micro-batch; dropout depends on seed, step, process and micro-batch alone."""
        torch.manual_seed(number(self.recipe.seed, STEP, step, self.rank, micro))
        bf16 = self.recipe.loop.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            found: dict[str, Tensor] = self.model({k: v for k, v in part.items() if isinstance(v, Tensor)})
        return found

    def _loss(self, out: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        assert self.objective is not None
        given = out | {k: batch[k] for k in ("audio_group", "text_group", "hard_text_mask") if k in batch}
        if self.spread and not self.meets_itself:
            given = {k: v if k in ONCE else gathered(v) for k, v in given.items() if k in self.objective.needs}
        scalars: dict[str, Tensor] = self.objective(given)
        if self.recipe.distill is not None:
            own, theirs = (gathered(out[name]) if self.spread else out[name] for name in ("audio_emb", "teacher_emb"))
            apart = (1 - (own * theirs).sum(1)).mean()
            scalars = scalars | {"loss": scalars["loss"] + self.recipe.distill.weight * apart, "distill": apart}
        return scalars

    @contextlib.contextmanager
    def _syncing(self, last: bool) -> Iterator[None]:
        """Gradients travel between processes with the last micro-batch only."""
        model: Any = self.model
        if self.spread and hasattr(model, "set_requires_gradient_sync"):  # FSDP2
            model.set_requires_gradient_sync(last)
        with contextlib.nullcontext() if last or not hasattr(model, "no_sync") else model.no_sync():  # DDP
            yield


def cut(batch: Batch, micro: int) -> list[Batch]:
    """Micro-batches of `micro` clips with all that belongs to them; 0: the batch itself."""
    size = len(batch["keys"])
    if not micro or micro >= size:
        return [batch]
    return [
        {name: _rows(value, first, micro, size) for name, value in batch.items()} for first in range(0, size, micro)
    ]


def _rows(value: Any, first: int, micro: int, size: int) -> Any:
    a_clip = len(value) // size  # K rows of text for one clip
    return value[first * a_clip : (first + micro) * a_clip] if a_clip else value


def add(into: dict[str, Tensor], scalars: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    for name, value in scalars.items():
        into[name] = into.get(name, 0) + value.detach() * share
    return into


def gathered(local: Tensor) -> Tensor:
    """Every process's rows; differentiable where the local ones are."""
    if local.requires_grad:
        return gather_with_gradient(local)
    return all_gather(local.to(torch.uint8)).bool() if local.dtype == torch.bool else all_gather(local)


@contextlib.contextmanager
def norms_kept(model: nn.Module) -> Iterator[None]:
    """Undo what a forward pass does to the running statistics."""
    norms = [norm for norm in norms_of(model) if norm.training]
    before = [[buffer.clone() for buffer in norm.buffers()] for norm in norms]
    yield
    for norm, buffers in zip(norms, before, strict=True):
        for buffer, value in zip(norm.buffers(), buffers, strict=True):
            buffer.copy_(value)
