"""Stream samples from shards: shuffled by (seed, epoch), split over ranks and workers, and resumable at any sample.

The order of shards, and of samples within a group of `mix` shards, is a function of seed and epoch (`data.order`). A
position is therefore four numbers: there is no shuffle buffer to save. A scan of the tar headers gives the offsets of
the samples; a stream that resumes scans the shards that it has read. Shards in an object store are copied to a local
file first.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, BinaryIO, Literal

from pydantic import Field, model_validator

from aural.core.config import Config
from aural.core.errors import AudioError, ConfigError, DataError
from aural.core.types import Clip
from aural.data import remote
from aural.data.order import epoch_generator, shuffled_groups, shuffled_samples
from aural.data.tar import Entry, scan

MAX_NAMED = 1_000


class StreamConfig(Config):
    """Options of `ShardStream`: the shards, their order, and the share of this reader."""

    shards: tuple[str, ...]  # folders, globs or names; local or any fsspec location
    seed: int = 0
    shuffle: bool = True
    mix: Annotated[int, Field(ge=1)] = 8  # shards shuffled together (kept open; copied to disk if remote)
    rank: Annotated[int, Field(ge=0)] = 0
    world: Annotated[int, Field(ge=1)] = 1
    worker: Annotated[int, Field(ge=0)] = 0
    workers: Annotated[int, Field(ge=1)] = 1
    split: Literal["samples", "shards"] = "samples"  # samples: equal shares; shards: one reader per shard
    decode: bool = True

    @model_validator(mode="after")
    def _share(self) -> StreamConfig:
        if self.rank >= self.world or self.worker >= self.workers:
            raise ConfigError(
                f"rank {self.rank} of {self.world} and worker {self.worker} of {self.workers}: both count from 0, "
                "so rank must be below world and worker below workers"
            )
        return self


@dataclass(frozen=True, slots=True)
class Sample:
    """One clip: its encoded bytes, the content of KEY.json, the decoded sound, and the stream position after it.

    `clip` is None if the stream does not decode.
    """

    key: str
    shard: str
    suffix: str
    audio: bytes
    meta: dict[str, Any]
    clip: Clip | None
    state: dict[str, Any]

    @property
    def captions(self) -> list[str]:
        """The captions of the sample, without empty ones."""
        grains = [self.meta.get(f"caption_{grain}", "") for grain in ("label", "short", "detailed")]
        return [text for text in [*self.meta.get("captions", ()), *grains] if text]


class ShardStream:
    """An iterable of samples with a position that can be saved and restored.

    One iteration yields the remaining samples of the current epoch and then moves to the next epoch. Damaged samples
    are skipped, counted in `skip_count`, and described in `skipped`.
    """

    def __init__(self, config: StreamConfig) -> None:
        self.config = config
        self.shards = remote.expand(config.shards)
        self.skipped: list[str] = []  # at most MAX_NAMED descriptions
        self.skip_count = 0
        self._fingerprint = self._order_digest()
        self._epoch = self._group = self._before = self._position = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the position: epoch, group of shards, samples in earlier groups, and number within the group."""
        return {
            "epoch": self._epoch,
            "group": self._group,
            "before": self._before,
            "position": self._position,
            "stream": self._fingerprint,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go to a saved position.

        Raises:
            DataError: the position belongs to a stream with other shards, seed, mix, ranks or workers.
        """
        if state.get("stream") != self._fingerprint:
            raise DataError(
                "the position was saved by a stream with other shards, seed, mix, ranks or workers; "
                "resume with the same options, or start a new epoch with set_epoch"
            )
        self._epoch, self._group = int(state["epoch"]), int(state["group"])
        self._before, self._position = int(state["before"]), int(state["position"])

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch."""
        self._epoch, self._group, self._before, self._position = epoch, 0, 0, 0

    def __iter__(self) -> Iterator[Sample]:
        config = self.config
        share = config.rank * config.workers + config.worker
        shares = config.world * config.workers
        random = epoch_generator(config.seed, self._epoch) if config.shuffle else None
        groups = shuffled_groups(range(len(self.shards)), config.mix, random)
        if config.split == "shards":
            order = [shard for group in groups for shard in group]
            groups = shuffled_groups(order[share::shares], config.mix, None)
            share, shares = 0, 1
        for number, group in enumerate(groups):
            with contextlib.ExitStack() as stack:
                read_before = number < self._group
                opened = {shard: self._open(self.shards[shard], stack, again=read_before) for shard in group}
                sizes = {shard: len(entries) for shard, entries in opened.items()}
                samples = shuffled_samples(group, sizes.__getitem__, random)
                if read_before:
                    continue
                for shard, place in samples[self._position :]:
                    is_in_share = (self._before + self._position) % shares == share
                    self._position += 1
                    if is_in_share and (sample := self._read(*opened[int(shard)][place])) is not None:
                        yield sample
                self._group, self._before, self._position = self._group + 1, self._before + len(samples), 0
        self.set_epoch(self._epoch + 1)

    def _open(self, shard: str, stack: contextlib.ExitStack, *, again: bool) -> list[tuple[str, BinaryIO, Entry]]:
        """Return the entries of a shard. Its faults are reported unless it was read before (`again`)."""
        stream = stack.enter_context(stack.enter_context(remote.local_copy(shard)).open("rb"))
        entries, faults = scan(stream)
        if self._position == 0 and not again:
            for fault in faults:
                self._skip(f"{shard}: {fault}")
        return [(shard, stream, entry) for entry in entries]

    def _read(self, shard: str, stream: BinaryIO, entry: Entry) -> Sample | None:
        try:
            meta = entry.describe(stream)
            audio = entry.sound(stream, meta)
            clip = self._decoded(audio) if self.config.decode else None
        except (DataError, AudioError) as error:
            self._skip(f"{shard}/{entry.key}: {error}")
            return None
        return Sample(entry.key, shard, entry.suffix, audio, meta, clip, self.state_dict())

    def _decoded(self, audio: bytes) -> Clip:
        from aural.audio import io

        return io.read(audio)

    def _skip(self, reason: str) -> None:
        self.skip_count += 1
        if len(self.skipped) < MAX_NAMED:
            self.skipped.append(reason)

    def _order_digest(self) -> str:
        """Return a digest of everything that determines which sample a position refers to."""
        config = self.config.model_dump(exclude={"shards", "decode"}) | {"names": [_base_name(s) for s in self.shards]}
        config["rule"] = "data.order"
        return hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()[:16]


def _base_name(name: str) -> str:
    """Return a shard's name without its folder, so that a moved or mounted folder keeps its order."""
    head, _, tail = name.rpartition(".tar")
    return f"{head.rpartition('/')[2]}.tar{tail}"
