"""Answer the requests of all routes: the library, the embedder behind its batchers, and the decoders."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import numpy as np

from aural.core.errors import AudioError, AuralError, DataError
from aural.core.printable import printable
from aural.core.scoring import NEUTRAL, Calibration, label_prompts
from aural.core.types import Clip, Embedder, FloatArray
from aural.core.vectors import check_vector
from aural.search.copies import NO_COPIES
from aural.search.facets import facets
from aural.search.filters import FIRST_WINDOWS, Filter, all_of, one_of
from aural.search.folder import CARD, UnusableLibraryError
from aural.search.fuse import config_for, value
from aural.search.index import ExactIndex, Hit, Index
from aural.search.lance import INDEX_FROM_ROWS
from aural.search.library import Library
from aural.search.map_groups import WORDS, group
from aural.search.marked import MarkFilter, with_marks
from aural.search.query import QueryWeights, combine
from aural.search.rank import Ranking
from aural.search.sound_map import sound_map
from aural.serve.batch import Batcher, TextCache
from aural.serve.cursor import Position
from aural.serve.guard import LOG, describe
from aural.serve.held import HeldFile, Opener, SwappedError
from aural.serve.ids import KEY_BYTES, PublicIds, library_key
from aural.serve.metrics import Metrics
from aural.serve.sandbox import DecodePool
from aural.serve.schemas import MapResponse
from aural.serve.settings import Settings
from aural.serve.shared import Shared
from aural.serve.words import Words

T = TypeVar("T")
MAX_TAGS = 200


class UnknownFileError(AuralError):
    """The library contains no such file."""


class ChangedError(AuralError):
    """The file on disk is missing or differs from the one that was added."""


class MissingLibraryError(DataError):
    """The library was moved, deleted or damaged while it is served."""


@dataclass(frozen=True, slots=True)
class Query:
    """A search request: words, ids of example files, unwanted words, a filter, and the vectors of uploaded sounds."""

    words: Sequence[str] = ()
    like: Sequence[str] = ()
    minus: Sequence[str] = ()
    where: str | None = None
    top: int = 20
    weights: QueryWeights = field(default_factory=QueryWeights)
    sounds: Sequence[FloatArray] = ()
    marks: MarkFilter = field(default_factory=MarkFilter)
    names: bool = True
    """Whether the words also count in names, folders and tags; see `aural.search.fuse`."""
    fold: bool = True
    """Whether copies of a sound are one hit; see `aural.search.rank`."""


class InferenceService:
    """One library and one embedder, shared by all requests of a server.

    The model runs on one thread, questions to the library on several, and decoders in processes.
    """

    def __init__(self, library: Library, embedder: Embedder, settings: Settings, metrics: Metrics) -> None:
        self.library = library
        self.embedder = embedder
        self.settings = settings
        self.metrics = metrics
        self._exact: tuple[int, ExactIndex | None] | None = None
        self._loading = threading.Lock()
        self.ids = PublicIds(library_key(library.root) or secrets.token_bytes(KEY_BYTES))
        self._opener = Opener(library.card.roots)
        self.writers = Words(embedder)
        self._maps = Shared(self._draw_map, "aural-map")
        self._map_words: FloatArray | None = None
        self._tags = Shared(self._count_tags, "aural-tags")
        self._model_thread = ThreadPoolExecutor(1, "aural-model")
        self._store_threads = ThreadPoolExecutor(max(4, os.cpu_count() or 1), "aural-store")
        self._texts = self._batcher(embedder.embed_text, "text")
        self._sounds = self._batcher(embedder.embed_audio, "sound")
        self.texts = TextCache(self._texts, settings.cached_texts)
        self.decoders = DecodePool(
            settings.decode_workers, settings.decode_memory_mib, settings.decode_timeout_s, settings.max_waiting
        )

    def _batcher(self, embed: Callable[[list[Any]], FloatArray], kind: str) -> Batcher[Any]:
        return Batcher(
            embed,
            self._model_thread,
            size=self.settings.batch_size,
            wait_s=self.settings.batch_wait_s,
            max_waiting=self.settings.max_waiting,
            on_batch=self.metrics.batch.labels(kind).observe,
        )

    async def close(self) -> None:
        """End the threads and processes."""
        await self._texts.close()
        await self._sounds.close()
        await self.decoders.close()
        self._maps.close()
        self._tags.close()
        self._model_thread.shutdown()
        self._store_threads.shutdown(wait=False, cancel_futures=True)

    async def on_store(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run a function that reads the library on a thread. Raises MissingLibraryError if the library is gone."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._store_threads, self._read, work, *arguments)

    def _read(self, work: Callable[..., T], *arguments: Any) -> T:
        folder = self.library.folder
        if not (folder / CARD).is_file():
            raise MissingLibraryError("the library was moved or deleted; put it back or restart the server")
        try:
            return work(*arguments)
        except (UnusableLibraryError, OSError, RuntimeError, ValueError) as error:
            LOG.error(json.dumps({"event": "library unreadable"} | describe(error)))
            raise MissingLibraryError("the library cannot be read; run `aural library check` on the server") from None

    async def on_model(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run a function on the thread of the model, in the order of requests."""
        return await asyncio.get_running_loop().run_in_executor(self._model_thread, work, *arguments)

    async def decoded(self, upload: Any, client: str) -> Clip:
        """Return an uploaded sound, mono at the model's rate."""
        return await self.decoders.decode_upload(
            upload, client=client, sample_rate_hz=self.embedder.sample_rate_hz, max_s=self.settings.max_duration_s
        )

    async def sound(self, upload: Any, client: str) -> tuple[FloatArray, float]:
        """Return the vector (E,) of an uploaded sound, and its duration in seconds."""
        clip = await self.decoded(upload, client)
        vector = (await self._sounds.embed([clip]))[0]
        check_vector(vector, "the upload", clip.samples)
        return vector, clip.duration_s

    async def search(self, query: Query) -> list[Hit]:
        """Return the hits of a query, best first; see `aural.search.query.combine`."""
        return (await self.page(query))[0]

    async def page(self, query: Query, after: Position | None = None) -> tuple[list[Hit], Position | None]:
        """Return the hits of a query that come after a position, and the end of this page if there are more.

        See `aural.search.query.combine` and `aural.serve.cursor`. Hits have public ids.
        """
        condition = await self.on_store(self.library.filter, query.where)
        if query.marks:
            condition = await self.on_store(with_marks, self.library.notebook, query.marks, condition)
        sounds = [await self.on_store(self._vector, file) for file in query.like] + list(query.sounds)
        texts = [text for text in (*query.words, *query.minus) if text.strip()]
        vectors = dict(zip(texts, await self.texts.embed(texts), strict=True)) if texts else {}

        def look_up(wanted: Sequence[str]) -> FloatArray:
            return np.stack([vectors[text] for text in wanted])

        vector = combine(query.words, sounds, query.minus, look_up, query.weights)
        page, more = await self.on_store(self._page, vector, query, condition, after)
        shown = len(page) + (0 if after is None else after.shown)
        end = Position(shown, value(page[-1]), page[-1].file) if more else None
        return [self._public(hit) for hit in page], end

    def _public(self, hit: Hit) -> Hit:
        """Return a hit and its copies with public ids."""
        return replace(hit, file=self.ids.hide(hit.file), copies=tuple(self._public(copy) for copy in hit.copies))

    def _page(
        self, vector: FloatArray, query: Query, condition: Filter | None, after: Position | None
    ) -> tuple[list[Hit], bool]:
        """Search in memory while the library is small enough for it, otherwise in the table."""
        index: Index = self._index() or self.library.index()
        words = partial(self.library.words.search, query.words) if query.words and query.names else None
        copies = self.library.copies.groups() if query.fold else NO_COPIES
        ranking = Ranking(index.search, vector, condition, words, copies, config_for(query.top))
        if after is None:
            return ranking.best(query.top)
        return ranking.best(query.top, lambda hit: after.is_before(value(hit), hit.file), after.shown)

    def _index(self) -> ExactIndex | None:
        """Return all rows in memory, read again when the library changed; None from `INDEX_FROM_ROWS` rows on."""
        store = self.library.store
        version = store.version
        with self._loading:
            if self._exact is None or self._exact[0] != version:
                self._exact = version, store.exact() if store.count() < INDEX_FROM_ROWS else None
            return self._exact[1]

    def _vector(self, public: str) -> FloatArray:
        try:
            return self.library.vector(self.ids.reveal(public))
        except UnusableLibraryError:
            raise
        except DataError:
            raise unknown(public) from None

    async def classify(
        self, vector: FloatArray, labels: Sequence[str], template: str, multi_label: bool
    ) -> list[tuple[str, float, float]]:
        """Return (label, score, cosine) per label, best first; see `aural.core.scoring.Calibration.scores`."""
        calibration = Calibration.of(self.embedder)
        rows = await self.texts.embed(label_prompts([*labels, NEUTRAL], template))
        cosines = rows @ vector
        scores = calibration.scores(cosines[:-1], multi_label=multi_label, neutral=cosines[-1])
        order = np.argsort(-scores, kind="stable")
        return [(labels[i], float(scores[i]), float(cosines[i])) for i in order]

    def matches(self, cosines: Sequence[float]) -> bool | None:
        """Return whether any of the cosines of sounds with words is a match; None where that was not measured."""
        calibration = Calibration.of(self.embedder)
        return None if calibration.least is None else calibration.matches(np.asarray(cosines))

    async def facets(self, where: str | None) -> dict[str, dict[str, int]]:
        """Return the number of files per value of each fact; see `aural.search.facets.facets`."""
        condition = await self.on_store(self.library.filter, where)
        return await self.on_store(facets, self.library, condition)

    async def hashes(self, ids: Sequence[str]) -> dict[str, str]:
        """Return the content hash per public id; ids of no file are left out."""
        hidden = {self.ids.reveal(public): public for public in ids}
        where = all_of(FIRST_WINDOWS, one_of("file", list(hidden)))
        rows = (await self.on_store(self.library.store.rows, ["file", "hash"], where)).to_pylist()
        contents = {hidden[row["file"]]: str(row["hash"]) for row in rows}
        return {public: contents[public] for public in dict.fromkeys(ids) if public in contents}

    async def hash(self, public: str) -> str:
        """Return the content hash of a file. Raises UnknownFileError for an unknown id."""
        contents = await self.hashes([public])
        if not contents:
            raise unknown(public)
        return contents[public]

    async def remember(self, query: Mapping[str, Any], hits: int) -> None:
        """Add a query to the history; a library that cannot be written has none."""
        with contextlib.suppress(MissingLibraryError, DataError):
            await self.on_store(self.library.notebook.remember, query, hits)

    async def map(self) -> bytes:
        """Return the map as JSON; it is computed once per version of the library, on a separate thread."""
        if self._map_words is None:
            self._map_words = await self.texts.embed(list(WORDS))
        return await self._maps.get(await self.on_store(lambda: self.library.store.version))

    def _draw_map(self) -> bytes:
        assert self._map_words is not None
        drawn = self._read(sound_map, self.library)
        groups = self._read(group, self.library, drawn, self._map_words)
        names = [printable(path.rsplit("/", 1)[-1]) for path in drawn.paths]
        ids = [self.ids.hide(file) for file in drawn.files]
        x, y = drawn.xy.round(4).T.tolist()
        answer = MapResponse(
            method=drawn.method,
            ids=ids,
            names=names,
            x=x,
            y=y,
            tags=drawn.tags,
            group=groups.of_file.tolist(),
            groups=groups.names,
        )
        return answer.model_dump_json().encode()

    async def tags(self) -> dict[str, int]:
        """Return the number of files per tag, most frequent first; counted again when the library changed."""
        return await self._tags.get(await self.on_store(lambda: self.library.store.version))

    def _count_tags(self) -> dict[str, int]:
        rows = self._read(self.library.store.rows, ["tags"], FIRST_WINDOWS)["tags"].to_pylist()
        return dict(Counter(tag for row in rows for tag in row).most_common(MAX_TAGS))

    async def open(self, public: str) -> HeldFile:
        """Open a file of the library; the caller closes it.

        Raises UnknownFileError for an unknown id and ChangedError if the file is not the one that was added.
        """
        return await self.on_store(self._open, public)

    def _open(self, public: str) -> HeldFile:
        where = one_of("file", [self.ids.reveal(public)])
        rows = self.library.store.rows(["path", "size", "mtime_ns", "hash", "duration"], where).slice(0, 1).to_pylist()
        if not rows:
            raise unknown(public)
        try:
            return self._opener.open(rows[0])
        except (AudioError, OSError):
            raise ChangedError(f"{public}: the file does not exist any more; run `aural library update`") from None
        except SwappedError:
            raise ChangedError(f"{public}: the file changed since it was added; run `aural library update`") from None

    async def excerpt(self, public: str, start_s: float, end_s: float, client: str, *, mono: bool = True) -> Clip:
        """Return a part of a file of the library at its sample rate, decoded in a separate process."""
        held = await self.open(public)
        with contextlib.closing(held):
            if start_s >= held.duration_s:
                raise AudioError(f"start_s: the sound lasts {held.duration_s:g} s; start before its end")
            place = held.job()
        max_s = end_s - start_s
        return await self.decoders.decode_part(place, client=client, start_s=start_s, max_s=max_s, mono=mono)


def unknown(public: str) -> UnknownFileError:
    """Return the error of an id that names no file."""
    return UnknownFileError(f"{public}: the library contains no such file; use the id from a search")
