"""Write a BERT text encoder as a folder that sentence-transformers, transformers and aural open, with equal vectors.

The folder needs no code of aural: a Transformer module, mean or first-token pooling, and normalization.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from aural.core.errors import CheckpointError
from aural.core.files import atomic_write, filled_folder, write_text
from aural.encoders.text import TextConfig

if TYPE_CHECKING:
    from torch import Tensor

POOLING_FOLDER = "1_Pooling"
PACKAGE = "sentence_transformers.models"


def write_sentence_folder(
    folder: Path, config: TextConfig, tensors: Mapping[str, Tensor], tokenizer_json: str, *, card: str
) -> Path:
    """Write the encoder's tensors under the names of transformers, its tokenizer and the settings; return the folder.

    config: a BERT with pooling "mean" or "cls".
    """
    from safetensors.torch import save_file

    bert = {
        "architectures": ["BertModel"], "model_type": "bert", "hidden_act": "gelu", "vocab_size": config.vocab_size,
        "hidden_size": config.dim, "num_hidden_layers": config.depth, "num_attention_heads": config.heads,
        "intermediate_size": config.hidden_dim, "max_position_embeddings": config.positions,
        "type_vocab_size": config.token_types, "layer_norm_eps": config.layer_norm_eps, "pad_token_id": config.pad_id,
    }  # fmt: skip
    names = ("Transformer", "Pooling", "Normalize")
    paths = ("", POOLING_FOLDER, "2_Normalize")
    modules = [
        {"idx": i, "name": str(i), "path": path, "type": f"{PACKAGE}.{name}"}
        for i, (name, path) in enumerate(zip(names, paths, strict=True))
    ]
    pooling = {
        "word_embedding_dimension": config.dim,
        "pooling_mode_cls_token": config.pooling == "cls",
        "pooling_mode_mean_tokens": config.pooling == "mean",
    }
    special = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "cls", "sep", "mask", "unk")}
    settings = special | {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": config.max_tokens}
    with filled_folder(folder, CheckpointError):
        with atomic_write(folder / "model.safetensors", CheckpointError) as part:
            save_file({k: t.detach().float().cpu().contiguous() for k, t in tensors.items()}, part, {"format": "pt"})
        for path in paths[1:]:
            (folder / path).mkdir(exist_ok=True)
        for file, values in {
            "config.json": bert,
            "modules.json": modules,
            f"{POOLING_FOLDER}/config.json": pooling,
            "tokenizer_config.json": settings,
            "special_tokens_map.json": special,
            "sentence_bert_config.json": {"max_seq_length": config.max_tokens, "do_lower_case": False},
        }.items():
            write_text(folder / file, json.dumps(values, indent=2) + "\n", CheckpointError)
        write_text(folder / "tokenizer.json", tokenizer_json, CheckpointError)
        write_text(folder / "README.md", card, CheckpointError)
    return folder
