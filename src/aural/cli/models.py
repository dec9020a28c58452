"""`aural models`: list, show, convert and export checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aural.cli.files import json_line
from aural.cli.options import DeviceOption, JsonOption, OfflineOption, TokenizerOption
from aural.core.config import read_mapping
from aural.core.errors import ConfigError
from aural.core.printable import safe_print as print
from aural.core.weights import weight_cards

if TYPE_CHECKING:
    from aural.models.clap import ClapConfig

SourceArgument = Annotated[
    str, typer.Argument(help="A name of `aural models list`, a path or a hub repository.", metavar="SRC")
]
TargetArgument = Annotated[Path, typer.Argument(help="Folder to write.", metavar="DST")]
FORMATS = ("transformers", "sentence-transformers", "onnx", "onnx-int8")
LAYOUTS = ("aural", "optimum")

app = typer.Typer(help="List, show, convert and export models.", no_args_is_help=True)


@app.command("list")
def list_models(as_json: JsonOption = False) -> None:
    """List the models that aural knows by name."""
    for card in weight_cards().values():
        if as_json:
            print(json_line(card.model_dump(mode="json", exclude_none=True)))
        else:
            place = "bundled" if card.folder else f"hub: {card.repository}"
            if card.url:
                place = f"by hand: {card.url}"
            input_ = f"{card.sample_rate_hz / 1000:g} kHz {card.window_s:>5g} s"
            print(f"{card.name:<30} {card.audio:<18} {input_}  {place}{'' if card.text else '; sounds only'}")


@app.command()
def show(
    name: Annotated[str, typer.Argument(help="A name of `aural models list`, a path or a hub repository.")],
    offline: OfflineOption = False,
    as_json: JsonOption = False,
) -> None:
    """Print the card of a model and, for a local one, its configuration and size."""
    from aural.models.systems import CLAP, system_of

    card = weight_cards().get(name)
    values = card.model_dump(mode="json", exclude_none=True) if card else {"name": name}
    folder = card.bundled() if card and card.folder else Path(name)
    if system_of(folder) not in ("", CLAP):
        values |= read_mapping(folder / "config.json")
    elif card is None or card.folder is not None:
        from aural.models.open import open_checkpoint

        checkpoint = open_checkpoint(name, offline=offline)
        values |= {
            "parameters": sum(tensor.numel() for tensor in checkpoint.tensors.values()),
            "peer": checkpoint.peer,
            "frames": frames_of(checkpoint.config),
            "config": checkpoint.config.model_dump(mode="json"),
        }
    if as_json:
        print(json_line(values))
        return
    for key, value in values.items():
        print(f"{key:<16} {value if not isinstance(value, dict) else json_line(value)}")


def frames_of(config: ClapConfig) -> str:
    """Return where the frames of a model come from, without its weights."""
    import torch

    from aural.models.clap import AudioTower
    from aural.models.frames import frames_text

    with torch.device("meta"):
        tower = AudioTower(config.audio, config.embed_dim)
    return frames_text(tower.frame_layout(), config.audio)


@app.command()
def convert(
    source: SourceArgument,
    target: TargetArgument,
    half: Annotated[bool, typer.Option("--half", help="Store matrices as float16.")] = False,
    tokenizer: TokenizerOption = None,
    offline: OfflineOption = False,
) -> None:
    """Write a model in aural's own format: config.json, model.safetensors, model card and tokenizer."""
    from aural.models.pipeline import Model

    model = Model.from_pretrained(source, device="cpu", tokenizer=tokenizer, offline=offline)
    folder = model.save_pretrained(target, half=half)
    print(f"wrote {folder}: {', '.join(sorted(file.name for file in folder.iterdir()))}")


@app.command()
def export(
    source: SourceArgument,
    target: TargetArgument,
    layout: Annotated[
        str,
        typer.Option(
            "--format",
            help="transformers: a ClapModel folder; sentence-transformers: a folder for SentenceTransformer; "
            "onnx, onnx-int8: two ONNX graphs.",
        ),
    ] = "transformers",
    graphs: Annotated[
        str,
        typer.Option("--layout", help="ONNX only: aural, or the file names and inputs of optimum and transformers.js."),
    ] = "aural",
    tokenizer: TokenizerOption = None,
    offline: OfflineOption = False,
) -> None:
    """Write a model in the format of another library, if its architecture allows."""
    if layout not in FORMATS:
        raise ConfigError(f'format "{layout}" is not known; use {", ".join(FORMATS)}')
    if graphs not in LAYOUTS:
        raise ConfigError(f'layout "{graphs}" is not known; use {", ".join(LAYOUTS)}')
    if graphs != "aural" and not layout.startswith("onnx"):
        raise ConfigError(f"--layout {graphs} is for ONNX; add --format onnx or onnx-int8")
    if layout == "transformers":
        from aural.models.export import export_transformers

        folder = export_transformers(source, target, tokenizer=tokenizer, offline=offline)
    elif layout == "sentence-transformers":
        from aural.models.sentence_export import export_sentence_transformers

        folder = export_sentence_transformers(source, target, tokenizer=tokenizer, offline=offline)
    elif graphs == "optimum":
        from aural.models.onnx_optimum import export_optimum

        folder = export_optimum(source, target, int8=layout == "onnx-int8", tokenizer=tokenizer, offline=offline)
    else:
        from aural.models.onnx_export import export_onnx

        folder = export_onnx(source, target, int8=layout == "onnx-int8", tokenizer=tokenizer, offline=offline)
    print(f"wrote {folder}: {', '.join(sorted(file.name for file in folder.iterdir()))}")


@app.command()
def prune(
    source: SourceArgument,
    data: Annotated[
        list[str],
        typer.Option("--data", help="A manifest, or a folder or tar of sounds; may be repeated.", metavar="PLACE"),
    ],
    keep: Annotated[int | None, typer.Option("--keep", min=1, help="Dimensions of the model that is written.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the pruned model.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=2, help="Largest number of sounds.")] = 500,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Print what fewer dimensions of the shared space cost, and write a model with the ones that contribute most.

    Measured on held-out sounds of the data. Zero-shot accuracy is measured if the manifest names classes.
    """
    from dataclasses import asdict

    from aural.models.load import load
    from aural.models.pipeline import Model
    from aural.models.prune import SHARES, kept_curve, order_of, write_pruned
    from aural.train.distill.pruning import pruning_data

    if (keep is None) != (out is None):
        raise ConfigError("give --keep and --out together, to write a model, or neither, to print the curve")
    model = load(source, engine="torch", device=device)
    if keep is not None and keep > model.embed_dim:
        raise ConfigError(f"--keep is {keep}, but {source} has {model.embed_dim} dimensions")
    rows, classes = pruning_data(model, data, limit)
    counts = {max(1, round(share * model.embed_dim)) for share in SHARES} | ({keep} if keep else set())
    for kept in kept_curve(rows, sorted(counts, reverse=True), classes=classes):
        if as_json:
            print(json_line(asdict(kept)))
            continue
        accuracy = "" if kept.accuracy is None else f"  zero-shot {kept.accuracy:.3f}"
        line = f"{kept.dimensions:>5} dimensions  cosine {kept.cosine:.3f}  nearest sounds kept {kept.overlap:.3f}"
        print(f"{line} (at random {kept.random:.3f}){accuracy}")
    if keep is not None and out is not None:
        if not isinstance(model, Model):
            raise ConfigError(f"{source}: a model of this family cannot be written with fewer dimensions")
        print(f"wrote {write_pruned(model, order_of(rows)[:keep], out)}")
