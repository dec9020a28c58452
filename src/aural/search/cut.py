"""Sounds cut into windows for an index, read ahead by a thread so that the model seldom waits.

A long sound becomes successive windows of `window_s`; the last one ends with the sound and overlaps the one before. A
shorter sound is one window of its own length, which the model then fills in its own way.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from aural.audio.decode import source_name
from aural.audio.io import blocks
from aural.audio.length import MIN_DURATION_S
from aural.core.errors import AudioError, AuralError
from aural.core.types import AudioSource, Clip, FloatArray
from aural.search.source import opened

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Piece:
    """One window: mono at the model's rate, its place in the sound and how much of it no earlier window held."""

    clip: Clip
    start_s: float
    end_s: float
    fresh_s: float
    silent: bool


@dataclass(slots=True)
class Cut:
    """What became of one source: pieces come first, then one Cut; `error` says why the sound is left out."""

    number: int
    pieces: int = 0
    error: AuralError | None = field(default=None)


def pieces(source: AudioSource, sample_rate_hz: int, window_s: float) -> Iterator[Piece]:
    """The windows of a sound, in order, in bounded memory. Raises AudioError like `aural.audio.io.blocks`."""
    length = round(window_s * sample_rate_hz)
    previous: FloatArray | None = None
    at = 0
    for block in blocks(source, window_s, sample_rate_hz=sample_rate_hz):
        samples = block.samples[0]
        have = samples.shape[0]
        start, end = at / sample_rate_hz, (at + have) / sample_rate_hz
        if have < length and previous is not None:
            samples = np.concatenate([previous, samples])[-length:]
            start = (at + have - length) / sample_rate_hz
        elif have < MIN_DURATION_S * sample_rate_hz:
            break
        yield Piece(Clip(samples[None], sample_rate_hz), start, end, have / sample_rate_hz, not samples.any())
        previous = samples
        at += have
    if previous is None:
        raise AudioError(
            f"{source_name(source)}: lasts less than {1000 * MIN_DURATION_S:g} ms, the least that can be heard"
        )


def stream(
    addresses: Iterable[str], sample_rate_hz: int, window_s: float, *, ahead: int = 16
) -> Iterator[tuple[int, Piece] | Cut]:
    """Every sound's pieces as (number, piece), then its `Cut`; up to `ahead` pieces are read before they are asked."""

    def read() -> Iterator[tuple[int, Piece] | Cut]:
        for number, address in enumerate(addresses):
            cut = Cut(number)
            try:
                with opened(address) as source:
                    for piece in pieces(source, sample_rate_hz, window_s):
                        cut.pieces += 1
                        yield number, piece
            except AuralError as error:
                cut.error = error
            yield cut

    return read_ahead(read(), ahead)


def read_ahead(items: Iterator[T], ahead: int) -> Iterator[T]:
    """The same items in the same order, made by a thread that runs up to `ahead` items before the reader."""
    done = object()
    waiting: queue.Queue[object] = queue.Queue(ahead)
    stop = threading.Event()

    def put(item: object) -> None:
        while not stop.is_set():
            try:
                waiting.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in items:
                put(item)
                if stop.is_set():
                    return
            put(done)
        except BaseException as error:  # told to the reader, who raises it
            put(_Raised(error))

    thread = threading.Thread(target=work, name="aural-read-ahead", daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not done:
            if isinstance(item, _Raised):
                raise item.error
            yield item  # type: ignore[misc]
    finally:
        stop.set()
        thread.join()


@dataclass(frozen=True, slots=True)
class _Raised:
    error: BaseException
