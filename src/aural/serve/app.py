"""Create the ASGI application: routes, error messages, the web page, and the service behind them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

import aural
from aural.core.errors import AuralError, DataError
from aural.core.types import Embedder
from aural.search.filters import FIRST_WINDOWS
from aural.search.folder import check_model
from aural.search.library import Library
from aural.search.notebook import UnknownCollectionError
from aural.serve import embeddings_routes, notebook_routes, sound_routes, words_routes
from aural.serve.access import COOKIE, SESSION_S, Access, client_of
from aural.serve.follow import OpenModel, following
from aural.serve.guard import LOG, Guard, describe
from aural.serve.metrics import Metrics
from aural.serve.problems import (
    BUSY,
    CHANGED,
    DISK_FULL,
    INTERNAL,
    INVALID,
    LIBRARY_MISSING,
    MEDIA_TYPE,
    UNKNOWN,
    ProblemKind,
    kind_of_status,
    problem_response,
)
from aural.serve.routes import ERRORS, router
from aural.serve.schemas import Health, SessionRequest
from aural.serve.service import ChangedError, InferenceService, MissingLibraryError, UnknownFileError
from aural.serve.settings import Settings
from aural.serve.turns import OverloadedError

MAX_DETAIL: Final = 2000
_KINDS: Final[Mapping[type[AuralError], ProblemKind]] = {
    UnknownFileError: UNKNOWN,
    UnknownCollectionError: UNKNOWN,
    ChangedError: CHANGED,
    MissingLibraryError: LIBRARY_MISSING,
}
PAGE = Path(__file__).parent / "page"
PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; style-src 'self'; "
    "connect-src 'self' blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
)


def create_app(
    library: Library, embedder: Embedder, settings: Settings | None = None, *, open_model: OpenModel | None = None
) -> FastAPI:
    """Return an ASGI application that serves one library with one embedder.

    open_model: loads the model of another space, so that the server follows a switch (`aural.serve.follow`). Raises
    ConfigError if the library was created with another model.
    """
    settings = settings or Settings()
    check_model(library.card, embedder, library.folder)
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        metrics.files.set(library.store.count(FIRST_WINDOWS))
        async with following(app, InferenceService(library, embedder, settings, metrics), open_model):
            yield

    app = FastAPI(
        title="aural",
        version=aural.__version__,
        summary="Search a library of sounds by words and by example; classify and embed sounds.",
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=lifespan,
        docs_url=None,  # these pages load scripts from another host
        redoc_url=None,
    )
    app.include_router(router)
    app.include_router(notebook_routes.router)
    app.include_router(embeddings_routes.router)
    app.include_router(sound_routes.router)
    app.include_router(words_routes.router)
    access = Access(settings)
    _server_routes(app, settings, access, metrics)
    _error_handlers(app)
    _describe_problems(app)
    app.add_middleware(Guard, settings=settings, metrics=metrics, access=access)
    app.mount("/static", StaticFiles(directory=PAGE), name="static")
    return app


def _server_routes(app: FastAPI, settings: Settings, access: Access, metrics: Metrics) -> None:
    @app.get("/health", summary="Check that the server runs", tags=["server"])
    async def health() -> Health:
        """Return the version. Needs no token and uses neither the model nor the library."""
        return Health(status="ok", version=aural.__version__)

    @app.get("/metrics", summary="Prometheus metrics", tags=["server"], response_class=PlainTextResponse)
    async def show_metrics(request: Request) -> Response:
        """Return counters in the text format of Prometheus."""
        service = request.app.state.service
        metrics.decoders_ended.set(service.decoders.ended)
        try:
            metrics.show_library(await service.on_store(service.library.store.stats))
        except DataError:
            metrics.readable.set(0)
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @app.post("/v1/session", summary="Start a session", tags=["server"], status_code=204, responses=ERRORS)
    async def session(credentials: SessionRequest, request: Request) -> Response:
        """Set a cookie for the page, because audio elements cannot send headers. It is a random id, not the token."""
        refused = access.check_token(credentials.token, client_of(request.scope))
        if refused is not None:
            return _problem(request, *refused)
        answer = Response(status_code=204)
        if settings.token:
            options: dict[str, Any] = {"httponly": True, "samesite": "strict", "path": "/", "max_age": SESSION_S}
            answer.set_cookie(COOKIE, access.sessions.start(), secure=request.url.scheme == "https", **options)
        return answer

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers={"Content-Security-Policy": PAGE_POLICY})


def _error_handlers(app: FastAPI) -> None:
    @app.exception_handler(AuralError)
    async def refused(request: Request, error: AuralError) -> Response:
        return _problem(request, _KINDS.get(type(error), INVALID), str(error))

    @app.exception_handler(OverloadedError)
    async def overloaded(request: Request, error: OverloadedError) -> Response:
        return _problem(request, BUSY, "too many requests are waiting; try again in a moment")

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body") or "request"
        return _problem(request, INVALID, f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}")

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        cause = error.__cause__
        if isinstance(cause, OSError):  # the temporary file of an upload
            LOG.error(json.dumps({"event": "failure", "request_id": request.state.request_id} | describe(cause)))
            detail = f"the upload cannot be stored ({cause.strerror or type(cause).__name__}); try again later"
            return _problem(request, DISK_FULL, detail)
        return _problem(request, kind_of_status(error.status_code), str(error.detail), error.headers)

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> Response:  # a failure of the middleware itself
        request_id = getattr(request.state, "request_id", "")
        LOG.error(json.dumps({"event": "failure", "request_id": request_id} | describe(error)))
        return problem_response(INTERNAL, "internal error; see the server's log", request_id)


def _problem(request: Request, kind: ProblemKind, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    request.state.problem = kind.name
    text = detail.encode("utf-8", "replace").decode()[:MAX_DETAIL]
    return problem_response(kind, text, request.state.request_id, headers)


def _describe_problems(app: FastAPI) -> None:
    """State in the OpenAPI description that errors are problem documents; FastAPI describes them as plain JSON."""
    described = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            for path in described()["paths"].values():
                for operation in path.values():
                    for status, response in operation["responses"].items():
                        if not status.startswith(("2", "3")):
                            response["content"] = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
        return app.openapi_schema or {}

    app.openapi = openapi  # type: ignore[method-assign]
