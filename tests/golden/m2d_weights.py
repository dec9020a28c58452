"""The random weights and the sounds of M2D-CLAP's golden file."""

from pathlib import Path

import numpy as np
import torch
from golden_tokenizers import write_bert
from random_weights import random_tensor

SECONDS = {"short": 3.21, "exact": 10.0}
RATE_HZ = 16000
YEARS = {2024: (-7.1, 4.2), 2025: (-7.26, 4.35)}
"""Mean and deviation of the log-mels; the file of 2024 does not hold them."""
BERT = {"hidden_size": 192, "num_hidden_layers": 2, "num_attention_heads": 12, "intermediate_size": 256}
FULL_BERT = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
"""The size of BERT base, which both published text encoders have."""


def m2d_state(year: int, tensors: list[tuple[str, tuple[int, ...], str]]) -> dict[str, torch.Tensor]:
    """Return every tensor of the layout, random numbers that depend on the key alone."""
    state = {}
    for key, shape, _ in tensors:
        role = key.replace("pos_embed", "position_embeddings.weight")
        state[key] = random_tensor(f"m2d-{year}/{key}", role, shape)
        if key.endswith("norm_stats"):
            state[key] = torch.tensor(YEARS[year])
    return state


def wave(name: str) -> np.ndarray:
    """Return a sound at 16 kHz, float32, that changes all the time."""
    t = np.arange(round(SECONDS[name] * RATE_HZ)) / RATE_HZ
    noise = np.random.Generator(np.random.Philox(key=len(name))).uniform(-0.2, 0.2, t.size)
    return (np.sin(2 * np.pi * (200 * t + 150 * t**2)) * 0.3 + noise * (t % 1 < 0.4)).astype(np.float32)


def write_gte(folder: Path, state: dict[str, torch.Tensor], sizes: dict[str, int] = BERT) -> Path:
    """Write a text encoder as thenlper/gte-base is published: BERT, the mean of its states, unit length."""
    import json

    from safetensors.torch import save_file

    write_bert(folder)
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    values = {"model_type": "bert", "vocab_size": 30522, "max_position_embeddings": 512, **sizes}
    (folder / "config.json").write_text(json.dumps(values))
    kinds = ("Transformer", "Pooling", "Normalize")
    modules = [
        {"path": f"{i}_{k}" if i else "", "type": f"sentence_transformers.models.{k}"} for i, k in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    return folder
