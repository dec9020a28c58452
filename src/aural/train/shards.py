"""Read the samples of webdataset tars by number.

A scan of the tar headers gives the offsets of the samples. Shards in an object store are copied to a local file, one
copy per reader.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import AudioError, DataError
from aural.data import remote
from aural.data.manifest import Row
from aural.data.order import epoch_generator, epoch_order
from aural.data.tar import Entry
from aural.data.tar_index import Index, index
from aural.models.clap import AudioConfig
from aural.train.config import DataConfig, SourceConfig
from aural.train.kept import KEPT, StoredMel, version_of
from aural.train.mels import NPY_HEADER, frames_of
from aural.train.sources import Draw, Item, answer, by_epoch, captions_of, check_columns, listed, salt, window

SIDE_BY_SIDE: Final = 16
"""Shards from which on several processes index them."""
EMPTY_ROW: dict[str, Any] = asdict(Row(path="", source="", split=""))


class ShardSource:
    """The samples of webdataset tars. If a sample has a KEY.mel (see mels.py), it is used instead of the sound."""

    def __init__(self, config: SourceConfig, data: DataConfig, audio: AudioConfig, seed: int) -> None:
        self.name = config.shards[0]
        self.data, self.audio, self.seed = data, audio, seed
        self.shards = remote.expand(config.shards)
        self.files = [Path(shard).name for shard in self.shards]
        self.faults: list[str] = []
        self.indexes: list[Index] = []
        for shard, (places, faults) in zip(self.shards, indexed(self.shards, data.workers), strict=True):
            self.indexes.append(places)
            self.faults += [f"{shard}: {fault}" for fault in faults]
        self.sizes = [len(places) for places in self.indexes]
        self.versions = [None if remote.is_remote(s) else version_of(remote.local_path(s)) for s in self.shards]
        if not sum(self.sizes):
            first_fault = f"; {self.faults[0]}" if self.faults else ""
            raise DataError(f"{self.name}: the shards contain no samples{first_fault}")
        check_columns(data)
        self._orders: OrderedDict[int, NDArray[np.int32]] = OrderedDict()
        self._seconds: NDArray[np.float64] | None = None
        self._open: OrderedDict[int, tuple[contextlib.ExitStack, BinaryIO]] = OrderedDict()
        self._opener = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": OrderedDict()}  # open files cannot be pickled for spawned workers

    def __len__(self) -> int:
        return sum(self.sizes)

    def prepare(self, number: int) -> None:
        self._order(number // len(self))

    def item(self, number: int, random: Draw) -> Item:
        epoch, place = divmod(number, len(self))
        shard, at = (int(x) for x in self._order(epoch)[place])
        key = ""
        try:
            if self.indexes[shard].sizes[at]:
                sample = self._mel(shard, at)
                row, negatives = sample.row, list(sample.row.get("negatives") or ())
                kinds = list(row.get("negative_kinds") or [""] * len(negatives))
                captions = captions_of(row, self.data)
                key, name = self._names(shard, sample.key)
                return Item(key, row, None, sample.mel, captions, negatives, kinds, name)
            entry, stream = self._entry(shard, at)
            key, name = self._names(shard, entry.key)
            row = _row(entry, stream)
            captions = captions_of(row, self.data)
            sound = entry.sound(stream, row)
            wave = window(io.BytesIO(sound), {**row, "start_s": 0.0}, self.audio, self.data, random())
            return Item(key, row, wave, captions=captions, place=name)
        except (DataError, AudioError, ValueError, EOFError) as error:
            raise DataError(f"{key or self.shards[shard]}: {error}") from None

    def _names(self, shard: int, key: str) -> tuple[str, str]:
        """Return the key and the place of a sample."""
        return f"{self.shards[shard]}/{key}", f"{self.files[shard]}/{key}"

    def _entry(self, shard: int, at: int) -> tuple[Entry, BinaryIO]:
        return self.indexes[shard].entry(self._stream(shard), at)

    def _mel(self, shard: int, at: int) -> StoredMel:
        """Read a sample with a stored log-mel, or return the one in memory. Copies of remote shards are not kept."""

        def read_stored() -> StoredMel:
            entry, stream = self._entry(shard, at)
            try:
                return StoredMel(entry.key, _row(entry, stream), load_mel(entry.read(stream, "mel")))
            except (DataError, ValueError, EOFError) as error:
                raise DataError(f"{entry.key}: {error}") from None

        version = self.versions[shard]
        return read_stored() if version is None else KEPT.get((version, at), read_stored)

    def _rows(self) -> Iterator[dict[str, Any]]:
        """Yield the row of every sample, which reads all their JSON."""
        for shard, size in enumerate(self.sizes):
            for at in range(size):
                yield _row(*self._entry(shard, at))

    def values(self, column: str) -> set[str]:
        """Return all values of a column. Reads the JSON of every sample."""
        return {value for row in self._rows() for value in listed(answer(row, column))}

    def seconds(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the lengths of items, from the sizes of stored log-mels or else from duration_s of every sample."""
        if self._seconds is None:
            self._seconds = self._measured()
        return self._seconds[self.places(numbers)]

    def places(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        firsts = np.concatenate([[0], np.cumsum(self.sizes)])

        def look(epoch: int, at: NDArray[np.int64]) -> NDArray[np.int64]:
            rows = self._order(epoch)[at]
            return np.asarray(firsts[rows[:, 0]] + rows[:, 1], np.int64)

        return by_epoch(numbers, len(self), look)

    def _measured(self) -> NDArray[np.float64]:
        """Return the length of every sample in the order of the shards."""
        sizes = np.concatenate([places.sizes for places in self.indexes])
        if sizes.all():
            mel = self.audio.mel
            return frames_of(sizes, mel.n_mels).astype(np.float64) * (mel.hop / mel.sample_rate_hz)
        seconds = np.array([float(row["duration_s"] or 0.0) for row in self._rows()], np.float64)
        if not (seconds > 0).all():
            raise DataError(
                f'{self.name}: a sample has no duration_s, which data.batching "lengths" needs; write the shards again'
            )
        return seconds

    def _order(self, epoch: int) -> NDArray[np.int32]:
        """Return the order of an epoch as (samples, 2): the shard and the index within the shard (`data.order`)."""
        if epoch not in self._orders:
            random = epoch_generator(self.seed, epoch, salt(self.name))
            self._orders[epoch] = epoch_order(self.sizes, self.data.shard_mix, random)
            while len(self._orders) > 2:
                self._orders.popitem(last=False)
        return self._orders[epoch]

    def _stream(self, shard: int) -> BinaryIO:
        if self._opener != os.getpid():  # forked: open files share their position with the parent process
            self._open, self._opener = OrderedDict(), os.getpid()
        if shard not in self._open:
            stack = contextlib.ExitStack()
            path = stack.enter_context(remote.local_copy(self.shards[shard]))
            self._open[shard] = stack, stack.enter_context(path.open("rb"))
            while len(self._open) > 2 * self.data.shard_mix:
                self._open.popitem(last=False)[1][0].close()
        self._open.move_to_end(shard)
        return self._open[shard][1]


def indexed(shards: Sequence[str], workers: int) -> Iterator[tuple[Index, list[str]]]:
    """Yield the index of each shard; many shards are indexed by several processes."""
    if len(shards) < SIDE_BY_SIDE or workers < 2:
        yield from map(index_shard, shards)
        return
    with ProcessPoolExecutor(workers) as processes:
        yield from processes.map(index_shard, shards, chunksize=4)


def index_shard(shard: str) -> tuple[Index, list[str]]:
    """Return the index of a shard, with the sizes of its log-mels, and its faults."""
    with remote.local_copy(shard) as path, path.open("rb") as stream:
        return index(stream, "mel")


def load_mel(content: bytes) -> NDArray[np.int16]:
    """Return the log-mel (N, F) of a KEY.mel file, a .npy array."""
    header = parsed(content[:NPY_HEADER])
    if header is None:
        mel: NDArray[np.int16] = np.load(io.BytesIO(content), allow_pickle=False)
        return mel
    return np.frombuffer(content, np.int16, offset=NPY_HEADER).reshape(header)


@lru_cache(maxsize=4096)
def parsed(header: bytes) -> tuple[int, ...] | None:
    """Return the shape in the header of a .npy array as `add_mel` writes it, or None; parsing takes a while."""
    stream = io.BytesIO(header)
    try:
        version = np.lib.format.read_magic(stream)
        shape, fortran, kind = np.lib.format.read_array_header_1_0(stream)
    except ValueError:
        return None
    plain = version == (1, 0) and not fortran and kind == np.int16 and stream.tell() == NPY_HEADER
    return tuple(shape) if plain else None


def _row(entry: Entry, stream: BinaryIO) -> dict[str, Any]:
    """Return every column of a sample; KEY.json omits empty ones."""
    return {**EMPTY_ROW, **entry.describe(stream)}
