"""The files of an evaluation: score records and stored predictions.

OUT/
  run.json                  what ran: model, versions, times, and what is missing with a fix
  scores/TASK@METHOD.json   score, interval, per-class values, confusion, curve, space, revisions
  arrays/TASK@METHOD.npz    the predictions, from which any metric and any paired test can be computed
  cache/                    embeddings by model hash and data (--cache names another folder)
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import DataError
from aural.core.files import atomic_write, write_text
from aural.evaluate.metrics import METRICS, Arrays, ItemMetric
from aural.evaluate.outcome import Outcome

UNIT_IDS = "unit_ids"  # array of the npz file: the clip of each unit


class ItemScores(NamedTuple):
    """One value per item (clip, query, pair ...) of a task.

    ids (N,): the clip of each item, a path below the data set's folder; items of one clip have the same id.
    values (N,): their mean is the score.
    """

    ids: NDArray[np.str_]
    values: NDArray[np.float64]


def key_of(task: str, method: str) -> str:
    """Return the name of a score's files: "TASK@METHOD"."""
    return f"{task}@{method}"


def record_path(out: Path, key: str) -> Path:
    """Return the file of a score record."""
    return out / "scores" / f"{key}.json"


def arrays_path(out: Path, key: str) -> Path:
    """Return the file of a task's predictions."""
    return out / "arrays" / f"{key}.npz"


def write_arrays(out: Path, key: str, outcome: Outcome) -> None:
    """Store an outcome's arrays with the ids of its units."""
    arrays: dict[str, Any] = dict(outcome.arrays)
    if outcome.unit_ids:
        arrays[UNIT_IDS] = np.array(outcome.unit_ids)
    with atomic_write(arrays_path(out, key), parents=True) as part, part.open("wb") as stream:
        np.savez_compressed(stream, **arrays)


def read_arrays(out: str | Path, key: str) -> dict[str, NDArray[Any]]:
    """Read the stored predictions of a task. Raises DataError if they are missing."""
    path = arrays_path(Path(out), key)
    if not path.is_file():
        raise DataError(f"{path}: no such file; evaluate the task with --out {out} first")
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def read_record(out: str | Path, key: str) -> dict[str, Any]:
    """Read a score record. Raises DataError if it is missing."""
    path = record_path(Path(out), key)
    if not path.is_file():
        raise DataError(f"{path}: no such file; evaluate the task with --out {out} first")
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record


def item_scores(
    result: str | Path | Outcome, task: str = "", *, method: str = "zero-shot", metric: str = ""
) -> ItemScores:
    """Return one value per item of a finished evaluation; their mean is the reported score.

    result: the --out folder of an evaluation, with the name of a task; or an `Outcome`, with the name of a metric.
    metric: default is the metric of the task's record.

    Two results of the same task and data have the same ids in the same order, so their values can be compared item by
    item; `stats.paired_mean_interval` bootstraps such differences over clips.

    Raises DataError if the task was not scored, or if the metric is no mean over items (macro-f1, mAP, BLEU,
    median-rank ...).
    """
    if isinstance(result, Outcome):
        arrays: Arrays = result.arrays
        unit_ids = np.array(result.unit_ids, np.str_)
        where = "outcome"
    else:
        key = key_of(task, method)
        metric = metric or str(read_record(result, key)["metric"])
        arrays = read_arrays(result, key)
        unit_ids = np.asarray(arrays.get(UNIT_IDS, ()), np.str_)
        where = f"{result}: {key}"
    function = METRICS[metric]
    if not isinstance(function, ItemMetric):
        raise DataError(f"{where}: {metric} is no mean over items; choose one of {', '.join(item_metrics())}")
    units = arrays["units"]
    ids = unit_ids[units] if len(unit_ids) else units.astype(np.str_)
    return ItemScores(ids, np.asarray(function.values(arrays), np.float64))


def item_metrics() -> tuple[str, ...]:
    """Return the names of the metrics that are means over items."""
    return tuple(name for name in METRICS if isinstance(METRICS[name], ItemMetric))


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Write JSON, whole or not at all; NaN and infinity become null."""
    write_text(path, json.dumps(_finite(values), indent=1, ensure_ascii=False), parents=True)


def score_line(record: dict[str, Any]) -> str:
    """Return a score in one line of text."""
    low, high = record["interval"]
    matching = published(record)
    text = f", published {matching[0]['value']:.3f} ({matching[0]['model']})" if matching else ""
    return (
        f"{record['task']}@{record['method']}: {record['metric']} {record['score']:.3f} "
        f"[{low:.3f}, {high:.3f}], {record['units']} clips{seeds_text(record)}{text}"
    )


def seeds_text(record: dict[str, Any]) -> str:
    """Return mean and standard deviation over seeds as text, or an empty string for one seed."""
    seeds = record["details"].get("seeds")
    return f", {len(seeds['values'])} seeds {seeds['mean']:.3f} ± {seeds['deviation']:.3f}" if seeds else ""


def published(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the published scores of the record's metric and method."""
    scores = record.get("published", record.get("known", []))  # "known" in records before version 4
    return [k for k in scores if k["metric"] in ("", record["metric"]) and k["method"] == record["method"]]


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
