"""Follow sounds that were moved to another folder: their rows get new addresses, and nothing is embedded again.

The new folder is added to the card before the rows change, and the old one leaves it afterwards, so that an update
after an interruption at any moment deletes no row. Repeating the move completes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from aural.core.errors import AudioError, ConfigError, DataError
from aural.search.embed import file_columns
from aural.search.filters import one_of
from aural.search.folder import LibraryCard, read_card, write_card
from aural.search.lance import FILES_PER_COMMIT, table_of, vectors_of
from aural.search.library import FileResult, Library
from aural.search.locations import FoundFile, address_of, content_hash, find, is_below, is_storable
from aural.search.plan import StoredFile


class _Move(NamedTuple):
    """A stored file and the file that it became."""

    before: StoredFile
    after: FoundFile


def move(library: Library, old: str | Path, new: str | Path, *, dry_run: bool = False) -> Iterator[FileResult]:
    """Give every file below `old` the same place below `new`; yield each file by its new path after the commit.

    A file with the stored size and time is not read; otherwise its content is hashed. A file that does not exist at its
    new place, or has another content there, is skipped and keeps its rows. dry_run: change nothing. Raises DataError if
    the library has no file below `old`.
    """
    before, after = address_of(old), address_of(new)
    if before == after:
        raise ConfigError(f"{old}: is the same folder as {new}; name the folder where the sounds are now")
    if not is_storable(after):
        raise ConfigError(f"{new}: its name is not UTF-8; rename the folder")
    if dry_run:
        yield from _checked(library, before, after, {})
        return
    with library.writing():
        library.card = card = read_card(library.folder)
        if not any(is_below(after, root) for root in card.roots):
            library.card = card.model_copy(update={"roots": (*card.roots, after)})
            write_card(library.folder, library.card)
        stored = library.files()
        if _only_card_is_left(card, stored, before, after):
            _finish_card(library, before, after, keep_old=False)
            return
        skipped = False
        moves: dict[str, _Move] = {}
        for result in _checked(library, before, after, moves):
            if result.error is not None:
                skipped = True
                yield result
        paths = list(moves)
        for start in range(0, len(paths), FILES_PER_COMMIT):
            chunk = [moves[path] for path in paths[start : start + FILES_PER_COMMIT]]
            _rewrite(library, chunk, stored)
            yield from (FileResult(one.after.path, "moved") for one in chunk)
        _finish_card(library, before, after, keep_old=skipped)
        library.words.update()


def _only_card_is_left(card: LibraryCard, stored: Mapping[str, StoredFile], old: str, new: str) -> bool:
    """Return whether an earlier move was interrupted after it wrote all rows: only the card names the old folder."""
    if any(is_below(path, old) for path in stored):
        return False
    return any(is_below(root, old) for root in card.roots) and any(is_below(path, new) for path in stored)


def _checked(library: Library, old: str, new: str, moves: dict[str, _Move]) -> Iterator[FileResult]:
    """Yield what happens to each file below `old`, and fill `moves` with the files that can be moved."""
    files = [one for path, one in sorted(library.files().items()) if is_below(path, old)]
    if not files:
        raise DataError(f"{old}: the library contains no sounds there; `aural library info` shows its folders")
    for before in files:
        target = new + before.path[len(old) :]
        try:
            after = find(target)
            if not _same_content(before, after):
                raise AudioError(f"{target}: has another content than {before.path}; run `aural library update`")
        except AudioError as error:
            yield FileResult(target, "skipped", error=error)
            continue
        moves[after.path] = _Move(before, after)
        yield FileResult(after.path, "moved")


def _same_content(before: StoredFile, after: FoundFile) -> bool:
    if before.size != after.size:
        return False
    return before.mtime_ns == after.mtime_ns or content_hash(after.source) == before.hash


def _rewrite(library: Library, moves: list[_Move], stored: Mapping[str, StoredFile]) -> None:
    """Replace the rows of these files in one commit. A file that the library has at its new place too is replaced."""
    by_id = {one.before.file: one for one in moves}
    table = library.store.rows(library.store.columns, one_of("file", list(by_id)))
    rows: list[dict[str, Any]] = [
        row | file_columns(by_id[row["file"]].after) for row in table.drop_columns(["vector"]).to_pylist()
    ]
    replaced = [*by_id, *(stored[one.after.path].file for one in moves if one.after.path in stored)]
    dim = library.card.embed_dim
    library.store.replace(replaced, table_of(rows, vectors_of(table, dim), dim))


def _finish_card(library: Library, old: str, new: str, *, keep_old: bool) -> None:
    """Give roots and removed addresses below `old` their new place; keep the old ones if files were skipped."""

    def moved(address: str) -> str:
        return new + address[len(old) :] if is_below(address, old) else address

    card = library.card
    roots = [moved(root) for root in card.roots]
    roots += [root for root in card.roots if keep_old and is_below(root, old)]
    roots = [root for root in dict.fromkeys(roots) if root != new or _needed(new, roots)]
    library.card = card.model_copy(update={"roots": tuple(roots), "removed": tuple(moved(one) for one in card.removed)})
    write_card(library.folder, library.card)


def _needed(root: str, roots: list[str]) -> bool:
    """Return whether no other root contains this one."""
    return not any(other != root and is_below(root, other) for other in roots)
