"""The entry point of `aural`. An AuralError is printed as one sentence on stderr with exit code 2."""

from __future__ import annotations

import io
import re
import sys
from typing import Annotated

import typer

import aural
from aural.cli import (
    ask,
    audit,
    caption,
    classify,
    corpus,
    data,
    demo,
    distill,
    embed,
    evaluate,
    library,
    locate,
    mcp,
    models,
    reproduce,
    search,
    serve,
    tag,
    train,
)
from aural.core.errors import AuralError, ConfigError
from aural.core.plugins import add_plugin, load_plugins
from aural.core.printable import printable
from aural.core.printable import safe_print as print

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
    *(classify.classify, classify.similarity, locate.locate, tag.tag, caption.caption, ask.ask, embed.embed, demo.demo),
    *(train.train, distill.distill, evaluate.evaluate, evaluate.compare, audit.audit, reproduce.reproduce),
    *(search.search, serve.serve, mcp.mcp),
):
    app.command()(_command)
app.add_typer(library.app, name="library")
app.add_typer(models.app, name="models")
app.add_typer(corpus.app, name="corpus")


MAY_BE_EMPTY = (
    *("-m", "-t", "-l", "--model", "--template", "--text", "--labels", "--not", "--where", "--token"),
    *("--title", "--artist", "--genre", "--description"),
)
"""Options whose text may be empty, or is refused with a better reason."""


def _refuse_empty(words: list[str]) -> None:
    """Raise ConfigError for an empty argument: as a path it would name the current folder."""
    for before, word in zip(["", *words], words, strict=False):
        if word == "" and before not in MAY_BE_EMPTY and "search" not in words[:1]:
            what = f"the value of {before}" if before.startswith("-") else "an argument"
            raise ConfigError(f"{what} is empty; name a file, a folder or a value")
        if word.startswith("--") and word.endswith("=") and word[:-1] not in MAY_BE_EMPTY:
            raise ConfigError(f"the value of {word[:-1]} is empty; name a file, a folder or a value")


def _shortened(message: str) -> str:
    """Return a message without the middle of words of 400 characters and more, such as an argument that it quotes."""
    return re.sub(r"\S{400,}", lambda match: f"{match.group()[:150]}...{match.group()[-150:]}", message)


def main() -> None:
    """Run the command line; errors that a user can fix are printed without a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # letters that the terminal's encoding lacks must not end a command
            stream.reconfigure(errors="backslashreplace")
    try:
        _refuse_empty(sys.argv[1:])
        app()
    except AuralError as error:
        print(f"error: {_shortened(printable(error))}", file=sys.stderr)
        sys.exit(2)
    except UnicodeEncodeError as error:  # bytes of an argument that are not UTF-8, which Python keeps as surrogates
        text = _shortened(printable(error.object))
        print(f"error: {text}: is not valid UTF-8; rename the file or type the text again", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(141)
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        reason = _shortened(printable(f"{place}{error.strerror or error}"))
        print(f"error: {reason}; check the path, its permissions and the free space", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()
