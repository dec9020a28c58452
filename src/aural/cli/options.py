"""Options that several commands share."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_type_hints

import typer

from aural.core.printable import safe_print as print

if TYPE_CHECKING:
    from aural.models.embedding import EmbeddingModel, Precision
    from aural.models.load import Engine
    from aural.models.pipeline import Model
    from aural.search.filters import Filter
    from aural.search.library import Library

AUTO_DEVICE = "auto"

ModelOption = Annotated[
    str,
    typer.Option("--model", "-m", help="A name of `aural models list`, a path or a hub repository.", metavar="M"),
]
DeviceOption = Annotated[str, typer.Option("--device", help="cpu, cuda, cuda:N, mps or auto.", metavar="D")]
PrecisionOption = Annotated[str, typer.Option("--precision", help="fp32 or bf16.")]
EngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        envvar="AURAL_ENGINE",
        help="torch, onnx or auto (onnx where the model has an ONNX form and runs on the CPU in fp32).",
    ),
]
TokenizerOption = Annotated[
    Path | None, typer.Option("--tokenizer", help="Folder with the text tower's tokenizer, if it is not bundled.")
]
OfflineOption = Annotated[bool, typer.Option("--offline", help="Use only files on this machine.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object per line.")]
RejectOption = Annotated[
    bool, typer.Option("--reject", help="Say that nothing matches below the model's measured least cosine.")
]
NOTHING = "nothing matches"
StrictOption = Annotated[bool, typer.Option("--strict", help="Exit with code 2 if any file was skipped.")]
SoundsArgument = Annotated[list[Path], typer.Argument(help="Sound files or directories.", metavar="FILES_OR_DIRS...")]
BatchOption = Annotated[int | None, typer.Option("--batch-size", help="Windows per batch.", min=1, max=1_000_000)]
LibraryOption = Annotated[
    Path, typer.Option("--library", "-L", envvar="AURAL_LIBRARY", help="Folder of the library.", metavar="L")
]
PatternsArgument = Annotated[
    list[str] | None,
    typer.Argument(help="Files, folders or patterns such as '*.mp3'.", metavar="PATTERNS...", show_default=False),
]
WhereOption = Annotated[
    str | None, typer.Option("--where", help="A filter, e.g. \"duration < 5 and path like '%ambience%'\".", metavar="F")
]


def check_filter(text: str | None) -> None:
    """Raise ConfigError if the value of `--where` is not a filter, before a library is opened."""
    from aural.search.facts import NO_FACTS
    from aural.search.filters import parse_filter

    if text:
        parse_filter(text, NO_FACTS)


@dataclass(frozen=True)
class MarkOptions:
    """The options that select sounds by what the library's notebook says."""

    collection: Annotated[
        list[str] | None, typer.Option("--collection", help="Only sounds of a collection; may be repeated.")
    ] = None
    favorites: Annotated[bool, typer.Option("--favorites", help="Only favorites.")] = False
    min_stars: Annotated[int, typer.Option("--min-stars", min=0, max=5, help="Only sounds rated so or better.")] = 0

    def filter(self, library: Library, where: str | None) -> Filter | None:
        """Return the filter for sounds with these marks that meet the value of `--where`."""
        from aural.search.marked import MarkFilter, with_marks

        marks = MarkFilter(self.collection or (), self.favorites, self.min_stars)
        return with_marks(library.notebook, marks, library.filter(where))


@dataclass(frozen=True)
class ModelOptions:
    """The options with which a command opens its model; `with_model_options` adds them to a command."""

    device: DeviceOption = AUTO_DEVICE
    precision: PrecisionOption = "fp32"
    engine: EngineOption = "auto"
    tokenizer: TokenizerOption = None
    offline: OfflineOption = False

    def open(self, name: str) -> EmbeddingModel:
        """Load a model, or return one of the kept ones; torch is imported only if the engine needs it."""
        if _kept is None:
            return self._load(name)
        key = self, name, _changed_ns(name)
        if key not in _kept:
            _kept.clear()  # one model in memory
            _kept[key] = self._load(name)
        return _kept[key]

    def _load(self, name: str) -> EmbeddingModel:
        from aural.models.load import load

        model = load(
            name,
            engine=cast("Engine", self.engine),  # load checks the value
            device=self.device,
            precision=cast("Precision", self.precision),
            tokenizer=self.tokenizer,
            offline=self.offline,
        )
        if model.computes != model.precision:
            print(f"note: this device has no {self.precision} arithmetic; computing in fp32", file=sys.stderr)
        return model


_kept: dict[tuple[ModelOptions, str, int], EmbeddingModel] | None = None


def keep_models() -> None:
    """Keep the model that a command opened for the next command of this process; see `aural.cli.warm`."""
    global _kept
    _kept = {}


def _changed_ns(name: str) -> int:
    """Return when the files of a model on this machine changed last, 0 for another name."""
    path = Path(name)
    files = [path, *path.rglob("*")] if path.is_dir() else [path]
    return max((file.stat().st_mtime_ns for file in files if file.exists()), default=0)


def with_model_options(command: Callable[..., None]) -> Callable[..., None]:
    """Replace each parameter of a dataclass type, such as `ModelOptions`, by one option per field.

    Typer reads options from the signature; a dataclass defines options that several commands share.
    """
    signature = inspect.signature(command, eval_str=True)
    parameters: list[inspect.Parameter] = []
    groups: dict[str, type] = {}
    for parameter in signature.parameters.values():
        if not is_dataclass(parameter.annotation):
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        groups[parameter.name] = cast("type", parameter.annotation)
        hints = get_type_hints(parameter.annotation, include_extras=True)
        for field in fields(parameter.annotation):
            kind = inspect.Parameter.KEYWORD_ONLY
            parameters.append(inspect.Parameter(field.name, kind, default=field.default, annotation=hints[field.name]))

    @functools.wraps(command)
    def run(**values: Any) -> None:
        for name, group in groups.items():
            values[name] = group(**{field.name: values.pop(field.name) for field in fields(group)})
        command(**values)

    run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


def open_model(name: str, device: str, precision: str, tokenizer: Path | None, offline: bool) -> Model:
    """Load a model on torch as the options of a command say."""
    from aural.models.pipeline import Model

    model = ModelOptions(device, precision, "torch", tokenizer, offline).open(name)
    assert isinstance(model, Model)
    return model
