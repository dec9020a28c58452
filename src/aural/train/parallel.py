"""Join the process group that torchrun describes, and wrap the model for it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from aural.core.errors import ConfigError
from aural.encoders.base import AudioEncoder
from aural.models.device import pick_device


@dataclass(frozen=True)
class Place:
    """The rank of this process, the number of processes, and its device."""

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        return self.rank == 0


@contextmanager
def process_group(device: str | None) -> Iterator[Place]:
    """Join the processes that torchrun started (RANK, WORLD_SIZE, LOCAL_RANK), or run as a single one."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    if world == 1:
        yield Place(0, 1, pick_device(device))
        return
    rank, local = int(os.environ["RANK"]), int(os.environ.get("LOCAL_RANK", "0"))
    where = pick_device(device)
    if where.type == "cuda":
        where = pick_device(f"cuda:{local}")
        torch.cuda.set_device(where)
    started_here = not dist.is_initialized()
    if started_here:
        dist.init_process_group("nccl" if where.type == "cuda" else "gloo", rank=rank, world_size=world)
    try:
        yield Place(rank, world, where)
    finally:
        if started_here:
            dist.destroy_process_group()


def wrap(model: nn.Module, how: str, place: Place) -> nn.Module:
    """Return the model wrapped in DDP, or with FSDP2 on every layer; a single process: the model itself."""
    if place.world == 1:
        return model
    if how == "fsdp":
        return shard(model, place)
    for module in model.modules():  # DDP waits for the gradient of every parameter
        if isinstance(module, AudioEncoder):
            for name in module.optional:
                module.get_parameter(name).requires_grad_(False)
    ids = [place.device.index] if place.device.type == "cuda" else None
    return nn.parallel.DistributedDataParallel(
        model, device_ids=ids, gradient_as_bucket_view=True, broadcast_buffers=False
    )


def shard(model: nn.Module, place: Place) -> nn.Module:
    """Apply FSDP2: split parameters, gradients and the optimizer's state over the processes."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(place.device.type, (place.world,))
    for name, module in model.named_modules():
        parent, _, last = name.rpartition(".")
        if last.isdigit() and parent.rpartition(".")[2] in ("blocks", "h", "layer"):
            fully_shard(module, mesh=mesh)
    scalars = {p for p in model.parameters() if p.ndim == 0}  # FSDP2 cannot split them: averaged here
    for parameter in scalars:
        if parameter.requires_grad:
            parameter.register_post_accumulate_grad_hook(_average)
    fully_shard(model, mesh=mesh, ignored_params=scalars)
    return model


def _average(parameter: Tensor) -> None:
    assert parameter.grad is not None
    dist.all_reduce(parameter.grad)
    parameter.grad /= dist.get_world_size()


@torch.no_grad()
def clip(model: nn.Module, limit: float) -> Tensor:
    """Scale the gradient down to norm `limit` if it is longer; return its norm before."""
    grads: list[Any] = [p.grad for p in model.parameters() if p.grad is not None]
    shards = [grad.to_local() for grad in grads if hasattr(grad, "to_local")]
    if not shards:
        return nn.utils.clip_grad_norm_(model.parameters(), limit)
    complete = [grad for grad in grads if not hasattr(grad, "to_local")]
    squares = torch.stack(torch._foreach_norm(shards)).square().sum()
    dist.all_reduce(squares)
    norm = (squares + sum(grad.square().sum() for grad in complete)).sqrt()
    torch._foreach_mul_(shards + complete, (limit / (norm + 1e-6)).clamp(max=1.0))
    return norm


def whole_state(model: nn.Module) -> dict[str, Tensor]:
    """Return every tensor in full on every process (FSDP2 gathers them). All processes must call this."""
    return {name: full(tensor) for name, tensor in model.state_dict().items()}


def full(tensor: Any) -> Tensor:
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def optimizer_state(model: nn.Module, optimizer: torch.optim.Optimizer, sharded: bool) -> dict[str, Any]:
    """Return the optimizer's state in full."""
    if not sharded:
        return optimizer.state_dict()
    from torch.distributed.checkpoint.state_dict import StateDictOptions, get_optimizer_state_dict

    return get_optimizer_state_dict(model, optimizer, options=StateDictOptions(full_state_dict=True, cpu_offload=True))


def load_state(
    model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], state: dict[str, Any], sharded: bool
) -> None:
    """Load a checkpoint's model and optimizer on every process."""
    if not sharded:
        model.load_state_dict(tensors, strict=True)
        optimizer.load_state_dict(state)
        return
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict, set_optimizer_state_dict

    options = StateDictOptions(full_state_dict=True, strict=True)
    set_model_state_dict(model, dict[str, Any](tensors), options=options)
    set_optimizer_state_dict(model, optimizer, state, options=options)


def check_parallel(how: str, batch_norm: str, place: Place) -> None:
    """Raise ConfigError if the settings need more processes than there are."""
    if batch_norm == "sync" and (place.world == 1 or place.device.type != "cuda"):
        raise ConfigError(
            'model.batch_norm "sync" needs several CUDA processes; start them with torchrun, or use "calibrated"'
        )
    if how == "fsdp" and place.world == 1:
        raise ConfigError('loop.parallel "fsdp" needs several processes; start them with torchrun, or use "ddp"')
