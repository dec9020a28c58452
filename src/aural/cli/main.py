"""The entry point of `aural`. An AuralError is printed as one sentence on stderr with exit code 2."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

import aural
from aural.cli import (
    audit,
    classify,
    corpus,
    data,
    demo,
    embed,
    evaluate,
    library,
    locate,
    models,
    reproduce,
    search,
    serve,
    train,
)
from aural.core.errors import AuralError
from aural.core.plugins import add_plugin, load_plugins

app = typer.Typer(
    name="aural",
    help="Classify, search and embed sounds with natural language.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(data.app, name="data")


def _version(value: bool) -> None:
    if value:
        print(aural.__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")] = (
        False
    ),
    plugin: Annotated[
        list[str] | None,
        typer.Option(
            "--plugin",
            metavar="MODULE",
            help="A module, .py file or package folder that adds objectives, encoders, systems, tasks or recipes; "
            "may be repeated.",
        ),
    ] = None,
) -> None:
    """Classify, search and embed sounds with natural language."""
    for module in plugin or []:
        add_plugin(module)
    if plugin:
        load_plugins()


for _command in (
    *(classify.classify, classify.similarity, locate.locate, embed.embed, demo.demo, train.train),
    *(evaluate.evaluate, evaluate.compare, audit.audit, reproduce.reproduce, search.search, serve.serve),
):
    app.command()(_command)
app.add_typer(library.app, name="library")
app.add_typer(models.app, name="models")
app.add_typer(corpus.app, name="corpus")


def main() -> None:
    """Run the command line; errors that a user can fix are printed without a traceback."""
    try:
        app()
    except AuralError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)


if __name__ == "__main__":
    main()
