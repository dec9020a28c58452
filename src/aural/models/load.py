"""`aural.load`: load a model by name, from a local path or from the hub, on the engine that computes it."""

from __future__ import annotations

import importlib.util
import os
import warnings
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypedDict, Unpack, get_args, overload

from aural.core.config import read_mapping
from aural.core.errors import ConfigError, DefectWarning
from aural.core.hub import verify
from aural.core.names import DEFAULT_MODEL
from aural.core.weights import card_for, weight_cards
from aural.models.embedding import EmbeddingModel, Precision
from aural.models.onnx_model import OnnxModel, can_open
from aural.models.onnx_tagger import OnnxTagger
from aural.models.systems import CLAP, WEIGHTS, open_system, system_of

if TYPE_CHECKING:
    import torch

    from aural.models.pipeline import Model

Engine = Literal["auto", "torch", "onnx"]
ENGINE_VARIABLE = "AURAL_ENGINE"
NVIDIA_DEVICE = Path("/dev/nvidiactl")
"""Exists where an NVIDIA driver is loaded; a check that needs no torch."""


class LoadOptions(TypedDict, total=False):
    """The types of the options that every engine accepts; `load` explains them and states their defaults."""

    device: str | torch.device | None
    precision: Precision
    compat: Literal["peer"] | None
    seed: int
    tokenizer: str | Path | None
    offline: bool


@overload
def load(name_or_path: str | Path = ..., *, engine: Literal["torch"], **options: Unpack[LoadOptions]) -> Model: ...


@overload
def load(
    name_or_path: str | Path = ..., *, engine: Engine | None = ..., **options: Unpack[LoadOptions]
) -> EmbeddingModel: ...


def load(
    name_or_path: str | Path = DEFAULT_MODEL,
    *,
    engine: Engine | None = None,
    device: str | torch.device | None = None,
    precision: Precision = "fp32",
    compat: Literal["peer"] | None = None,
    seed: int = 0,
    tokenizer: str | Path | None = None,
    offline: bool = False,
) -> EmbeddingModel:
    """Load a model that embeds sounds and texts.

    name_or_path: a name of `aural models list`, a weight file or folder on this machine, or a hub repository
        ("owner/name").
    engine: "torch" returns a `Model`, which can also be trained, saved and exported. "onnx" returns an `OnnxModel`,
        which starts faster because it does not import torch. "auto" uses onnx if onnxruntime is installed, the model
        has an ONNX form and runs on the CPU in fp32, and neither compat nor tokenizer is given; else torch. Default:
        the environment variable AURAL_ENGINE, else "auto".
    device: "cpu", "cuda", "cuda:1" or "mps"; default: cuda if there is a CUDA device, else cpu.
    precision: "fp32" or "bf16" (computes in bfloat16 where the device supports it).
    compat: "peer" reproduces how the reference package handles long, stereo and short sounds and texts, with random
        draws seeded by `seed`.
    tokenizer: a local folder with the text tower's tokenizer.
    offline: use only files on this machine.

    Raises ConfigError for unknown options, CheckpointError for weights that are not a known model, and
    MissingDependencyError for files and packages that are not on this machine.
    """
    if precision not in ("fp32", "bf16"):
        raise ConfigError(f'precision "{precision}" is not known; use fp32 or bf16')
    if compat not in (None, "peer"):
        raise ConfigError(f'compat "{compat}" is not known; use "peer" or leave it out')
    _warn_of_defects(name_or_path)
    chosen = _checked_engine(engine)
    obstacle = _onnx_obstacle(name_or_path, device, precision, torch_only=compat is not None or tokenizer is not None)
    if chosen == "onnx" and obstacle:
        raise ConfigError(f'"{name_or_path}" cannot be computed by engine "onnx": {obstacle}')
    place = _folder(name_or_path)
    if place is not None and system_of(place) not in ("", CLAP):
        card = weight_cards().get(str(name_or_path))
        if card is not None:
            verify(place / WEIGHTS, card.sha256)
        if system_of(place) == "tagger" and chosen != "torch" and not obstacle:
            return OnnxTagger(place, read_mapping(place / "config.json")["options"], name=str(name_or_path))
        from aural.models import pair, tagger  # noqa: F401 - they register openers; systems cannot, they import it

        model = open_system(place, device, precision)
        model.name = str(name_or_path)
        return model
    if chosen != "torch" and not obstacle:
        assert place is not None
        return OnnxModel(place, name=str(name_or_path))
    from aural.models.families.base import OpenOptions
    from aural.models.families.find import open_family
    from aural.models.open import locate
    from aural.models.pipeline import Model

    options = OpenOptions(str(name_or_path), device, precision, tokenizer, offline, compat, seed)
    other = open_family(locate(name_or_path, offline=offline), options)
    if other is not None:
        return other
    return Model.from_pretrained(
        name_or_path, device=device, precision=precision, compat=compat, seed=seed, tokenizer=tokenizer, offline=offline
    )


def _warn_of_defects(name_or_path: str | Path) -> None:
    """Warn when the published weights are known to be broken."""
    card = card_for(name_or_path)
    if card is not None and card.defects:
        warnings.warn(f"{name_or_path}: {card.defects}", DefectWarning, stacklevel=3)


def _checked_engine(engine: str | None) -> str:
    origin = "engine" if engine is not None else ENGINE_VARIABLE
    chosen = engine or os.environ.get(ENGINE_VARIABLE, "") or "auto"
    if chosen not in get_args(Engine):
        raise ConfigError(f'{origin} "{chosen}" is not known; use {", ".join(get_args(Engine))}')
    return chosen


def _onnx_obstacle(
    name_or_path: str | Path, device: str | torch.device | None, precision: Precision, *, torch_only: bool
) -> str:
    """Return why onnxruntime cannot compute the model as requested, or an empty string."""
    if torch_only:
        return "the options compat and tokenizer need torch"
    if precision != "fp32":
        return f"precision {precision} needs torch"
    if str(device) != "cpu" and not (device in (None, "auto") and not NVIDIA_DEVICE.exists()):
        return f"it runs on the CPU only, not on device {device or 'auto'}; use device cpu"
    place = _folder(name_or_path)
    if place is None or not can_open(place):
        if importlib.util.find_spec("onnxruntime") is None:
            return 'onnxruntime is not installed; pip install "aural[onnx]"'
        return "it has no ONNX form; `aural models export --format onnx` writes one"
    return ""


def _folder(name_or_path: str | Path) -> Path | None:
    """Return the folder that a model's name or path stands for, whether it exists or not; None for no name."""
    if not isinstance(name_or_path, str | PathLike) or not str(name_or_path).strip():
        return None
    card = weight_cards().get(name_or_path) if isinstance(name_or_path, str) else None
    return card.bundled() if card is not None and card.folder is not None else Path(os.path.expanduser(name_or_path))
