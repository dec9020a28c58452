"""A library of sound files: the vectors of their windows in a table, and search over both.

A file is added in one commit with all its windows. A reader therefore never sees part of a file, and an interrupted add
loses no file that was reported. The library works with any `aural.core.types.Embedder`.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from aural.core.errors import AuralError, ConfigError, DataError
from aural.core.files import filled_folder
from aural.core.types import Embedder, FloatArray
from aural.search.checksums import check_opened
from aural.search.copies import NO_COPIES, CopyIndex
from aural.search.embed import EmbeddedFile, FileEmbedder, FileJob, embed_files, file_columns
from aural.search.facts import Facts
from aural.search.filters import FIRST_WINDOWS, Filter, one_of, parse_filter
from aural.search.folder import (
    FORMAT,
    LibraryCard,
    check_model,
    read_card,
    reference_vector,
    stored_card,
    write_card,
    writer_lock,
)
from aural.search.fuse import config_for
from aural.search.index import Hit, Index
from aural.search.lance import INDEX_FROM_ROWS, LanceStore, table_of, vectors_of
from aural.search.locations import FoundFile, address_of, content_hash, is_storable
from aural.search.mapped import MappedIndex
from aural.search.mapped_files import holds_newest
from aural.search.near import file_vectors
from aural.search.notebook import Notebook
from aural.search.plan import Plan, StoredFile, plan_locations, plan_roots
from aural.search.rank import MOST_HITS, Ranking
from aural.search.removed import with_roots
from aural.search.spaces import active_folder, space_folder
from aural.search.words import WordIndex

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK_FILES: Final = 1024
"""Number of files that are hashed and then embedded together."""

COMMIT_FILES: Final = 256
COMMIT_S: Final = 5.0
"""A commit follows after this many files or seconds, whichever comes first."""

DEFAULT_WINDOW_S: Final = 10.0

Status = Literal["added", "changed", "touched", "copied", "moved", "removed", "skipped"]


@dataclass(frozen=True, slots=True)
class FileResult:
    """The result of an add or update for one file; it is yielded after the commit.

    status: "touched" means that only size or time differ; "copied" means that the vectors of a file with the same
    content are used; "moved" means that the rows got another path. error: the reason why the file was skipped.
    """

    path: str
    status: Status
    windows: int = 0
    silent: bool = False
    error: AuralError | None = None


@dataclass(slots=True)
class _PendingCommit:
    """Complete files that wait for the next commit."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    vectors: list[FloatArray] = field(default_factory=list)
    results: list[FileResult] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    contents: list[tuple[str, str]] = field(default_factory=list)
    """Former and present content hash of changed files."""
    since: float = field(default_factory=time.monotonic)


