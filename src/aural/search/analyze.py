"""Analyze the sounds of a library, and write tags to their files."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any, Final

from aural.audio.metadata import write_tags
from aural.core.errors import AudioError, AuralError
from aural.search.embed import file_columns
from aural.search.facts import facts_of
from aural.search.filters import one_of
from aural.search.lance import table_of, vectors_of
from aural.search.library import FileResult, Library
from aural.search.locations import FoundFile, content_hash, find, source_of
from aural.search.plan import StoredFile

FILES_PER_COMMIT: Final = 64
CHUNK_FILES: Final = 8
"""Number of files that a process takes at once."""


def analyze(library: Library, *, again: bool = False, jobs: int = 1) -> Iterator[FileResult]:
    """Store the facts of every content that has none yet, or of all with `again`; yield each file after its commit.

    jobs: number of processes that read and measure; 1: this one. May be interrupted and repeated, and needs no lock:
    other commands may write to the library meanwhile.
    """
    by_hash = {one.hash: one for one in library.files().values()}
    wanted = list(by_hash) if again else library.facts.missing(list(by_hash))
    with contextlib.ExitStack() as stack:
        pool = None if jobs == 1 else stack.enter_context(ProcessPoolExecutor(jobs, mp_context=get_context("spawn")))
        for start in range(0, len(wanted), jobs * FILES_PER_COMMIT):
            contents = wanted[start : start + jobs * FILES_PER_COMMIT]
            paths = [by_hash[content].path for content in contents]
            answers: Iterator[dict[str, Any] | str] = map(_facts_at, paths)
            if pool is not None:
                answers = pool.map(_facts_at, paths, chunksize=CHUNK_FILES)
            facts: dict[str, dict[str, Any]] = {}
            for content, path, answer in zip(contents, paths, answers, strict=True):
                if isinstance(answer, str):
                    yield FileResult(path, "skipped", error=AudioError(answer))
                else:
                    facts[content] = answer
            library.facts.write(facts)
            yield from (FileResult(by_hash[content].path, "added") for content in facts)


def _facts_at(path: str) -> dict[str, Any] | str:
    """Return the facts of a stored sound, or the reason why it has none."""
    try:
        return facts_of(source_of(path))
    except AuralError as error:
        return str(error)


def write_file_tags(
    library: Library, files: Sequence[StoredFile], tags_of: Callable[[StoredFile], Mapping[str, str]]
) -> Iterator[FileResult]:
    """Write tags to sound files of a library, and give their rows, marks and facts the new content hash.

    tags_of: returns the tags of a file (`aural.audio.metadata.write_tags`). Nothing is embedded again: the samples are
    equal. After an interruption, an update embeds the files whose rows were not written, and keeps their marks.
    """
    with library.writing():
        for start in range(0, len(files), FILES_PER_COMMIT):
            done: dict[str, tuple[StoredFile, FoundFile, str]] = {}
            for before in files[start : start + FILES_PER_COMMIT]:
                try:
                    after = _write(before, tags_of(before))
                    done[before.file] = before, after, content_hash(after.source)
                except AuralError as error:
                    yield FileResult(before.path, "skipped", error=error)
            if done:
                _store(library, done)
            yield from (FileResult(before.path, "changed") for before, _, _ in done.values())


def _write(before: StoredFile, tags: Mapping[str, str]) -> FoundFile:
    source = source_of(before.path)
    if source.path is None:
        raise AudioError(f"{before.path}: is not a file of this machine; its tags cannot be written")
    if content_hash(source) != before.hash:
        raise AudioError(f"{before.path}: changed since it was added; run `aural library update` first")
    write_tags(source.path, tags)
    return find(before.path)


def _store(library: Library, done: Mapping[str, tuple[StoredFile, FoundFile, str]]) -> None:
    library.notebook.carry_over([(before.hash, content) for before, _, content in done.values()])
    analyzed = set(library.facts.columns()["hash"])
    stale = [(after, content) for before, after, content in done.values() if before.hash in analyzed]
    if stale:
        library.facts.write({content: facts_of(after.source) for after, content in stale})
    table = library.store.rows(library.store.columns, one_of("file", list(done)))
    rows = [
        row | file_columns(done[row["file"]][1]) | {"hash": done[row["file"]][2]}
        for row in table.drop_columns(["vector"]).to_pylist()
    ]
    dim = library.card.embed_dim
    library.store.replace(list(done), table_of(rows, vectors_of(table, dim), dim))
