"""`aural tag`: print the classes of a tagger over the time of each sound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from aural.cli.files import Batch, json_line, progress
from aural.cli.options import JsonOption, ModelOption, SoundsArgument, StrictOption
from aural.core.errors import ConfigError
from aural.core.names import DEFAULT_TAGGER
from aural.core.printable import printable
from aural.core.printable import safe_print as print

if TYPE_CHECKING:
    from aural.core.types import FloatArray


def tag(
    *,
    sounds: SoundsArgument,
    top: Annotated[int, typer.Option("--top", "-k", help="Largest number of tags per row.", min=1)] = 3,
    least: Annotated[float, typer.Option("--least", help="Least score of a tag, 0 to 1.", min=0.0, max=1.0)] = 0.1,
    model: ModelOption = DEFAULT_TAGGER,
    as_json: JsonOption = False,
    strict: StrictOption = False,
) -> None:
    """Tag sounds with the classes of a trained tagger, for the sound and for each of its windows.

    `aural classify` takes labels of your own; `aural library tag` tags the files of a library with them.
    """
    from aural.models.load import load
    from aural.models.tagging import TaggingModel

    batch = Batch(strict)
    files = batch.find(sounds)
    if not files:
        raise typer.Exit(batch.close())
    tagger = load(model, engine="auto")
    if not isinstance(tagger, TaggingModel):
        raise ConfigError(f'"{model}" is no tagger; use {DEFAULT_TAGGER}, or `aural classify` with labels of your own')

    def tags(scores: FloatArray) -> list[dict[str, Any]]:
        best = [i for i in (-scores).argsort(kind="stable")[:top] if scores[i] >= least]
        return [{"label": tagger.classes[i], "score": round(float(scores[i]), 6)} for i in best]

    for result in progress(tagger.tag(files), len(files), "tagging"):
        if not batch.add(result):
            continue
        windows = [
            {"start_s": round(start, 3), "end_s": round(end, 3), "tags": tags(scores)}
            for (start, end), scores in zip(result.times_s, result.windows, strict=True)
        ]
        line = {"file": str(files[result.index]), "duration_s": round(result.duration_s, 3), "silent": result.silent}
        if as_json:
            print(json_line(line | {"tags": tags(result.scores), "windows": windows}))
            continue
        print(
            f"{printable(line['file'])}  {_words(tags(result.scores))}{'  (digital silence)' if result.silent else ''}"
        )
        for window in windows:
            print(f"{window['start_s']:>9.2f} {window['end_s']:>8.2f} s  {_words(window['tags'])}")
    raise typer.Exit(batch.close())


def _words(tags: list[dict[str, Any]]) -> str:
    return "  ".join(f"{tag['label']} {100 * tag['score']:.0f}%" for tag in tags) or "-"
