"""Pack the decoder of the bundled captioner into three files, and open it from them.

The files hold the 4-bit blocks of SmolLM2 as they are in its GGUF file and the rows of its token table that are needed,
so that a machine without the package can train a bridge.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor


def pack_decoder(out: Path, kept: list[int]) -> None:
    """Write part0 and part1.npz, the 4-bit blocks of all layers, and part2.npz, norms and rows of the token table."""
    from gguf import GGUFReader, dequantize
    from transformers import AutoConfig, AutoModelForCausalLM

    from aural.models.gguf_files import dtype_option
    from aural.models.packaged import SMOLLM2

    path = SMOLLM2.path()
    where: dict[str, Any] = {"pretrained_model_name_or_path": path.parent, "gguf_file": path.name}
    state = AutoModelForCausalLM.from_pretrained(**where, **dtype_option(torch.float32)).state_dict()
    config = AutoConfig.from_pretrained(**where).to_dict() | {"vocab_size": len(kept)}
    raw = {t.name: t for t in GGUFReader(path).tensors}
    inner = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj"}
    inner |= {"attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj"}
    inner |= {"ffn_down": "mlp.down_proj"}
    parts: list[dict[str, Any]] = [{}, {}, {}]
    for name, tensor in raw.items():
        if tensor.tensor_type.name != "Q4_1":
            continue
        _, number, kind, _ = name.split(".")
        target = f"model.layers.{number}.{inner[kind]}.weight"
        values, data = dequantize(tensor.data, tensor.tensor_type), np.asarray(tensor.data)
        want = state[target].numpy()
        places = {row.tobytes(): i for i, row in enumerate(values.astype(np.float32))}
        order = [places[row.tobytes()] for row in want]  # transformers reorders the rows of queries and keys
        parts[int(number) * 2 // config["num_hidden_layers"]][target] = data[order]
    for name, tensor in state.items():
        if name.endswith("norm.weight"):
            parts[2][name] = tensor.numpy()
    parts[2]["model.embed_tokens.weight"] = state["model.embed_tokens.weight"][kept].half().numpy()
    parts[2]["config"] = np.frombuffer(json.dumps(config).encode(), np.uint8)
    for number, part in enumerate(parts):
        np.savez(out / f"part{number}.npz", **part)


def pack(args: argparse.Namespace) -> None:
    """Write the decoder's three files for the tokens in texts.json."""
    pack_decoder(Path(args.out), json.loads((Path(args.out) / "texts.json").read_text())["kept"])


def unpack(blocks: np.ndarray) -> Tensor:
    """Return weights (rows, columns) of Q4_1 blocks: 32 weights q d + m with float16 d, m and 16 bytes of two q."""
    data = torch.from_numpy(blocks.reshape(len(blocks), -1, 20).copy())
    scale, least = (data[..., at : at + 2].contiguous().view(torch.float16).float() for at in (0, 2))
    both = data[..., 4:]
    return (torch.cat([both & 15, both >> 4], dim=-1).float() * scale + least).flatten(1)


def open_packed(folder: Path, device: str, dtype: torch.dtype = torch.bfloat16) -> Any:
    """Return the causal model of the three files, frozen."""
    from transformers import LlamaConfig, LlamaForCausalLM

    tensors: dict[str, Tensor] = {}
    config: dict[str, Any] = {}
    for number in range(3):
        with np.load(folder / f"part{number}.npz") as stored:
            for name in stored.files:
                array = stored[name]
                if name == "config":
                    config = json.loads(array.tobytes())
                else:
                    tensors[name] = unpack(array) if array.dtype == np.uint8 else torch.from_numpy(array).float()
    kept = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads")
    kept += (
        "vocab_size",
        "rms_norm_eps",
        "rope_parameters",
        "tie_word_embeddings",
        "max_position_embeddings",
        "head_dim",
    )
    model = LlamaForCausalLM(LlamaConfig(**{name: config[name] for name in kept}))
    missing = model.load_state_dict(tensors, strict=False)
    if set(missing.missing_keys) - {"lm_head.weight"} or missing.unexpected_keys:
        raise SystemExit(f"the files do not fit: {missing}")
    model.tie_weights()
    return model.to(device, dtype).requires_grad_(False).eval()
