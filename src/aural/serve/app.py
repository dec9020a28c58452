"""The application: routes, errors as sentences, the page, and what lives as long as the server does."""

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
from aural.search.folder import check_model
from aural.search.library import Library, any_window_zero
from aural.serve.engine import ChangedError, Engine, NotHeldError
from aural.serve.guard import COOKIE, Guard, Metrics
from aural.serve.routes import REFUSALS, router
from aural.serve.sandbox import OverloadedError
from aural.serve.schemas import Health, Problem, SessionRequest
from aural.serve.settings import Settings

PAGE = Path(__file__).parent / "page"
PAGE_POLICY = (
    "default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; style-src 'self' 'unsafe-inline'; "
    "connect-src 'self' blob:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"
)


def create_app(library: Library, embedder: Embedder, settings: Settings | None = None) -> FastAPI:
    """An ASGI application that serves one library with one embedder; ConfigError if they do not belong together."""
    settings = settings or Settings()
    check_model(library.card, embedder, library.folder)
    metrics = Metrics()

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        app.state.engine = Engine(library, embedder, settings, metrics)
        metrics.files.set(library.store.count(any_window_zero()))
        yield
        await app.state.engine.close()

    app = FastAPI(
        title="aural",
        version=aural.__version__,
        summary="Search a library of sounds by words and by example; name and embed sounds.",
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        lifespan=life,
        docs_url=None,  # those pages load their scripts from another host
        redoc_url=None,
    )
    app.include_router(router)
    _own_routes(app, settings, metrics)
    _errors(app)
    app.add_middleware(Guard, settings=settings, metrics=metrics)
    app.mount("/static", StaticFiles(directory=PAGE), name="static")
    return app


def _own_routes(app: FastAPI, settings: Settings, metrics: Metrics) -> None:
    @app.get("/health", summary="The server is up", tags=["server"])
    async def health() -> Health:
        """Needs no token and asks neither model nor store."""
        return Health(status="ok", version=aural.__version__)

    @app.get("/metrics", summary="Prometheus metrics", tags=["server"], response_class=PlainTextResponse)
    async def tell_metrics(request: Request) -> Response:
        """Counters in Prometheus' text format."""
        metrics.decoders_ended.set(request.app.state.engine.decoders.ended)
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    @app.post("/v1/session", summary="Keep the token as a cookie", tags=["server"], status_code=204, responses=REFUSALS)
    async def session(given: SessionRequest, request: Request) -> Response:
        """For the page: sound elements cannot send headers. The cookie is not sent by other sites."""
        if settings.token and not hmac.compare_digest(given.token.encode("utf-8", "replace"), settings.token.encode()):
            return _problem(request, 401, "this is not the server's token")
        answer = Response(status_code=204)
        if settings.token:
            answer.set_cookie(COOKIE, settings.token, httponly=True, samesite="strict", path="/")
        return answer

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html", headers={"Content-Security-Policy": PAGE_POLICY})


def _errors(app: FastAPI) -> None:
    @app.exception_handler(AuralError)
    async def refused(request: Request, error: AuralError) -> Response:
        status = 404 if isinstance(error, NotHeldError) else 410 if isinstance(error, ChangedError) else 422
        return _problem(request, status, str(error))

    @app.exception_handler(OverloadedError)
    async def overloaded(request: Request, error: OverloadedError) -> Response:
        answer = _problem(request, 503, "too many requests wait already; try again in a moment")
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
    found = Problem(error=error.encode("utf-8", "replace").decode(), request_id=request.state.request_id)
    return JSONResponse(found.model_dump(), status)
