"""`aural search`: find sounds by words, by example sounds, and without unwanted words."""

from __future__ import annotations

import sys
from contextlib import suppress
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
    marks: MarkOptions,
    remember: Annotated[
        bool, typer.Option("--remember/--no-remember", help="Add the query to the library's history.")
    ] = True,
    locate: Annotated[
        bool, typer.Option("--locate", help="Say where the words are heard in each hit, and rank the hits by it.")
    ] = False,
    exact: Annotated[bool, typer.Option("--exact", help="Compare every window; do not use the index.")] = False,
    options: ModelOptions,
    as_json: JsonOption = False,
) -> None:
    """Search a library by words, example sounds, or both. Prints each file with the best matching window."""
    import numpy as np

    from aural.core.scoring import Calibration
    from aural.search.library import Library
    from aural.search.query import QueryWeights, combine

    if by not in ("both", "sound"):
        raise ConfigError(f'--by "{by}" is not known; use both or sound')
    if reject and like:
        raise ConfigError("--reject compares sounds with words; leave out --like")
    weights = QueryWeights(words_weight, like_weight, not_weight)
    check_filter(where)
    target = Library(library)
    condition = marks.filter(target, where)
    model = options.open(target.card.model)
    sounds: list[FloatArray] = list(model.embed_audio(like)) if like else []
    query = combine(words or [], sounds, minus or [], model.embed_text, weights)
    names = words if by == "both" and words else []
    hits = target.search(query, top, condition, words=names, exact=exact)
    if remember:
        parts = {"words": words, "like": [str(path) for path in like or []], "not": minus, "where": where}
        with suppress(AuralError):  # a library that cannot be written has no history
            target.notebook.remember({name: part for name, part in parts.items() if part}, len(hits))
    if reject:
        least = Calibration.of(model)
        hits = [hit for hit in hits if hit.word_score or least.matches(np.array([hit.score]))]
        if not hits and not as_json:
            print(NOTHING)
    if locate:
        from aural.models.locate import Locator
        from aural.search.place import check_placeable, place

        locator = Locator(model, check_placeable(words or []))
        hits = place(hits, lambda clip: locator.locate(clip).spots(), lambda error: print(error, file=sys.stderr))
    if not hits and not reject:
        print("no sound of the library meets the filter" if condition else "the library has no sounds", file=sys.stderr)
    for hit in hits:
        if as_json:
            times = {"start_s": hit.start_s, "end_s": hit.end_s, "duration_s": hit.duration_s}
            values: dict[str, Any] = {"path": hit.path, "score": round(hit.score, 6)}
            values |= {name: round(seconds, 3) for name, seconds in times.items()}
            values |= {"word_score": round(hit.word_score, 3)}
            if locate:
                places = {"onset_s": hit.onset_s, "offset_s": hit.offset_s, "confidence": hit.confidence}
                values |= {name: None if number is None else round(number, 6) for name, number in places.items()}
            print(json_line(values | {"id": hit.file, "window": hit.window, "tags": hit.tags}))
        else:
            long = hit.end_s - hit.start_s < hit.duration_s - 0.01
            part = f" {clock(hit.start_s)} to {clock(hit.end_s)}" if long else ""
            named = "  [name]" if hit.word_score else ""
            heard = ""
            if hit.confidence is not None:
                heard = f"  heard {hit.onset_s:.1f} to {hit.offset_s:.1f} s, {100 * hit.confidence:.0f}%"
            print(f"{hit.score:+.3f}  {hit.path}{part}{named}{heard}")


def clock(seconds: float) -> str:
    """Format seconds as minutes and seconds, with hours if there are any.

    >>> clock(760), clock(3723)
    ('12:40', '1:02:03')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
