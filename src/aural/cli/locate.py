"""`aural locate`: say when something is heard in sounds of any length."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aural.cli.files import Batch, json_line, progress
from aural.cli.options import JsonOption, ModelOption, ModelOptions, SoundsArgument, StrictOption, with_model_options
from aural.core.errors import AuralError
from aural.core.names import DEFAULT_MODEL, DEFAULT_TEMPLATE
from aural.core.printable import printable
from aural.core.printable import safe_print as print

if TYPE_CHECKING:
    from aural.models.locate import Located


@with_model_options
def locate(
    *,
    sounds: SoundsArgument,
    text: Annotated[list[str], typer.Option("--text", "-t", help="What to look for; repeat for several texts.")],
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Lowest probability of a span, above 0 and below 1.", show_default="of the model, 0.5 if it has none"
        ),
    ] = None,
    min_duration: Annotated[float, typer.Option(help="Leave out spans shorter than so many seconds.")] = 0.0,
    max_gap: Annotated[float, typer.Option(help="Join spans of a text that are so many seconds apart.")] = 0.2,
    frame: Annotated[
        float | None, typer.Option(help="Length of windows in seconds that replace the model's frames.")
    ] = None,
    hop: Annotated[
        float | None, typer.Option(help="Distance of such windows in seconds, by default half of one.")
    ] = None,
    template: Annotated[str, typer.Option("--template", help="Prompt; {} is replaced by the text.")] = DEFAULT_TEMPLATE,
    model: ModelOption = DEFAULT_MODEL,
    options: ModelOptions,
    as_json: JsonOption = False,
    strict: StrictOption = False,
) -> None:
    """Print when each text is heard: onset, offset and confidence. Long files are read in bounded memory."""
    from aural.models.locate import LocateConfig, Locator

    batch = Batch(strict)
    files = batch.find(sounds)
    if not files:
        raise typer.Exit(batch.close())
    config = LocateConfig(
        template=template, threshold=threshold, max_gap_s=max_gap, min_duration_s=min_duration, frame_s=frame, hop_s=hop
    )  # fmt: skip
    locator = Locator(options.open(model), text, config)
    if locator.origin == "score":
        print(f"note: {model} has no calibrated frames; confidences are scores, not probabilities", file=sys.stderr)
    for file in progress(files, len(files), "locating"):
        try:
            result = locator.locate(file)
        except AuralError as error:
            batch.skip(error)
            continue
        batch.done += 1
        if as_json:
            print(json_line({"file": str(file), **as_values(result)}))
            continue
        print(f"{printable(file)}  {clock(result.duration_s)}")
        for span in result.spans:
            print(f"  {clock(span.onset_s)} - {clock(span.offset_s)}  {100 * span.confidence:3.0f}%  {span.text}")
        heard = {span.text for span in result.spans}
        for name, (score, at) in result.best.items():
            if name not in heard:
                print(f"  not heard: {name} (highest confidence {100 * score:.0f}% at {clock(at)})")
    raise typer.Exit(batch.close())


def as_values(result: Located) -> dict[str, Any]:
    """Return a result as plain values for JSON; times in seconds with three decimals."""
    spans = [
        {
            "text": span.text,
            "onset_s": round(span.onset_s, 3),
            "offset_s": round(span.offset_s, 3),
            "confidence": round(span.confidence, 6),
        }
        for span in result.spans
    ]
    best = {
        text: {"confidence": round(value, 6), "at_s": round(at_s, 3)} for text, (value, at_s) in result.best.items()
    }
    return {
        "duration_s": round(result.duration_s, 3),
        "threshold": result.threshold,
        "origin": result.origin,
        "spans": spans,
        "best": best,
    }


def clock(seconds: float) -> str:
    """Return a time as h:mm:ss.s, without hours if there are none.

    >>> clock(75.25), clock(3600.0)
    ('1:15.2', '1:00:00.0')
    """
    tenths = int(round(10 * seconds, 6))
    hours, rest = divmod(tenths, 36000)
    minutes, rest = divmod(rest, 600)
    tail = f"{rest // 10:02d}.{rest % 10}"
    return f"{hours}:{minutes:02d}:{tail}" if hours else f"{minutes}:{tail}"
