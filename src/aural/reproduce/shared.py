"""Arrays that the studies of a run share: computed by the first process that asks for them, and kept on disk."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aural.core.files import atomic_write

Arrays: TypeAlias = Mapping[str, NDArray[Any]]


def shared_arrays(folder: Path, name: str, key: str, compute: Callable[[], Arrays]) -> dict[str, NDArray[Any]]:
    """Return `compute()`, or what an earlier call with the same name and key stored in `folder`.

    key: everything that the arrays depend on. Processes that ask at the same time wait for the first one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
    with locked(folder / f"{file.stem}.lock"):
        if not file.is_file():
            with atomic_write(file) as part:
                np.savez(part, **compute())  # type: ignore[arg-type]
    with np.load(file, allow_pickle=False) as stored:
        return {array: stored[array] for array in stored.files}


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold a lock that ends with the process, so that two processes never write the same result at the same time."""
    with path.open("a") as stream:
        try:
            import fcntl

            fcntl.flock(stream, fcntl.LOCK_EX)
        except ImportError:  # not on Windows: there, do not run one card twice at the same time
            pass
        yield
