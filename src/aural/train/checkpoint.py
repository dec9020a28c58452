"""Write and read checkpoints: folders with everything that a run needs to continue as if it had never stopped.

A checkpoint folder appears complete or not at all.

OUT/checkpoints/step-00001000/model.safetensors   parameters and buffers
                              ema.safetensors     the average of the weights, if there is one
                              training.pt         optimizer, schedule, teachers, step, random states
OUT/recipe.json                                   the recipe with all defaults
"""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aural.core.errors import CheckpointError, ConfigError, one_line
from aural.core.files import make_folder, system_reason, write_text
from aural.train.config import Recipe

FREE = ("paper", "shows", "command", "cost", "expected", "evaluators", "track")
FREE_LOOP = ("steps", "epochs", "evaluate_every", "save_every", "keep", "max_bad_share", "compile", "graphs")
FREE_DATA = ("workers", "prefetch")
RENAMED = {"optimiser": "optimizer"}
"""Keys of training.pt in version 0.1.0 that have another name since."""


def save(
    out: Path,
    step: int,
    *,
    model: Mapping[str, Tensor],
    ema: Mapping[str, Tensor] | None,
    rest: dict[str, Any],
    keep: int,
) -> Path:
    """Write the checkpoint of `step` and delete all but the newest `keep`; CheckpointError if the disk refuses."""
    from safetensors.torch import save_file

    folder = out / "checkpoints" / f"step-{step:08d}"
    part = folder.with_name(f".{folder.name}.part")
    try:
        _clear(folder.parent)
        part.mkdir(parents=True)
        save_file(_packed(model), part / "model.safetensors")
        if ema is not None:
            save_file(_packed(ema), part / "ema.safetensors")
        torch.save({"step": step, **rest}, part / "training.pt")
        for file in part.iterdir():
            _sync(file)
        _discard(folder)
        os.replace(part, folder)
        _sync(folder.parent)
    except Exception as error:  # torch and safetensors report a full disk by errors of their types
        shutil.rmtree(part, ignore_errors=True)
        with contextlib.suppress(OSError):  # it holds earlier checkpoints
            folder.parent.rmdir()
        reason = system_reason(error)
        if reason is None:
            raise
        steps = steps_in(out)
        back = f"the checkpoint of step {steps[-1]} is whole" if steps else "no earlier checkpoint was written"
        raise CheckpointError(
            f"{folder}: cannot be written ({reason}); {back}: free some space and continue with --resume"
        ) from None
    for old in steps_in(out)[:-keep]:
        with contextlib.suppress(OSError):  # it is deleted with the next checkpoint
            _discard(out / "checkpoints" / f"step-{old:08d}")
    return folder


def _discard(folder: Path) -> None:
    """Delete a checkpoint, which disappears in one step: a reader never sees a part of it."""
    if os.path.lexists(folder):
        hidden = folder.with_name(f".{folder.name}.old.part")
        shutil.rmtree(hidden, ignore_errors=True)
        os.replace(folder, hidden)
        shutil.rmtree(hidden, ignore_errors=True)


def _clear(checkpoints: Path) -> None:
    """Delete what a killed run left unfinished, or could not delete."""
    for hidden in checkpoints.glob(".step-*.part"):
        shutil.rmtree(hidden, ignore_errors=True)


def steps_in(out: Path) -> list[int]:
    """Return the steps of the complete checkpoints, oldest first."""
    folders = (out / "checkpoints").glob("step-*") if (out / "checkpoints").is_dir() else ()
    return sorted(int(folder.name[5:]) for folder in folders if (folder / "training.pt").is_file())


def newest(out: Path) -> Path | None:
    """Return the folder of the newest checkpoint, or None."""
    steps = steps_in(out)
    return out / "checkpoints" / f"step-{steps[-1]:08d}" if steps else None


DAMAGED_PICKLE = (EOFError, pickle.UnpicklingError, ValueError, TypeError, AttributeError, LookupError, OverflowError)
"""What reading a file of torch with changed bytes raises, apart from RuntimeError."""


def read(folder: Path) -> tuple[dict[str, Tensor], dict[str, Tensor] | None, dict[str, Any]]:
    """Return the tensors of the model, those of the average (or None), and the rest."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        ema = folder / "ema.safetensors"
        averaged = _renamed(load_file(ema)) if ema.is_file() else None
        rest = torch.load(folder / "training.pt", map_location="cpu", weights_only=True)
        rest = {RENAMED.get(key, key): value for key, value in rest.items()}
        return _renamed(load_file(folder / "model.safetensors")), averaged, rest
    except (OSError, RuntimeError, SafetensorError, *DAMAGED_PICKLE) as error:
        reason = one_line(error, 120)
        raise CheckpointError(
            f"{folder}: cannot be read ({reason}); delete it to continue from the one before"
        ) from None


def _renamed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors by the names of this version; version 0.1.0 stored a pair's below "clap."."""
    return {name.removeprefix("clap."): tensor for name, tensor in tensors.items()}


def claim(out: Path, recipe: Recipe, *, resume: bool) -> None:
    """Reserve OUT for this recipe. Refuse a folder that holds a run, or with `resume` a run of another recipe."""
    make_folder(out, ConfigError)
    file = out / "recipe.json"
    values = recipe.model_dump(mode="json")
    if file.is_file():
        try:
            before = _with_defaults(json.loads(file.read_text(encoding="utf-8")), file)
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{file}: is damaged ({one_line(error)}); name another folder for --out") from None
        if not resume and steps_in(out):
            raise CheckpointError(f"{out}: holds a run already; add --resume to continue it, or name another folder")
        if resume and (key := first_difference(bound(before), bound(values))):
            raise CheckpointError(
                f"{out}: was trained with another recipe ({key} differs); name another folder for --out"
            )
    elif resume:
        raise CheckpointError(f"{out}: holds no run to continue; leave --resume out")
    write_text(file, json.dumps(values, indent=1) + "\n", CheckpointError)
    _clear(out / "checkpoints")


def _with_defaults(values: dict[str, Any], file: Path) -> dict[str, Any]:
    """Return a stored recipe with the defaults of keys that later versions added; an unreadable one unchanged."""
    try:
        return Recipe.parse(values, str(file)).model_dump(mode="json")
    except ConfigError:
        return values


def bound(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values that may not change when a run is resumed."""
    kept = {k: v for k, v in values.items() if k not in FREE}
    kept["loop"] = {k: v for k, v in kept.get("loop", {}).items() if k not in FREE_LOOP}
    kept["data"] = {k: v for k, v in kept.get("data", {}).items() if k not in FREE_DATA}
    return kept


def first_difference(a: Any, b: Any, at: str = "") -> str:
    """Return the key where two trees of values first differ, "" if they are equal."""
    if isinstance(a, dict) and isinstance(b, dict):
        for key in sorted({*a, *b}):
            if difference := first_difference(a.get(key), b.get(key), f"{at}.{key}" if at else key):
                return difference
        return ""
    return "" if a == b else at


def _packed(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: t.detach().cpu().contiguous().clone() for name, t in tensors.items()}


def _sync(path: Path) -> None:
    """Flush a file or folder to the disk, if the system can."""
    with contextlib.suppress(OSError):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
