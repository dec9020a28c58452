"""Check that a library is complete: every file once, with all its windows, and equal to the files on disk."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from aural.core.errors import AuralError
from aural.search.lance import column_of, vectors_of
from aural.search.library import Library
from aural.search.locations import content_hash, file_id, find
from aural.search.plan import plan_roots

NORM_TOLERANCE: Final = 1e-3
TIME_TOLERANCE_S: Final = 1e-6


@dataclass(slots=True)
class CheckReport:
    """The result of a check. `problems` are errors of the library; `notes` are files that changed on disk."""

    files: int = 0
    windows: int = 0
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check(library: Library, *, hashes: bool = False) -> CheckReport:
    """Compare the library's rows with each other and with the files on disk.

    hashes: also read and hash the content of every file.
    """
    names = ["file", "path", "window", "start", "end", "duration", "size", "mtime_ns", "hash"]
    table = library.store.rows([*names, "vector"]).sort_by([("file", "ascending"), ("window", "ascending")])
    report = CheckReport(windows=table.num_rows)
    norms = np.linalg.norm(vectors_of(table, library.card.embed_dim), axis=1)
    for row in np.flatnonzero(~(np.abs(norms - 1) <= NORM_TOLERANCE))[:1000]:
        report.problems.append(f"{table['path'][int(row)]}: the vector of a window is not of length 1")
    files, window = column_of(table, "file"), column_of(table, "window")
    ends, starts = column_of(table, "end"), column_of(table, "start")
    firsts = np.flatnonzero(np.r_[True, files[1:] != files[:-1]]) if len(files) else np.empty(0, int)
    lasts = np.r_[firsts[1:], len(files)] - 1 if len(files) else firsts
    rows = table.drop_columns(["vector"]).take(firsts).to_pylist() if len(files) else []
    for first, last, row in zip(firsts.tolist(), lasts.tolist(), rows, strict=True):
        report.files += 1
        report.seconds += row["duration"]
        path = row["path"]
        if not np.array_equal(window[first : last + 1], np.arange(last - first + 1)):
            report.problems.append(f"{path}: its windows are not each there once")
        elif abs(ends[last] - row["duration"]) > TIME_TOLERANCE_S or starts[first] != 0:
            report.problems.append(f"{path}: its windows do not cover it from start to end")
        if row["file"] != file_id(path):
            report.problems.append(f"{path}: its id does not follow from its path")
        _compare_with_disk(row, report, hashes)
    counts = Counter(row["path"] for row in rows)
    report.problems += [f"{path}: stored {count} times" for path, count in counts.items() if count > 1]
    _note_new_files(library, report)
    return report


def _compare_with_disk(row: dict[str, object], report: CheckReport, hashes: bool) -> None:
    path = str(row["path"])
    try:
        file = find(path)
        if (file.size, file.mtime_ns) != (row["size"], row["mtime_ns"]):
            report.notes.append(f"{path}: changed since it was added")
        elif hashes and content_hash(file.source) != row["hash"]:
            report.problems.append(f"{path}: its content changed, but neither size nor time")
    except AuralError:
        report.notes.append(f"{path}: does not exist any more")


def _note_new_files(library: Library, report: CheckReport) -> None:
    plan = plan_roots(library.card.roots, library.files())
    report.notes += [f"{file.path}: not in the library yet (or cannot be decoded)" for file in plan.new]
    report.notes += plan.notes
