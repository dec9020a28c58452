"""Read clips by number from manifests, shards and worlds, in an order that is a function of seed and epoch.

A scan of the tar headers gives the offsets of the samples in shards. Shards are shuffled in groups of `shard_mix`, so a
reader keeps few files open. Shards in an object store are copied to a local file, one copy per reader.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from aural.audio.io import read
from aural.audio.length import fit_shorter
from aural.core.errors import AudioError, ConfigError, DataError, near_miss
from aural.core.types import FloatArray
from aural.data import remote
from aural.data.manifest import COLUMNS, Manifest, Row, read_manifest
from aural.data.tar import Entry, scan
from aural.data.worlds import ScenesConfig, ScenesWorld, World, WorldItem, open_world
from aural.models.clap import AudioConfig
from aural.train.config import DataConfig, SourceConfig
from aural.train.draw import ORDER, generator, permutation

CHECKED_FILES = 200_000
EMPTY_ROW: dict[str, Any] = asdict(Row(path="", source="", split=""))


@dataclass
class Item:
    """One clip: a window of samples (T,) or a stored 16-bit log-mel (N, F), its captions, and its truth record.

    `facts` is the source of labels, frame labels and targets. For a clip of a manifest or a shard it contains every
    manifest column. For a scene it is the truth record (`SceneTruth.to_facts`): events with onset, offset, level and
    count, the background, the room, and "classes" and "event_count" derived from them.
    `negative_kinds` is the kind of each false caption in `negatives`.
    """

    key: str
    facts: Mapping[str, Any]
    wave: FloatArray | None = None
    mel: NDArray[np.int16] | None = None
    captions: list[str] = field(default_factory=list)
    negatives: list[str] = field(default_factory=list)
    negative_kinds: list[str] = field(default_factory=list)


class Source(Protocol):
    """Clips by number. `number` counts through all epochs: epoch e starts at e * len(source)."""

    name: str

    def __len__(self) -> int: ...
    def item(self, number: int, random: np.random.Generator) -> Item: ...
    def values(self, column: str) -> set[str]:
        """Return all values of a column of the facts in this source; each element of a list is one value."""
        ...


def open_source(
    config: SourceConfig, data: DataConfig, audio: AudioConfig | None, seed: int, *, captioned: bool = True
) -> Source:
    """Open a source of a recipe, and check it as far as possible without reading every sound.

    audio: None if the system reads no sounds; then only the texts of a manifest or world are read.
    captioned: Whether every clip of a manifest needs a caption.

    Raises:
        ConfigError: the source does not suit the system.
        DataError: the source is missing, empty or incomplete.
    """
    if config.world:
        return WorldSource(f"world {config.world}", open_world(config.world, config.world_options), audio)
    if audio is None and not config.manifest:
        raise ConfigError("data.sources: a system without an audio tower reads texts from a manifest; name a manifest")
    if config.scenes:
        assert audio is not None
        return SceneSource(config, audio)
    if config.shards:
        assert audio is not None
        return ShardSource(config, data, audio, seed)
    return ManifestSource(config, data, audio, seed, captioned=captioned)


class ManifestSource:
    """The rows of one split of a manifest."""

    kinds: tuple[str, ...] = ()  # clips of a manifest have no false captions

    def __init__(
        self, config: SourceConfig, data: DataConfig, audio: AudioConfig | None, seed: int, *, captioned: bool = True
    ) -> None:
        self.name = config.manifest
        self.data, self.audio, self.seed = data, audio, seed
        self.manifest = read_manifest(config.manifest).filter(split=config.split)
        if not len(self.manifest):
            raise DataError(f'{self.name}: has no rows of split "{config.split}"; name another split')
        _check_columns(data)
        if audio is not None:
            _check_files(self.manifest, self.name)
        if captioned and not config.task:
            _check_captions(self.manifest, data, self.name)

    def __len__(self) -> int:
        return len(self.manifest)

    def values(self, column: str) -> set[str]:
        return {value for facts in self.manifest.table.to_pylist() for value in listed(answer(facts, column))}

    def row(self, place: int) -> dict[str, Any]:
        values: dict[str, Any] = self.manifest.table.slice(place, 1).to_pylist()[0]
        return values

    def item(self, number: int, random: np.random.Generator) -> Item:
        epoch, place = divmod(number, len(self))
        row = self.row(int(permutation(len(self), self.seed, ORDER, epoch, _salt(self.name))[place]))
        path = self.manifest.folder / row["path"]
        wave = None if self.audio is None else window(path, row, self.audio, self.data.crop, random)
        return Item(str(row["path"]), row, wave, captions=captions_of(row, self.data))


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
        if not sum(self.sizes):
            first_fault = f"; {self.faults[0]}" if self.faults else ""
            raise DataError(f"{self.name}: the shards contain no samples{first_fault}")
        _check_columns(data)
        self._orders: OrderedDict[int, NDArray[np.int32]] = OrderedDict()
        self._open: OrderedDict[int, tuple[contextlib.ExitStack, BinaryIO]] = OrderedDict()
        self._opener = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_open": OrderedDict()}  # open files cannot be pickled for spawned workers

    def __len__(self) -> int:
        return sum(self.sizes)

    def item(self, number: int, random: np.random.Generator) -> Item:
        epoch, place = divmod(number, len(self))
        shard, at = (int(x) for x in self._order(epoch)[place])
        entry, stream = self.entries[shard][at], self._stream(shard)
        try:
            row = {**EMPTY_ROW, **entry.describe(stream)}  # KEY.json omits empty columns
            key = f"{self.shards[shard]}/{entry.key}"
            captions = captions_of(row, self.data)
            if "mel" in entry.members:
                stored = np.load(io.BytesIO(entry.read(stream, "mel")), allow_pickle=False)
                negatives = list(row.get("negatives") or ())
                kinds = list(row.get("negative_kinds") or [""] * len(negatives))
                return Item(key, row, mel=stored, captions=captions, negatives=negatives, negative_kinds=kinds)
            sound = entry.sound(stream, row)
            wave = window(io.BytesIO(sound), {**row, "start_s": 0.0}, self.audio, self.data.crop, random)
            return Item(key, row, wave, captions=captions)
        except (DataError, AudioError, ValueError, EOFError) as error:
            raise DataError(f"{self.shards[shard]}/{entry.key}: {error}") from None

    def values(self, column: str) -> set[str]:
        """Return all values of a column. Reads the JSON of every sample."""
        return {
            value
            for shard, entries in enumerate(self.entries)
            for entry in entries
            for value in listed(answer({**EMPTY_ROW, **entry.describe(self._stream(shard))}, column))
        }

    def _order(self, epoch: int) -> NDArray[np.int32]:
        """Return the order of an epoch as (samples, 2): the shard and the index within the shard.

        Shards are shuffled, and the samples of each group of `shard_mix` shards are shuffled together.
        """
        if epoch not in self._orders:
            random = generator(self.seed, ORDER, epoch, _salt(self.name))
            shards = random.permutation(len(self.shards))
            parts = []
            for at in range(0, len(shards), self.data.shard_mix):
                group = shards[at : at + self.data.shard_mix]
                pairs = [(shard, place) for shard in group for place in range(self.sizes[shard])]
                parts.append(random.permutation(np.asarray(pairs, np.int32).reshape(-1, 2)))
            self._orders[epoch] = np.concatenate(parts)
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


class WorldSource:
    """The items of a world (`aural.data.worlds`). An item is a function of the world's options and its number."""

    def __init__(self, name: str, world: World, audio: AudioConfig | None) -> None:
        self.name, self.world, self.audio = name, world, audio
        self.labels, self.kinds = world.labels, world.kinds

    def __len__(self) -> int:
        return len(self.world)

    def values(self, column: str) -> set[str]:
        """Return the classes that can occur in items. Other columns of a world have no fixed set of values."""
        if column == "classes":
            return set(self.labels)
        raise ConfigError(f'{self.name}: scenes have no list of values for "{column}"; use the column "classes"')

    def item(self, number: int, random: np.random.Generator) -> Item:
        item = self.world.item(number)
        return Item(
            item.key,
            item.facts,
            self._window(item),
            captions=list(item.captions),
            negatives=list(item.negatives),
            negative_kinds=list(item.negative_kinds),
        )

    def _window(self, item: WorldItem) -> FloatArray | None:
        """Return the first window of the item's wave, repeated or padded if it is shorter."""
        if item.wave is None or self.audio is None:
            return None
        rate = self.audio.sample_rate_hz
        if item.sample_rate_hz != rate:
            raise ConfigError(
                f"{self.name}: its sounds have {item.sample_rate_hz} Hz but the model needs {rate} Hz; set the rate in "
                "the options of the world"
            )
        length = round(self.audio.window_s * rate)
        wave = item.wave[:length]
        return fit_shorter(wave, length, self.audio.shorter) if len(wave) < length else wave


