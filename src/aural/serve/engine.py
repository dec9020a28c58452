"""What the routes share: the library, the embedder (any `Embedder`) behind its batchers, the decoders."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np

from aural.core.errors import AudioError, AuralError, DataError
from aural.core.scoring import NEUTRAL, Calibration, label_prompts
from aural.core.types import Clip, Embedder, FloatArray
from aural.search.index import ExactIndex, Hit
from aural.search.library import Library, any_window_zero, best_windows
from aural.search.query import Weights, combine
from aural.search.source import Found, stat
from aural.search.store import INDEX_FROM_ROWS
from aural.search.where import Condition, any_of, parse
from aural.serve.batch import Batcher, TextCache
from aural.serve.guard import Metrics
from aural.serve.sandbox import DecodePool
from aural.serve.settings import Settings

T = TypeVar("T")
MOST_TAGS = 200


class NotHeldError(AuralError):
    """The library holds no such file."""


class ChangedError(AuralError):
    """The file is not what the library took in."""


class Engine:
    """One library and one embedder, asked by many at once."""

    def __init__(self, library: Library, embedder: Embedder, settings: Settings, metrics: Metrics) -> None:
        self.library, self.embedder, self.settings, self.metrics = library, embedder, settings, metrics
        self._exact: tuple[int, ExactIndex | None] | None = None
        self._loading = threading.Lock()
        self._tags: tuple[int, dict[str, int]] | None = None
        self._model_thread = ThreadPoolExecutor(1, "aural-model")
        self._store_threads = ThreadPoolExecutor(max(4, os.cpu_count() or 1), "aural-store")
        shared: dict[str, Any] = {"size": settings.batch_size, "wait_s": settings.batch_wait_s}
        shared["max_waiting"] = settings.max_waiting
        texts = Batcher(embedder.embed_text, self._model_thread, **shared, seen=metrics.batch.labels("text").observe)
        self._sounds = Batcher(
            embedder.embed_audio, self._model_thread, **shared, seen=metrics.batch.labels("sound").observe
        )
        self._text_batcher, self.texts = texts, TextCache(texts, settings.cached_texts)
        self.decoders = DecodePool(
            settings.decode_workers, settings.decode_memory_mib, settings.decode_timeout_s, settings.max_waiting
        )

    async def close(self) -> None:
        await self._text_batcher.close()
        await self._sounds.close()
        await self.decoders.close()
        self._model_thread.shutdown()
        self._store_threads.shutdown(wait=False, cancel_futures=True)  # a map that is being drawn is not waited for

    async def on_store(self, work: Callable[..., T], *arguments: Any) -> T:
        """Run a question to the store on a thread of its own."""
        return await asyncio.get_running_loop().run_in_executor(self._store_threads, work, *arguments)

    async def sound(self, upload: Any) -> tuple[FloatArray, float]:
        """The vector (E,) of an uploaded sound, and its length in seconds."""
        clip = await self.decoders.decode(
            upload, sample_rate_hz=self.embedder.sample_rate_hz, most_s=self.settings.max_duration_s
        )
        return (await self._sounds.embed([clip]))[0], clip.duration_s

    async def search(
        self,
        words: Sequence[str],
        like: Sequence[str],
        minus: Sequence[str],
        where: str | None,
        top: int,
        weights: Weights,
        sound: FloatArray | None = None,
    ) -> list[Hit]:
        """Hits of a query, best first; see `aural.search.query.combine`."""
        condition = parse(where) if where and where.strip() else None
        held = [await self.on_store(self._vector, file) for file in like]
        sounds = held if sound is None else [*held, sound]
        wanted = [text for text in (*words, *minus) if text.strip()]
        vectors = dict(zip(wanted, await self.texts.embed(wanted), strict=True)) if wanted else {}

        def look_up(texts: Sequence[str]) -> FloatArray:
            return np.stack([vectors[text] for text in texts])

        query = combine(words, sounds, minus, look_up, weights)
        return await self.on_store(self._search, query, top, condition)

    def _search(self, query: FloatArray, top: int, condition: Condition | None) -> list[Hit]:
        """By the index in memory while the library is small enough to be compared whole, else by the store."""
        index = self._index()
        if index is None:
            return self.library.search(query, top, condition)
        return best_windows(lambda rows: index.search(query, rows, condition), top)

    def _index(self) -> ExactIndex | None:
        """All rows in memory, read again when the library changed; None from `INDEX_FROM_ROWS` rows on."""
        store = self.library.store
        version = store.version
        with self._loading:
            if self._exact is None or self._exact[0] != version:
                self._exact = version, store.exact() if store.count() < INDEX_FROM_ROWS else None
            return self._exact[1]

    def _vector(self, file: str) -> FloatArray:
        try:
            return self.library.vector(file)
        except DataError as error:
            raise NotHeldError(str(error)) from None

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

    def tags(self) -> dict[str, int]:
        """Files with each tag, the most frequent first; counted again when the library changed."""
        version = self.library.store.version
        if self._tags is None or self._tags[0] != version:
            rows = self.library.store.rows(["tags"], any_window_zero())["tags"].to_pylist()
            counts = Counter(tag for row in rows for tag in row)
            self._tags = version, dict(counts.most_common(MOST_TAGS))
        return self._tags[1]

    async def place(self, file: str) -> Found:
        """Where a held sound lies, if it is still the one that the library took in."""
        return await self.on_store(self._place, file)

    def _place(self, file: str) -> Found:
        rows = self.library.store.rows(["path", "size", "mtime_ns"], any_of("file", [file])).slice(0, 1).to_pylist()
        if not rows:
            raise NotHeldError(f"{file}: the library holds no such file; take the id from a search")
        try:
            found = stat(rows[0]["path"])
        except AudioError:
            raise ChangedError(f"{file}: the file is not on its disk any more; run `aural library update`") from None
        if (found.size, found.mtime_ns) != (rows[0]["size"], rows[0]["mtime_ns"]):
            raise ChangedError(f"{file}: the file changed since it was added; run `aural library update`")
        return found

    async def excerpt(self, file: str, start_s: float, end_s: float) -> Clip:
        """A part of a held file at its own rate, decoded in a process of its own."""
        place = await self.place(file)
        return await self.decoders.decode(
            place.path, sample_rate_hz=None, start_s=start_s, most_s=end_s - start_s, cut=True
        )
