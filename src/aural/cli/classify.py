"""`aural classify` and `aural similarity`: name sounds in your own words."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aural.cli.files import Batch, find_sounds, json_line, progress, read_lines
from aural.cli.options import (
    AUTO_DEVICE,
    DeviceOption,
    JsonOption,
    ModelOption,
    OfflineOption,
    PrecisionOption,
    SoundsArgument,
    StrictOption,
    TokenizerOption,
    open_towers,
)
from aural.core.errors import ConfigError
from aural.core.names import DEFAULT_MODEL, DEFAULT_TEMPLATE


def classify(
    sounds: SoundsArgument,
    labels: Annotated[str, typer.Option("--labels", "-l", help='Comma-separated, e.g. "a dog barking,rain".')] = "",
    labels_file: Annotated[Path | None, typer.Option("--labels-file", help="One label a line.")] = None,
    template: Annotated[str, typer.Option("--template", "-t", help="Prompt; {} is the label.")] = DEFAULT_TEMPLATE,
    multi_label: Annotated[bool, typer.Option("--multi-label", help="Score each label on its own.")] = False,
    top: Annotated[int, typer.Option("--top", "-k", help="Labels to show for each sound.", min=1)] = 3,
    model: ModelOption = DEFAULT_MODEL,
    device: DeviceOption = AUTO_DEVICE,
    precision: PrecisionOption = "fp32",
    tokenizer: TokenizerOption = None,
    offline: OfflineOption = False,
    as_json: JsonOption = False,
    strict: StrictOption = False,
) -> None:
    """Name sounds from a list of labels of your own."""
    given = [label for label in labels.split(",") if label.strip()]
    given += read_lines(labels_file, "labels") if labels_file else []
    if not given:
        raise ConfigError('no labels were given; use --labels "a dog barking,rain" or --labels-file FILE')
    files = find_sounds(sounds)
    loaded = open_towers(model, device, precision, tokenizer, offline)
    classifier = loaded.classifier(given, template=template, multi_label=multi_label)
    batch, width = Batch(strict), min(max(len(str(file)) for file in files), 48)
    for found in progress(loaded.stream_audio(files), len(files), "classifying"):
        name = str(files[found.index])
        if found.error is not None:
            batch.skip(found.error)
            continue
        batch.done += 1
        batch.silent += found.silent
        best = classifier.predict(found.embedding, top)
        if as_json:
            predictions = [{"label": p.label, "score": round(p.score, 6)} for p in best]
            line = {"file": name, "duration_s": round(found.duration_s, 3), "silent": found.silent}
            print(json_line(line | {"predictions": predictions}))
        else:
            shown = name if len(name) <= width else "..." + name[3 - width :]
            cells = "  ".join(f"{p.label} {100 * p.score:.0f}%" for p in best)
            print(f"{shown:<{width}}  {cells}{'  (digital silence)' if found.silent else ''}")
    raise typer.Exit(batch.close())


def similarity(
    file: Annotated[Path, typer.Argument(help="A sound file.")],
    text: Annotated[list[str], typer.Option("--text", "-t", help="A sentence; give it as often as you like.")],
    model: ModelOption = DEFAULT_MODEL,
    device: DeviceOption = AUTO_DEVICE,
    precision: PrecisionOption = "fp32",
    tokenizer: TokenizerOption = None,
    offline: OfflineOption = False,
    as_json: JsonOption = False,
) -> None:
    """Cosine similarity of one sound with sentences, best first."""
    loaded = open_towers(model, device, precision, tokenizer, offline)
    cosines = loaded.similarity([file], text)[0]
    for i in sorted(range(len(text)), key=lambda i: -cosines[i]):
        if as_json:
            print(json_line({"file": str(file), "text": text[i], "similarity": round(float(cosines[i]), 6)}))
        else:
            print(f"{cosines[i]:+.3f}  {text[i]}")
