"""Repair a damaged library: restore what has a copy, keep every row that can be read, and embed the other files again.

Order: the card, small files with a copy, the table's version, rows, indexes, then the sounds whose rows are lost.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from aural.core.errors import AuralError, ConfigError, DataError
from aural.core.files import delete
from aural.core.types import Embedder
from aural.search.check import check_files
from aural.search.checksums import (
    COPIES,
    RECORD,
    FileDamage,
    damaged_copies,
    damages,
    newest_version,
    record_files,
    sound_copies,
)
from aural.search.derived import DERIVED_FILES
from aural.search.folder import (
    CARD,
    CARD_COPY,
    FORMAT,
    LOCK,
    SAFETY,
    TABLE_FOLDER,
    LibraryCard,
    parse_card,
    read_card,
    reference_vector,
    write_card,
    writer_lock,
)
from aural.search.lance import LanceStore
from aural.search.lance_files import VERSIONS, Fragment, read_version, version_names
from aural.search.library import Library, stored_files
from aural.search.locations import find
from aural.search.notebook import Notebook
from aural.search.plan import Plan, plan_roots
from aural.search.row_checks import row_problems, sorted_rows
from aural.search.salvage import salvage
from aural.search.salvaged_rows import SalvagedRows
from aural.search.spaces import active_folder, other_spaces, restore_pointer
from aural.search.unfinished import NOTE, clear_note, note_sounds, unfinished_sounds

if TYPE_CHECKING:
    import pyarrow as pa

TABLE_FOLDERS: Final = (VERSIONS, "data", "_deletions", "_indices", "_transactions")
VECTOR_INDEX: Final = "vector_idx"
ROW_FOLDERS: Final = tuple(f"{TABLE_FOLDER}/{name}" for name in ("data", "_deletions", VERSIONS))


@dataclass(slots=True)
class RepairReport:
    """The result of a repair: one line per action, files and windows kept, and the paths embedded again or lost.

    A file is lost if neither its vectors nor the sound can be read; the text after its path is the reason.
    """

    actions: list[str] = field(default_factory=list)
    files_kept: int = 0
    windows_kept: int = 0
    embedded: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def repair(folder: str | Path, open_model: Callable[[str], Embedder], *, model: str | None = None) -> RepairReport:
    """Repair the library in `folder`. A library without damage is not changed.

    open_model: loads a model by name; it is called only if sounds must be embedded. model: name of the library's model,
    needed only if the card and its copy are both lost. Raises DataError if there is no library, if another process is
    writing, or if a file cannot be read for lack of permission.
    """
    root = Path(folder)
    report = RepairReport()
    if action := restore_pointer(root):
        report.actions.append(action)
    folder = active_folder(root)
    if not folder.is_dir() or not any((folder / name).exists() for name in (CARD, SAFETY, TABLE_FOLDER)):
        read_card(folder)
    _repair_space(folder, report, open_model, model)
    for name, other in other_spaces(root, folder).items():
        if check_files(other):
            of_space = RepairReport()
            _repair_space(other, of_space, open_model, None)
            report.actions += [f"space {name}: {action}" for action in of_space.actions]
            report.embedded += of_space.embedded
            report.lost += of_space.lost
    if restored := Notebook(root).restore():
        report.actions.append(restored)
    return report


def _repair_space(folder: Path, report: RepairReport, open_model: Callable[[str], Embedder], model: str | None) -> None:
    """Repair one space of a library."""
    _clear_wrong_kinds(folder, report)
    with writer_lock(folder):
        _allow_reading(folder, report)
        unfinished = unfinished_sounds(folder)
        if unfinished is not None:
            report.actions.append(f"{NOTE}: an earlier repair was interrupted; it is continued")
        card = _restore_card(folder, report, open_model, model)
        _restore_copies(folder, report)
        store, lost = _restore_rows(folder, card, report)
        for name, is_readable in DERIVED_FILES.items():
            if not is_readable(folder / name):
                report.actions.append(f"{name}: deleted; it is written again when it is needed")
                delete(folder / name)
        _renew_record(folder, report)
        _embed_again(store, card, (unfinished or {}) | lost, report, open_model)
        clear_note(folder)


def _clear_wrong_kinds(folder: Path, report: RepairReport) -> None:
    """Delete folders in the place of files and files in the place of folders."""
    folders = (SAFETY, COPIES, TABLE_FOLDER, *(f"{TABLE_FOLDER}/{name}" for name in TABLE_FOLDERS))
    for names, is_right in (((LOCK, CARD, CARD_COPY, RECORD), Path.is_file), (folders, Path.is_dir)):
        for name in names:
            if os.path.lexists(folder / name) and not is_right(folder / name):
                kind = "a folder" if (folder / name).is_dir() else "no folder"
                delete(folder / name)
                report.actions.append(f"{name}: deleted, because it was {kind}")


def _allow_reading(folder: Path, report: RepairReport) -> None:
    """Give the owner permission to read and write every file and folder of the library."""
    paths = [folder, *folder.rglob("*")]
    for path in paths:
        wanted = os.R_OK | os.W_OK | (os.X_OK if path.is_dir() else 0)
        if path.is_symlink() or (os.access(path, wanted) and path.stat().st_mode & 0o400):
            continue
        try:
            path.chmod(path.stat().st_mode | (0o700 if path.is_dir() else 0o600))
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}); change its permissions") from None
        report.actions.append(f"{path.relative_to(folder)}: changed its permissions")
        if path.is_dir():
            return _allow_reading(folder, report)  # its content can be listed now
    return None


def _restore_card(
    folder: Path, report: RepairReport, open_model: Callable[[str], Embedder], model: str | None
) -> LibraryCard:
    cards: list[LibraryCard | None] = []
    for name in (CARD, CARD_COPY):
        try:
            cards.append(parse_card(folder / name))
        except ConfigError:
            cards.append(None)
    card, copy = cards
    if card is not None and (copy == card or not card.digest):
        return card
    if card is None and copy is None:
        card = _new_card(folder, open_model, model)
        report.actions.append(f"{CARD}: written again for the model {card.model}; its folders are not known any more")
    elif card is None:
        report.actions.append(f"{CARD}: restored from {CARD_COPY}")
    else:
        report.actions.append(f"{CARD_COPY}: written again")
    kept = card or copy
    assert kept is not None
    write_card(folder, kept)
    return kept


def _new_card(folder: Path, open_model: Callable[[str], Embedder], model: str | None) -> LibraryCard:
    """Return a card for a library that has lost its card: the window follows from the rows."""
    if model is None:
        raise DataError(f"{folder}: {CARD} and its copy are lost; name the library's model with --model")
    embedder = open_model(model)
    store = LanceStore(folder, embedder.embed_dim)
    times = store.rows(["start", "end"])
    longest = max((b - a for a, b in zip(times["start"].to_pylist(), times["end"].to_pylist(), strict=True)), default=0)
    return LibraryCard(
        aural=FORMAT,
        model=model,
        sample_rate_hz=embedder.sample_rate_hz,
        embed_dim=embedder.embed_dim,
        window_s=longest or 10.0,
        probe=tuple(round(float(x), 6) for x in reference_vector(embedder)),
    )


def _restore_copies(folder: Path, report: RepairReport) -> None:
    """Put back damaged manifests and lists of deleted rows, and delete newer versions that cannot be read."""
    differing = {one.path for one in damages(folder)}
    for copy, name in sound_copies(folder):
        original = folder / name
        if name in differing or not original.exists():
            delete(original)
            original.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(copy, original)
            report.actions.append(f"{name}: restored from its copy")
    table = folder / TABLE_FOLDER
    for _, name in version_names(table):
        try:
            read_version(table, name)
        except DataError:
            delete(table / name)
            report.actions.append(f"{TABLE_FOLDER}/{name}: deleted, because it cannot be read")
            continue
        break


def _restore_rows(folder: Path, card: LibraryCard, report: RepairReport) -> tuple[LanceStore, dict[str, str]]:
    """Return the table with every row that can be read, and the files whose rows are lost: path -> reason."""
    differing = [one for one in damages(folder) if not one.path.startswith(SAFETY)]
    store, problems = _open(folder, card, differing)
    rows_damaged = store is None or any(one.path.startswith(ROW_FOLDERS) for one in differing) or bool(problems)
    indexes = set(newest_version(folder).indexes.values()) if version_names(folder / TABLE_FOLDER) else set()
    lost: dict[str, str] = {}
    if rows_damaged:
        rows, lost = _salvaged(folder, card, differing)
        note_sounds(folder, lost)
        store = _rebuild(folder, card, rows, report)
        for name in DERIVED_FILES:
            delete(folder / name)  # they follow the version of the table, which may start again
        report.windows_kept = rows.num_rows
        report.files_kept = len(set(rows["path"].to_pylist()))
        report.actions.append(f"{TABLE_FOLDER}: {report.files_kept} files with {rows.num_rows} windows kept")
    assert store is not None
    if indexes and (differing or rows_damaged):
        store.drop_indexes()
        if VECTOR_INDEX in indexes and store.count():
            store.build_index()
        store.index_filters()
        report.actions.append(f"{TABLE_FOLDER}: indexes built again")
    if differing or rows_damaged:
        _delete_other_files(folder)
    return store, lost


def _open(folder: Path, card: LibraryCard, differing: Sequence[FileDamage]) -> tuple[LanceStore | None, dict[str, str]]:
    """Return the table, or None if it cannot be opened, and the problems of its rows if its files are sound."""
    if any(one.path.startswith(ROW_FOLDERS) for one in differing):
        return None, {}
    try:
        store = LanceStore(folder, card.embed_dim)
        return store, row_problems(sorted_rows(store), card.embed_dim)
    except DataError:
        return None, {}


def _salvaged(folder: Path, card: LibraryCard, differing: Iterable[FileDamage]) -> tuple[pa.Table, dict[str, str]]:
    """Return the complete files of all versions that can be read, newest first, and the files that are lost.

    The rows of earlier versions are used only for files that are on disk with the stored size and time.
    """
    table = folder / TABLE_FOLDER
    missing = {one.path.removeprefix(f"{TABLE_FOLDER}/") for one in differing}
    rows = SalvagedRows(card)
    usable: dict[Fragment, tuple[int, int]] = {}  # each fragment, in the newest version that has it
    newest = 0
    for position, (number, name) in enumerate(version_names(table)):
        try:
            fragments = read_version(table, name).fragments
        except DataError:
            continue
        for fragment in fragments:
            if fragment.deletion not in missing:
                usable.setdefault(fragment, (number, fragment.number))
            elif not position:
                rows.incomplete = True
        newest = newest or number
    for parts, earlier in (
        ([part for part in usable.values() if part[0] == newest], False),
        ([part for part in usable.values() if part[0] != newest], True),
    ):
        if earlier and not rows.incomplete:
            break
        for part in salvage(folder, parts):
            rows.incomplete |= part is None
            if part is not None:
                rows.take(part, earlier=earlier)
    return rows.finish()


def _rebuild(folder: Path, card: LibraryCard, rows: pa.Table, report: RepairReport) -> LanceStore:
    """Replace the table's content by these rows in one commit, or write a new table if it cannot be opened."""
    try:
        store = LanceStore(folder, card.embed_dim)
    except DataError:
        delete(folder / TABLE_FOLDER)
        report.actions.append(f"{TABLE_FOLDER}: written again, because it could not be opened")
        delete(folder / RECORD)
        store = LanceStore(folder, card.embed_dim, create=True)
    store.overwrite(rows)
    return store