class SceneSource(WorldSource):
    """Scenes mixed from the labeled clips of a manifest, by default with the model's rate and window length."""

    def __init__(self, config: SourceConfig, audio: AudioConfig) -> None:
        defaults = {"sample_rate_hz": audio.sample_rate_hz, "duration_s": (audio.window_s, audio.window_s)}
        options = ScenesConfig(manifest=config.scenes, split=config.split, scenes=defaults | config.scene_options)
        world = ScenesWorld(options)
        super().__init__(config.scenes, world, audio)
        self.simulator = world.simulator


def answer(facts: Mapping[str, Any], column: str) -> Any:
    """Return the value of a column of the facts, or of a key of its meta JSON ("meta.pitch").

    Raises:
        DataError: the facts have no such column.
    """
    name, _, key = column.partition(".") if column.startswith("meta.") else (column, "", "")
    if name not in facts:
        raise DataError(f'column "{name}" is not among the facts of this clip; {near_miss(name, list(facts))}')
    if not key:
        return facts[name]
    try:
        return json.loads(facts[name] or "{}").get(key, "")
    except ValueError:
        return ""


def listed(value: Any) -> list[str]:
    """Return a list or tuple as a list of strings, and any other value as a list of one string."""
    return [str(v) for v in value] if isinstance(value, list | tuple) else [str(value)]


