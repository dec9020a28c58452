"""Streams and training visit the samples of shards in the same order: a rule that is checked by hand."""

from __future__ import annotations

import tarfile
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from aural.core.seeds import generator
from aural.data.order import epoch_generator, epoch_order, shuffled_groups, shuffled_samples
from aural.data.stream import ShardStream, StreamConfig

SIZES = (5, 1, 0, 7, 3)


def test_the_rule_by_hand() -> None:
    """Shuffle the shards, then the samples of each group, with the draws of one generator."""
    random = generator(3, 0, 2)
    shards = random.permutation(5)
    first = [(shard, place) for shard in shards[:3] for place in range(SIZES[shard])]
    second = [(shard, place) for shard in shards[3:] for place in range(SIZES[shard])]
    expected = [*random.permutation(np.array(first, np.int32)), *random.permutation(np.array(second, np.int32))]
    assert np.array_equal(epoch_order(SIZES, 3, epoch_generator(3, 2)), expected)


@pytest.mark.parametrize("mix", [1, 2, 9])
def test_every_sample_occurs_once_and_groups_stay_together(mix: int) -> None:
    order = epoch_order(SIZES, mix, epoch_generator(0, 0))
    assert sorted(map(tuple, order.tolist())) == [(s, p) for s, size in enumerate(SIZES) for p in range(size)]
    assert not np.array_equal(order, epoch_order(SIZES, mix, epoch_generator(0, 1)))
    assert not np.array_equal(order, epoch_order(SIZES, mix, epoch_generator(0, 0, 7)))
    groups = shuffled_groups(range(len(SIZES)), mix, epoch_generator(0, 0))
    lengths = [sum(SIZES[shard] for shard in group) for group in groups]
    for group, part in zip(groups, np.split(order, np.cumsum(lengths)[:-1]), strict=True):
        assert set(part[:, 0].tolist()) <= set(group)


def test_without_a_generator_the_order_is_kept() -> None:
    assert shuffled_groups(range(5), 2, None) == [[0, 1], [2, 3], [4]]
    assert shuffled_samples([3, 0], (2, 9, 9, 1).__getitem__, None).tolist() == [[3, 0], [0, 0], [0, 1]]


def test_a_stream_follows_the_rule(tmp_path: Path) -> None:
    for shard, size in enumerate(SIZES):
        with tarfile.open(tmp_path / f"{shard}.tar", "w") as tar:
            for place in range(size):
                for suffix, content in (("json", b'{"captions": ["a"]}'), ("flac", b"no sound")):
                    entry = tarfile.TarInfo(f"{shard}-{place}.{suffix}")
                    entry.size = len(content)
                    tar.addfile(entry, BytesIO(content))
    stream = ShardStream(StreamConfig(shards=(str(tmp_path),), seed=4, mix=2, decode=False))
    for epoch in (0, 1):
        expected = [f"{shard}-{place}" for shard, place in epoch_order(SIZES, 2, epoch_generator(4, epoch))]
        assert [sample.key for sample in stream] == expected
