"""Score one trained model on evaluation tasks; keep the arrays that every metric can be computed from.

A task is "NAME" (zero-shot) or "NAME@METHOD". Its arrays are stored as TASK@METHOD.npz in the folder of the trial.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import ConfigError, DataError
from aural.core.files import atomic_write
from aural.evaluate.cache import EmbeddingCache
from aural.evaluate.cards import TaskCard, task
from aural.evaluate.data_root import DataRoot
from aural.evaluate.examples import LoadedTask
from aural.evaluate.metrics import METRICS, RESAMPLED
from aural.evaluate.outcome import Context
from aural.evaluate.runners import KINDS
from aural.reproduce.effect import Measured

ZERO_SHOT = "zero-shot"
OpenTask = Callable[[str], TaskCard]


def split_task(name: str) -> tuple[str, str]:
    """Split "NAME@METHOD"; without a method it is zero-shot."""
    task_name, _, method = name.partition("@")
    return task_name, method or ZERO_SHOT


def check_task(name: str) -> TaskCard:
    """Return the card of "NAME@METHOD"; ConfigError if the method does not exist for its kind."""
    task_name, method = split_task(name)
    card = task(task_name)
    if method not in KINDS[card.kind].runners:
        raise ConfigError(f'task "{name}": a {card.kind} task has no method "{method}"')
    return card


def score_model(embedder: Any, tasks: Iterable[str], root: DataRoot, folder: Path, seed: int = 0) -> None:
    """Score an embedder on every task and write folder/TASK@METHOD.npz.

    The seed draws few-shot examples and starts probes. Embeddings are cached in the folder while this runs.
    """
    cache = folder / "cache"
    embeddings = EmbeddingCache(cache, embedder, "model")
    for name in tasks:
        card, (_, method) = check_task(name), split_task(name)
        loaded = LoadedTask(card, root)
        loaded.kind.check_model(embedder)
        outcome = loaded.kind.runners[method](Context(embeddings, embedder, seed), loaded)
        with atomic_write(arrays_file(folder, name)) as part:
            np.savez_compressed(part, **outcome.arrays)  # type: ignore[arg-type]
    shutil.rmtree(cache, ignore_errors=True)


def arrays_file(folder: Path, name: str) -> Path:
    """Return where the arrays of a task are stored."""
    return folder / ("@".join(split_task(name)) + ".npz")


def read_measured(folder: Path, name: str, metric: str = "") -> Measured:
    """Read the stored arrays of a task as a measurement of its metric (empty: the metric of the task card)."""
    with np.load(arrays_file(folder, name), allow_pickle=False) as stored:
        arrays = {key: stored[key] for key in stored.files}
    metric = metric or task(split_task(name)[0]).metric
    function = METRICS[metric]

    def score(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        if function in RESAMPLED:
            return RESAMPLED[function](arrays, weights)
        try:
            return np.array([function(arrays, one) for one in weights])
        except KeyError as missing:
            raise DataError(f"{folder}: task {name} has no array {missing}, which {metric} needs") from None

    return Measured(arrays["units"].astype(np.int64), score, metric)
