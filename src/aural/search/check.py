"""Every file and vector of a library accounted for: nothing half, nothing doubled, nothing that is not on disk."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from aural.core.errors import AuralError
from aural.search.library import Library
from aural.search.plan import plan_roots
from aural.search.source import content_hash, file_id, stat
from aural.search.store import column_of, vectors_of

NORM_TOLERANCE: Final = 1e-3
TIME_TOLERANCE_S: Final = 1e-6


@dataclass(slots=True)
class Report:
    """What a check found: `problems` must not be, `notes` are files that changed since the last update."""

    files: int = 0
    windows: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check(library: Library, *, hashes: bool = False) -> Report:
    """Compare the library with itself and with the disk; hashes=True reads every file's content."""
    names = ["file", "path", "window", "start", "end", "duration", "size", "mtime_ns", "hash"]
    table = library.store.rows([*names, "vector"]).sort_by([("file", "ascending"), ("window", "ascending")])
    report = Report(windows=table.num_rows)
    vectors = vectors_of(table, library.card.embed_dim)
    norms = np.linalg.norm(vectors, axis=1)
    for row in np.flatnonzero(~(np.abs(norms - 1) <= NORM_TOLERANCE))[:1000]:
        report.problems.append(f"{table['path'][int(row)]}: the vector of a window is not of length 1")
    files, ends, starts = column_of(table, "file"), column_of(table, "end"), column_of(table, "start")
    window = column_of(table, "window")
    firsts = np.flatnonzero(np.r_[True, files[1:] != files[:-1]]) if len(files) else np.empty(0, int)
    lasts = np.r_[firsts[1:], len(files)] - 1 if len(files) else firsts
    rows = table.drop_columns(["vector"]).take(firsts).to_pylist() if len(files) else []
    for first, last, row in zip(firsts.tolist(), lasts.tolist(), rows, strict=True):
        report.files += 1
        report.seconds += row["duration"]
        path, count = row["path"], last - first + 1
        if not np.array_equal(window[first : last + 1], np.arange(count)):
            report.problems.append(f"{path}: its windows are not each there once")
        elif abs(ends[last] - row["duration"]) > TIME_TOLERANCE_S or starts[first] != 0:
            report.problems.append(f"{path}: its windows do not reach from its start to its end")
        if row["file"] != file_id(path):
            report.problems.append(f"{path}: its id does not follow from its path")
        _on_disk(row, report, hashes)
    report.problems += [f"{path}: held {n} times" for path, n in Counter(r["path"] for r in rows).items() if n > 1]
    _not_held(library, report)
    return report


def _on_disk(row: dict[str, object], report: Report, hashes: bool) -> None:
    path = str(row["path"])
    try:
        found = stat(path)
        if (found.size, found.mtime_ns) != (row["size"], row["mtime_ns"]):
            report.notes.append(f"{path}: changed since it was added")
        elif hashes and content_hash(path) != row["hash"]:
            report.problems.append(f"{path}: its content changed, but neither size nor time")
    except AuralError:
        report.notes.append(f"{path}: is not there any more")


def _not_held(library: Library, report: Report) -> None:
    plan = plan_roots(library.card.roots, library.held())
    report.notes += [f"{found.path}: not in the library yet (or cannot be decoded)" for found in plan.new]
    report.notes += plan.notes
