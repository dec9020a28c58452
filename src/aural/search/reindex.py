"""Build a second space of a library with another model while the first one serves, switch to it, and switch back.

A reindex writes only to the new space, which is a separate library. It can be interrupted and repeated: sounds with
vectors in the new space are not embedded again. The switch is one replacement of `spaces.json`, under the locks of both
spaces, and only if no sound would be missing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from aural.core.errors import AudioError, ConfigError, DataError
from aural.core.files import delete
from aural.core.types import Embedder
from aural.search.embed import FileEmbedder
from aural.search.filters import FIRST_WINDOWS
from aural.search.folder import read_card, write_card, writer_lock
from aural.search.library import FileResult, Library
from aural.search.locations import find
from aural.search.plan import Plan, StoredFile
from aural.search.spaces import (
    FIRST,
    Pointer,
    check_space,
    read_pointer,
    space_folder,
    space_names,
    write_pointer,
)


@dataclass(frozen=True, slots=True)
class Space:
    """A space of a library. missing: files of the active space that it does not contain as they are there."""

    name: str
    model: str
    files: int
    missing: int
    active: bool
    previous: bool


def name_of(model: str) -> str:
    """Return the usual name of the space of a model.

    >>> name_of("/models/larger clap.v2/")
    'larger-clap.v2'
    """
    return re.sub(r"[^A-Za-z0-9._-]+", "-", model.rstrip("/").rpartition("/")[2]).strip("-._")[:64] or "space"


def new_space(root: Path, embedder: Embedder, *, model: str, name: str, window_s: float | None = None) -> Library:
    """Open the space `name`, or create it for this embedder.

    window_s: seconds per window of a new space, default 10. Raises ConfigError if the space is active, or has another
    model or other windows.
    """
    if name in (FIRST, read_pointer(root).active):
        raise ConfigError(f"{root}: {name} is in use; give the new space another name with --name")
    read_card(space_folder(root, FIRST))  # a folder without a library gets no space
    return Library.create(space_folder(root, name), embedder, model=model, window_s=window_s)


def reindex(
    library: Library,
    space: Library,
    embedder: Embedder,
    *,
    embed_with: FileEmbedder | None = None,
    on_plan: Callable[[Plan], None] = lambda plan: None,
) -> Iterator[FileResult]:
    """Embed the sounds of a library into a space; yield each file after the commit.

    Sounds that the space already has are not embedded, and those that the library has no more are deleted from it. Tags
    are copied at the end.
    """
    with writer_lock(space.folder):
        plan = _plan(library.files(), space.files())
        on_plan(plan)
        yield from space.carry_out(plan, embedder, embed_with)
        _copy_tags(library, space)
        space.optimize_locked()


def missing_files(library: Library, space: Library) -> list[str]:
    """Return the paths of files that the space does not contain as they are in the library."""
    present = {path: one.hash for path, one in space.files().items()}
    return sorted(path for path, one in library.files().items() if present.get(path) != one.hash)


def switch(root: Path, name: str, *, allow_missing: bool = False) -> int:
    """Make a space the active one, unless it is, and return the number of files that it lacks.

    The folders that updates look through, and what was removed, are those of the space that was active. Raises
    DataError if files would be missing, unless `allow_missing`, and BusyLibraryError if one of the spaces is being
    written.
    """
    check_space(root, name)
    pointer = read_pointer(root)
    if pointer.active == name:
        return 0
    active, space = Library(root), Library(root, space=name)
    with writer_lock(active.folder), writer_lock(space.folder):
        if read_pointer(root) != pointer:
            raise DataError(f"{root}: another process switched the space; look at `aural library spaces`")
        missing = missing_files(active, space)
        if missing and not allow_missing:
            fix = "run `aural library reindex` again, or switch with --allow-missing"
            raise DataError(f"{root}: {name} lacks {len(missing)} sounds of {pointer.active} ({missing[0]}); {fix}")
        card = read_card(active.folder)
        update = {"roots": card.roots, "removed": card.removed}
        write_card(space.folder, read_card(space.folder).model_copy(update=update))
        write_pointer(root, Pointer(active=name, previous=pointer.active))
    return len(missing)


def rollback(root: Path) -> tuple[str, int]:
    """Make the space active that was active before the last switch; return its name and the number of files it lacks.

    Raises ConfigError if there was no switch.
    """
    previous = read_pointer(root).previous
    if previous is None:
        raise ConfigError(f"{root}: there was no switch to take back; see `aural library spaces`")
    return previous, switch(root, previous, allow_missing=True)


def delete_space(root: Path, name: str) -> None:
    """Delete a space that is not active, or what an interrupted `new_space` left.

    The first space cannot be deleted, because the library's folder holds it. An interrupted deletion is completed when
    it is repeated.
    """
    folder = space_folder(root, name)
    gone = folder.with_name(f".{name}.deleted")  # is not listed
    if not folder.is_dir():
        if gone.is_dir():
            delete(gone)
            return
        check_space(root, name)
    pointer = read_pointer(root)
    if name in (FIRST, pointer.active):
        raise ConfigError(f"{root}: {name} is {'the first' if name == FIRST else 'the active'} space and is kept")
    with writer_lock(folder):
        if pointer.previous == name:
            write_pointer(root, Pointer(active=pointer.active))
        delete(gone)
        folder.rename(gone)
        delete(gone)


def spaces(root: Path) -> list[Space]:
    """Describe all spaces of a library."""
    pointer, active = read_pointer(root), Library(root)
    listed = []
    for name in space_names(root):
        space = active if name == pointer.active else Library(root, space=name)
        missing = 0 if space is active else len(missing_files(active, space))
        listed.append(
            Space(
                name,
                space.card.model,
                files=space.store.count(FIRST_WINDOWS),
                missing=missing,
                active=name == pointer.active,
                previous=name == pointer.previous,
            )
        )
    return listed


def _plan(stored: Mapping[str, StoredFile], present: Mapping[str, StoredFile]) -> Plan:
    plan = Plan()
    for path, one in stored.items():
        earlier = present.get(path)
        if earlier is not None and earlier.hash == one.hash:
            plan.unchanged += 1
            continue
        try:
            (plan.new if earlier is None else plan.changed).append(find(path))
        except AudioError as error:
            plan.errors.append(error)
    plan.vanished += [one for path, one in present.items() if path not in stored]
    return plan


def _copy_tags(library: Library, space: Library) -> None:
    """Give the files of a space the tags that they have in the library."""
    import pyarrow as pa

    columns = ["file", "tags"]
    stored = {row["file"]: row["tags"] for row in library.store.rows(columns, FIRST_WINDOWS).to_pylist()}
    present = space.store.rows(columns, FIRST_WINDOWS).to_pylist()
    changed = [row["file"] for row in present if stored.get(row["file"], row["tags"]) != row["tags"]]
    if changed:
        schema = pa.schema([("file", pa.string()), ("tags", pa.list_(pa.string()))])
        rows = {"file": changed, "tags": [stored[file] for file in changed]}
        space.store.revise(pa.table(rows, schema=schema))
        space.words.update()
