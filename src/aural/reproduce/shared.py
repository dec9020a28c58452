"""Arrays that studies share, such as features of frozen models: computed once and kept in the user's cache folder."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from aural.core.files import atomic_write, locked, user_cache
from aural.reproduce.study import StudyContext

Arrays: TypeAlias = Mapping[str, NDArray[Any]]


def shared_arrays(context: StudyContext, name: str, key: str, compute: Callable[[], Arrays]) -> dict[str, NDArray[Any]]:
    """Return `compute()`, or what an earlier call with the same name and key stored.

    The files are in the folder `features` of the cache that also holds libre-mini, or in `shared` in a smoke
    test. Processes that ask at the same time wait for the first one.

    key: everything that the arrays depend on.
    """
    with np.load(shared_file(context, name, key, compute), allow_pickle=False) as stored:
        return {array: stored[array] for array in stored.files}


def shared_file(context: StudyContext, name: str, key: str, compute: Callable[[], Arrays]) -> Path:
    """Return the file (.npz) that `shared_arrays` reads, written now if it does not exist."""
    folder = ((context.shared or context.out) if context.smoke else user_cache()) / "features"
    file = folder / f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npz"
    with locked(folder / f"{file.stem}.lock"):
        if not file.is_file():
            with atomic_write(file) as part:
                np.savez_compressed(part, **compute())  # type: ignore[arg-type]
    return file


def resumed(context: StudyContext, part: str, compute: Callable[[], Arrays]) -> dict[str, NDArray[Any]]:
    """Return `compute()`, or what this seed stored for that part before it was stopped.

    A study that computes each arm by this function goes on with the next arm when its command is repeated.
    """
    file = context.out / f"part-{part}.npz"
    if not file.is_file():
        with atomic_write(file) as unfinished:
            np.savez_compressed(unfinished, **compute())  # type: ignore[arg-type]
    with np.load(file, allow_pickle=False) as stored:
        return {array: stored[array] for array in stored.files}