class Library:
    """A library in a folder, open for reading. Its writing methods hold the writer's lock while they run."""

    def __init__(self, folder: str | Path, *, space: str | None = None) -> None:
        """Open the library in `folder`. space: a space instead of the active one; see `aural.search.spaces`."""
        self.root = Path(folder)
        self.folder = active_folder(self.root) if space is None else space_folder(self.root, space)
        self._follows = space is None
        self.card = read_card(self.folder)
        check_opened(self.folder)
        self.store = LanceStore(self.folder, self.card.embed_dim, defer=holds_newest(self.folder))
        self.mapped = MappedIndex(self.folder, self.store)
        self.notebook = Notebook(self.root)
        self.facts = Facts(self.root)
        self.words = WordIndex(self.folder, self.store, self.facts)
        self.copies = CopyIndex(self.folder, self.store)
        self._checked: Embedder | None = None  # the embedder that passed `check_model`

    @classmethod
    def create(cls, folder: str | Path, embedder: Embedder, *, model: str, window_s: float | None = None) -> Library:
        """Open the library in `folder`, or create it for this embedder.

        model: the name that loads the model again. window_s: seconds per window of a new library, default 10. Raises
        ConfigError if the folder cannot be created, or its library has another model or other windows.
        """
        folder = Path(folder)
        created = stored_card(active_folder(folder)) is None and _create(
            folder, embedder, model, DEFAULT_WINDOW_S if window_s is None else window_s
        )
        library = cls(folder)
        if created:
            library._checked = embedder
        if window_s is not None and abs(window_s - library.card.window_s) > 1e-6:
            raise ConfigError(
                f"{folder}: has windows of {library.card.window_s:g} s, not {window_s:g} s; leave the window out, or "
                "create another library"
            )
        library._check_model(embedder)
        return library

    def _check_model(self, embedder: Embedder) -> None:
        """Raise ConfigError for another model; the same embedder is checked once."""
        if self._checked is not embedder:
            check_model(self.card, embedder, self.folder)
        self._checked = embedder

    # Reading -------------------------------------------------------------------------------------------------------

    def search(
        self,
        query: FloatArray,
        top: int = 20,
        where: Filter | None = None,
        *,
        words: Sequence[str] = (),
        exact: bool = False,
        fold: bool = True,
    ) -> list[Hit]:
        """Return the `top` best files, each with its nearest window.

        query: a unit vector (E,). words: texts whose words in names, folders and tags also count (`aural.search.fuse`);
        without them files are ranked by the vector alone. exact=True compares every window even if there is an
        approximate index. fold: list copies of a sound in `Hit.copies` of the best one instead of separately.
        """
        if not isinstance(top, int) or not 1 <= top <= MOST_HITS:
            raise ConfigError(f"top is {top}; it must be a whole number between 1 and {MOST_HITS}")
        index = partial(self.store.search, exact=True) if exact else self.index().search
        named = partial(self.words.search, words) if words else None
        copies = self.copies.groups() if fold else NO_COPIES
        return Ranking(index, query, where, named, copies, config_for(top)).best(top)[0]

    def index(self) -> Index:
        """Return the fastest index of the newest commit: the mapped index if there is one, else the table."""
        return self.mapped.current() or self.store

    def filter(self, text: str | None) -> Filter | None:
        """Parse a filter, which may use the facts of the library; None for an empty text."""
        return parse_filter(text, self.facts.columns()) if text and text.strip() else None

    def files(self) -> dict[str, StoredFile]:
        """Return every file of the library by its path."""
        return stored_files(self.store)

    def windows(self, file: str) -> pa.Table:
        """Return all columns of a file's windows, in order; no rows if the library does not contain the file."""
        rows = self.store.rows(self.store.columns, one_of("file", [file]))
        return rows.sort_by("window")

    def vector(self, file: str) -> FloatArray:
        """Return the vector (E,) of a file; see `file_vectors`. Raises DataError for an unknown file."""
        rows = self.windows(file)
        if not rows.num_rows:
            raise DataError(f"{file}: the library contains no such file; use the id from a search")
        return file_vectors(rows, self.card.embed_dim)[1][0]

    def all_file_vectors(self) -> tuple[list[str], FloatArray]:
        """Return the ids of all files and their vectors (F, E); see `file_vectors`."""
        return file_vectors(self.store.rows(["file", "window", "end", "vector"]), self.card.embed_dim)

    # Writing -------------------------------------------------------------------------------------------------------

    def add(
        self,
        locations: Iterable[str | Path],
        embedder: Embedder,
        *,
        roots: Iterable[str | Path] = (),
        embed_with: FileEmbedder | None = None,
        on_plan: Callable[[Plan], None] = lambda plan: None,
    ) -> Iterator[FileResult]:
        """Add the sounds of files, folders, tars and object stores (see `aural.search.locations`).

        roots: the locations that later updates look through. embed_with: what embeds files (default: this process, with
        `embedder`). on_plan: receives the plan before the work starts.
        """
        with self.writing():
            locations = list(locations)
            self._store_roots(roots, locations)
            plan = plan_locations(locations, self.files())
            on_plan(plan)
            yield from self.carry_out(plan, embedder, embed_with)

    def update(
        self,
        embedder: Embedder,
        *,
        prune: bool = False,
        embed_with: FileEmbedder | None = None,
        on_plan: Callable[[Plan], None] = lambda plan: None,
    ) -> Iterator[FileResult]:
        """Add new and changed files below the library's roots and delete vanished ones; otherwise like `add`.

        prune: also delete the files of roots that are missing or empty.
        """
        with self.writing():
            self.card = read_card(self.folder)
            plan = plan_roots(self.card, self.files(), prune=prune)
            on_plan(plan)
            yield from self.carry_out(plan, embedder, embed_with)

    def optimize(self, *, build_from: int = INDEX_FROM_ROWS) -> bool:
        """Compact the table and bring the approximate indexes up to date.

        Returns True if they were built, which happens from `build_from` rows on; see `LanceStore.optimize`.
        """
        with self.writing():
            return self.optimize_locked(build_from=build_from)

    def optimize_locked(self, *, build_from: int = INDEX_FROM_ROWS) -> bool:
        """Do what `optimize` does; the caller holds the writer's lock."""
        built = self.store.optimize(build_from=build_from)
        self.mapped.update(create=True)
        self.copies.update()
        return built

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Hold the writer's lock; see `aural.search.folder.writer_lock`.

        Raises DataError if the library was switched to another space since it was opened.
        """
        with writer_lock(self.folder):
            if self._follows and active_folder(self.root) != self.folder:
                raise DataError(f"{self.root}: was switched to another space meanwhile; run the command again")
            yield
            self.mapped.update()
            self.copies.update()

    def delete_if_empty(self) -> None:
        """Delete the library and its folder if no file was ever added and no other process is writing to it."""
        with contextlib.suppress(DataError), self.writing():
            if not self.store.count() and self.folder == self.root:
                shutil.rmtree(self.folder, ignore_errors=True)

    def _store_roots(self, roots: Iterable[str | Path], added: Iterable[str | Path]) -> None:
        self.card = read_card(self.folder)
        kept = filter(is_storable, map(address_of, roots))  # the others are skipped
        merged = with_roots(self.card, kept, map(address_of, added))
        if merged != self.card:
            self.card = merged
            write_card(self.folder, self.card)

    def carry_out(self, plan: Plan, embedder: Embedder, embed_with: FileEmbedder | None = None) -> Iterator[FileResult]:
        """Embed and store the files of a plan; the caller holds the writer's lock. See `add`."""
        self._check_model(embedder)
        embed = embed_with or (lambda jobs: embed_files(jobs, embedder, self.card.window_s))
        for error in plan.errors:
            yield FileResult(str(error).partition(": ")[0], "skipped", error=error)
        stored = self.files()
        by_hash = {one.hash: one.file for one in stored.values()}
        changed = {file.file for file in plan.changed}
        pending = _PendingCommit()
        for start in range(0, len(plan.to_read), CHUNK_FILES):
            jobs: list[FileJob] = []
            for file in plan.to_read[start : start + CHUNK_FILES]:
                try:
                    job = FileJob(file, content_hash(file.source))
                except AuralError as error:
                    yield FileResult(file.path, "skipped", error=error)
                    continue
                if file.path in stored and stored[file.path].hash == job.hash:
                    self.store.revise(_size_and_time(file))
                    yield FileResult(file.path, "touched")
                    continue
                if file.path in stored:
                    pending.contents.append((stored[file.path].hash, job.hash))
                if job.hash in by_hash:
                    copy = self._copy(job, by_hash[job.hash])
                    yield from self._take(pending, copy, "copied", file.file in changed)
                else:
                    jobs.append(job)
            for embedded in embed(jobs):
                file = embedded.job.file
                if embedded.error is not None:
                    yield FileResult(file.path, "skipped", error=embedded.error)
                    continue
                by_hash[embedded.job.hash] = file.file
                status: Status = "changed" if file.file in changed else "added"
                yield from self._take(pending, embedded, status, file.file in changed)
            yield from self._commit(pending)
        if plan.vanished:
            self.store.remove([one.file for one in plan.vanished])
            yield from (FileResult(one.path, "removed") for one in plan.vanished)
        self.words.update()

    def _copy(self, job: FileJob, original: str) -> EmbeddedFile:
        """Return the rows of a file whose content the library has as file `original`."""
        table = self.windows(original)
        rows = [row | file_columns(job.file) for row in table.drop_columns(["vector"]).to_pylist()]
        return EmbeddedFile(job, rows, vectors_of(table, self.card.embed_dim))

    def _take(
        self, pending: _PendingCommit, embedded: EmbeddedFile, status: Status, replaces: bool
    ) -> Iterator[FileResult]:
        """Add a file to the pending commit, and commit if it is time."""
        pending.rows += embedded.rows
        pending.vectors.append(embedded.vectors)
        pending.results.append(FileResult(embedded.job.file.path, status, len(embedded.rows), embedded.silent))
        if replaces:
            pending.replaced.append(embedded.job.file.file)
        if len(pending.results) >= COMMIT_FILES or time.monotonic() - pending.since > COMMIT_S:
            yield from self._commit(pending)

    def _commit(self, pending: _PendingCommit) -> Iterator[FileResult]:
        """Write the pending files in one commit, yield their results, and empty `pending`."""
        if pending.rows:
            table = table_of(pending.rows, np.concatenate(pending.vectors), self.card.embed_dim)
            self.notebook.carry_over(pending.contents)  # first, so that an interruption cannot lose marks
            if pending.replaced:
                self.store.replace(pending.replaced, table)
            else:
                self.store.append(table)
        yield from pending.results
        pending.rows, pending.vectors, pending.results, pending.replaced = [], [], [], []
        pending.contents = []
        pending.since = time.monotonic()


