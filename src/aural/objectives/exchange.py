"""Exchange of captions between ranks, so that each rank compares its clips with all captions.

Each of W ranks holds n pairs; the global batch is N = W * n pairs in the order of ranks. `visit` gives this rank all N
captions, block by block, and returns the results for its own captions (log-sums, gradients) over all clips:

| exchange | captions at a rank at once | what moves |
| --- | --- | --- |
| Alone | n = N | nothing |
| Gather | N | all-gather of captions, then an all-reduce (log-sums) or reduce-scatter (gradients) of results |
| Ring | n (two blocks during a transfer) | W - 1 hops of captions while tiles are computed, W hops of results |

Every rank must hold the same number of pairs: `check_equal` refuses others, because collectives would wait forever.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, Protocol, TypeAlias

import torch
import torch.distributed as dist
from torch import Tensor

from aural.core.errors import DataError

ExchangeName: TypeAlias = Literal["none", "gather", "ring"]
Group: TypeAlias = "dist.ProcessGroup | None"
Merge: TypeAlias = Literal["sum", "log_sum"]
# body(tensors of the captions, index of the first one in the global batch, results for these captions, in place)
Body: TypeAlias = Callable[[tuple[Tensor, ...], int, Tensor], None]


class Exchange(Protocol):
    """A way to compare the clips of this rank with the captions of all ranks."""

    rank: int
    world: int

    def visit(self, columns: tuple[Tensor, ...], results: Tensor, merge: Merge, body: Body) -> Tensor:
        """Call `body` on blocks that cover all captions once.

        columns: tensors of this rank (n, ...), one row per caption.
        results: (n, ...), the neutral element of `merge`: 0 for a "sum", (-inf, 0) for a "log_sum", whose results are
            (n, 2) tops and sums (tile_math.py).

        Return the results for this rank's captions over the clips of all ranks.
        """
        ...

    def total(self, local: Tensor) -> Tensor:
        """Return the sum over ranks."""
        ...


class Alone:
    """A single process: no exchange."""

    rank = 0
    world = 1

    def visit(self, columns: tuple[Tensor, ...], results: Tensor, merge: Merge, body: Body) -> Tensor:
        body(columns, 0, results)
        return results

    def total(self, local: Tensor) -> Tensor:
        return local


class _Ranks:
    """Base of exchanges between the ranks of a process group."""

    def __init__(self, group: Group = None) -> None:
        self.group = group
        self.rank = dist.get_rank(group)
        self.world = dist.get_world_size(group)

    def total(self, local: Tensor) -> Tensor:
        total = local.clone()
        dist.all_reduce(total, group=self.group)
        return total


class Gather(_Ranks):
    """Gathers all captions at every rank: memory linear in the global batch."""

    def visit(self, columns: tuple[Tensor, ...], results: Tensor, merge: Merge, body: Body) -> Tensor:
        wide = results.repeat(self.world, *(1 for _ in results.shape[1:]))  # neutral elements for all N
        body(tuple(all_gather(x, self.group) for x in columns), 0, wide)
        if wide.numel() == 0:
            return results
        if merge == "sum":
            return reduce_scatter(wide, self.group)
        local_top, total = wide.unbind(1)
        top = local_top.clone()
        dist.all_reduce(top, dist.ReduceOp.MAX, group=self.group)
        total = total * (local_top - top).exp_()
        dist.all_reduce(total, group=self.group)
        return torch.stack([top, total], dim=1).chunk(self.world)[self.rank]


class Ring(_Ranks):
    """Passes captions and their results from rank to rank: memory linear in the local batch."""

    def visit(self, columns: tuple[Tensor, ...], results: Tensor, merge: Merge, body: Body) -> Tensor:
        per_rank = len(columns[0])
        for step in range(self.world):
            owner = (self.rank - step) % self.world
            pending = self._send_on(columns) if step < self.world - 1 else (columns, [])
            body(columns, owner * per_rank, results)
            columns = self._arrived(pending)
            (results,) = self._arrived(self._send_on((results,)))
        return results

    def _send_on(self, tensors: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], list[Any]]:
        """Start sending to the next rank and receiving from the previous one."""
        if self.world == 1 or tensors[0].numel() == 0:
            return tensors, []
        to, source = (self._global((self.rank + hop) % self.world) for hop in (1, -1))
        incoming = tuple(torch.empty_like(x) for x in tensors)
        sends = [dist.P2POp(dist.isend, x, to, self.group) for x in tensors]
        receives = [dist.P2POp(dist.irecv, x, source, self.group) for x in incoming]
        return incoming, dist.batch_isend_irecv(sends + receives)

    def _arrived(self, sent: tuple[tuple[Tensor, ...], list[Any]]) -> tuple[Tensor, ...]:
        incoming, works = sent
        for work in works:
            work.wait()
        return incoming

    def _global(self, rank: int) -> int:
        return rank if self.group is None else dist.get_global_rank(self.group, rank)


def check_equal(pairs: int, like: Tensor, group: Group = None) -> None:
    """Raise DataError on every rank if the ranks hold different numbers of pairs.

    One all-reduce of two numbers. like: a tensor on the device of the pairs.
    """
    ends = torch.tensor([pairs, -pairs], device=like.device)
    dist.all_reduce(ends, dist.ReduceOp.MAX, group=group)
    most, least = int(ends[0]), -int(ends[1])
    if most != least:
        raise DataError(
            f"rank {dist.get_rank(group)} has {pairs} pairs, but the ranks have {least} to {most}; a loss over ranks "
            "needs equal numbers: drop the incomplete last batch, or set exchange to none"
        )


def exchange_between(name: ExchangeName, group: Group = None) -> Exchange:
    """Return the exchange of that name, or Alone without a process group, so that recipes also run on one device."""
    if name == "none" or not (dist.is_available() and dist.is_initialized()):
        return Alone()
    return Gather(group) if name == "gather" else Ring(group)


def all_gather(local: Tensor, group: Group = None) -> Tensor:
    """Return (W * n, ...) from the (n, ...) of every rank, in the order of ranks, without gradient."""
    world = dist.get_world_size(group)
    out = local.new_empty((world * len(local), *local.shape[1:]))
    dist.all_gather_into_tensor(out, local.contiguous(), group=group)
    return out


def reduce_scatter(wide: Tensor, group: Group = None) -> Tensor:
    """Return the part (n, ...) of this rank of the sum over ranks of (W * n, ...)."""
    out = wide.new_empty((len(wide) // dist.get_world_size(group), *wide.shape[1:]))
    dist.reduce_scatter_tensor(out, wide.contiguous(), group=group)
    return out


class _GatherWithGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, local: Tensor, group: Group) -> Tensor:
        ctx.group = group
        return all_gather(local, group)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return reduce_scatter(grad, ctx.group), None


def gather_with_gradient(local: Tensor, group: Group = None, *, check_ranks: bool = True) -> Tensor:
    """Return (W * n, ...) from the (n, ...) of every rank; backward sums the gradients of the losses of all ranks.

    check_ranks: raise DataError on every rank if n differs between ranks, instead of waiting forever.

    With it, any objective of this package can use the global batch. If each rank computes the same global loss and the
    trainer averages gradients over ranks, as DDP does, the parameters receive the gradient of that loss.
    """
    if check_ranks:
        check_equal(len(local), local, group)
    return torch.as_tensor(_GatherWithGradient.apply(local, group))
