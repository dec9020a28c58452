"""Samples of shards in memory: equal to what is read, within the limit, and read again when a file changes."""

from __future__ import annotations

import io
import tarfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from aural.train import shards
from aural.train.config import DataConfig, SourceConfig
from aural.train.kept import ROW_BYTES, Kept, StoredMel
from aural.train.mels import add_mel, fit_mel
from aural.train.recipes import load_recipe
from aural.train.selected import plan_of
from aural.train.shards import ShardSource


def write_shard(file: Path, first: int) -> None:
    with tarfile.open(file, "w", format=tarfile.USTAR_FORMAT) as tar:
        for i in range(3):
            mel = np.full((4, 48), first + i, np.int16)
            add_mel(tar, f"{i:03d}", mel, {"captions": [f"sound {first + i}", "a sound"], "name": str(i)})


def open_shards(folder: Path) -> ShardSource:
    audio = plan_of(load_recipe("small_pair", [])).audio
    assert audio is not None
    config = SourceConfig(shards=(str(folder),))
    return ShardSource(config, DataConfig(sources=(config,)), audio, seed=0)


def test_later_epochs_and_later_sources_read_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "KEPT", Kept())
    write_shard(tmp_path / "0.tar", 0)
    draw = partial(np.random.default_rng, 0)
    first = {item.key: item for item in (open_shards(tmp_path).item(n, draw) for n in range(3))}
    later = open_shards(tmp_path)
    monkeypatch.setattr(later, "_stream", lambda shard: pytest.fail("the file was read again"))
    again = {item.key: item for item in (later.item(n, draw) for n in range(3, 6))}
    assert first.keys() == again.keys()
    for key, item in first.items():
        assert np.array_equal(item.mel, again[key].mel)
        assert (item.captions, item.facts) == (again[key].captions, again[key].facts)
        assert item.place == key.rpartition(str(tmp_path))[2].lstrip("/")


def test_a_file_that_changed_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shards, "KEPT", Kept())
    write_shard(tmp_path / "0.tar", 0)
    draw = partial(np.random.default_rng, 0)
    assert {open_shards(tmp_path).item(n, draw).captions[0] for n in range(3)} == {"sound 0", "sound 1", "sound 2"}
    write_shard(tmp_path / "0.tar", 5)
    assert {open_shards(tmp_path).item(n, draw).captions[0] for n in range(3)} == {"sound 5", "sound 6", "sound 7"}


def test_what_exceeds_the_limit_is_read_each_time() -> None:
    kept, reads = Kept(limit_bytes=ROW_BYTES + 100), []

    def read(key: int) -> StoredMel:
        reads.append(key)
        return StoredMel(str(key), {}, np.zeros((1, 30), np.int16))

    for key in (0, 1, 0, 1):
        kept.get((key,), partial(read, key))
    assert reads == [0, 1, 1]
    assert kept.size_bytes == ROW_BYTES + 60
    assert not kept.samples[(0,)].mel.flags.writeable


def test_many_shards_are_indexed_by_several_processes(tmp_path: Path) -> None:
    for i in range(shards.SIDE_BY_SIDE):
        write_shard(tmp_path / f"{i:02d}.tar", i)
    names = [str(path) for path in sorted(tmp_path.iterdir())]
    one, two = (list(shards.indexed(names, workers)) for workers in (1, 2))
    assert len(one) == shards.SIDE_BY_SIDE
    for (a, faults), (b, same_faults) in zip(one, two, strict=True):
        assert faults == same_faults == []
        assert all(np.array_equal(x, y) for x, y in zip(vars(a).values(), vars(b).values(), strict=True))


@pytest.mark.parametrize("array", [np.arange(12, dtype=np.int16).reshape(4, 3), np.ones((2, 2), np.int16, order="F")])
def test_a_log_mel_is_read_as_numpy_reads_it(array: np.ndarray) -> None:
    for values in (array, array.astype(np.float32), array[::2]):
        stream = io.BytesIO()
        np.save(stream, values)
        read = shards.load_mel(stream.getvalue())
        assert read.dtype == values.dtype
        assert np.array_equal(read, values)


def test_a_short_log_mel_is_repeated() -> None:
    mel = np.arange(6, dtype=np.int16).reshape(3, 2)
    for frames in (4, 6, 7):
        expected = np.tile(mel, (3, 1))[:frames]
        assert np.array_equal(fit_mel(mel, frames, "random", lambda: np.random.default_rng(0)), expected)
