"""Create the ASGI application: routes, error messages, the web page, and the service behind them."""

from __future__ import annotations

import hmac
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse, PlainTextResponse
from fastapi.staticfiles import StaticFiles
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException

import aural
from aural.core.errors import AuralError
from aural.core.types import Embedder
from aural.search.filters import FIRST_WINDOWS
from aural.search.folder import check_model
from aural.search.library import Library
from aural.serve.guard import COOKIE, Guard, Metrics
from aural.serve.routes import ERRORS, router
from aural.serve.sandbox import OverloadedError
from aural.serve.schemas import Health, Problem, SessionRequest
from aural.serve.service import ChangedError, InferenceService, UnknownFileError
from aural.serve.settings import Settings

PAGE = Path(__file__).parent / "page"
PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; style-src 'self' 'unsafe-inline'; "
    "connect-src 'self' blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
)


def create_app(library: Library, embedder: Embedder, settings: Settings | None = None) -> FastAPI:
    """Return an ASGI application that serves one library with one embedder.

    Raises ConfigError if the library was created with another model.
    """
    settings = settings or Settings()
    check_model(library.card, embedder, library.folder)
    metrics = Metrics()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.service = InferenceService(library, embedder, settings, metrics)
        metrics.files.set(library.store.count(FIRST_WINDOWS))
        yield
        await app.state.service.close()

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
    _server_routes(app, settings, metrics)
    _error_handlers(app)
    app.add_middleware(Guard, settings=settings, metrics=metrics)
    app.mount("/static", StaticFiles(directory=PAGE), name="static")
    return app


def _server_routes(app: FastAPI, settings: Settings, metrics: Metrics) -> None:
    @app.get("/health", summary="Check that the server runs", tags=["server"])
    async def health() -> Health:
        """Return the version. Needs no token and uses neither the model nor the library."""
        return Health(status="ok", version=aural.__version__)

    @app.get("/metrics", summary="Prometheus metrics", tags=["server"], response_class=PlainTextResponse)
    async def show_metrics(request: Request) -> Response:
        """Return counters in the text format of Prometheus."""
        metrics.decoders_ended.set(request.app.state.service.decoders.ended)
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @app.post("/v1/session", summary="Store the token as a cookie", tags=["server"], status_code=204, responses=ERRORS)
    async def session(credentials: SessionRequest, request: Request) -> Response:
        """Set a cookie for the page, because audio elements cannot send headers. Other sites cannot send the cookie."""
        if settings.token and not hmac.compare_digest(
            credentials.token.encode("utf-8", "replace"), settings.token.encode()
        ):
            return _problem(request, 401, "the token is wrong")
        answer = Response(status_code=204)
        if settings.token:
            answer.set_cookie(COOKIE, settings.token, httponly=True, samesite="strict", path="/")
        return answer

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers={"Content-Security-Policy": PAGE_POLICY})


def _error_handlers(app: FastAPI) -> None:
    @app.exception_handler(AuralError)
    async def refused(request: Request, error: AuralError) -> Response:
        status = 422
        if isinstance(error, UnknownFileError):
            status = 404
        elif isinstance(error, ChangedError):
            status = 410
        return _problem(request, status, str(error))

    @app.exception_handler(OverloadedError)
    async def overloaded(request: Request, error: OverloadedError) -> Response:
        answer = _problem(request, 503, "too many requests are waiting; try again in a moment")
        answer.headers["Retry-After"] = "1"
        return answer

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"] if part != "body") or "request"
        return _problem(request, 422, f"{where}: {first['msg'][:1].lower()}{first['msg'][1:]}")

    @app.exception_handler(HTTPException)
    async def other(request: Request, error: HTTPException) -> Response:
        answer = _problem(request, error.status_code, str(error.detail))
        answer.headers.update(error.headers or {})
        return answer


def _problem(request: Request, status: int, error: str) -> Response:
    problem = Problem(error=error.encode("utf-8", "replace").decode(), request_id=request.state.request_id)
    return JSONResponse(problem.model_dump(), status)
