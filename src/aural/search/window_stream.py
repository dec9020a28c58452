"""Read the windows of many sounds ahead in a thread, so that the model rarely waits for decoding.

The windows are those of `aural.audio.length.windows`: successive windows of `window_s`, the last of which ends with the
sound and overlaps the one before. A sound that is shorter than a window is one window of its length, which the model
then fills in its way.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from aural.audio.length import Window, windows
from aural.core.errors import AuralError
from aural.core.types import Source

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class FileEnd:
    """The end of one sound of a stream; `error` is the reason why the sound is skipped."""

    number: int
    error: AuralError | None = None


def window_stream(
    sources: Iterable[Source], sample_rate_hz: int, window_s: float, *, ahead: int = 16
) -> Iterator[tuple[int, Window] | FileEnd]:
    """Yield the windows of every sound as (number of the sound, window), then its `FileEnd`.

    Up to `ahead` items are decoded before they are requested.
    """

    def read() -> Iterator[tuple[int, Window] | FileEnd]:
        for number, source in enumerate(sources):
            failure: AuralError | None = None
            try:
                for window in windows(source, sample_rate_hz, window_s, shorter=None):
                    yield number, window
            except AuralError as error:
                failure = error
            yield FileEnd(number, failure)

    return read_ahead(read(), ahead)


def read_ahead(items: Iterator[T], ahead: int) -> Iterator[T]:
    """Yield the same items in the same order, produced by a thread that is up to `ahead` items in front.

    An exception of the thread is raised here. The thread ends when the iterator is closed.
    """
    end = object()
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
            put(end)
        except BaseException as error:  # raised again by the reader
            put(_Failure(error))

    thread = threading.Thread(target=work, name="aural-read-ahead", daemon=True)
    thread.start()
    try:
        while (item := waiting.get()) is not end:
            if isinstance(item, _Failure):
                raise item.error
            yield item  # type: ignore[misc]
    finally:
        stop.set()
        thread.join()


@dataclass(frozen=True, slots=True)
class _Failure:
    error: BaseException
