"""The same embedding over Ray: files go out to workers with one model each, rows come back to the one writer.

Ray Data keeps the workers busy without filling memory (back-pressure), starts a dead worker again and gives its batch
to another. A batch counts only once it is back and committed here, under the file's own key, so a worker that dies
loses no file and doubles none. Sounds must lie where every worker can read them: on
one disk, a shared one, or in an object store.
"""

from __future__ import annotations

import logging
import pickle
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np

from aural.core.errors import AudioError, MissingDependencyError
from aural.core.types import Embedder, FloatArray
from aural.search.embed import Embedded, Work, embed_files
from aural.search.library import Engine
from aural.search.source import Found

FILES_A_TASK: Final = 32


def ray_engine(
    make: Callable[[], Embedder],
    window_s: float,
    *,
    workers: int = 2,
    gpus: float = 0,
    files_a_task: int = FILES_A_TASK,
    batch: int = 16,
) -> Engine:
    """An engine for `Library.add` and `update`: `workers` processes, each with the embedder that `make` gives.

    gpus: how many each worker takes (a part of one is allowed). A cluster that `ray.init` has joined is used as it is;
    without one Ray starts on this machine.
    """
    try:
        import ray.data
    except ImportError:
        raise MissingDependencyError('the engine ray needs the package ray; pip install "aural[ray]"') from None

    class Worker:
        """Holds one model for as long as its process lives."""

        def __init__(self) -> None:
            self._embedder = make()

        def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
            works = [pickle.loads(row) for row in rows["work"]]
            done = [_packed(one) for one in embed_files(works, self._embedder, window_s, batch=batch)]
            return {"done": np.array(done, object)}

    def engine(works: Sequence[Work]) -> Iterable[Embedded]:
        if not works:
            return ()
        if not ray.is_initialized():
            with warnings.catch_warnings():  # lancedb warns of every fork; Ray's are followed by exec at once
                warnings.filterwarnings("ignore", "lancedb fork", RuntimeWarning)
                ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
            logging.getLogger("ray.data").setLevel(logging.ERROR)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        rows = ray.data.from_items([{"work": pickle.dumps(work)} for work in works])
        pool = ray.data.ActorPoolStrategy(size=workers)
        found = rows.map_batches(Worker, batch_size=files_a_task, compute=pool, num_gpus=gpus)
        return _unpacked(found.iter_rows())

    return engine


def _packed(one: Embedded) -> bytes:
    error = None if one.error is None else str(one.error)
    found = one.work.found
    place = (found.path, found.size, found.mtime_ns)
    return pickle.dumps((place, one.work.hash, one.rows, one.vectors, error))


def _unpacked(rows: Iterable[dict[str, Any]]) -> Iterator[Embedded]:
    """Each file once: a batch that was done twice is told once."""
    seen: set[str] = set()
    for row in rows:
        place, digest, columns, vectors, error = pickle.loads(row["done"])
        if place[0] in seen:
            continue
        seen.add(place[0])
        kept: FloatArray = vectors
        yield Embedded(Work(Found(*place), digest), columns, kept, None if error is None else AudioError(error))
