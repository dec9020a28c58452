"""Read the samples of webdataset tars by number.

A scan of the tar headers gives the offsets of the samples. Shards in an object store are copied to a local file, one
copy per reader.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections import OrderedDict
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import AudioError, DataError
from aural.data import remote
from aural.data.manifest import Row
from aural.data.order import epoch_generator, epoch_order
from aural.data.tar import Entry, scan
from aural.models.clap import AudioConfig
from aural.train.config import DataConfig, SourceConfig
from aural.train.kept import KEPT, StoredMel, version_of
from aural.train.sources import Draw, Item, answer, captions_of, check_columns, listed, salt, window

EMPTY_ROW: dict[str, Any] = asdict(Row(path="", source="", split=""))


class ShardSource:
    """The samples of webdataset tars. If a sample has a KEY.mel (see mels.py), it is used instead of the sound."""

    def __init__(self, config: SourceConfig, data: DataConfig, audio: AudioConfig, seed: int) -> None:
        self.name = config.shards[0]
        self.data, self.audio, self.seed = data, audio, seed
        self.shards = remote.expand(config.shards)
        self.faults: list[str] = []
        self.entries: list[list[Entry]] = []
        for shard in self.shards:
            with remote.local_copy(shard) as path, path.open("rb") as stream:
                entries, faults = scan(stream)
            self.entries.append(entries)
            self.faults += [f"{shard}: {fault}" for fault in faults]
        self.sizes = [len(entries) for entries in self.entries]
        self.versions = [None if remote.is_remote(s) else version_of(remote.local_path(s)) for s in self.shards]
        if not sum(self.sizes):
            first_fault = f"; {self.faults[0]}" if self.faults else ""
            raise DataError(f"{self.name}: the shards contain no samples{first_fault}")
        check_columns(data)
        self._orders: OrderedDict[int, NDArray[np.int32]] = OrderedDict()
        self._open: OrderedDict[int, tuple[contextlib.ExitStack, BinaryIO]] = OrderedDict()
        self._opener = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": OrderedDict()}  # open files cannot be pickled for spawned workers

    def __len__(self) -> int:
        return sum(self.sizes)

    def item(self, number: int, random: Draw) -> Item:
        epoch, place = divmod(number, len(self))
        shard, at = (int(x) for x in self._order(epoch)[place])
        entry = self.entries[shard][at]
        key, name = f"{self.shards[shard]}/{entry.key}", f"{Path(self.shards[shard]).name}/{entry.key}"
        try:
            if "mel" in entry.members:
                sample = self._mel(shard, entry)
                row, negatives = sample.row, list(sample.row.get("negatives") or ())
                kinds = list(row.get("negative_kinds") or [""] * len(negatives))
                captions = captions_of(row, self.data)
                return Item(key, row, None, sample.mel, captions, negatives, kinds, name)
            stream = self._stream(shard)
            row = _row(entry, stream)
            captions = captions_of(row, self.data)
            sound = entry.sound(stream, row)
            wave = window(io.BytesIO(sound), {**row, "start_s": 0.0}, self.audio, self.data.crop, random())
            return Item(key, row, wave, captions=captions, place=name)
        except (DataError, AudioError, ValueError, EOFError) as error:
            raise DataError(f"{key}: {error}") from None

    def _mel(self, shard: int, entry: Entry) -> StoredMel:
        """Read a sample with a stored log-mel, or return the one in memory. Copies of remote shards are not kept."""

        def read_stored() -> StoredMel:
            stream = self._stream(shard)
            row = _row(entry, stream)
            return StoredMel(row, np.load(io.BytesIO(entry.read(stream, "mel")), allow_pickle=False))

        version = self.versions[shard]
        return read_stored() if version is None else KEPT.get((version, entry.offset), read_stored)

    def values(self, column: str) -> set[str]:
        """Return all values of a column. Reads the JSON of every sample."""
        return {
            value
            for shard, entries in enumerate(self.entries)
            for entry in entries
            for value in listed(answer(_row(entry, self._stream(shard)), column))
        }

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


def _row(entry: Entry, stream: BinaryIO) -> dict[str, Any]:
    """Return every column of a sample; KEY.json omits empty ones."""
    return {**EMPTY_ROW, **entry.describe(stream)}
