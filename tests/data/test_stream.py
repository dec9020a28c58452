"""The stream: exact positions, order by (seed, epoch), shares of ranks and workers, damage skipped and named."""

from __future__ import annotations

import io
import itertools
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clips import manifest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from aural.core.errors import ConfigError, DataError
from aural.data.shards import ShardConfig, write_shards
from aural.data.stream import Sample, ShardStream, StreamConfig

COUNT, SIZE = 23, 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """23 clips in 6 shards of 4."""
    root = tmp_path_factory.mktemp("shards")
    write_shards(manifest(root, COUNT), str(root / "out"), ShardConfig(size=SIZE))
    return root / "out"


def stream(folder: Path | str, **values: Any) -> ShardStream:
    values.setdefault("decode", False)
    return ShardStream(StreamConfig(shards=(str(folder),), **values))


def keys(samples: Any) -> list[str]:
    return [sample.key for sample in samples]


def test_every_sample_once_with_its_row_and_sound(folder: Path) -> None:
    samples: list[Sample] = list(stream(folder, shuffle=False, decode=True))
    assert keys(samples) == [f"{n:08d}" for n in range(COUNT)]
    assert samples[5].captions == ["noise 5", "Rauschen Nº 5"]
    assert samples[5].clip is not None
    assert samples[5].clip.samples.shape == (2, 65)
    assert (samples[5].suffix, samples[5].meta["source"]) == ("flac", "toy")