def stored_files(store: LanceStore) -> dict[str, StoredFile]:
    """Return every file of a table by its path."""
    names = ["file", "path", "size", "mtime_ns", "hash"]
    rows = store.rows(names, FIRST_WINDOWS).to_pydict()
    stored = (StoredFile(*values) for values in zip(*(rows[name] for name in names), strict=True))
    return {one.path: one for one in stored}


def _create(folder: Path, embedder: Embedder, model: str, window_s: float) -> bool:
    """Create the table and card of a new library; returns False if another process did so first."""
    if not 0.1 <= window_s <= 600:
        raise ConfigError(f"window_s is {window_s}; it must be between 0.1 and 600 seconds")
    with filled_folder(folder, ConfigError), writer_lock(folder):
        if stored_card(folder) is not None:
            return False
        card = LibraryCard(
            aural=FORMAT,
            model=model,
            sample_rate_hz=embedder.sample_rate_hz,
            embed_dim=embedder.embed_dim,
            window_s=window_s,
            probe=tuple(round(float(x), 6) for x in reference_vector(embedder)),
        )
        LanceStore(folder, card.embed_dim, create=True)
        write_card(folder, card)
    return True


def _size_and_time(file: FoundFile) -> pa.Table:
    import pyarrow as pa

    values = file_columns(file)
    return pa.table({name: [values[name]] for name in ("file", "size", "mtime_ns", "modified")})
