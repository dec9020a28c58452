"""Keep samples of shards in memory, so that later epochs and later runs of the same process do not read them again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

LIMIT_BYTES: Final = 512 << 20
ROW_BYTES: Final = 4096
"""Memory counted for the facts of a sample."""


@dataclass(frozen=True)
class StoredMel:
    """One sample of a shard with a stored log-mel: its key, the facts in its JSON and the log-mel (N, F), read-only."""

    key: str
    row: dict[str, Any]
    mel: NDArray[np.int16]


class Kept:
    """Samples by key, kept until they fill `limit_bytes`; what comes later is read each time."""

    def __init__(self, limit_bytes: int = LIMIT_BYTES) -> None:
        self.limit_bytes, self.size_bytes = limit_bytes, 0
        self.samples: dict[tuple[Any, ...], StoredMel] = {}

    def get(self, key: tuple[Any, ...], read: Callable[[], StoredMel]) -> StoredMel:
        """Return the sample of that key; call `read` if it is not kept."""
        sample = self.samples.get(key)
        if sample is None:
            sample = read()
            sample.mel.setflags(write=False)
            size_bytes = sample.mel.nbytes + ROW_BYTES
            if self.size_bytes + size_bytes <= self.limit_bytes:
                self.size_bytes += size_bytes
                self.samples[key] = sample
        return sample


KEPT: Final = Kept()
"""The samples that this process keeps, shared by its runs."""


def version_of(path: Path) -> tuple[str, int, int]:
    """Return what identifies the content of a local file: its path, size and time of change."""
    status = path.stat()
    return str(path.resolve()), status.st_size, status.st_mtime_ns
