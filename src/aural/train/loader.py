"""Batches by number: sources mixed, decoded, augmented and tokenized in workers. The position is the step's number."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

import aural.train.input_fields
import aural.train.vectors  # noqa: F401 - both register batch fields
from aural.core.errors import AudioError, AuralError, ConfigError, DataError
from aural.core.types import FloatArray
from aural.train.batching import Batching, Group, Lengths, Numbers, Seconds, Windows
from aural.train.config import Recipe
from aural.train.draw import ITEM, SPARE, Deck, generator, number
from aural.train.fields import Sample, Setting, build_fields
from aural.train.label_fields import TasksField
from aural.train.open_source import open_source
from aural.train.selected import plan_of
from aural.train.sources import Source
from aural.train.system import Plan

Batch: TypeAlias = dict[str, Any]
TRIES = 8


class Batches(Dataset[Batch]):
    """The batch of each step for one of several processes, a function of the recipe and the step alone.

    A batch holds the tensors of its fields (see `aural.train.fields`), and the lists "keys" (names of the items) and
    "bad" (a sentence per item that could not be read).

    `batching` says which samples a step has. It is asked in the training process; workers receive their samples.
    """

    def __init__(self, recipe: Recipe, *, plan: Plan | None = None, rank: int = 0, world: int = 1) -> None:
        self.recipe, self.data = recipe, recipe.data
        self.plan = plan or plan_of(recipe)
        self.rank, self.world = rank, world
        fixed = self.data.batching.name == "windows"
        if fixed and recipe.loop.batch % world:
            raise DataError(f"loop.batch is {recipe.loop.batch}, which {world} processes cannot share equally")
        self.captioned = bool({"text", "examples"} & {*self.plan.fields, *self.data.fields})
        self.sources: list[Source] = [
            open_source(s, self.data, self.plan.audio, recipe.seed, captioned=self.captioned) for s in self.data.sources
        ]
        self.clips = sum(len(source) for source in self.sources)
        if fixed and recipe.loop.batch > self.clips:
            raise DataError(
                f"loop.batch is {recipe.loop.batch}, but the data hold {self.clips} clips: lower it or add data"
            )
        setting = Setting(recipe, self.sources, self.plan.audio, self.plan.text)
        self.fields = build_fields(self.plan.fields, setting)
        weights = [s.weight for s in self.data.sources]
        if "tasks" in self.fields:
            sizes = [len(source) for source in self.sources]
            weights = [w * n**recipe.task_sampling for w, n in zip(weights, sizes, strict=True)]
        self.deck = Deck(weights, recipe.seed)
        self.batching: Batching = Windows(recipe.loop.batch) if fixed else self._by_length()

    def _by_length(self) -> Lengths:
        config, audio = self.data.batching, self.plan.audio
        if audio is None or not self.plan.lengths:
            raise ConfigError(
                'data.batching: only the system "pair" with a sound tower reads batches of unequal lengths; set it to '
                '"windows"'
            )
        if self.data.one_source:
            raise ConfigError('data.one_source needs data.batching "windows"')
        budget_s = config.seconds or self.recipe.loop.batch * audio.window_s
        return Lengths(config, budget_s, self._clips, seed=self.recipe.seed, world=self.world)

    def _clips(self, numbers: Numbers) -> tuple[Numbers, Seconds]:
        """Return the clips of samples, by number over all sources, and their lengths within the limits of a batch."""
        assert self.plan.audio is not None
        drawn = np.array([self._draw(int(i)) for i in numbers]) if len(self.sources) > 1 else None
        clips, lengths = np.empty(len(numbers), np.int64), np.empty(len(numbers))
        for place, source in enumerate(self.sources):
            here = np.ones(len(numbers), bool) if drawn is None else drawn[:, 0] == place
            counts = numbers if drawn is None else drawn[here, 1]
            clips[here] = len(self.sources) * source.places(counts) + place
            lengths[here] = source.seconds(counts)
        return clips, np.clip(lengths, self.data.batching.shortest_s, self.plan.audio.window_s)

    @property
    def steps(self) -> int:
        """Length of the run in steps."""
        loop = self.recipe.loop
        return loop.steps or self.batching.steps(loop.epochs * self.clips)

    @property
    def steps_per_epoch(self) -> int:
        """Steps that use as many samples as there are clips."""
        if isinstance(self.batching, Windows):
            return self.clips // self.batching.size
        return self.batching.steps(self.clips)

    @property
    def gives(self) -> frozenset[str]:
        """Names of the tensors that a batch can hold."""
        return frozenset[str]().union(*(field.gives for field in self.fields.values()))

    @property
    def classes(self) -> dict[str, tuple[str, ...]]:
        """Class list of each supervised task."""
        field = self.fields.get("tasks")
        return field.labels.classes if isinstance(field, TasksField) else {}

    def __getitem__(self, step: int | Group) -> Batch:
        """Return the batch of `step`; an error is returned as a sentence under "error", to cross process borders."""
        group = self.batching.group(step) if isinstance(step, int) else step
        try:
            with uncollected():
                bad: list[str] = []
                samples = [self._sample(int(i), bad) for i in group.part(self.rank, self.world)]
                return self._joined(samples) | {"bad": bad}
        except AuralError as error:
            return {"error": (type(error), str(error))}

    def _sample(self, i: int, bad: list[str]) -> Sample:
        """Return sample i. One that cannot be read is named in `bad` and replaced by a randomly drawn one."""
        place, count = self._draw(i)
        source, seed = self.sources[place], self.recipe.seed
        for attempt in range(TRIES):
            at = count if attempt == 0 else number(seed, SPARE, i, attempt) % len(source)
            try:
                item = source.item(at, partial(generator, seed, ITEM, i))
            except (AudioError, DataError) as error:
                bad.append(str(error))
                continue
            if item.captions or not self.captioned:
                return Sample(place, item, partial(generator, seed, ITEM, i, 1))
            bad.append(f"{item.key}: has no caption in {', '.join(self.data.captions)}")
        raise DataError(f"{bad[-1]}; {TRIES} clips in a row could not be used, so the run stops here")

    def _draw(self, i: int) -> tuple[int, int]:
        """Return the source of sample i and how many samples came from that source before."""
        if not self.data.one_source:
            return self.deck.draw(i)
        step, place_in_batch = divmod(i, self.recipe.loop.batch)
        source, batches_before = self.deck.draw(step)
        return source, batches_before * self.recipe.loop.batch + place_in_batch

    def _joined(self, samples: list[Sample]) -> Batch:
        batch: Batch = {"keys": [sample.item.key for sample in samples]}
        for field in self.fields.values():
            batch |= field.collate(samples)
        return batch

    def stream(self, start: int, stop: int, *, pin: bool = False) -> Iterator[Batch]:
        """Yield the batches of steps `start` to `stop`, prepared in advance by the recipe's workers."""
        workers = min(self.data.workers, max(stop - start, 0))
        if workers:
            place, count = self._draw(int(self.batching.group(start).numbers[0]))
            self.sources[place].prepare(count)
        options: dict[str, Any] = {"prefetch_factor": self.data.prefetch} if workers else {}
        groups: Iterable[Group] = (self.batching.group(step) for step in range(start, stop))
        loader = DataLoader(self, batch_size=None, sampler=groups, num_workers=workers, pin_memory=pin, **options)
        for batch in loader:
            if "error" in batch:
                kind, sentence = batch["error"]
                raise kind(sentence)
            yield batch


