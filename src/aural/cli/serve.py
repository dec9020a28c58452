"""`aural serve`: serve a library and its web page over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from aural.cli.options import LibraryOption, ModelOptions, with_model_options
from aural.core.errors import MissingDependencyError


@with_model_options
def serve(
    *,
    library: LibraryOption,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port; 0 selects a free one.")] = 8765,
    token: Annotated[
        str | None,
        typer.Option("--token", envvar="AURAL_TOKEN", help="Token of the clients; 8 characters or more."),
    ] = None,
    max_upload_mib: Annotated[
        float, typer.Option("--max-upload-mib", min=0.01, max=1e6, help="Largest upload in MiB.")
    ] = 32.0,
    max_duration: Annotated[
        float, typer.Option("--max-duration", min=0.1, max=1e6, help="Longest sound in seconds.")
    ] = 300.0,
    proxy: Annotated[
        list[str] | None,
        typer.Option("--proxy", help="Address of a reverse proxy whose X-Forwarded-For names the client. Repeatable."),
    ] = None,
    options: ModelOptions,
) -> None:
    """Serve a library for search in the browser and over HTTP; /openapi.json describes the API."""
    from aural.search.library import Library
    from aural.serve.settings import Settings

    try:
        import fastapi  # noqa: F401
        import prometheus_client  # noqa: F401
        import python_multipart  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(f'the server needs the package {error.name}; pip install "aural[serve]"') from None
    from aural.serve.run import serve as run

    target = Library(library)
    model = options.open(target.card.model)
    values: dict[str, Any] = {"host": host, "port": port, "token": token, "max_duration_s": max_duration}
    values["proxies"] = tuple(proxy or ())
    values["max_upload_bytes"] = round(max_upload_mib * 2**20)
    settings = Settings.parse(values, "aural serve")
    model.embed_text(["ready"])  # build the model before the first request
    run(target, model, settings, open_model=options.open)
