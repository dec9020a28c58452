"""A library of sounds: files on disk, their windows' vectors in the store, and search over both.

Every file is added in one commit with all its windows, so that a reader never sees half a file and a stopped add loses
nothing that was told as done. What the embedder is, the library does not know: see `aural.core.types.Embedder`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from aural.core.errors import AuralError, ConfigError, DataError
from aural.core.types import Embedder, FloatArray
from aural.search.embed import Embedded, Work, embed_files, named
from aural.search.folder import LibraryCard, check_model, probe, read_card, write_card, writer_lock
from aural.search.index import Hit
from aural.search.plan import Held, Plan, plan_paths, plan_roots
from aural.search.source import Found, address_of, content_hash
from aural.search.store import LanceStore, column_of, table_of, vectors_of
from aural.search.where import COLUMNS, Condition, any_of

if TYPE_CHECKING:
    import pyarrow as pa

CHUNK_FILES: Final = 1024  # hashed, then embedded together
COMMIT_FILES, COMMIT_S = 256, 5.0
Engine = Callable[[Sequence[Work]], Iterable[Embedded]]
Status = Literal["added", "changed", "touched", "copied", "removed", "skipped"]


@dataclass(frozen=True, slots=True)
class Done:
    """One file as it is in the library now; told after its commit."""

    path: str
    status: Status
    windows: int = 0
    silent: bool = False
    error: AuralError | None = None


@dataclass(slots=True)
class _Pending:
    """Files that are whole and wait for the next commit."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    vectors: list[FloatArray] = field(default_factory=list)
    done: list[Done] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    since: float = field(default_factory=time.monotonic)


class Library:
    """A library in a folder, open for reading; its writing methods take the writer's lock for as long as they run."""

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        self.card = read_card(self.folder)
        self.store = LanceStore(self.folder, self.card.embed_dim)
        self._checked: Embedder | None = None  # known to be the library's model

    @classmethod
    def create(cls, folder: str | Path, embedder: Embedder, *, model: str, window_s: float = 10.0) -> Library:
        """Open the library in `folder`, or make it for this embedder; `model` is the name to load it by again."""
        folder, made = Path(folder), False
        if not (folder / "library.json").is_file():
            if not 0.1 <= window_s <= 600:
                raise ConfigError(f"window_s is {window_s}; it must lie in 0.1 to 600 seconds")
            if folder.is_file():
                raise ConfigError(f"{folder}: is a file; name a folder for the library")
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigError(f"{folder}: cannot be made ({error.strerror}); name another folder") from None
            with writer_lock(folder):
                if not (folder / "library.json").is_file():
                    card = LibraryCard(
                        model=model,
                        sample_rate_hz=embedder.sample_rate_hz,
                        embed_dim=embedder.embed_dim,
                        window_s=window_s,
                        probe=tuple(round(float(x), 6) for x in probe(embedder)),
                    )
                    LanceStore(folder, card.embed_dim, create=True)
                    write_card(folder, card)
                    made = True
        library = cls(folder)
        library._check(embedder, made)
        return library

    def _check(self, embedder: Embedder, known: bool = False) -> None:
        """Refuse another model; one that was checked is not asked again."""
        if not known and self._checked is not embedder:
            check_model(self.card, embedder, self.folder)
        self._checked = embedder

    # Reading -------------------------------------------------------------------------------------------------------

    def search(
        self, query: FloatArray, top: int = 20, where: Condition | None = None, *, exact: bool = False
    ) -> list[Hit]:
        """The `top` nearest files, best first, each with its nearest window.

        query: a unit vector (E,). exact=True compares every window even where there is an approximate index.
        """
        if not 1 <= top <= 10_000:
            raise ConfigError(f"top is {top}; it must lie in 1 to 10000")
        return best_windows(lambda rows: self.store.search(query, rows, where, exact=exact), top)

    def held(self) -> dict[str, Held]:
        """Every file of the library by its path."""
        names = ["file", "path", "size", "mtime_ns", "hash"]
        rows = self.store.rows(names, any_window_zero()).to_pydict()
        held = (Held(*values) for values in zip(*(rows[name] for name in names), strict=True))
        return {one.path: one for one in held}

    def windows(self, file: str) -> pa.Table:
        """All columns of one file's windows, in order; no rows if the library does not hold it."""
        rows = self.store.rows([*COLUMNS, "mtime_ns", "vector"], any_of("file", [file]))
        return rows.sort_by("window")

    def vector(self, file: str) -> FloatArray:
        """(E,) the mean of a file's windows, each weighted by the sound that it alone brings; of length 1."""
        rows = self.windows(file)
        if not rows.num_rows:
            raise DataError(f"{file}: the library holds no such file; take the id from a search")
        return file_vectors(rows, self.card.embed_dim)[1][0]

    # Writing -------------------------------------------------------------------------------------------------------

    def add(
        self,
        locations: Iterable[str | Path],
        embedder: Embedder,
        *,
        roots: Iterable[str | Path] = (),
        engine: Engine | None = None,
        planned: Callable[[Plan], None] = lambda plan: None,
    ) -> Iterator[Done]:
        """Take in the sounds of these files, folders, tars and object stores (see `aural.search.source`).

        roots: the locations that later updates look through.
        engine: what embeds files (default: this process, with `embedder`). planned: is told the plan before the work.
        """
        with writer_lock(self.folder):
            self._remember(roots)
            plan = plan_paths(locations, self.held())
            planned(plan)
            yield from self._carry_out(plan, embedder, engine)

    def update(
        self,
        embedder: Embedder,
        *,
        prune: bool = False,
        engine: Engine | None = None,
        planned: Callable[[Plan], None] = lambda plan: None,
    ) -> Iterator[Done]:
        """Take in what is new or changed below the library's roots, and drop what vanished; else like `add`."""
        with writer_lock(self.folder):
            self.card = read_card(self.folder)
            plan = plan_roots(self.card.roots, self.held(), prune=prune)
            planned(plan)
            yield from self._carry_out(plan, embedder, engine)

    def optimize(self, **options: Any) -> bool:
        """Join small pieces of the table and bring the approximate index up to date; see `LanceStore.optimize`."""
        with writer_lock(self.folder):
            return self.store.optimize(**options)

    def _remember(self, roots: Iterable[str | Path]) -> None:
        self.card = read_card(self.folder)
        given = [address_of(root) for root in roots]
        merged = tuple(dict.fromkeys([*self.card.roots, *given]))
        if merged != self.card.roots:
            self.card = self.card.model_copy(update={"roots": merged})
            write_card(self.folder, self.card)

    def _carry_out(self, plan: Plan, embedder: Embedder, engine: Engine | None) -> Iterator[Done]:
        self._check(embedder)
        engine = engine or (lambda works: embed_files(works, embedder, self.card.window_s))
        for error in plan.unreadable:
            yield Done(str(error).partition(": ")[0], "skipped", error=error)
        held = self.held()
        by_hash = {one.hash: one.file for one in held.values()}
        replaces = {found.file for found in plan.changed}
        pending = _Pending()
        for at in range(0, len(plan.todo), CHUNK_FILES):
            works: list[Work] = []
            for found in plan.todo[at : at + CHUNK_FILES]:
                try:
                    work = Work(found, content_hash(found.path))
                except AuralError as error:
                    yield Done(found.path, "skipped", error=error)
                    continue
                if found.path in held and held[found.path].hash == work.hash:
                    self.store.revise(_stamp(found))
                    yield Done(found.path, "touched")
                elif work.hash in by_hash:
                    copy = self._copied(work, by_hash[work.hash])
                    yield from self._take(pending, copy, "copied", copy.work.found.file in replaces)
                else:
                    works.append(work)
            for one in engine(works):
                changed = one.work.found.file in replaces
                if one.error is not None:
                    yield Done(one.work.found.path, "skipped", error=one.error)
                    continue
                by_hash[one.work.hash] = one.work.found.file
                yield from self._take(pending, one, "changed" if changed else "added", changed)
            yield from self._commit(pending)
        if plan.vanished:
            self.store.remove([one.file for one in plan.vanished])
            yield from (Done(one.path, "removed") for one in plan.vanished)

    def _copied(self, work: Work, source: str) -> Embedded:
        """The rows of a file whose content the library holds under another name."""
        table = self.windows(source)
        rows = [row | named(work.found) for row in table.drop_columns(["vector"]).to_pylist()]
        return Embedded(work, rows, vectors_of(table, self.card.embed_dim))

    def _take(self, pending: _Pending, one: Embedded, status: Status, replaces: bool) -> Iterator[Done]:
        pending.rows += one.rows
        pending.vectors.append(one.vectors)
        pending.done.append(Done(one.work.found.path, status, len(one.rows), one.silent))
        if replaces:
            pending.replaced.append(one.work.found.file)
        if len(pending.done) >= COMMIT_FILES or time.monotonic() - pending.since > COMMIT_S:
            yield from self._commit(pending)

    def _commit(self, pending: _Pending) -> Iterator[Done]:
        if pending.rows:
            table = table_of(pending.rows, np.concatenate(pending.vectors), self.card.embed_dim)
            if pending.replaced:
                self.store.replace(pending.replaced, table)
            else:
                self.store.append(table)
        yield from pending.done
        pending.rows, pending.vectors, pending.done, pending.replaced = [], [], [], []
        pending.since = time.monotonic()