def window(
    sound: Any, row: Mapping[str, Any], audio: AudioConfig, crop: str, random: np.random.Generator
) -> FloatArray:
    """Read a window (T,) of a clip at the model's rate.

    A longer clip is cropped, and a shorter one is repeated or padded as `audio.shorter` specifies.

    sound: Path or binary stream.
    row: Manifest row of the clip, for its start and duration.
    crop: "random", "first" or "center".
    """
    rate, seconds = audio.sample_rate_hz, audio.window_s
    length = round(seconds * rate)
    start_s, duration_s = float(row.get("start_s") or 0.0), float(row.get("duration_s") or 0.0)
    # Read only the window, with a margin of 0.5 s on both sides against edge effects of the resampling filter.
    if duration_s > seconds + 1.0:
        at_s = _offset(duration_s - seconds, crop, random)
        before_s = min(0.5, at_s)
        clip = read(sound, sample_rate_hz=rate, mono=True, start_s=start_s + at_s - before_s, duration_s=seconds + 1.0)
        samples = clip.samples[0][round(before_s * rate) :][:length]
    else:
        clip = read(sound, sample_rate_hz=rate, mono=True, start_s=start_s, duration_s=duration_s or None)
        samples = clip.samples[0]
        if len(samples) > length:
            first = round(_offset(len(samples) - length, crop, random))
            samples = samples[first : first + length]
    return samples if len(samples) == length else fit_shorter(samples, length, audio.shorter)


def _offset(room: float, crop: str, random: np.random.Generator) -> float:
    if crop == "first":
        return 0.0
    return room / 2 if crop == "center" else float(random.uniform(0, room))


def captions_of(row: Mapping[str, Any], data: DataConfig) -> list[str]:
    """Return the captions in the columns `data.captions`, without duplicates.

    If there are none and the row has a label, fill `data.template` with it.
    """
    captions: list[str] = []
    for column in data.captions:
        value = row.get(column) or ()
        captions += [value] if isinstance(value, str) else [text for text in value if text]
    if not captions and data.template:
        label = row.get("label") or row.get("class_name") or ""
        captions = [data.template.replace("{label}", label)] if label else []
    return list(dict.fromkeys(captions))


def _check_columns(data: DataConfig) -> None:
    for column in data.captions:
        if column not in COLUMNS:
            raise DataError(f'data.captions: a manifest has no column "{column}"; {near_miss(column, COLUMNS)}')


def _check_files(manifest: Manifest, name: str) -> None:
    paths = dict.fromkeys(manifest.column("path")[:CHECKED_FILES])
    missing = [path for path in paths if not (manifest.folder / path).is_file()]
    if missing:
        raise DataError(
            f"{name}: {len(missing)} of {len(paths)} sound files are missing, the first is {missing[0]}; "
            "restore them or remove their rows from the manifest"
        )


def _check_captions(manifest: Manifest, data: DataConfig, name: str) -> None:
    columns = [*data.captions, "label", "class_name"]
    table = manifest.table.select(list(dict.fromkeys(["path", *columns])))
    rows = (row for batch in table.to_batches(max_chunksize=4096) for row in batch.to_pylist())
    bare = [row["path"] for row in rows if not captions_of(row, data)]
    if bare:
        raise DataError(
            f"{name}: {len(bare)} of {len(manifest)} rows have no caption in {', '.join(data.captions)}, the first is "
            f'{bare[0]}; name other columns in data.captions or set data.template ("the sound of {{label}}")'
        )


def _salt(name: str) -> int:
    """Return a hash of the file or folder name, so that sources differ and a moved folder keeps its order."""
    return zlib.crc32(Path(name).name.encode())
