"""One step's gradients: at once, by accumulation, or by gradient caching, on one process or many.

Gradient caching (Gao et al. 2021, arXiv 2101.06983): embed every micro-batch without gradient, compute the loss over
all rows and its gradient by them, then embed each micro-batch again, with gradient and the same dropout, and pass it
its share. The parameters' gradients are those of the whole batch; memory is that of a micro-batch.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from aural.objectives.exchange import all_gather, gather_with_gradient
from aural.train.attention import AttentionKernels
from aural.train.config import Recipe
from aural.train.draw import STEP, number
from aural.train.loader import Batch
from aural.train.losses import Losses
from aural.train.system import Plan, norms_of
from aural.train.teacher import Teachers


class Stepper:
    """Calls the system on micro-batches and leaves the batch's gradient in its parameters.

    losses: None for a system that computes its own loss.
    """

    def __init__(
        self,
        model: nn.Module,
        losses: Losses | None,
        recipe: Recipe,
        *,
        plan: Plan,
        device: torch.device,
        teachers: Teachers | None = None,
    ) -> None:
        self.model, self.losses, self.recipe, self.plan, self.device = model, losses, recipe, plan, device
        self.teachers = teachers or Teachers((), plan)
        self.once = plan.once | self.teachers.once
        varying = recipe.data.batching.name == "lengths" and device.type == "cuda"
        self.attention = AttentionKernels(varying=varying)
        self.spread = dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1
        self.rank = dist.get_rank() if self.spread else 0

    def gradients(self, batch: Batch, step: int) -> dict[str, Tensor]:
        """Run backward on one batch; return the scalars of its loss, detached."""
        with self.attention.of(batch):
            return self._gradients(batch, step)

    def _gradients(self, batch: Batch, step: int) -> dict[str, Tensor]:
        parts = cut(batch, self.recipe.loop.micro_batch)
        if self.losses is None:
            return self._summed(parts, step)
        if len(parts) > 1 and self.recipe.loop.large_batch == "cache":
            return self._cached(batch, parts, step)
        total: dict[str, Tensor] = {}
        for i, part in enumerate(parts):
            with self._syncing(i == len(parts) - 1):
                out = self._forward(part, step, i)
                scalars = self._loss(out, part)
                (self._with_unused(scalars["loss"], out) / len(parts)).backward()
            add(total, scalars, 1 / len(parts))
        return total

    def _summed(self, parts: list[Batch], step: int) -> dict[str, Tensor]:
        """Add losses that are means over clips: micro-batches are weighted by their size."""
        total: dict[str, Tensor] = {}
        size = sum(len(part["keys"]) for part in parts)
        for i, part in enumerate(parts):
            share = len(part["keys"]) / size
            with self._syncing(i == len(parts) - 1):
                out = self._forward(part, step, i)
                (out["loss"] * share).backward()
            total = add(total, {"loss": out["loss"]}, share)
            total = add(total, {name: value for name, value in out.items() if name != "loss"}, 1.0)
        if self.spread:  # what is logged is that of all processes
            for name, value in total.items():
                dist.all_reduce(value)
                total[name] = value / dist.get_world_size() if name == "loss" else value
        return total

    def _cached(self, batch: Batch, parts: list[Batch], step: int) -> dict[str, Tensor]:
        with torch.no_grad(), norms_kept(self.model):
            outs = [self._forward(part, step, i) for i, part in enumerate(parts)]
        leaves = {name: self._joined(name, [out[name] for out in outs]) for name in outs[0]}
        for name, tensor in leaves.items():
            if tensor.is_floating_point() and name not in self.teachers.rows:
                tensor.requires_grad_()
        scalars = self._loss(leaves, batch)
        scalars["loss"].backward()
        at = dict.fromkeys(leaves, 0)
        for i, part in enumerate(parts):
            last = i == len(parts) - 1
            with self._syncing(last):
                out = self._forward(part, step, i)
                total = scalars["loss"].new_zeros(())
                for name, tensor in out.items():
                    grad = leaves[name].grad
                    if grad is None or not tensor.requires_grad or (name in self.once and not last):
                        continue
                    if name not in self.once:
                        grad = grad[at[name] : at[name] + len(tensor)]
                        at[name] += len(tensor)
                    if name in self.plan.ragged:
                        grad = grad[:, : tensor.shape[1]]
                    total = total + (tensor * grad).sum()
                self._with_unused(total, out).backward()
        return {name: value.detach() for name, value in scalars.items()}

    def _joined(self, name: str, tensors: list[Tensor]) -> Tensor:
        """Return the rows of all micro-batches, detached; of what is given once, the first."""
        if name in self.once:
            return tensors[0].detach()
        if name in self.plan.ragged:
            width = max(tensor.shape[1] for tensor in tensors)
            tensors = [padded(tensor, width) for tensor in tensors]
        return torch.cat(tensors).detach()

    def _forward(self, part: Batch, step: int, micro: int) -> dict[str, Tensor]:
        """Run the system and its teachers on a micro-batch; dropout depends on seed, step, process and micro-batch."""
        torch.manual_seed(number(self.recipe.seed, STEP, step, self.rank, micro))
        tensors = {k: v for k, v in part.items() if isinstance(v, Tensor) or k in self.plan.lists}
        bf16 = self.recipe.loop.precision == "bf16"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=bf16):
            out: dict[str, Tensor] = self.model(tensors)
            return out | self.teachers.teach(tensors, out)

    def _loss(self, out: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
        assert self.losses is not None
        needs = self.losses.needs
        given = out | self.teachers.held(out)
        given |= {k: v for k, v in batch.items() if k in needs and k not in given and isinstance(v, Tensor)}
        self.teachers.see(out, self._gathered)
        return self.losses(given, self._gathered if self.spread else None)

    def _gathered(self, name: str, tensor: Tensor) -> Tensor:
        """Return the rows of all processes; what is given once stays."""
        if not self.spread or name in self.once:
            return tensor
        if name in self.plan.ragged:
            width = torch.tensor(tensor.shape[1], device=tensor.device)
            dist.all_reduce(width, dist.ReduceOp.MAX)
            tensor = padded(tensor, int(width))
        return gathered(tensor)

    def _with_unused(self, loss: Tensor, out: dict[str, Tensor]) -> Tensor:
        """Return the loss plus 0 times the outputs that no objective takes: DDP waits for all gradients."""
        if self.spread and self.losses is not None:
            for name in sorted(out.keys() - self.losses.needs):
                if out[name].requires_grad:
                    loss = loss + 0.0 * out[name].sum()
        return loss

    @contextlib.contextmanager
    def _syncing(self, last: bool) -> Iterator[None]:
        """Exchange gradients between processes with the last micro-batch only."""
        model: Any = self.model
        if self.spread and hasattr(model, "set_requires_gradient_sync"):  # FSDP2
            model.set_requires_gradient_sync(last)
        with contextlib.nullcontext() if last or not hasattr(model, "no_sync") else model.no_sync():  # DDP
            yield


def cut(batch: Batch, micro: int) -> list[Batch]:
    """Split a batch into micro-batches of `micro` clips with all their rows; 0: return the batch itself."""
    size = len(batch["keys"])
    if not micro or micro >= size:
        return [batch]
    return [
        {name: _rows(value, first, micro, size) for name, value in batch.items()} for first in range(0, size, micro)
    ]


def _rows(value: Any, first: int, micro: int, size: int) -> Any:
    per_clip = len(value) // size  # such as K captions
    return value[first * per_clip : (first + micro) * per_clip] if per_clip else value


def add(into: dict[str, Tensor], scalars: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    for name, value in scalars.items():
        into[name] = into.get(name, 0) + value.detach() * share
    return into


def padded(tensor: Tensor, width: int) -> Tensor:
    """Return (B, L, ...) padded with zeros on the right to (B, width, ...)."""
    pad = tensor.new_zeros((tensor.shape[0], width - tensor.shape[1], *tensor.shape[2:]))
    return torch.cat([tensor, pad], 1)


def gathered(local: Tensor) -> Tensor:
    """Return the rows of all processes, differentiable if the local ones are."""
    if local.requires_grad:
        return gather_with_gradient(local, check_ranks=False)  # equal by construction
    return all_gather(local.to(torch.uint8)).bool() if local.dtype == torch.bool else all_gather(local)


@contextlib.contextmanager
def norms_kept(model: nn.Module) -> Iterator[None]:
    """Restore the running statistics of every BatchNorm after the block."""
    norms = [norm for norm in norms_of(model) if norm.training]
    before = [[buffer.clone() for buffer in norm.buffers()] for norm in norms]
    yield
    for norm, buffers in zip(norms, before, strict=True):
        for buffer, value in zip(norm.buffers(), buffers, strict=True):
            buffer.copy_(value)
