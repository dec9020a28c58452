"""`aural.load`: a model by its name, from a local path or from the hub."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Literal

import torch

from aural.core.errors import CheckpointError, ConfigError, near_miss
from aural.core.hub import hub_file
from aural.core.names import DEFAULT_MODEL
from aural.core.weights import WeightCard, weight_card, weight_cards
from aural.models.embedding import Precision
from aural.models.pipeline import Model
from aural.models.sources import Checkpoint, open_file, open_folder

WEIGHT_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")


def load(
    name_or_path: str | Path = DEFAULT_MODEL,
    *,
    device: str | torch.device | None = None,
    precision: Precision = "fp32",
    compat: Literal["peer"] | None = None,
    seed: int = 0,
    tokenizer: str | Path | None = None,
    offline: bool = False,
) -> Model:
    """A model ready to embed sounds and texts.

    `name_or_path`: a name of `aural models list`, a weight file or folder on this machine, or a hub repository
    ("owner/name"). device: "cpu", "cuda", "cuda:1", "mps" (default: cuda if there is one, else cpu). precision "bf16"
    computes in bfloat16. compat="peer" repeats the reference package's handling of long, stereo and short sounds and of
    texts, drawing from a generator seeded by `seed`. tokenizer: a local folder for the text tower's tokenizer.

    Raises CheckpointError for weights that are not what they claim, MissingDependencyError for what is not here.
    """
    if precision not in ("fp32", "bf16"):
        raise ConfigError(f'precision "{precision}" is not known; use fp32 or bf16')
    if compat not in (None, "peer"):
        raise ConfigError(f'compat "{compat}" is not known; use "peer" or leave it out')
    where = pick_device(device)
    checkpoint = open_checkpoint(name_or_path, offline=offline)
    return Model(
        checkpoint,
        name=str(name_or_path),
        device=where,
        precision=precision,
        compat=compat,
        seed=seed,
        tokenizer=tokenizer,
        offline=offline,
    )


def open_checkpoint(name_or_path: str | Path, *, offline: bool = False) -> Checkpoint:
    """The weights and config behind a name, a path or a hub repository."""
    if not isinstance(name_or_path, str | PathLike):
        raise ConfigError(f"a model is named by a string or path, not {type(name_or_path).__name__}")
    text = str(name_or_path)
    if not text.strip():
        raise ConfigError("the model's name is empty; see `aural models list`")
    if isinstance(name_or_path, str) and name_or_path in weight_cards():
        return _from_card(weight_card(name_or_path), offline)
    path = Path(name_or_path)
    try:
        path = path.expanduser()
        is_folder, is_file = path.is_dir(), path.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # a name too long, the home of nobody
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f'"{text[:60]}" cannot be opened ({reason}); give a name, a file or a folder') from None
    if is_folder:
        return open_folder(path)
    if is_file:
        return open_file(path)
    if text.count("/") == 1 and not text.startswith((".", "/", "~")) and path.suffix not in WEIGHT_SUFFIXES:
        return open_folder(_repository(text, None, offline))
    known = near_miss(text, weight_cards())
    raise CheckpointError(f'"{text}" is neither a file, a folder, a hub repository nor a known model; {known}')


def _from_card(card: WeightCard, offline: bool) -> Checkpoint:
    if card.folder is not None:
        return open_folder(card.bundled())
    assert card.repository is not None
    if card.file is None:
        return open_folder(_repository(card.repository, card.revision, offline))
    path = hub_file(card.repository, card.file, revision=card.revision, sha256=card.sha256, offline=offline)
    return open_file(path)


def _repository(name: str, revision: str | None, offline: bool) -> Path:
    """The files of a hub repository that a model needs; the folder they lie in."""
    config = hub_file(name, "config.json", revision=revision, offline=offline)
    for optional in ("preprocessor_config.json", "tokenizer.json", "vocab.json", "merges.txt"):
        try:
            hub_file(name, optional, revision=revision, offline=offline)
        except Exception:  # a repository need not have each of them; what is needed and missing is told later
            continue
    try:
        hub_file(name, "model.safetensors", revision=revision, offline=offline)
    except Exception as error:
        try:
            hub_file(name, "pytorch_model.bin", revision=revision, offline=offline)
        except Exception:
            raise error from None
    return config.parent


def pick_device(device: str | torch.device | None) -> torch.device:
    """The device asked for, refused in one sentence when this machine has none; by default cuda, else cpu."""
    if device is None or device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        found = torch.device(device)
    except RuntimeError:
        raise ConfigError(f'device "{device}" is not known; use cpu, cuda, cuda:N or mps') from None
    if found.type == "cuda" and (not torch.cuda.is_available() or (found.index or 0) >= torch.cuda.device_count()):
        raise ConfigError(f'device "{device}": torch sees {torch.cuda.device_count()} CUDA devices here; use cpu')
    if found.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError('device "mps" is not available on this machine; use cpu')
    if found.type not in ("cpu", "cuda", "mps"):
        raise ConfigError(f'device "{device}" is not supported; use cpu, cuda, cuda:N or mps')
    return found
