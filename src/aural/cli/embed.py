"""`aural embed`: write the embeddings of sounds or texts to a parquet table."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aural.cli.files import Batch, progress, read_lines
from aural.cli.options import BatchOption, ModelOption, ModelOptions, StrictOption, with_model_options
from aural.cli.table import check_table, write_table
from aural.core.errors import ConfigError
from aural.core.names import DEFAULT_MODEL

if TYPE_CHECKING:
    from aural.models.embedding import EmbeddingModel

TEXT_CHUNK = 1024


@with_model_options
def embed(
    *,
    out: Annotated[Path, typer.Option("--out", "-o", help="The parquet file to write.")],
    sounds: Annotated[
        list[Path] | None, typer.Argument(help="Sound files or directories.", metavar="FILES_OR_DIRS...")
    ] = None,
    text_file: Annotated[
        Path | None, typer.Option("--text-file", help="Embed the lines of this text file instead of sounds.")
    ] = None,
    windows: Annotated[
        bool, typer.Option("--windows", help="Write one row per window instead of one per file.")
    ] = False,
    model: ModelOption = DEFAULT_MODEL,
    options: ModelOptions,
    batch_size: BatchOption = None,
    strict: StrictOption = False,
) -> None:
    """Write the embeddings of sounds, or of the lines of a text file, to a parquet table.

    Columns: file (or text), start_s, end_s, silent, embedding (fixed-size list of float32). The table's metadata
    contains the model's name.
    """
    if bool(sounds) == bool(text_file):
        raise ConfigError("give either sound files or --text-file, not both")
    check_table(out, "embeddings")
    batch = Batch(strict)
    files = batch.find(sounds) if sounds else []
    lines = read_lines(text_file, "text") if text_file else []
    if not files and not lines:
        raise typer.Exit(batch.close())
    loaded = options.open(model)
    rows = _sound_rows(loaded, files, windows, batch_size, batch) if files else _text_rows(loaded, lines, batch)
    _write(out, rows, loaded)
    raise typer.Exit(batch.close("sound" if files else "text"))


def _sound_rows(
    model: EmbeddingModel, files: list[Path], windows: bool, batch_size: int | None, batch: Batch
) -> Iterator[dict[str, Any]]:
    stream = model.stream_audio(files, batch_size=batch_size, keep_windows=windows)
    for result in progress(stream, len(files), "embedding"):
        if not batch.add(result):
            continue
        name = str(files[result.index])
        times = result.times_s if windows else [(0.0, result.duration_s)]
        vectors = result.windows if windows else [result.embedding]
        for (start_s, end_s), vector in zip(times, vectors, strict=True):
            yield {"file": name, "start_s": start_s, "end_s": end_s, "silent": result.silent, "embedding": vector}


def _text_rows(model: EmbeddingModel, lines: list[str], batch: Batch) -> Iterator[dict[str, Any]]:
    for at in progress(range(0, len(lines), TEXT_CHUNK), -(-len(lines) // TEXT_CHUNK), "embedding"):
        chunk = lines[at : at + TEXT_CHUNK]
        for text, vector in zip(chunk, model.embed_text(chunk), strict=True):
            batch.done += 1
            yield {"text": text, "embedding": vector}


def _write(out: Path, rows: Iterator[dict[str, Any]], model: EmbeddingModel) -> None:
    import pyarrow as pa

    kinds = {"start_s": pa.float64(), "end_s": pa.float64(), "silent": pa.bool_()}
    kinds["embedding"] = pa.list_(pa.float32(), model.embed_dim)
    write_table(out, rows, kinds, {"model": model.name, "sample_rate_hz": str(model.sample_rate_hz)})
