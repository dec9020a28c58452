"""Check that a library is complete: its files, every row, its indexes, and whether it equals the sounds on disk."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from aural.core.errors import AuralError, ConfigError, DataError
from aural.search import notebook
from aural.search.checksums import RECORD, FileDamage, damaged_copies, damages, newest_version, read_record
from aural.search.derived import DERIVED_FILES
from aural.search.filters import FIRST_WINDOWS
from aural.search.folder import (
    CARD,
    CARD_COPY,
    LOCK,
    SAFETY,
    DamagedLibraryError,
    LibraryCard,
    parse_card,
    read_card,
    stored_card,
)
from aural.search.lance import LanceStore, vectors_of
from aural.search.library import Library, stored_files
from aural.search.locations import content_hash, find
from aural.search.plan import plan_roots
from aural.search.row_checks import first_rows, row_problems, sorted_rows
from aural.search.spaces import active_folder, other_spaces
from aural.search.unfinished import NOTE

PROBES: Final = 5
"""Number of stored vectors that are searched for through the approximate index."""

PROBE_TOLERANCE: Final = 1e-3


@dataclass(slots=True)
class CheckReport:
    """The result of a check: counts, errors of the library (`problems`), and other facts (`notes`).

    files_checked: files of the library whose checksum was compared. index: the kind of the approximate index, or None.
    """

    files: int = 0
    windows: int = 0
    seconds: float = 0.0
    files_checked: int = 0
    fragments: int = 0
    indexes: int = 0
    index: str | None = None
    unindexed_rows: int = 0
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def check(target: Library | str | Path, *, hashes: bool = False) -> CheckReport:
    """Compare a library's files with their checksums, its rows and indexes with each other, and both with the sounds.

    target: a library, or the folder of one that may be too damaged to open. hashes: also read and hash the content of
    every sound. Raises DataError if the folder holds no library.
    """
    root = target.root if isinstance(target, Library) else Path(target)
    report = CheckReport()
    try:
        folder = target.folder if isinstance(target, Library) else active_folder(root)
    except DamagedLibraryError as error:
        report.problems.append(error.reason)
        folder = root
    if problem := notebook.problem(root):
        report.problems.append(problem)
    for name, other in other_spaces(root, folder).items():
        report.problems += [f"space {name}: {one}" for one in check_files(other)]
    card, differing = _check_files(folder, report)
    if card is None or any(not one.path.startswith(SAFETY) for one in differing):
        report.notes.append("the rows were not checked, because of the problems above")
        return report
    try:
        store = LanceStore(folder, card.embed_dim)
        _check_rows(store, report, hashes=hashes)
        _check_indexes(store, report)
        plan = plan_roots(card, stored_files(store))
    except DataError as error:
        report.problems.append(error.reason if isinstance(error, DamagedLibraryError) else str(error))
        return report
    report.notes += [f"{file.path}: not in the library yet (or cannot be decoded)" for file in plan.new]
    report.notes += plan.notes
    return report


def check_files(folder: Path) -> list[str]:
    """Return the problems of the files of one space; its rows are not read."""
    report = CheckReport()
    _check_files(folder, report)
    return report.problems


def _check_files(folder: Path, report: CheckReport) -> tuple[LibraryCard | None, list[FileDamage]]:
    card = _check_card(folder, report)
    differing = damages(folder)
    report.problems += [str(one) for one in differing]
    _check_other_files(folder, card, report)
    return card, differing


def _check_card(folder: Path, report: CheckReport) -> LibraryCard | None:
    """Return the card or, if it is damaged, its copy; None if neither can be read."""
    card = copy = None
    try:
        card = stored_card(folder) or read_card(folder)
    except DamagedLibraryError as error:
        report.problems.append(f"{CARD}: is missing or damaged ({error.reason})")
    if os.path.lexists(folder / CARD_COPY):
        try:
            copy = parse_card(folder / CARD_COPY)
        except ConfigError as error:
            report.problems.append(f"{CARD_COPY}: is damaged ({error})")
    elif card is None:
        report.problems.append(f"{CARD_COPY}: is missing")
    if card is not None and card.digest and copy != card:  # a write may have been interrupted between the two
        report.notes.append(f"{CARD_COPY}: differs from {CARD}; the next `add` writes it again")
    return card or copy


def _check_other_files(folder: Path, card: LibraryCard | None, report: CheckReport) -> None:
    """Check what is not part of the table: the lock, the map and the copies of small files."""
    if (folder / LOCK).is_dir():
        report.problems.append(f"{LOCK}: is a folder instead of a file")
    for name, is_readable in DERIVED_FILES.items():
        if not is_readable(folder / name):
            report.problems.append(f"{name}: cannot be read; a repair deletes it, and it is written again when needed")
    if os.path.lexists(folder / NOTE):
        report.problems.append(f"{NOTE}: a repair was interrupted; repeat it")
    if not os.path.lexists(folder / RECORD):
        missing = f"{RECORD}: is missing; `aural library repair` writes it"
        has_record = (folder / CARD_COPY).exists() or (card is not None and card.digest)
        (report.problems if has_record else report.notes).append(missing)
    report.problems += [str(one) for one in damaged_copies(folder) if one.path != RECORD]
    try:
        report.files_checked = len(read_record(folder).files)
        report.fragments = len(newest_version(folder).fragments)
    except DataError:
        return  # reported by `damages`


def _check_rows(store: LanceStore, report: CheckReport, *, hashes: bool) -> None:
    table = sorted_rows(store)
    report.windows = table.num_rows
    problems = row_problems(table, store.embed_dim)
    counts = Counter[str]()
    for row in table.drop_columns(["vector"]).take(first_rows(table)).to_pylist():
        report.files += 1
        report.seconds += row["duration"]
        counts[row["path"]] += 1
        if row["file"] in problems:
            report.problems.append(f"{row['path']}: {problems[row['file']]}")
        _compare_with_disk(row, report, hashes)
    report.problems += [f"{path}: stored {count} times" for path, count in counts.items() if count > 1]


def _check_indexes(store: LanceStore, report: CheckReport) -> None:
    """Count the indexes, and compare searches through the approximate index and filters with exact ones."""
    stats = store.stats()
    report.fragments = stats["fragments"]
    report.indexes = stats["indexes"]
    report.index = stats["index"]
    report.unindexed_rows = stats["unindexed_rows"] or 0
    if report.indexes:
        store.count(FIRST_WINDOWS)
    if report.index is None:
        return
    probes = vectors_of(store.rows(["vector"]).slice(0, PROBES), store.embed_dim)
    for vector in probes:
        best = store.search(vector, 1)
        if not best or best[0].score < 1 - PROBE_TOLERANCE:
            report.problems.append("the approximate index does not find vectors that are stored")
            return


def _compare_with_disk(row: dict[str, Any], report: CheckReport, hashes: bool) -> None:
    path = str(row["path"])
    try:
        file = find(path)
        if (file.size, file.mtime_ns) != (row["size"], row["mtime_ns"]):
            report.notes.append(f"{path}: changed since it was added")
        elif hashes and content_hash(file.source) != row["hash"]:
            report.problems.append(f"{path}: its content changed, but neither size nor time")
    except AuralError:
        report.notes.append(f"{path}: does not exist any more")