def _delete_other_files(folder: Path) -> None:
    """Delete the files of the table that its newest version does not need; damaged files are among them."""
    table = folder / TABLE_FOLDER
    needed = set(newest_version(folder).files(table))
    for path in sorted(table.rglob("*"), reverse=True):
        name = path.relative_to(table).as_posix()
        if path.is_dir() and not path.is_symlink():
            if not any(one.startswith(f"{name}/") for one in needed) and not any(path.iterdir()):
                path.rmdir()
        elif name not in needed:
            path.unlink()


def _renew_record(folder: Path, report: RepairReport) -> None:
    """Write the record and the copies again if they are damaged, or if this repair changed anything."""
    if report.actions or damaged_copies(folder) or not (folder / RECORD).is_file():
        if not report.actions:
            report.actions.append(f"{SAFETY}: checksums and copies written again")
        for name in (RECORD, COPIES):
            delete(folder / name)
        record_files(folder)


def _embed_again(
    store: LanceStore,
    card: LibraryCard,
    lost: dict[str, str],
    report: RepairReport,
    open_model: Callable[[str], Embedder],
) -> None:
    """Embed the sounds of the library's folders that have no rows, and those that are known to be lost."""
    if not report.actions:
        return
    stored = stored_files(store)
    plan = Plan(new=plan_roots(card, stored).new)
    listed = {file.path for file in plan.new}
    for path, reason in lost.items():
        if path in stored or path in listed:
            continue
        try:
            plan.new.append(find(path))
        except AuralError:
            report.lost.append(f"{path}: {reason}, and the sound does not exist any more")
    if not plan.new:
        return
    library = Library(store.folder)
    for result in library.carry_out(plan, open_model(card.model)):
        if result.error is None:
            report.embedded.append(result.path)
        elif result.path in lost:
            report.lost.append(f"{result.path}: {lost[result.path]}, and {result.error}")
