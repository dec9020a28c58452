"""The random weights and the sounds of BEATs's golden file."""

import numpy as np
import torch
from random_weights import random_tensor

SECONDS = {"short": 2.345, "exact": 10.0}
RATE_HZ = 16000
CONFIG = {
    "input_patch_size": 16, "embed_dim": 64, "encoder_layers": 3, "encoder_embed_dim": 96, "encoder_ffn_embed_dim": 160,
    "encoder_attention_heads": 12, "deep_norm": True, "conv_pos": 128, "conv_pos_groups": 16, "num_buckets": 320,
    "max_distance": 800, "relative_position_embedding": True, "gru_rel_pos": True,
}  # fmt: skip
"""A smaller network with the switches of the published files."""
FULL = CONFIG | {"embed_dim": 512, "encoder_layers": 12, "encoder_embed_dim": 768, "encoder_ffn_embed_dim": 3072}
"""The published size."""


def beats_state(tensors: list[tuple[str, tuple[int, ...], str]]) -> dict[str, torch.Tensor]:
    """Return every tensor of the layout, random numbers that depend on the key alone; layers share the positions."""
    state = {}
    for key, shape, _ in tensors:
        shared = key.partition(".self_attn.relative_attention_bias")
        name = shared[1] or key
        state[key] = random_tensor(f"beats/{name}", "relative_position_bias_table" if shared[1] else key, shape)
        if key.endswith("weight_g"):
            state[key] = state[key].abs() + 0.5
    return state


def wave(name: str) -> np.ndarray:
    """Return a sound at 16 kHz, float32, that changes all the time."""
    t = np.arange(round(SECONDS[name] * RATE_HZ)) / RATE_HZ
    noise = np.random.Generator(np.random.Philox(key=len(name))).uniform(-0.2, 0.2, t.size)
    return (np.sin(2 * np.pi * (200 * t + 150 * t**2)) * 0.3 + noise * (0.05 + (t % 1 < 0.4))).astype(np.float32)
