"""`aural caption`: describe sounds in a sentence."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aural.cli.files import Batch, json_line, progress, read_lines
from aural.cli.options import JsonOption, ModelOption, ModelOptions, SoundsArgument, StrictOption, with_model_options
from aural.cli.table import check_table, write_table
from aural.core.names import DEFAULT_MODEL
from aural.core.printable import printable
from aural.core.printable import safe_print as print

if TYPE_CHECKING:
    from aural.models.captioner import CaptionResult


@with_model_options
def caption(
    *,
    sounds: SoundsArgument,
    model: ModelOption = DEFAULT_MODEL,
    options: ModelOptions,
    search: Annotated[
        str, typer.Option("--search", help="How words are chosen: beam, greedy, nucleus or contrastive.", metavar="S")
    ] = "beam",
    width: Annotated[int, typer.Option("--width", help="Captions that are compared.", min=1, max=64)] = 5,
    max_tokens: Annotated[int, typer.Option("--max-tokens", help="Longest caption.", min=1, max=512)] = 67,
    seed: Annotated[int, typer.Option("--seed", help="Seed of nucleus search.", min=0)] = 0,
    sentences: Annotated[
        Path | None,
        typer.Option("--sentences", help="Pick from the lines of this file; for models that write no captions."),
    ] = None,
    write: Annotated[
        bool,
        typer.Option("--write", help="Let libre-base and a small language model write the caption: seconds per sound."),
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Write a parquet table instead of lines.")] = None,
    as_json: JsonOption = False,
    strict: StrictOption = False,
) -> None:
    """Describe each sound in a sentence.

    A captioner such as msclap-clapcap writes the sentence, and so does libre-base with --write, if the package of the
    language model is installed. Any other model picks the one that fits best: libre-base from captions of its training
    clips and the names of the 521 classes of AudioSet's tagger, other models from these names. The command says so.
    """
    from aural.generate.writer import SearchConfig
    from aural.models.captioner import RetrievalCaptioner
    from aural.models.writers import captioner_of

    if out is not None:
        check_table(out, "captions")
    lines = read_lines(sentences, "sentence") if sentences else None
    batch = Batch(strict)
    files = batch.find(sounds)
    config = SearchConfig.parse(
        {"search": search, "width": width, "max_tokens": max_tokens, "seed": seed}, "aural caption"
    )
    if not files:
        raise typer.Exit(batch.close())
    loaded = options.open(model)
    captioner, reason = captioner_of(loaded, lines, write=write)
    if isinstance(captioner, RetrievalCaptioner):
        origin = f"lines of {sentences}" if sentences else "known sentences"
        count = len(captioner.sentences)
        print(f"{reason}; captions are picked from {count} {origin}", file=sys.stderr)
    stream = progress(captioner.stream_captions(files, config), len(files), "describing")
    rows = _rows(stream, batch, captioner.caption_kind)
    if out is not None:
        _write(out, rows, loaded.name)
        raise typer.Exit(batch.close())
    for row in rows:
        print(json_line(row) if as_json else f"{printable(row['file'])}  {printable(row['caption'])}")
    raise typer.Exit(batch.close())


def _rows(results: Iterator[CaptionResult], batch: Batch, kind: str) -> Iterator[dict[str, Any]]:
    for result in results:
        if result.error is not None:
            batch.skip(result.error)
            continue
        batch.done += 1
        best, *others = result.captions
        yield {
            "file": result.source,
            "caption": best.text,
            "score": round(best.score, 6),
            "kind": kind,
            "others": [{"caption": one.text, "score": round(one.score, 6)} for one in others],
        }


def _write(out: Path, rows: Iterator[dict[str, Any]], model: str) -> None:
    import pyarrow as pa

    other = pa.struct([("caption", pa.string()), ("score", pa.float64())])
    write_table(out, rows, {"score": pa.float64(), "others": pa.list_(other)}, {"model": model})
