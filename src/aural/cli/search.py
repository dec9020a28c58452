"""`aural search`: find sounds by words, by example, and by what they are not."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aural.cli.files import json_line
from aural.cli.options import (
    AUTO_DEVICE,
    DeviceOption,
    JsonOption,
    LibraryOption,
    OfflineOption,
    PrecisionOption,
    TokenizerOption,
    WhereOption,
    open_towers,
)

if TYPE_CHECKING:
    from aural.core.types import FloatArray


def search(
    library: LibraryOption,
    words: Annotated[list[str] | None, typer.Argument(help='What it sounds like: "rain on a tin roof".')] = None,
    like: Annotated[list[Path] | None, typer.Option("--like", help="A sound that it resembles (repeat).")] = None,
    minus: Annotated[list[str] | None, typer.Option("--not", help="Words that it must not resemble (repeat).")] = None,
    where: WhereOption = None,
    top: Annotated[int, typer.Option("--top", "-k", min=1, max=10_000, help="Files to show.")] = 20,
    words_weight: Annotated[float, typer.Option("--words-weight", help="How much words count.")] = 1.0,
    like_weight: Annotated[float, typer.Option("--like-weight", help="How much sounds count.")] = 1.0,
    not_weight: Annotated[float, typer.Option("--not-weight", help="How much unwanted words count.")] = 0.5,
    exact: Annotated[bool, typer.Option("--exact", help="Compare every window, index or not.")] = False,
    device: DeviceOption = AUTO_DEVICE,
    precision: PrecisionOption = "fp32",
    tokenizer: TokenizerOption = None,
    offline: OfflineOption = False,
    as_json: JsonOption = False,
) -> None:
    """Search a library by words, an example sound, or both; each file with the place where it fits best."""
    from aural.search.filters import parse_filter
    from aural.search.library import Library
    from aural.search.query import QueryWeights, combine

    condition = parse_filter(where) if where else None
    weights = QueryWeights(words_weight, like_weight, not_weight)
    held = Library(library)
    model = open_towers(held.card.model, device, precision, tokenizer, offline)
    sounds: list[FloatArray] = list(model.embed_audio(like)) if like else []
    query = combine(words or [], sounds, minus or [], model.embed_text, weights)
    for hit in held.search(query, top, condition, exact=exact):
        if as_json:
            times = {"start_s": hit.start_s, "end_s": hit.end_s, "duration_s": hit.duration_s}
            values: dict[str, Any] = {"path": hit.path, "score": round(hit.score, 6)}
            values |= {name: round(seconds, 3) for name, seconds in times.items()}
            print(json_line(values | {"id": hit.file, "window": hit.window, "tags": hit.tags}))
        else:
            long = hit.end_s - hit.start_s < hit.duration_s - 0.01
            place = f" {clock(hit.start_s)} to {clock(hit.end_s)}" if long else ""
            print(f"{hit.score:+.3f}  {hit.path}{place}")


def clock(seconds: float) -> str:
    """12:40, or 1:02:03 from an hour on."""
    whole = round(seconds)
    hours, minutes = divmod(whole // 60, 60)
    return f"{hours}:{minutes:02}:{whole % 60:02}" if hours else f"{minutes}:{whole % 60:02}"