def test_order_depends_on_seed_and_epoch_only(folder: Path, tmp_path: Path) -> None:
    one = stream(folder, seed=1)
    first, second = keys(one), keys(one)
    assert sorted(first) == sorted(second) == [f"{n:08d}" for n in range(COUNT)]
    assert first != second
    assert first != sorted(first)
    again = stream(shutil.copytree(folder, tmp_path / "moved"), seed=1)
    assert keys(again) == first  # another folder, the same order
    again.set_epoch(1)
    assert keys(again) == second
    assert keys(stream(folder, seed=2)) != first
    mixed = [int(key) // SIZE for key in keys(stream(folder, mix=6, seed=3))]
    assert len(list(itertools.groupby(mixed))) > 6  # shards are mixed, not read one after another


@pytest.mark.parametrize("mix", [1, 2, 6])
@pytest.mark.parametrize("split", ["samples", "shards"])
def test_resume_at_every_position(folder: Path, mix: int, split: str) -> None:
    share = {"mix": mix, "split": split, "rank": 1, "world": 2, "workers": 1}
    whole = [*keys(it := stream(folder, **share)), *keys(it)]  # two epochs
    epoch = len(keys(stream(folder, **share)))
    for stop in range(len(whole) + 1):
        before = stream(folder, **share)
        endless = itertools.chain.from_iterable(iter(lambda s=before: iter(s), None))
        taken = keys(itertools.islice(endless, stop))
        state = json.loads(json.dumps(before.state_dict()))
        after = stream(folder, **share)
        after.load_state_dict(state)
        left = keys(after)
        if stop < epoch:
            assert taken + left + keys(after) == whole
        else:
            assert (taken + left)[: len(whole)] == whole[: len(taken + left)]


def test_each_sample_carries_the_position_after_it(folder: Path) -> None:
    samples = list(stream(folder, seed=4, mix=2))
    for number, sample in enumerate(samples):
        after = stream(folder, seed=4, mix=2)
        after.load_state_dict(sample.state)
        assert keys(after) == keys(samples[number + 1 :])


@pytest.mark.parametrize(("world", "workers"), [(1, 2), (2, 1), (2, 2), (1, 5), (3, 3), (1, 30)])
def test_shares_make_the_whole(folder: Path, world: int, workers: int) -> None:
    """Taking one sample of each share in turn is the order of a single reader, for any number of them."""
    single = keys(stream(folder, seed=9, mix=2))
    shares = [
        keys(stream(folder, seed=9, mix=2, rank=rank, world=world, worker=worker, workers=workers))
        for rank in range(world)
        for worker in range(workers)
    ]
    turns = itertools.chain.from_iterable(itertools.zip_longest(*shares))
    assert [key for key in turns if key is not None] == single
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@pytest.mark.parametrize("workers", [2, 4, 9])
def test_shares_of_shards_make_the_whole(folder: Path, workers: int) -> None:
    shares = [list(stream(folder, split="shards", worker=n, workers=workers)) for n in range(workers)]
    assert sorted(keys(itertools.chain(*shares))) == sorted(keys(stream(folder)))
    touched = [{sample.shard for sample in share} for share in shares]
    assert all(a.isdisjoint(b) for a, b in itertools.combinations(touched, 2))


def test_other_positions_are_refused(folder: Path, tmp_path: Path) -> None:
    state = stream(folder, seed=1).state_dict()
    for other in (stream(folder, seed=2), stream(folder, seed=1, workers=2), stream(folder, seed=1, mix=3)):
        with pytest.raises(DataError, match="saved by a stream with other shards, seed, mix, ranks"):
            other.load_state_dict(state)
    shutil.copytree(folder, tmp_path / "fewer")
    (tmp_path / "fewer" / "shard-000003.tar").unlink()
    with pytest.raises(DataError, match="other shards"):
        stream(tmp_path / "fewer", seed=1).load_state_dict(state)
    with pytest.raises(ConfigError, match="count from 0"):
        stream(folder, rank=1)
    with pytest.raises(DataError, match="no shards"):
        stream(tmp_path / "none")


def member(path: Path, name: str) -> tarfile.TarInfo:
    with tarfile.open(path) as tar:
        return tar.getmember(name)


def damage(path: Path, at: int, content: bytes) -> None:
    with path.open("r+b") as out:
        out.seek(at)
        out.write(content)


def test_damaged_members_are_skipped_counted_and_named(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "out")
    first, second = tmp_path / "out" / "shard-000000.tar", tmp_path / "out" / "shard-000001.tar"
    damage(first, member(first, "00000001.flac").offset_data + 90, b"\xff\x00\xaa")  # one sound
    damage(second, member(second, "00000005.json").offset_data, b"\xff\xff\xff")  # one description
    damage(second, member(second, "00000006.flac").offset, b"\x01" * 512)  # one header
    for decode in (True, False):
        it = stream(tmp_path / "out", shuffle=False, decode=decode)
        assert keys(it) == [f"{n:08d}" for n in range(COUNT) if n not in (1, 5, 6)]
        named = " | ".join(it.skipped)
        assert "shard-000000.tar/00000001: the sound is damaged" in named
        assert "shard-000001.tar/00000005: its json cannot be read" in named
        assert "shard-000001.tar/00000006: has no sound" in named
        assert "shard-000001.tar: bytes" in named  # and the header itself
        assert it.skip_count == 4


@given(cut=st.integers(0, 60_000))
@example(cut=0)
@example(cut=2048)
@settings(max_examples=30, deadline=None)
def test_a_cut_tar_gives_what_is_whole(cut: int, folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    out = tmp_path_factory.mktemp("cut")
    shutil.copy(folder / "shard-000000.tar", out / "a.tar")
    shutil.copy(folder / "shard-000001.tar", out / "b.tar")
    size = (out / "a.tar").stat().st_size
    with (out / "a.tar").open("r+b") as tar:
        tar.truncate(cut % size)
    whole = [
        f"0000000{n}"
        for n in range(4)
        if (m := member(folder / "shard-000000.tar", f"0000000{n}.flac")).offset_data + m.size <= cut % size
    ]
    it = stream(out, shuffle=False)
    assert keys(it) == [*whole, "00000004", "00000005", "00000006", "00000007"]
    if len(whole) < 4:
        assert it.skip_count >= 1
        assert all("a.tar" in name for name in it.skipped)


@given(spots=st.lists(st.tuples(st.integers(0, 1 << 20), st.binary(min_size=1, max_size=40)), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_no_damage_raises_or_passes_wrong_sound(
    spots: list[tuple[int, bytes]], folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever bytes are written where: the stream ends well, and what it gives as sound is what was written."""
    out = tmp_path_factory.mktemp("damage")
    path = Path(shutil.copy(folder / "shard-000002.tar", out))
    clean = {sample.key: sample.audio for sample in stream(folder / "shard-000002.tar")}
    for at, content in spots:
        damage(path, at % path.stat().st_size, content)
    for sample in stream(out, decode=True):
        if "crc32" in sample.meta:
            assert sample.audio in clean.values()


def test_resume_with_damage(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "out")
    path = tmp_path / "out" / "shard-000002.tar"
    damage(path, member(path, "00000009.flac").offset_data + 90, b"\xff\x00\xaa")
    whole = list(stream(tmp_path / "out", mix=2))
    assert len(whole) == COUNT - 1
    for number, sample in enumerate(whole):
        after = stream(tmp_path / "out", mix=2)
        after.load_state_dict(sample.state)
        assert keys(after) == keys(whole[number + 1 :])


def test_object_stores_give_the_same_stream(folder: Path, tmp_path: Path) -> None:
    import fsspec

    store = fsspec.filesystem("memory")
    for path in folder.glob("*.tar"):
        store.pipe_file(f"/stream-test/{path.name}", path.read_bytes())
    here = list(stream(folder, seed=2, mix=3))
    for there in ("memory://stream-test", "memory://stream-test/shard-*.tar", f"file://{folder}", f"{folder}/*.tar"):
        found = list(stream(there, seed=2, mix=3))
        assert [(s.key, s.audio, s.meta) for s in found] == [(s.key, s.audio, s.meta) for s in here]
        half = stream(there, seed=2, mix=3)
        half.load_state_dict(found[11].state)
        assert keys(half) == keys(here[12:])
    moved = stream("memory://stream-test", seed=2, mix=3)
    moved.load_state_dict(here[4].state)  # a position moves with the shards from disk to a store
    assert keys(moved) == keys(here[5:])
    with pytest.raises(DataError, match="no shards"):
        stream("memory://nothing-there")


def test_foreign_webdataset_shards(tmp_path: Path) -> None:
    """Shards that others wrote: folders in keys, .txt captions, several dots."""
    webdataset = pytest.importorskip("webdataset")
    import io

    import soundfile

    sound = io.BytesIO()
    soundfile.write(sound, np.zeros((100, 1)), 16_000, format="FLAC")
    with webdataset.TarWriter(str(tmp_path / "a.tar")) as writer:
        writer.write({"__key__": "dogs/1", "flac": sound.getvalue(), "txt": "a dog barks"})
        writer.write({"__key__": "dogs/2", "mic.flac": sound.getvalue(), "json": {"captions": ["a dog howls"]}})
    samples = list(stream(tmp_path, shuffle=False, decode=True))
    assert [(s.key, s.suffix, s.captions) for s in samples] == [
        ("dogs/1", "flac", ["a dog barks"]),
        ("dogs/2", "mic.flac", ["a dog howls"]),
    ]


def test_a_torch_loader_resumes_where_it_was(folder: Path) -> None:
    """Two worker processes that run ahead: the state of the last sample used of each worker is the position."""
    torch = pytest.importorskip("torch")

    class Shards(torch.utils.data.IterableDataset):  # type: ignore[misc, name-defined]
        def __init__(self, states: dict[int, dict[str, Any]]) -> None:
            self.states = states

        def __iter__(self) -> Any:
            me = torch.utils.data.get_worker_info()
            mine = stream(folder, seed=6, mix=2, worker=me.id, workers=me.num_workers)
            if me.id in self.states:
                mine.load_state_dict(self.states[me.id])
            yield from ((me.id, sample) for sample in mine)

    def run(states: dict[int, dict[str, Any]]) -> Any:
        return torch.utils.data.DataLoader(Shards(states), batch_size=None, num_workers=2, prefetch_factor=4)

    whole = keys(sample for _, sample in run({}))
    assert whole == keys(stream(folder, seed=6, mix=2))
    used: dict[int, dict[str, Any]] = {}
    head = []
    for worker, sample in itertools.islice(run({}), 10):
        used[worker] = sample.state
        head.append(sample.key)
    assert head + keys(sample for _, sample in run(used)) == whole


def test_shards_of_former_versions_still_open(folder: Path, tmp_path: Path) -> None:
    """Shards written before the spelling changed say "licence" in their JSON."""
    old = tmp_path / "old"
    old.mkdir()
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as new, tarfile.open(old / path.name, "w") as tar:
            for member in new:
                stream_of_member = new.extractfile(member)
                assert stream_of_member is not None
                content = stream_of_member.read()
                if member.name.endswith(".json"):
                    meta = json.loads(content)
                    meta["licence"] = meta.pop("license", "CC0-1.0")
                    content = json.dumps(meta).encode()
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    samples = list(stream(old, shuffle=False))
    assert len(samples) == COUNT
    assert all("licence" not in sample.meta for sample in samples)
    assert all(sample.meta["license"] for sample in samples)
