"""The order of samples in shards: one rule for streams (`data.stream`) and for training (`train.shards`).

The shards are shuffled. Then the samples of each group of `mix` consecutive shards are shuffled together, so a reader
keeps few files open. One generator makes all draws of an epoch, in this sequence; its key is (ORDER, epoch, salt ...).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from aural.core.seeds import ORDER, generator


def epoch_generator(seed: int, epoch: int, *salt: int) -> np.random.Generator:
    """Return the generator of an epoch's order. `salt` sets apart several sources of one run."""
    return generator(seed, ORDER, epoch, *salt)


def shuffled_groups(shards: Sequence[int], mix: int, random: np.random.Generator | None) -> list[list[int]]:
    """Return the numbers of shards in groups of `mix`; None as `random` keeps their order."""
    order = [int(shard) for shard in (shards if random is None else random.permutation(np.asarray(shards)))]
    return [order[at : at + mix] for at in range(0, len(order), mix)]


def shuffled_samples(
    group: Sequence[int], size_of: Callable[[int], int], random: np.random.Generator | None
) -> NDArray[np.int32]:
    """Return (shard, place within the shard) of each sample of a group, (samples, 2)."""
    sizes = [size_of(shard) for shard in group]
    pairs = np.empty((sum(sizes), 2), np.int32)
    pairs[:, 0] = np.repeat(np.asarray(group, np.int32), sizes)
    pairs[:, 1] = np.concatenate([np.arange(size, dtype=np.int32) for size in sizes]) if sizes else 0
    return pairs if random is None else random.permutation(pairs)


def epoch_order(sizes: Sequence[int], mix: int, random: np.random.Generator) -> NDArray[np.int32]:
    """Return (shard, place within the shard) of each sample of an epoch, (samples, 2)."""
    groups = shuffled_groups(range(len(sizes)), mix, random)
    parts: Iterator[NDArray[np.int32]] = (shuffled_samples(group, sizes.__getitem__, random) for group in groups)
    return np.concatenate(list(parts))
