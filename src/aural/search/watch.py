"""Keep a library up to date while its folders change, until a signal ends it. Source: the package watchfiles.

Changes are collected until the folders are quiet for `WatchConfig.quiet_s`; then the changed paths alone are looked at.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from aural.core.errors import ConfigError, MissingDependencyError
from aural.core.types import Embedder
from aural.search.embed import FileEmbedder
from aural.search.folder import BusyLibraryError, read_card
from aural.search.library import FileResult, Library
from aural.search.locations import is_below
from aural.search.plan import Plan, plan_changes, plan_roots

LEAST_S: Final = 0.01
MOST_S: Final = 3600.0


@dataclass(frozen=True)
class WatchConfig:
    """Times and limits of a watch.

    quiet_s: seconds without a change after which the changes are looked at. poll_s: seconds within which a stop is
    noticed. most_paths: changed paths from which all folders are looked through. most_fragments: fragments of the
    table from which it is compacted.
    """

    quiet_s: float = 1.0
    poll_s: float = 0.5
    most_paths: int = 1000
    most_fragments: int = 20

    def __post_init__(self) -> None:
        for name, seconds in (("quiet_s", self.quiet_s), ("poll_s", self.poll_s)):
            if not LEAST_S <= seconds <= MOST_S:
                raise ConfigError(f"{name} is {seconds:g}; it must be between {LEAST_S:g} and {MOST_S:g} seconds")


DEFAULT = WatchConfig()


def watch(
    library: Library,
    embedder: Embedder,
    stop: threading.Event,
    *,
    embed_with: FileEmbedder | None = None,
    config: WatchConfig = DEFAULT,
) -> Iterator[Plan | FileResult]:
    """Update the library, then again whenever files of its folders change, until `stop` is set.

    Yields each plan before it is carried out, and each file after its commit. Between the updates other processes may
    write to the library; while one does, the changes wait. Object stores, tars and single files are only looked at in
    the first update. Raises ConfigError if the library has no folder to watch.
    """
    folders = [root for root in library.card.roots if os.path.isdir(root)]
    if not folders:
        raise ConfigError(f"{library.folder}: none of its locations is an existing folder; add one before watching")
    try:
        from watchfiles import watch as changes_of
    except ImportError:
        raise MissingDependencyError('watching needs the package watchfiles; pip install "aural[search]"') from None

    def is_watched(_: object, path: str) -> bool:
        below = [path[len(folder) :] for folder in folders if is_below(path, folder)]
        inside_library = is_below(path, os.path.abspath(library.folder))
        return not inside_library and any("/." not in relative for relative in below)

    pending: set[str] | None = None  # None: look through all folders
    for changes in changes_of(
        *folders,
        watch_filter=is_watched,
        debounce=60_000,
        step=round(1000 * config.quiet_s),
        stop_event=stop,
        rust_timeout=round(1000 * config.poll_s),
        yield_on_timeout=True,
        raise_interrupt=False,
    ):
        # The first item comes from the timeout: the folders are watched from then on.
        if pending is not None:
            pending |= {path for _, path in changes}
            if not pending:
                continue
            if len(pending) > config.most_paths:
                pending = None
        with contextlib.suppress(BusyLibraryError):
            yield from _update(library, embedder, pending, stop, embed_with)
            pending = set()
            if library.store.stats()["fragments"] > config.most_fragments:
                library.optimize()


def _update(
    library: Library, embedder: Embedder, paths: set[str] | None, stop: threading.Event, embed_with: FileEmbedder | None
) -> Iterator[Plan | FileResult]:
    """Carry out one update of these paths (None: of all folders); a stop ends it after the file at hand."""
    with library.writing():
        library.card = card = read_card(library.folder)
        stored = library.files()
        plan = plan_roots(card, stored) if paths is None else plan_changes(paths, card, stored)
        yield plan
        for result in library.carry_out(plan, embedder, embed_with):
            yield result
            if stop.is_set():
                return
