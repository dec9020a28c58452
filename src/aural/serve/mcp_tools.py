"""Offer a library and its model as tools of the Model Context Protocol: search, classify, info.

Source: the package mcp, the protocol's own implementation in Python. The tools read files of the user who started the
server, as any command of this user can.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ParamSpec, TypeVar

import numpy as np
from pydantic import BaseModel, Field

import aural
from aural.core.errors import AuralError, ConfigError, MissingDependencyError
from aural.core.names import DEFAULT_TEMPLATE
from aural.core.printable import printable
from aural.core.scoring import NEUTRAL, Calibration, label_prompts
from aural.core.types import Embedder
from aural.search.describe import describe, describe_file
from aural.search.folder import check_model
from aural.search.library import Library
from aural.search.query import combine

if TYPE_CHECKING:
    from mcp.server import MCPServer

P = ParamSpec("P")
R = TypeVar("R")
MAX_TOP = 100
INSTRUCTIONS = (
    "Search a library of sounds by what they sound like, in words or by an example, and classify sound files with any "
    "labels. Scores are cosines: compare them within one answer only."
)
Texts = list[Annotated[str, Field(min_length=1, max_length=1000)]]


class FoundSound(BaseModel):
    """A sound of the library with the part that matches best."""

    path: str
    score: float
    start_s: float
    end_s: float
    duration_s: float
    tags: list[str]
    copies: list[str] = Field(description="Paths of other files with the same sound.")


class SearchResult(BaseModel):
    """The best sounds first."""

    sounds: list[FoundSound]


class LabelScore(BaseModel):
    """A label with its probability over the labels, or independent of them with multi_label."""

    label: str
    score: float


class Classification(BaseModel):
    """The best labels first."""

    labels: list[LabelScore]


def create_mcp_server(library: Library, embedder: Embedder) -> MCPServer[Any]:
    """Return a server with the tools; `server.run()` serves it over stdin and stdout.

    Raises ConfigError if the library was created with another model.
    """
    try:
        from mcp.server import MCPServer
    except ImportError:
        raise MissingDependencyError('`aural mcp` needs the package mcp; pip install "aural[mcp]"') from None
    server: MCPServer[Any] = MCPServer("aural", version=aural.__version__, instructions=INSTRUCTIONS)
    check_model(library.card, embedder, library.folder)

    @server.tool()
    @_one_sentence
    def search(
        words: Texts = [],  # noqa: B006  # read only
        like: Texts = [],  # noqa: B006
        unlike: Texts = [],  # noqa: B006
        where: str | None = None,
        top: Annotated[int, Field(ge=1, le=MAX_TOP)] = 10,
    ) -> SearchResult:
        """Find sounds by words, by example sound files (`like`: paths), and without unwanted words (`unlike`).

        where: a filter such as "duration < 5 and path like '%ambience%'".
        """
        condition = library.filter(where)
        sounds = list(embedder.embed_audio([Path(path) for path in like])) if like else []
        query = combine(words, sounds, unlike, embedder.embed_text)
        hits = library.search(query, top, condition, words=words)
        return SearchResult(
            sounds=[
                FoundSound(
                    path=printable(hit.path),
                    score=round(hit.score, 4),
                    start_s=round(hit.start_s, 3),
                    end_s=round(hit.end_s, 3),
                    duration_s=round(hit.duration_s, 3),
                    tags=list(hit.tags),
                    copies=[printable(copy.path) for copy in hit.copies],
                )
                for hit in hits
            ]
        )

    @server.tool()
    @_one_sentence
    def classify(
        file: str, labels: Texts, multi_label: bool = False, top: Annotated[int, Field(ge=1, le=MAX_TOP)] = 10
    ) -> Classification:
        """Classify a sound file with any labels (zero-shot). file: its path."""
        if not labels:
            raise ConfigError("labels: there are none; give at least one")
        vector = embedder.embed_audio([Path(file)])[0]
        cosines = embedder.embed_text(label_prompts([*labels, NEUTRAL], DEFAULT_TEMPLATE)) @ vector
        scores = Calibration.of(embedder).scores(cosines[:-1], multi_label=multi_label, neutral=cosines[-1])
        order = np.argsort(-scores, kind="stable")[:top]
        return Classification(labels=[LabelScore(label=labels[i], score=round(float(scores[i]), 6)) for i in order])

    @server.tool()
    @_one_sentence
    def info(file: str | None = None) -> dict[str, Any]:
        """Describe the library (model, files, hours, folders, formats), or one of its files by its path."""
        return asdict(describe(library)) if file is None else describe_file(library, file)

    return server


def _one_sentence(tool: Callable[P, R]) -> Callable[P, R]:
    """Report errors that a user can fix as the one sentence that they consist of."""
    from mcp.server.mcpserver.exceptions import ToolError

    @wraps(tool)
    def run(*arguments: P.args, **options: P.kwargs) -> R:
        try:
            return tool(*arguments, **options)
        except AuralError as error:
            raise ToolError(printable(str(error))) from None

    return run
