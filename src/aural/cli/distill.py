"""`aural distill`: train a small tower of sound in the space of a model."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, cast

import typer

from aural.cli.files import json_line
from aural.cli.options import DeviceOption, JsonOption
from aural.core.config import read_mapping
from aural.core.printable import printable
from aural.core.printable import safe_print as print


def distill(
    teacher: Annotated[
        str, typer.Argument(help="A name of `aural models list`, a path or a hub repository.", metavar="MODEL")
    ],
    data: Annotated[
        list[str],
        typer.Option("--data", help="A manifest, or a folder, tar or URL of sounds; may be repeated.", metavar="PLACE"),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the run; OUT/model is the student.")],
    size: Annotated[str, typer.Option("--size", help="small (at most 3 M parameters) or tiny (1 M).")] = "small",
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Steps of the training (default: 2000).")] = None,
    batch: Annotated[int | None, typer.Option("--batch", min=1, help="Windows per step (default: 128).")] = None,
    versions: Annotated[
        int | None, typer.Option("--versions", min=1, help="Versions of each window (default: 4).")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", help="File with further keys (docs/train/distill.md).")
    ] = None,
    cache: Annotated[
        Path | None, typer.Option("--cache", help="Folder of the teacher's vectors (default: OUT/lessons).")
    ] = None,
    jobs: Annotated[int, typer.Option("--jobs", min=1, help="Processes that decode sounds.")] = 1,
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="Change one key of the recipe.", metavar="KEY=VALUE")
    ] = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Train a student of at most 3 M parameters in the space of a model, from sounds alone.

    The student shares the model's text tower. Cosine and nearest neighbors are compared on held-out sounds.
    """
    from aural.train.distill import StudentConfig
    from aural.train.distill import distill as run

    values = read_mapping(config) if config else {}
    given = {"steps": steps, "batch": batch}
    values = {"size": size} | values | {name: value for name, value in given.items() if value is not None}
    if versions is not None:
        values["lessons"] = values.get("lessons", {}) | {"versions": versions}
    settings = StudentConfig.parse(values, str(config or "aural distill"))
    result = run(
        teacher, data, out, settings, cache=cache, jobs=jobs, device=device, changes=cast("list[str]", changes or [])
    )
    for error in result.skipped:
        print(f"skipped: {printable(str(error))}", file=sys.stderr)
    report = result.report()
    if as_json:
        print(json_line(report | {"model": str(result.folder)}))
        return
    same = result.agreement
    print(f"{printable(str(result.folder))}: {result.parameters:,} parameters, {result.windows} windows")
    print(f"held-out sounds: {same.sounds}; cosine {same.cosine:.3f} (5% to 95%: {same.low:.3f} to {same.high:.3f})")
    print(f"of the {same.nearest} nearest sounds {100 * same.overlap:.1f}% are the same")
