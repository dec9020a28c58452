"""`aural serve`: the library over HTTP, with its page."""

from __future__ import annotations

from typing import Annotated

import typer

from aural.cli.options import LibraryOption, ModelOptions, with_model_options
from aural.core.errors import MissingDependencyError


@with_model_options
def serve(
    *,
    library: LibraryOption,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes any free port.")] = 8765,
    token: Annotated[
        str | None, typer.Option("--token", envvar="AURAL_TOKEN", help="Asked of every caller; 8 signs or more.")
    ] = None,
    max_upload_mib: Annotated[float, typer.Option("--max-upload-mib", min=0.01, help="Largest upload.")] = 32.0,
    max_duration: Annotated[float, typer.Option("--max-duration", min=0.1, help="Longest upload in seconds.")] = 300.0,
    options: ModelOptions,
) -> None:
    """Serve a library: search in the browser and over HTTP; see /openapi.json."""
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

    held = Library(library)
    model = options.open(held.card.model)
    values = {"host": host, "port": port, "token": token, "max_duration_s": max_duration}
    values["max_upload_bytes"] = round(max_upload_mib * 2**20)
    settings = Settings.parse(values, "aural serve")
    model.embed_text(["ready"])  # the towers are built before the first request
    run(held, model, settings)
