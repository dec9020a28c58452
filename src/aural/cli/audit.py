"""`aural audit`: examine a model for collapse, gaps between groups, and membership."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from aural.cli.files import check_page, json_line, progress, read_lines
from aural.cli.options import JsonOption, ModelOptions, with_model_options
from aural.core.names import DEFAULT_MODEL
from aural.core.printable import safe_print as print


@with_model_options
def audit(
    *,
    model: Annotated[
        str, typer.Argument(help="A name of `aural models list`, a path or a hub repository.", metavar="MODEL")
    ] = DEFAULT_MODEL,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="A corpus (folder with manifest.parquet) or a folder of sounds; default: bundled."),
    ] = None,
    group: Annotated[
        list[str] | None,
        typer.Option("--group", help="Compare the values of this manifest column; repeatable.", metavar="COLUMN"),
    ] = None,
    trained_on: Annotated[
        list[str] | None,
        typer.Option("--trained-on", help="Split that the model was trained on; measures membership.", metavar="SPLIT"),
    ] = None,
    names: Annotated[
        tuple[Path, Path] | None,
        typer.Option(
            help="Two text files, one name per line: trained persons, others. Membership from text alone.",
            metavar="TRAINED OTHERS",
        ),
    ] = None,
    most: Annotated[int, typer.Option("--most", min=8, help="Embed at most this many randomly chosen clips.")] = 2000,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the choice of clips and of the bootstrap.")] = 0,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="Also write an HTML page.", metavar="FILE")] = None,
    as_json: JsonOption = False,
    options: ModelOptions,
) -> None:
    """Examine a model: collapsed towers, modality gap, differences between groups, recognition of trained clips."""
    import numpy as np

    from aural.cli.demo import bundled_sounds
    from aural.evaluate.audit.anomaly import name_membership
    from aural.evaluate.audit.clips import Clips, open_clips
    from aural.evaluate.audit.page import report, write_page
    from aural.evaluate.audit.run import audit as run

    if out is not None:
        check_page(out, "the audit")
    generator = np.random.default_rng(seed)
    if data is None:
        truth, _ = bundled_sounds()
        clips = Clips(list(truth), [file.name for file in truth], list(truth.values()))
    else:
        clips = open_clips(data, most=most, generator=generator)
    opened = options.open(model)
    result = run(
        opened,
        clips,
        columns=group or [],
        trained_on=trained_on or [],
        generator=generator,
        follow=lambda items, total: progress(items, total, "embedding"),
    )
    if names is not None:
        trained, others = (read_lines(path, "names") for path in names)
        result = replace(result, names=name_membership(opened, trained, others, generator))
    print(json_line(result.record()) if as_json else report(result))
    if out is not None:
        write_page(result, out)
