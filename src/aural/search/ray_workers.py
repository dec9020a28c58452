"""Embed files in Ray workers: files are sent to worker processes with one model each; rows return to the one writer.

Ray Data keeps the workers busy with bounded memory, restarts a worker that died and gives its batch to another one.
Rows count only after they are committed here under the file's key, so a dead worker neither loses nor duplicates a
file. The sounds must be readable by every worker: on one disk, a shared disk, or an object store.
"""

from __future__ import annotations

import dataclasses
import logging
import pickle
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final

import numpy as np

from aural.core.errors import AudioError, MissingDependencyError
from aural.core.types import Embedder
from aural.search.embed import BATCH_WINDOWS, EmbeddedFile, FileEmbedder, FileJob, embed_files

FILES_PER_TASK: Final = 32


def ray_workers(
    load_embedder: Callable[[], Embedder],
    window_s: float,
    *,
    workers: int = 2,
    gpus: float = 0,
    files_per_task: int = FILES_PER_TASK,
    batch: int = BATCH_WINDOWS,
) -> FileEmbedder:
    """Return a function for `Library.add` and `update` that embeds files in `workers` processes.

    load_embedder: called once in every worker. gpus: number of GPUs per worker; fractions are allowed. The cluster that
    `ray.init` joined is used; without one, Ray starts on this machine.
    """
    try:
        import ray.data
    except ImportError:
        raise MissingDependencyError('Ray workers need the package ray; pip install "aural[ray]"') from None

    class Worker:
        """A process that keeps one model."""

        def __init__(self) -> None:
            self._embedder = load_embedder()

        def __call__(self, rows: dict[str, Any]) -> dict[str, Any]:
            jobs = [pickle.loads(row) for row in rows["job"]]
            results = [_pack(one) for one in embed_files(jobs, self._embedder, window_s, batch=batch)]
            return {"result": np.array(results, object)}

    def embed(jobs: Sequence[FileJob]) -> Iterable[EmbeddedFile]:
        if not jobs:
            return ()
        if not ray.is_initialized():
            with warnings.catch_warnings():  # lancedb warns of every fork; those of Ray are followed by exec at once
                warnings.filterwarnings("ignore", "lancedb fork", RuntimeWarning)
                ray.init(include_dashboard=False, log_to_driver=False, logging_level="ERROR")
            logging.getLogger("ray.data").setLevel(logging.ERROR)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        rows = ray.data.from_items([{"job": pickle.dumps(job)} for job in jobs])
        pool = ray.data.ActorPoolStrategy(size=workers)
        results = rows.map_batches(Worker, batch_size=files_per_task, compute=pool, num_gpus=gpus)
        return _unpack(results.iter_rows())

    return embed


def _pack(embedded: EmbeddedFile) -> bytes:
    """Pickle a result; its error becomes a plain AudioError, because other error types may not unpickle."""
    if embedded.error is not None:
        embedded = dataclasses.replace(embedded, error=AudioError(str(embedded.error)))
    return pickle.dumps(embedded)


def _unpack(rows: Iterable[dict[str, Any]]) -> Iterator[EmbeddedFile]:
    """Yield each file once, also if a batch was computed twice."""
    seen: set[str] = set()
    for row in rows:
        embedded: EmbeddedFile = pickle.loads(row["result"])
        if embedded.job.file.path in seen:
            continue
        seen.add(embedded.job.file.path)
        yield embedded
