"""Let a running server follow its library to another space: the new model is loaded while the old one answers."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import TypeAlias

from fastapi import FastAPI

from aural.core.errors import DataError
from aural.core.types import Embedder
from aural.search.folder import check_model
from aural.search.library import Library
from aural.search.spaces import active_folder
from aural.serve.guard import LOG, describe
from aural.serve.service import InferenceService

OpenModel: TypeAlias = Callable[[str], Embedder]
"""A function that loads a model by the name that is stored in a library."""


@contextlib.asynccontextmanager
async def following(app: FastAPI, first: InferenceService, open_model: OpenModel | None) -> AsyncIterator[None]:
    """Set `app.state.service`, and replace it whenever the library is switched to another space.

    Requests that began before a switch are answered by the service that they began with. If the new model cannot be
    loaded, the old service stays. Without `open_model` the first service stays.
    """
    app.state.service = first
    retired: list[tuple[float, InferenceService]] = []
    task = asyncio.create_task(_follow(app, open_model, retired)) if open_model is not None else None
    try:
        yield
    finally:
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        for service in [app.state.service, *(service for _, service in retired)]:
            await service.close()


async def _follow(app: FastAPI, open_model: OpenModel, retired: list[tuple[float, InferenceService]]) -> None:
    refused = None
    loop = asyncio.get_running_loop()
    while True:
        service: InferenceService = app.state.service
        await asyncio.sleep(service.settings.space_poll_s)
        while retired and retired[0][0] < loop.time():
            await retired.pop(0)[1].close()
        with contextlib.suppress(DataError, OSError):
            folder = await asyncio.to_thread(active_folder, service.library.root)
            if folder in (service.library.folder, refused):
                continue
            try:
                library, embedder = await asyncio.to_thread(_load, service, open_model)
            except Exception as error:  # whatever a model raises, the old one answers
                refused = folder
                LOG.error(json.dumps({"event": "switch refused"} | describe(error)))
                continue
            app.state.service = InferenceService(library, embedder, service.settings, service.metrics)
            refused = None
            retired.append((loop.time() + 2 * service.settings.request_timeout_s, service))
            LOG.info(json.dumps({"event": "switched", "model": library.card.model}))


def _load(service: InferenceService, open_model: OpenModel) -> tuple[Library, Embedder]:
    library = Library(service.library.root)
    embedder = open_model(library.card.model)
    check_model(library.card, embedder, library.folder)
    embedder.embed_text(["ready"])  # build the model before the first request
    return library, embedder
