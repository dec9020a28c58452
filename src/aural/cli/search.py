"""`aural search`: find sounds by words, by example sounds, and without unwanted words."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aural.cli.files import json_line
from aural.cli.options import (
    NOTHING,
    JsonOption,
    LibraryOption,
    MarkOptions,
    ModelOptions,
    RejectOption,
    WhereOption,
    check_filter,
    with_model_options,
)
from aural.core.errors import AuralError, ConfigError
from aural.core.printable import safe_print as print

if TYPE_CHECKING:
    from aural.core.types import FloatArray
    from aural.search.index import Hit
    from aural.search.query import QueryWeights


@with_model_options
def search(
    *,
    library: LibraryOption,
    words: Annotated[list[str] | None, typer.Argument(help='Words, such as "rain on a tin roof".')] = None,
    like: Annotated[list[Path] | None, typer.Option("--like", help="An example sound; may be repeated.")] = None,
    minus: Annotated[list[str] | None, typer.Option("--not", help="Unwanted words; may be repeated.")] = None,
    where: WhereOption = None,
    top: Annotated[int, typer.Option("--top", "-k", min=1, max=10_000, help="Number of files to print.")] = 20,
    words_weight: Annotated[float, typer.Option("--words-weight", help="Weight of words.")] = 1.0,
    like_weight: Annotated[float, typer.Option("--like-weight", help="Weight of example sounds.")] = 1.0,
    not_weight: Annotated[float, typer.Option("--not-weight", help="Weight of unwanted words.")] = 0.5,
    by: Annotated[str, typer.Option("--by", help="both: sound and names; sound: the sound alone.")] = "both",
    reject: RejectOption = False,
    fold: Annotated[
        bool, typer.Option("--fold/--no-fold", help="Print copies of a sound as one file with their number.")
    ] = True,
    marks: MarkOptions,
    remember: Annotated[
        bool, typer.Option("--remember/--no-remember", help="Add the query to the library's history.")
    ] = True,
    locate: Annotated[
        bool, typer.Option("--locate", help="Say where the words are heard in each hit, and rank the hits by it.")
    ] = False,
    exact: Annotated[bool, typer.Option("--exact", help="Compare every window; do not use the index.")] = False,
    interactive: Annotated[
        bool, typer.Option("--interactive", "-i", help="Read one query per line and answer each, with one model.")
    ] = False,
    warm: Annotated[
        bool | None,
        typer.Option(
            "--warm/--no-warm",
            help="Answer through a background process, and leave one that ends after 5 idle minutes (AURAL_WARM=N: "
            "always, N minutes).",
        ),
    ] = None,
    options: ModelOptions,
    as_json: JsonOption = False,
) -> None:
    """Search a library by words, example sounds, or both. Prints each file with the best matching window."""
    from aural.search.query import QueryWeights

    if by not in ("both", "sound"):
        raise ConfigError(f'--by "{by}" is not known; use both or sound')
    if reject and like:
        raise ConfigError("--reject compares sounds with words; leave out --like")
    weights = QueryWeights(words_weight, like_weight, not_weight)
    check_filter(where)
    limits = _Limits(where, top, exact, reject, remember, locate, fold)
    session = _Session(library, options, marks, weights, limits, _Shown(as_json, by == "both"))
    if not interactive:
        session.answer(words or [], like or [], minus or [])
        return
    for line in _lines(words or []):
        try:
            session.answer([line], like or [], minus or [])
        except AuralError as error:
            print(f"error: {error}", file=sys.stderr)
        print("", end="" if as_json else "\n", flush=True)


def _lines(first: Sequence[str]) -> Iterator[str]:
    """Yield the queries of the command line and those of stdin, one per line; blank lines are left out."""
    yield from first
    prompt = "search> " if sys.stdin.isatty() else ""
    while True:
        print(prompt, end="", flush=True)
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()


@dataclass(frozen=True)
class _Limits:
    """The options that decide which hits a query has."""

    where: str | None
    top: int
    exact: bool
    reject: bool
    remember: bool
    locate: bool
    fold: bool


@dataclass(frozen=True)
class _Shown:
    """The options that decide how hits are ranked and printed."""

    as_json: bool
    names: bool


class _Session:
    """A library and its model, which answer queries with the same options."""

    def __init__(
        self,
        folder: Path,
        options: ModelOptions,
        marks: MarkOptions,
        weights: QueryWeights,
        limits: _Limits,
        shown: _Shown,
    ) -> None:
        from aural.search.library import Library

        self.library = Library(folder)
        self.condition = marks.filter(self.library, limits.where)
        self.model = options.open(self.library.card.model)
        self.weights, self.limits, self.shown = weights, limits, shown

    def answer(self, words: Sequence[str], like: Sequence[Path], minus: Sequence[str]) -> None:
        """Search and print the hits."""
        import numpy as np

        from aural.core.scoring import Calibration
        from aural.search.query import combine

        limits = self.limits
        sounds: list[FloatArray] = list(self.model.embed_audio(like)) if like else []
        query = combine(words, sounds, minus, self.model.embed_text, self.weights)
        names = words if self.shown.names else []
        hits = self.library.search(query, limits.top, self.condition, words=names, exact=limits.exact, fold=limits.fold)
        if limits.remember:
            parts = {"words": [*words], "like": [str(path) for path in like], "not": [*minus], "where": limits.where}
            with suppress(AuralError):  # a library that cannot be written has no history
                self.library.notebook.remember({name: part for name, part in parts.items() if part}, len(hits))
        if limits.reject:
            least = Calibration.of(self.model)
            hits = [hit for hit in hits if hit.word_score or least.matches(np.array([hit.score]))]
            if not hits and not self.shown.as_json:
                print(NOTHING)
        if limits.locate:
            hits = self._placed(hits, words)
        if not hits and not limits.reject:
            empty = "no sound of the library meets the filter" if self.condition else "the library has no sounds"
            print(empty, file=sys.stderr)
        for hit in hits:
            print(_json(hit, limits.locate) if self.shown.as_json else _line(hit))

    def _placed(self, hits: list[Hit], words: Sequence[str]) -> list[Hit]:
        """Return hits with the places where the words are heard."""
        from aural.models.locate import Locator
        from aural.search.place import check_placeable, place

        locator = Locator(self.model, check_placeable(words))
        return place(hits, lambda clip: locator.locate(clip).spots(), lambda error: print(error, file=sys.stderr))


def _json(hit: Hit, locate: bool) -> str:
    times = {"start_s": hit.start_s, "end_s": hit.end_s, "duration_s": hit.duration_s}
    values: dict[str, Any] = {"path": hit.path, "score": round(hit.score, 6)}
    values |= {name: round(seconds, 3) for name, seconds in times.items()}
    values |= {"word_score": round(hit.word_score, 3)}
    if locate:
        places = {"onset_s": hit.onset_s, "offset_s": hit.offset_s, "confidence": hit.confidence}
        values |= {name: None if number is None else round(number, 6) for name, number in places.items()}
    values |= {"id": hit.file, "window": hit.window, "tags": hit.tags}
    return json_line(values | {"copies": [copy.path for copy in hit.copies]})


def _line(hit: Hit) -> str:
    long = hit.end_s - hit.start_s < hit.duration_s - 0.01
    part = f" {clock(hit.start_s)} to {clock(hit.end_s)}" if long else ""
    named = "  [name]" if hit.word_score else ""
    heard = ""
    if hit.confidence is not None:
        heard = f"  heard {hit.onset_s:.1f} to {hit.offset_s:.1f} s, {100 * hit.confidence:.0f}%"
    copies = f"  + {len(hit.copies)} {'copy' if len(hit.copies) == 1 else 'copies'}" if hit.copies else ""
    return f"{hit.score:+.3f}  {hit.path}{part}{named}{heard}{copies}"


def clock(seconds: float) -> str:
    """Format seconds as minutes and seconds, with hours if there are any.

    >>> clock(760), clock(3723)
    ('12:40', '1:02:03')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
