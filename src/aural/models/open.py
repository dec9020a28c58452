"""Find the checkpoint behind a name, a path or a hub repository, and open it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

from torch import Tensor

from aural.core.config import read_mapping
from aural.core.errors import CheckpointError, ConfigError, MissingDependencyError, near_miss
from aural.core.hub import hub_file
from aural.core.weights import WeightCard, weight_card, weight_cards
from aural.models.checkpoint import Checkpoint
from aural.models.external import IN_FOLDERS, open_published, open_transformers
from aural.models.format import open_own
from aural.models.weight_files import SHARD_INDEX, read_pickle, read_safetensors

WEIGHT_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".safetensors")
OPTIONAL_FILES = (
    "preprocessor_config.json", "processor_config.json", "tokenizer.json", "tokenizer_config.json", "vocab.json",
    "merges.txt", "modules.json", "sentence_bert_config.json", "1_Pooling/config.json", "2_Dense/config.json",
    "2_Dense/model.safetensors",
)  # fmt: skip
"""Files of a hub repository that some models need, next to config.json and the weights."""


def open_checkpoint(name_or_path: str | Path, *, offline: bool = False) -> Checkpoint:
    """Open the weights and the configuration of a model; see `locate` for the names.

    Raises CheckpointError for content that is not a two-tower model, and what `locate` raises.
    """
    return open_place(locate(name_or_path, offline=offline))


def open_place(path: Path) -> Checkpoint:
    """Open a model's folder or weight file."""
    return open_folder(path) if path.is_dir() else open_file(path)


def locate(name_or_path: str | Path, *, offline: bool = False) -> Path:
    """Return the folder or weight file of a model on this machine; download it if it is on the hub.

    name_or_path: a name of `aural models list`, a weight file, a model folder, or a hub repository ("owner/name").

    Raises ConfigError for a name that is not a string or a path, CheckpointError for a name that nothing has, and
    MissingDependencyError for files that would have to be downloaded while `offline`.
    """
    if not isinstance(name_or_path, str | PathLike):
        raise ConfigError(f"a model is named by a string or path, not {type(name_or_path).__name__}")
    text = str(name_or_path)
    if not text.strip():
        raise ConfigError("the model's name is empty; see `aural models list`")
    if isinstance(name_or_path, str) and name_or_path in weight_cards():
        return _locate_card(weight_card(name_or_path), offline)
    path = Path(name_or_path)
    try:
        path = path.expanduser()
        is_folder, is_file = path.is_dir(), path.is_file()
    except (OSError, RuntimeError, ValueError) as error:  # a name too long, the home of an unknown user
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f'"{text[:60]}" cannot be opened ({reason}); give a name, a file or a folder') from None
    if is_folder or is_file:
        return path
    if text.count("/") == 1 and not text.startswith((".", "/", "~")) and path.suffix not in WEIGHT_SUFFIXES:
        return _download_repository(text, None, offline)
    hint = near_miss(text, weight_cards())
    raise CheckpointError(f'"{text}" is neither a file, a folder, a hub repository nor a known model; {hint}')


def open_file(path: Path) -> Checkpoint:
    """Open a published weight file: msclap 2022 or 2023, or any LAION CLAP file.

    A file is recognized by the names of its tensors, never by its own name.
    """
    state = read_state(path)
    checkpoint = open_published(state, str(path))
    if checkpoint is not None:
        return checkpoint
    if not IN_FOLDERS.isdisjoint(state):
        raise CheckpointError(f"{path}: is the weight file of a model's folder; give the folder, with its config.json")
    first = ", ".join(f'"{key}"' for key in list(state)[:3]) or "none"
    raise CheckpointError(f"{path}: is not a checkpoint that aural knows (its first keys: {first}); see docs/models")


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the state dict of a weight file, without the prefix "module." of its names."""
    content = read_safetensors(path) if path.suffix == ".safetensors" else read_pickle(path)
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path}: holds a {type(content).__name__}, not a checkpoint")
    state: Any = content.get("model", content.get("state_dict", content))
    items = state.items() if isinstance(state, Mapping) else [(None, None)]
    if not all(isinstance(key, str) and isinstance(value, Tensor) for key, value in items):
        raise CheckpointError(f'{path}: holds no state dict under "model" or "state_dict"')
    return {key.removeprefix("module."): value for key, value in state.items()}


def open_folder(folder: Path) -> Checkpoint:
    """Open a folder in aural's own format (config.json has the key "aural") or a transformers ClapModel folder."""
    values = folder_config(folder)
    if "aural" in values:
        return open_own(folder, values)
    if values.get("model_type") == "clap":
        return open_transformers(folder, values)
    file = folder / "config.json"
    raise CheckpointError(f'{file}: is of model type "{values.get("model_type")}", which is not a language-audio model')


def folder_config(folder: Path) -> dict[str, Any]:
    """Return the content of a folder's config.json."""
    file = folder / "config.json"
    if not file.is_file():
        raise CheckpointError(f"{folder}: holds no config.json; give a weight file or the folder of a model")
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{file}: is not JSON ({error})") from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{file}: holds a {type(values).__name__}, not a model's configuration")
    return values


def _locate_card(card: WeightCard, offline: bool) -> Path:
    if card.folder is not None:
        return card.bundled()
    if card.url is not None:
        raise MissingDependencyError(
            f"{card.name}: is not on the hub; download {card.url} and give the path of the weight file"
        )
    assert card.repository is not None
    if card.file is None:
        return _download_repository(card.repository, card.revision, offline)
    return hub_file(card.repository, card.file, revision=card.revision, sha256=card.sha256, offline=offline)


def _by_hand(name: str) -> str:
    from huggingface_hub import constants

    files = "config.json, model.safetensors, preprocessor_config.json, tokenizer.json"
    return f"download {files} from {constants.ENDPOINT}/{name} into a folder and pass the folder"


def _download_repository(name: str, revision: str | None, offline: bool) -> Path:
    """Download the files of a hub repository that a model needs and return their folder."""
    config = hub_file(name, "config.json", revision=revision, offline=offline, fix=_by_hand(name))
    for optional in OPTIONAL_FILES:
        try:
            hub_file(name, optional, revision=revision, offline=offline)
        except Exception:  # few repositories have all of them; a missing file is reported where it is needed
            continue
    try:
        hub_file(name, "model.safetensors", revision=revision, offline=offline)
    except Exception as error:
        try:
            _download_other_weights(name, revision, offline)
        except Exception:
            raise error from None
    return config.parent


def _download_other_weights(name: str, revision: str | None, offline: bool) -> None:
    """Download the shards of the weights, or the pickle of an old repository."""
    try:
        index = hub_file(name, SHARD_INDEX, revision=revision, offline=offline)
    except Exception:
        hub_file(name, "pytorch_model.bin", revision=revision, offline=offline)
        return
    for shard in sorted(set(read_mapping(index)["weight_map"].values())):
        hub_file(name, shard, revision=revision, offline=offline)
