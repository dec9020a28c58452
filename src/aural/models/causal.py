"""Any causal language model of transformers as a decoder: from a folder, a GGUF file, the hub, or the packaged SmolLM2.

Legend: R rows, L new positions, S all positions, D width, V vocabulary.
"""

from __future__ import annotations

import inspect
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from aural.core.errors import CheckpointError, one_line
from aural.models.device import pick_device
from aural.models.gguf_files import dtype_option, gguf_options, without_bars
from aural.models.packaged import SMOLLM2
from aural.nn.causal import Cache, Step

PACKAGED = "smollm2"


@dataclass
class TransformersCache:
    """The cache of a transformers model."""

    content: Any

    def select(self, rows: Tensor) -> TransformersCache:
        """Go on with the rows (R',); the cache itself is changed."""
        self.content.reorder_cache(rows)
        return self


class TransformersDecoder:
    """A causal language model of transformers, frozen, with its tokenizer."""

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self.model, self.tokenizer = model.requires_grad_(False).eval(), tokenizer
        self.dim = int(model.config.hidden_size)
        self.stop_ids = tuple(stop_tokens(model, tokenizer))
        inputs = inspect.signature(model.forward).parameters
        self._past = "past_key_values" if "cache" not in inputs else "cache"  # renamed in transformers 5

    @property
    def module(self) -> nn.Module:
        return cast(nn.Module, self.model)

    def embed(self, ids: Tensor) -> Tensor:
        """Return the input vectors (R, L, D) of token ids (R, L)."""
        vectors: Tensor = self.model.get_input_embeddings()(ids)
        return vectors

    def read(self, vectors: Tensor, mask: Tensor, cache: Cache | None = None) -> Step:
        """Read vectors (R, L, D) after the S - L positions of the cache; mask: (R, S), padding on the left."""
        past = None if cache is None else cast(TransformersCache, cache).content
        out = self.model(
            inputs_embeds=vectors,
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp_min(0)[:, mask.shape[1] - vectors.shape[1] :],
            use_cache=True,
            output_hidden_states=True,
            **{self._past: past},
        )
        return Step(out.logits[:, -1], out.hidden_states[-1][:, -1], TransformersCache(getattr(out, self._past)))

    def logits(self, vectors: Tensor, mask: Tensor, cache: Cache | None = None) -> Tensor:
        """Return the logits (R, L, V) of all positions of vectors (R, L, D), for training what makes the vectors.

        mask: (R, S), with the positions of the cache, which is changed.
        """
        past = None if cache is None else cast(TransformersCache, cache).content
        logits: Tensor = self.model(
            inputs_embeds=vectors,
            attention_mask=mask,
            position_ids=(mask.cumsum(1) - 1).clamp_min(0)[:, mask.shape[1] - vectors.shape[1] :],
            use_cache=past is not None,
            **{self._past: past},
        ).logits
        return logits

    def ids(self, text: str) -> list[int]:
        """Return the token ids of a text, without opening and closing tokens."""
        ids: list[int] = self.tokenizer(text, add_special_tokens=False).input_ids
        return ids

    def text(self, ids: tuple[int, ...]) -> str:
        """Return the text of token ids, without special tokens and space around it."""
        return str(self.tokenizer.decode(list(ids), skip_special_tokens=True)).strip()


def stop_tokens(model: Any, tokenizer: Any) -> list[int]:
    """Return the ids that end a text, by the model's generation config and its tokenizer."""
    named = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ids = list(named) if isinstance(named, list | tuple) else [named]
    ids.append(getattr(tokenizer, "eos_token_id", None))
    return list(dict.fromkeys(int(one) for one in ids if one is not None))


def open_decoder(
    name_or_path: str | Path = PACKAGED, *, device: str | torch.device | None = None, offline: bool = False
) -> TransformersDecoder:
    """Open a causal language model.

    name_or_path: "smollm2" (the packaged SmolLM2-135M-Instruct), a GGUF file, a folder of transformers, or a hub
        repository ("owner/name").

    Raises:
        MissingDependencyError: a package or a file is not on this machine.
        CheckpointError: what is there is no causal language model.
    """
    path = SMOLLM2.path() if name_or_path == PACKAGED else Path(os.path.expanduser(name_or_path))
    where: dict[str, Any] = {"pretrained_model_name_or_path": str(name_or_path), "local_files_only": offline}
    if path.suffix == ".gguf" and not path.is_file():
        raise CheckpointError(f"{path}: no such file; give a GGUF file, a folder or a hub repository")
    if path.exists():
        where = {"pretrained_model_name_or_path": str(path), "local_files_only": True}
    from transformers import AutoModelForCausalLM, AutoTokenizer

    try:
        if path.suffix == ".gguf":
            where = gguf_options(path)
        with without_bars():
            model = AutoModelForCausalLM.from_pretrained(**where, **dtype_option(torch.float32))
            tokenizer = AutoTokenizer.from_pretrained(**where)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{name_or_path}: is not a causal language model that transformers opens ({one_line(error, 140)}); give a "
            "folder, a GGUF file or a hub repository"
        ) from None
    return TransformersDecoder(model.to(pick_device(device)), tokenizer)
