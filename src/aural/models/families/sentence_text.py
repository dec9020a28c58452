"""Text encoders in folders of sentence-transformers: BERT, RoBERTa or XLM-RoBERTa, pooled by mean or first token.

`modules.json` lists Transformer, Pooling and optionally Dense (without activation) and Normalize. Vectors are unit rows
in any case. Other modules are refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from torch import Tensor

from aural.core.config import read_mapping
from aural.core.errors import CheckpointError, ConfigError
from aural.encoders.text import Pooling, TextConfig
from aural.encoders.tokenize import SpecialTokens, Tokenizer, load_backend
from aural.models.clap import TextTower
from aural.models.families.base import FamilyModel, OpenOptions, Traits, without_init
from aural.models.weight_files import folder_tensors, read_safetensors
from aural.nn.projection import ProjectionKind

MODULES = "modules.json"
ARCHITECTURES: dict[str, tuple[str, SpecialTokens]] = {
    "bert": ("bert", "bert"),
    "roberta": ("roberta", "roberta"),
    "xlm-roberta": ("roberta", "roberta"),
}
POOLINGS: dict[str, Pooling] = {"mean": "mean", "cls": "cls"}
NO_ACTIVATION = "torch.nn.modules.linear.Identity"


def is_text_folder(folder: Path, values: Mapping[str, Any]) -> bool:
    """Return whether a folder of sentence-transformers holds a text encoder that this module can open."""
    return (folder / MODULES).is_file() and values.get("model_type") in ARCHITECTURES


def open_text(folder: Path, values: Mapping[str, Any], options: OpenOptions) -> SentenceText:
    """Open a folder; `values` is the content of its config.json.

    Raises CheckpointError for a module or an option that has no counterpart here.
    """
    pooling: Pooling | None = None
    kind: ProjectionKind = "none"
    state = {f"encoder.model.{name.removeprefix('model.')}": t for name, t in folder_tensors(folder).items()}
    embed_dim = int(values["hidden_size"])
    for module in _modules(folder):
        path, name = folder / module["path"], module["type"].rpartition(".")[2]
        if name == "Pooling":
            pooling = _pooling(path)
        elif name == "Dense":
            kind, embed_dim = "linear", _dense(path, state)
        elif name not in ("Transformer", "Normalize"):
            raise CheckpointError(f'{folder / MODULES}: the module "{name}" is not supported')
    if pooling is None:
        raise CheckpointError(f"{folder / MODULES}: has no Pooling module; it is not a text encoder")
    if values.get("hidden_act", "gelu") != "gelu":
        raise CheckpointError(f'{folder}/config.json: hidden_act "{values["hidden_act"]}" is not supported; only gelu')
    architecture, special = ARCHITECTURES[values["model_type"]]
    config = TextConfig.parse(
        {
            "architecture": architecture,
            "dim": values["hidden_size"],
            "depth": values["num_hidden_layers"],
            "heads": values["num_attention_heads"],
            "hidden_dim": values["intermediate_size"],
            "vocab_size": values["vocab_size"],
            "positions": values["max_position_embeddings"],
            "token_types": values.get("type_vocab_size", 2),
            "layer_norm_eps": values.get("layer_norm_eps", 1e-12),
            "pooling": pooling,
            "tokenizer": str(folder),
            "special_tokens": special,
            "pad_id": values.get("pad_token_id", 0),
            "max_tokens": _max_tokens(folder, values),
        },
        f"{folder}/config.json",
    )
    return SentenceText(config, kind, embed_dim, state, options)


class SentenceText(FamilyModel):
    """A text encoder without an audio tower: it embeds texts and refuses sounds."""

    def __init__(
        self, config: TextConfig, kind: ProjectionKind, embed_dim: int, state: dict[str, Tensor], options: OpenOptions
    ) -> None:
        super().__init__(Traits(embed_dim=embed_dim, sample_rate_hz=16000, window_s=1.0), options)
        self.config = config
        self.tower = self._tower(kind, state)

    def _tower(self, kind: ProjectionKind, state: dict[str, Tensor]) -> TextTower:
        with without_init():
            tower = TextTower(self.config, kind, self.embed_dim)
        expected = tower.state_dict()
        missing = [name for name in expected if name not in state]
        if missing:
            raise CheckpointError(f'{self.name}: "{missing[0]}" is missing; copy the whole folder again')
        tower.load_state_dict({name: state[name].float() for name in expected}, strict=True)
        return tower.requires_grad_(False).eval().to(self.device)

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer of the folder, or of the option `tokenizer`."""
        config = self.config
        backend = load_backend(config.tokenizer, self.options.tokenizer or config.tokenizer)
        special, length, pad = config.special_tokens, config.max_tokens, config.pad_id
        return Tokenizer(backend, special=special, max_tokens=length, pad_id=pad)

    def text_rows(self, texts: Sequence[str]) -> Tensor:
        tokens = self.tokenizer(texts)
        return self.tower(tokens.ids.to(self.device), tokens.mask.to(self.device))

    def audio_rows(self, waves: Tensor) -> Tensor:
        raise ConfigError(f"{self.name}: has no audio tower; it embeds texts only")


def _modules(folder: Path) -> list[dict[str, Any]]:
    try:
        modules = json.loads((folder / MODULES).read_text(encoding="utf-8"))
        return [{"path": str(module["path"]), "type": str(module["type"])} for module in modules]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"{folder / MODULES}: is not a list of modules ({error}); copy the folder again"
        ) from None


def _pooling(path: Path) -> Pooling:
    """Return the pooling of a Pooling module, in the form of version 6 or of earlier versions."""
    values = read_mapping(path / "config.json")
    flags = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
    modes = [mode for flag, mode in flags.items() if values.get(flag)] or [str(values.get("pooling_mode"))]
    if len(modes) != 1 or modes[0] not in POOLINGS:
        raise CheckpointError(f"{path}/config.json: pooling {modes} is not supported; known: {', '.join(POOLINGS)}")
    return POOLINGS[modes[0]]


def _dense(path: Path, state: dict[str, Tensor]) -> int:
    """Add the tensors of a Dense module to `state` and return its output dimension."""
    values = read_mapping(path / "config.json")
    if values.get("activation_function") != NO_ACTIVATION or not values.get("bias", True):
        raise CheckpointError(f"{path}/config.json: a Dense module with an activation or without bias is not supported")
    if "projection.weight" in state:
        raise CheckpointError(f"{path}: a second Dense module is not supported")
    for name, tensor in read_safetensors(path / "model.safetensors").items():
        state[f"projection.{name.removeprefix('linear.')}"] = tensor
    return int(values["out_features"])


def _max_tokens(folder: Path, values: Mapping[str, Any]) -> int:
    """Return the longest text in tokens: that of the folder, at most what the positions allow."""
    positions = int(values["max_position_embeddings"])
    most = positions - 2 if ARCHITECTURES[values["model_type"]][0] == "roberta" else positions
    file, settings = folder / "sentence_bert_config.json", folder / "tokenizer_config.json"
    stated = read_mapping(file).get("max_seq_length") if file.is_file() else None
    if stated is None and settings.is_file():
        stated = read_mapping(settings).get("model_max_length")
    return most if stated is None else int(min(most, stated))
