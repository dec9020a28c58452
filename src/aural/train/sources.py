"""Read clips by number from manifests and worlds, in an order that is a function of seed and epoch."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aural.audio.io import read
from aural.audio.length import fit_shorter
from aural.core.errors import ConfigError, DataError, near_miss
from aural.core.types import FloatArray
from aural.data.captioned import read_captioned
from aural.data.manifest import COLUMNS, Manifest, read_manifest
from aural.data.worlds import ScenesConfig, ScenesWorld, World, WorldItem
from aural.models.clap import AudioConfig
from aural.train.config import DataConfig, SourceConfig
from aural.train.draw import ORDER, permutation

Draw: TypeAlias = Callable[[], np.random.Generator]
CHECKED_FILES = 200_000


@dataclass
class Item:
    """One clip: a window of samples (T,) or a stored 16-bit log-mel (N, F), its captions, and its truth record.

    `facts` is the source of labels, frame labels and targets. For a clip of a manifest or a shard it contains every
    manifest column. For a scene it is the truth record (`SceneTruth.to_facts`): events with onset, offset, level and
    count, the background, the room, and "classes" and "event_count" derived from them.
    `negative_kinds` is the kind of each false caption in `negatives`.
    `place` is the key without the folder of the data, for choices that must not depend on it.
    """

    key: str
    facts: Mapping[str, Any]
    wave: FloatArray | None = None
    mel: NDArray[np.int16] | None = None
    captions: list[str] = field(default_factory=list)
    negatives: list[str] = field(default_factory=list)
    negative_kinds: list[str] = field(default_factory=list)
    place: str = ""

    def __post_init__(self) -> None:
        self.place = self.place or self.key


class Source(Protocol):
    """Clips by number. `number` counts through all epochs: epoch e starts at e * len(source).

    `random` makes the generator of the item's random choices; an item without a choice does not call it.
    """

    name: str

    def __len__(self) -> int: ...
    def item(self, number: int, random: Draw) -> Item: ...
    def prepare(self, number: int) -> None:
        """Compute what later items share, such as the order of the epoch, so that workers need not."""
        ...

    def values(self, column: str) -> set[str]:
        """Return all values of a column of the facts in this source; each element of a list is one value."""
        ...

    def places(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return which clip each number is: equal for two numbers if they are the same clip."""
        ...

    def seconds(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the lengths of items without reading their sounds; DataError if they are not stored."""
        ...


class ManifestSource:
    """The rows of one split of a manifest."""

    kinds: tuple[str, ...] = ()  # clips of a manifest have no false captions

    def __init__(
        self, config: SourceConfig, data: DataConfig, audio: AudioConfig | None, seed: int, *, captioned: bool = True
    ) -> None:
        self.name = config.manifest or config.captions
        self.data, self.audio, self.seed = data, audio, seed
        manifest = read_manifest(config.manifest) if config.manifest else read_captioned(config.captions)
        self.manifest = manifest.filter(split=config.split)
        self._seconds: NDArray[np.float64] | None = None
        if not len(self.manifest):
            raise DataError(f'{self.name}: has no rows of split "{config.split}"; name another split')
        check_columns(data)
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

    def prepare(self, number: int) -> None:
        self._order(number // len(self))

    def item(self, number: int, random: Draw) -> Item:
        epoch, place = divmod(number, len(self))
        row = self.row(int(self._order(epoch)[place]))
        path = self.manifest.folder / row["path"]
        wave = None if self.audio is None else window(path, row, self.audio, self.data, random())
        return Item(str(row["path"]), row, wave, captions=captions_of(row, self.data))

    def _order(self, epoch: int) -> NDArray[np.int64]:
        return permutation(len(self), self.seed, ORDER, epoch, salt(self.name))

    def places(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        return by_epoch(numbers, len(self), lambda epoch, at: self._order(epoch)[at])

    def seconds(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the lengths of items from the manifest's column duration_s."""
        if self._seconds is None:
            self._seconds = np.asarray(self.manifest.column("duration_s"), np.float64)
            if not (self._seconds > 0).all():
                path = self.row(int(np.argmin(self._seconds)))["path"]
                raise DataError(
                    f'{self.name}: {path} has no duration_s, which data.batching "lengths" needs; write the manifest '
                    "again with durations"
                )
        return self._seconds[self.places(numbers)]


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

    def prepare(self, number: int) -> None:
        """Do nothing: items of a world share nothing."""

    def item(self, number: int, random: Draw) -> Item:
        item = self.world.item(number)
        return Item(
            item.key,
            item.facts,
            self._window(item),
            captions=list(item.captions),
            negatives=list(item.negatives),
            negative_kinds=list(item.negative_kinds),
        )

    def places(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the numbers: no item comes twice."""
        return numbers

    def seconds(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the length of a window for each item."""
        assert self.audio is not None
        return np.full(len(numbers), self.audio.window_s)

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


def by_epoch(
    numbers: NDArray[np.int64], size: int, look: Callable[[int, NDArray[np.int64]], NDArray[np.int64]]
) -> NDArray[np.int64]:
    """Return the clip of each item by its number through all epochs.

    look: gives the clips at some places in the order of an epoch of `size` items.
    """
    epochs, at = np.divmod(numbers, size)
    clips = np.empty(len(numbers), np.int64)
    for epoch in np.unique(epochs):
        here = epochs == epoch
        clips[here] = look(int(epoch), at[here])
    return clips


def window(
    sound: Any, row: Mapping[str, Any], audio: AudioConfig, data: DataConfig, random: np.random.Generator
) -> FloatArray:
    """Read a window (T,) of a clip at the model's rate.

    A longer clip is cropped. A shorter one is repeated or padded as `audio.shorter` specifies, to the window or, with
    batches by length, to the shortest length.

    sound: Path or binary stream.
    row: Manifest row of the clip, for its start and duration.
    """
    rate, seconds, crop = audio.sample_rate_hz, audio.window_s, data.crop
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
    least = length if data.batching.name == "windows" else min(length, round(data.batching.shortest_s * rate))
    return samples if len(samples) >= least else fit_shorter(samples, least, audio.shorter)


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


def check_columns(data: DataConfig) -> None:
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


def salt(name: str) -> int:
    """Return a hash of the file or folder name, so that sources differ and a moved folder keeps its order."""
    return zlib.crc32(Path(name).name.encode())
