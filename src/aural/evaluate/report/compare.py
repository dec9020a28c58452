"""Compare several runs: scores with intervals, paired tests and published values. `page` writes them as HTML."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aural.core.errors import DataError, one_line
from aural.evaluate.metrics import METRICS
from aural.evaluate.records import published, read_arrays
from aural.evaluate.stats import Paired, mcnemar, paired


@dataclass(frozen=True)
class Scored:
    """The results in one folder of `aural evaluate`."""

    name: str
    folder: Path
    details: dict[str, Any]
    """The content of run.json."""
    records: dict[str, dict[str, Any]]
    """"TASK@METHOD" -> its score record."""

    def arrays(self, key: str) -> dict[str, NDArray[Any]]:
        """Read the stored predictions of one task."""
        return read_arrays(self.folder, key)


def read_runs(folders: Iterable[str | Path]) -> list[Scored]:
    """Read runs in the given order. If two runs have the same name, their folder's name is added."""
    runs = [_read(Path(folder)) for folder in folders]
    names = [run.name for run in runs]
    return [
        Scored(f"{run.name} ({run.folder.name})", run.folder, run.details, run.records)
        if names.count(run.name) > 1
        else run
        for run in runs
    ]


def _read(folder: Path) -> Scored:
    if not (folder / "run.json").is_file():
        raise DataError(f"{folder}: holds no run.json; give a folder that `aural evaluate --out` wrote")
    details = _mapping(folder / "run.json", "model")
    records = {path.stem: _mapping(path, "score") for path in sorted((folder / "scores").glob("*.json"))}
    return Scored(str(details["model"]), folder, details, records)


def _mapping(path: Path, key: str) -> dict[str, Any]:
    """Return the content of a JSON file. Raises DataError if it is damaged or lacks a key that every such file has."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read ({one_line(error)}); evaluate again") from None
    if not isinstance(values, dict) or key not in values:
        raise DataError(f'{path}: holds no "{key}", so `aural evaluate` did not write it; name another folder')
    return values


def keys(runs: Sequence[Scored]) -> list[str]:
    """Return every "TASK@METHOD" that some run scored, by task, zero-shot first."""
    scored = {key for run in runs for key in run.records}
    return sorted(scored, key=lambda key: (key.partition("@")[0], not key.endswith("@zero-shot"), key))


def against(first: Scored, other: Scored, key: str, seed: int = 0) -> tuple[Paired, float | None] | None:
    """Return the paired bootstrap of two runs on one task, and McNemar's p for accuracy (None for other metrics).

    Returns None if the runs did not score the same clips of the same data by the same metric.
    """
    a, b = first.records.get(key), other.records.get(key)
    if a is None or b is None or a["data_revision"] != b["data_revision"] or a["metric"] != b["metric"]:
        return None
    x, y = first.arrays(key), other.arrays(key)
    if not np.array_equal(x["units"], y["units"]):
        return None
    exact = None
    if a["metric"] == "accuracy" and np.array_equal(x["targets"], y["targets"]):
        exact = mcnemar(x["predicted"] == x["targets"], y["predicted"] == y["targets"])
    return paired(METRICS[a["metric"]], x, y, np.random.default_rng(seed)), exact


def published_text(record: dict[str, Any], most: int = 3) -> list[str]:
    """Return up to `most` published scores of the record's metric and method, such as "model 0.939"."""
    return [f"{k['model']} {k['value']:.3f}" for k in published(record)[:most]]


def cell(record: dict[str, Any] | None) -> str:
    """Return a score with its interval as text, or "-" without a record."""
    if record is None:
        return "-"
    low, high = record["interval"]
    return f"{record['score']:.3f} [{low:.3f}, {high:.3f}]" if low is not None else f"{record['score']:.3f}"


def table(runs: Sequence[Scored], seed: int = 0) -> str:
    """Return a text table with one line per task: the runs' scores, chance and published scores.

    An asterisk marks a run that differs significantly from the first run.
    """
    names = [run.name[:24] for run in runs]
    rows = [["task", "metric", *names, "chance", "published"]]
    for key in keys(runs):
        records = [run.records.get(key) for run in runs]
        one = next(record for record in records if record is not None)
        cells = [cell(records[0])]
        for run, record in zip(runs[1:], records[1:], strict=True):
            test = against(runs[0], run, key, seed)
            cells.append(cell(record) + (" *" if test and test[0].p < 0.05 else ""))
        chance = "" if one["chance"] is None else f"{one['chance']:.3f}"
        name = key.removesuffix("@zero-shot")
        rows.append([name, one["metric"], *cells, chance, ", ".join(published_text(one))])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    if len(runs) > 1:
        lines.append(
            f"* differs from {names[0]} on the same clips (paired bootstrap, p < 0.05, not corrected for many tasks)"
        )
    return "\n".join(lines) + "\n"
