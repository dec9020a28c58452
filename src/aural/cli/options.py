"""Options that several commands share."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aural.core.errors import ConfigError

if TYPE_CHECKING:
    from aural.models.embedding import EmbeddingModel
    from aural.models.pipeline import Model

ModelOption = Annotated[
    str, typer.Option("--model", "-m", help="A name of `aural models list`, a path or a hub repository.", metavar="M")
]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:N, mps or auto.", metavar="D")]
PrecisionOption = Annotated[str, typer.Option("--precision", help="fp32 or bf16.")]
TokenizerOption = Annotated[
    Path | None, typer.Option("--tokenizer", help="Folder of the text tower's tokenizer, where it is not bundled.")
]
OfflineOption = Annotated[bool, typer.Option("--offline", help="Use only what is on this machine.")]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
StrictOption = Annotated[bool, typer.Option("--strict", help="Exit with 2 if anything was skipped.")]
SoundsArgument = Annotated[list[Path], typer.Argument(help="Sound files or directories.", metavar="FILES_OR_DIRS...")]
BatchOption = Annotated[int | None, typer.Option("--batch-size", help="Windows a batch.", min=1)]
LibraryOption = Annotated[
    Path, typer.Option("--library", "-L", envvar="AURAL_LIBRARY", help="Folder of the library.", metavar="L")
]
WhereOption = Annotated[
    str | None, typer.Option("--where", help="A filter, e.g. \"duration < 5 and path like '%ambience%'\".", metavar="F")
]
AUTO_DEVICE = "auto"


def open_model(name: str, device: str, precision: str, tokenizer: Path | None, offline: bool) -> Model:
    """Load as the options say; torch is imported only now."""
    from aural.models.load import load

    model = load(name, device=device, precision=precision, tokenizer=tokenizer, offline=offline)  # type: ignore[arg-type]
    if model.computes != model.precision:
        print(f"note: this {model.device.type} has no {precision} arithmetic; computing in fp32", file=sys.stderr)
    return model


def open_towers(name: str, device: str, precision: str, tokenizer: Path | None, offline: bool) -> EmbeddingModel:
    """As `open_model`, but by onnxruntime where the model has an ONNX form: no import of torch, a result in no time.

    So it is on the CPU in fp32 alone, and not where there is an NVIDIA GPU that "auto" would take, nor with
    AURAL_ENGINE=torch.
    """
    from aural.core.weights import weight_cards
    from aural.models.onnx_model import OnnxModel, can_open

    engine = os.environ.get("AURAL_ENGINE", "auto")
    if engine not in ("auto", "torch"):
        raise ConfigError(f'AURAL_ENGINE is "{engine}"; use auto or torch')
    on_cpu = device == "cpu" or (device == AUTO_DEVICE and not Path("/dev/nvidiactl").exists())
    if engine == "auto" and on_cpu and precision == "fp32" and tokenizer is None:
        card = weight_cards().get(name)
        folder = card.bundled() if card is not None and card.folder is not None else Path(name)
        if can_open(folder):
            return OnnxModel(folder, name=name)
    return open_model(name, device, precision, tokenizer, offline)
