"""Watch the folders of a library: new, changed, moved and deleted sounds, other writers, and a clean end."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

import pytest

pytest.importorskip("watchfiles")

from aural.core.errors import ConfigError
from aural.search.check import check
from aural.search.folder import BusyLibraryError, writer_lock
from aural.search.library import FileResult, Library
from aural.search.watch import WatchConfig, watch
from library_toys import write_sound
from sketch import SketchEmbedder

CONFIG = WatchConfig(quiet_s=0.1, poll_s=0.1, most_fragments=4)


class Watcher:
    """A thread that watches a library and stores the results."""

    def __init__(self, library: Library) -> None:
        self.results: list[FileResult] = []
        self.notes: list[str] = []
        self.plans = 0
        self.error: Exception | None = None
        self.stop = threading.Event()
        self.embedder = SketchEmbedder()
        self.thread = threading.Thread(target=self._run, args=[library])

    def _run(self, library: Library) -> None:
        try:
            for event in watch(library, self.embedder, self.stop, config=CONFIG):
                if isinstance(event, FileResult):
                    self.results.append(event)
                else:
                    self.plans += 1
                    self.notes += event.notes
        except Exception as error:
            self.error = error

    def wait(self, condition: Callable[[], bool]) -> None:
        end = time.monotonic() + 20
        while not condition():
            assert time.monotonic() < end, (self.results, self.error)
            assert self.thread.is_alive(), self.error
            time.sleep(0.02)

    def status(self, path: Path) -> str | None:
        """Return the newest status of a file."""
        return next((one.status for one in reversed(self.results) if one.path == str(path)), None)


def lock_of(library: Library) -> AbstractContextManager[None]:
    """Return the held lock of a library, as soon as no update holds it."""
    stack = ExitStack()
    end = time.monotonic() + 20
    while True:
        try:
            stack.enter_context(writer_lock(library.folder))
            return stack  # type: ignore[return-value]
        except BusyLibraryError:
            assert time.monotonic() < end
            time.sleep(0.02)


@contextmanager
def watching(library: Library) -> Iterator[Watcher]:
    watcher = Watcher(library)
    watcher.thread.start()
    try:
        watcher.wait(lambda: watcher.plans > 0)
        yield watcher
    finally:
        watcher.stop.set()
        watcher.thread.join(20)
    assert not watcher.thread.is_alive()
    assert watcher.error is None


def test_follows_every_change_and_ends(editable: Library, tmp_path: Path) -> None:
    sounds = tmp_path / "sounds"
    with watching(editable) as watcher:
        first, folder, hidden = sounds / "new.wav", sounds / "take" / "2", sounds / ".cache" / "x.wav"
        write_sound(first, 0.5, 90)
        write_sound(hidden, 0.5, 95)
        watcher.wait(lambda: watcher.status(first) == "added")
        write_sound(first, 1.5, 91)
        watcher.wait(lambda: watcher.status(first) == "changed")
        for i in range(3):
            write_sound(folder / f"{i}.wav", 0.5, 100 + i)
        watcher.wait(lambda: all(watcher.status(folder / f"{i}.wav") == "added" for i in range(3)))
        os.rename(sounds / "take", sounds / "moved")
        watcher.wait(lambda: watcher.status(folder / "2.wav") == "removed")
        watcher.wait(lambda: watcher.status(sounds / "moved" / "2" / "2.wav") == "copied")
        (sounds / "text.txt").write_text("no sound")
        first.unlink()
        watcher.wait(lambda: watcher.status(first) == "removed")
        with lock_of(editable):  # another process writes
            write_sound(first, 0.7, 92)
            time.sleep(0.5)
            assert watcher.status(first) == "removed"
        watcher.wait(lambda: watcher.status(first) == "added")
    on_disk = {str(path) for path in sounds.rglob("*.wav") if path not in (hidden, sounds / "broken.wav")}
    assert Library(editable.folder).files().keys() == on_disk
    assert check(editable, hashes=True).problems == []
    assert watcher.embedder.sounds == 1 + 1 + 1 + 3 + 1  # reference sound, new, changed, take, new again
    assert editable.store.stats()["fragments"] <= CONFIG.most_fragments


def test_sounds_of_an_emptied_root_are_kept(editable: Library, tmp_path: Path) -> None:
    before = editable.files().keys()
    with watching(editable) as watcher:
        shutil.rmtree(tmp_path / "sounds" / "ambience")
        watcher.wait(lambda: sum(one.status == "removed" for one in watcher.results) == 6)
        shutil.rmtree(tmp_path / "sounds")
        watcher.wait(lambda: bool(watcher.notes))
    assert len(editable.files().keys() & before) == 7
    assert watcher.notes[0].endswith("contains no sounds any more; 7 of its files are kept in the library")


def test_nothing_to_watch(tmp_path: Path) -> None:
    library = Library.create(tmp_path / "library", SketchEmbedder(), model="sketch")
    with pytest.raises(ConfigError, match="none of its locations"):
        next(watch(library, SketchEmbedder(), threading.Event()))