@contextmanager
def uncollected() -> Iterator[None]:
    """Put off the cyclic garbage collection until the end of the block.

    The many small objects of a batch start it again and again, and it finds nothing: 30% of the time of a batch of
    8,192 short clips.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def rms_db(wave: FloatArray) -> float:
    """Return the level of a window in dB re full scale."""
    return float(10 * np.log10(np.mean(np.square(wave, dtype=np.float64)) + 1e-20))


def ahead(batches: Iterator[Batch], device: torch.device) -> Iterator[Batch]:
    """Yield batches on the device. On CUDA the next one is copied on a separate stream while this one is computed."""
    if device.type != "cuda":
        yield from (to_device(batch, device) for batch in batches)
        return
    copies, ready = torch.cuda.Stream(device), list[Batch]()
    for batch in batches:
        with torch.cuda.stream(copies):
            ready.append(to_device(batch, device))
        if len(ready) > 1:
            yield ready.pop(0)
        torch.cuda.current_stream(device).wait_stream(copies)
        for tensor in ready[-1].values():
            if isinstance(tensor, Tensor):
                tensor.record_stream(torch.cuda.current_stream(device))
    yield from ready


def to_device(batch: Batch, device: torch.device) -> Batch:
    """Return the batch with its tensors moved (from pinned memory without waiting); lists are kept."""
    return {k: v.to(device, non_blocking=True) if isinstance(v, Tensor) else v for k, v in batch.items()}