def best_windows(search: Callable[[int], list[Hit]], top: int) -> list[Hit]:
    """The best window of each of the `top` best files; `search(rows)` gives that many windows, best first."""
    rows = 2 * top + 8
    while True:
        hits = search(rows)
        best: dict[str, Hit] = {}
        for hit in hits:
            best.setdefault(hit.file, hit)
        if len(best) >= top or len(hits) < rows or rows >= 100_000:
            return list(best.values())[:top]
        rows *= 4


def any_window_zero() -> Condition:
    """The first window of every file: one row a file."""
    return Condition("window = 0", "`window` = 0", lambda columns: columns["window"] == 0)


def file_vectors(table: pa.Table, embed_dim: int) -> tuple[list[str], FloatArray]:
    """Files and their unit vectors (F, E): windows summed by the sound that each alone brings."""
    table = table.sort_by([("file", "ascending"), ("window", "ascending")])
    files, ends = column_of(table, "file"), table["end"].to_numpy()
    if not len(files):
        return [], np.empty((0, embed_dim), np.float32)
    firsts = np.flatnonzero(np.r_[True, files[1:] != files[:-1]])
    fresh = np.diff(ends, prepend=0.0)
    fresh[firsts] = ends[firsts]
    sums = np.add.reduceat(vectors_of(table, embed_dim) * fresh[:, None].astype(np.float32), firsts, axis=0)
    return [str(name) for name in files[firsts]], sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)


def _stamp(found: Found) -> pa.Table:
    import pyarrow as pa

    values = named(found)
    return pa.table({name: [values[name]] for name in ("file", "size", "mtime_ns", "modified")})
