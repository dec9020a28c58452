"""`aural mcp`: offer a library to programs that speak the Model Context Protocol."""

from __future__ import annotations

from aural.cli.options import LibraryOption, ModelOptions, with_model_options


@with_model_options
def mcp(*, library: LibraryOption, options: ModelOptions) -> None:
    """Serve the tools search, classify and info over stdin and stdout (Model Context Protocol)."""
    from aural.search.library import Library
    from aural.serve.mcp_tools import create_mcp_server

    target = Library(library)
    create_mcp_server(target, options.open(target.card.model)).run()
