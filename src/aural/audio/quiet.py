"""Keep notes that decoders print from C away from the terminal.

libmpg123 writes to the file descriptor of stderr ("Note: Illegal Audio-MPEG-Header ...") and has no switch that
libsndfile passes on. What a decoder cannot read is reported by our own errors.
"""

from __future__ import annotations

import contextlib
import os
import re
import threading
from collections.abc import Iterator
from typing import Final

STDERR: Final = 2
NOTES: Final = re.compile(rb"\s*$|(Note|Warning|Error): |\[[^\]]*libmpg123[^\]]*\] (error|warning): ")


class _Capture:
    """The redirection of stderr into a pipe. Threads share one; the last one to leave ends it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._users = 0
        self._stderr = self._pipe = -1

    def enter(self) -> None:
        with self._lock:
            self._users += 1
            if self._users > 1:
                return
            try:
                self._stderr = os.dup(STDERR)
                self._pipe, end = os.pipe()
            except OSError:  # stderr is closed, or no descriptor is left: nothing is captured
                self._pipe = -1
                return
            # A full pipe refuses the notes instead of stopping the decoder; a file would hit limits of its size.
            os.set_blocking(end, False)
            os.set_blocking(self._pipe, False)
            os.dup2(end, STDERR)
            os.close(end)

    def leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._users or self._pipe < 0:
                return
            text = b""
            with contextlib.suppress(BlockingIOError):
                text = os.read(self._pipe, 1 << 20)
            os.dup2(self._stderr, STDERR)
            os.close(self._stderr)
            os.close(self._pipe)
        others = [line for line in text.splitlines(keepends=True) if not NOTES.match(line)]
        if others:  # written by other threads meanwhile
            os.write(STDERR, b"".join(others))


_CAPTURE: Final = _Capture()


@contextlib.contextmanager
def quiet_decoder() -> Iterator[None]:
    """Drop the notes that libmpg123 prints inside the block; what other threads write to stderr is kept."""
    _CAPTURE.enter()
    try:
        yield
    finally:
        _CAPTURE.leave()
