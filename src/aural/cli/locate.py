"""`aural locate`: say when something is heard in sounds of any length."""

from __future__ import annotations

from typing import Annotated

import typer

from aural.cli.files import Batch, json_line, progress
from aural.cli.options import JsonOption, ModelOption, ModelOptions, SoundsArgument, StrictOption, with_model_options
from aural.core.errors import AuralError
from aural.core.names import DEFAULT_MODEL, DEFAULT_TEMPLATE
from aural.core.printable import printable
from aural.core.printable import safe_print as print


@with_model_options
def locate(
    *,
    sounds: SoundsArgument,
    text: Annotated[list[str], typer.Option("--text", "-t", help="What to look for; repeat for several texts.")],
    threshold: Annotated[float, typer.Option(help="Lowest score of a span, above 0 and below 1.")] = 0.5,
    frame: Annotated[float, typer.Option(help="Length of a frame in seconds.")] = 1.0,
    hop: Annotated[float, typer.Option(help="Distance of frames in seconds: the resolution in time.")] = 0.5,
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
    config = LocateConfig(template=template, threshold=threshold, frame_s=frame, hop_s=hop)
    locator = Locator(options.open(model), text, config)
    for file in progress(files, len(files), "locating"):
        try:
            result = locator.locate(file)
        except AuralError as error:
            batch.skip(error)
            continue
        batch.done += 1
        if as_json:
            spans = [
                {"text": s.text, "onset_s": round(s.onset_s, 3), "offset_s": round(s.offset_s, 3)}
                | {"confidence": round(s.confidence, 6)}
                for s in result.spans
            ]
            best = {name: {"score": round(score, 6), "at_s": round(at, 3)} for name, (score, at) in result.best.items()}
            print(
                json_line({"file": str(file), "duration_s": round(result.duration_s, 3), "spans": spans, "best": best})
            )
            continue
        print(f"{printable(file)}  {clock(result.duration_s)}")
        for span in result.spans:
            print(f"  {clock(span.onset_s)} - {clock(span.offset_s)}  {100 * span.confidence:3.0f}%  {span.text}")
        heard = {span.text for span in result.spans}
        for name, (score, at) in result.best.items():
            if name not in heard:
                print(f"  not heard: {name} (highest score {100 * score:.0f}% at {clock(at)})")
    raise typer.Exit(batch.close())


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
