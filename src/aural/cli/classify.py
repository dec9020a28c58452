"""`aural classify` and `aural similarity`: compare sounds with labels and sentences."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aural.cli.files import Batch, json_line, progress, read_lines
from aural.cli.options import (
    NOTHING,
    JsonOption,
    ModelOption,
    ModelOptions,
    RejectOption,
    SoundsArgument,
    StrictOption,
    with_model_options,
)
from aural.core.errors import ConfigError
from aural.core.names import DEFAULT_MODEL, DEFAULT_TEMPLATE
from aural.core.printable import printable
from aural.core.printable import safe_print as print


@with_model_options
def classify(
    *,
    sounds: SoundsArgument,
    labels: Annotated[str, typer.Option("--labels", "-l", help='Comma-separated, e.g. "a dog barking,rain".')] = "",
    labels_file: Annotated[
        Path | None, typer.Option("--labels-file", help="A text file with one label per line.")
    ] = None,
    template: Annotated[
        str, typer.Option("--template", "-t", help="Prompt; {} is replaced by the label.")
    ] = DEFAULT_TEMPLATE,
    multi_label: Annotated[bool, typer.Option("--multi-label", help="Score each label independently.")] = False,
    top: Annotated[int, typer.Option("--top", "-k", help="Labels to print per sound.", min=1)] = 3,
    model: ModelOption = DEFAULT_MODEL,
    reject: RejectOption = False,
    options: ModelOptions,
    as_json: JsonOption = False,
    strict: StrictOption = False,
) -> None:
    """Classify sounds with your own labels (zero-shot)."""
    given = [label for label in labels.split(",") if label.strip()]
    given += read_lines(labels_file, "labels") if labels_file else []
    if not given:
        raise ConfigError('no labels were given; use --labels "a dog barking,rain" or --labels-file FILE')
    batch = Batch(strict)
    files = batch.find(sounds)
    if not files:
        raise typer.Exit(batch.close())
    loaded = options.open(model)
    classifier = loaded.classifier(given, template=template, multi_label=multi_label)
    width = min(max(len(printable(file)) for file in files), 48)
    for result in progress(loaded.stream_audio(files), len(files), "classifying"):
        if not batch.add(result):
            continue
        name = str(files[result.index])
        best = classifier.predict(result.embedding, top)
        rejected = reject and not classifier.matches(result.embedding)
        if as_json:
            predictions = [{"label": p.label, "score": round(p.score, 6)} for p in best]
            line = {"file": name, "duration_s": round(result.duration_s, 3), "silent": result.silent}
            answer = {"matches": not rejected} if reject else {}
            print(json_line(line | answer | {"predictions": predictions}))
        else:
            shown = printable(name)
            shown = shown if len(shown) <= width else "..." + shown[3 - width :]
            cells = NOTHING if rejected else "  ".join(f"{p.label} {100 * p.score:.0f}%" for p in best)
            print(f"{shown:<{width}}  {cells}{'  (digital silence)' if result.silent else ''}")
    raise typer.Exit(batch.close())


@with_model_options
def similarity(
    *,
    file: Annotated[Path, typer.Argument(help="A sound file.")],
    text: Annotated[list[str], typer.Option("--text", "-t", help="A sentence; repeat the option for several.")],
    model: ModelOption = DEFAULT_MODEL,
    options: ModelOptions,
    as_json: JsonOption = False,
) -> None:
    """Print the cosine similarity of one sound with sentences, highest first."""
    from aural.models.arguments import check_words

    text = check_words(text)
    loaded = options.open(model)
    cosines = loaded.similarity([file], text)[0]
    for i in sorted(range(len(text)), key=lambda i: -cosines[i]):
        if as_json:
            print(json_line({"file": str(file), "text": text[i], "similarity": round(float(cosines[i]), 6)}))
        else:
            print(f"{cosines[i]:+.3f}  {text[i]}")
