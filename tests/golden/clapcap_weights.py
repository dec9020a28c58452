"""Random weights of msclap's captioner in the published layout, the same bits on every machine.

The embedding of the stop token " " is part of the last bias, so that captions end at different lengths.
"""

from pathlib import Path

import torch
from layouts import LAYOUTS, tensors
from random_weights import random_tensor, uniform
from true_buffers import true_buffer

LAYOUT = "clapcap_2023"
FILE = "clapcap_weights_2023.pth"
STOP, PULL = 220, 5.45
SCALES = {
    "wte.weight": 0.04,
    "wpe.weight": 1.0,
    "c_attn.bias": 0.01,
    "attn.c_proj.weight": 0.3,
    "mlp.c_proj.weight": 0.003,
}
"""Standard deviations with which captions depend on the sound and on the place of a word."""


def clapcap_state() -> dict[str, torch.Tensor]:
    weights: dict[str, torch.Tensor] = {}
    for key, shape, _ in tensors(LAYOUT):
        value = true_buffer(key, shape, LAYOUTS["msclap_2023"].mel)
        for end, std in SCALES.items():
            if key.endswith(end):
                value = uniform(f"{LAYOUT}/{key}", shape, 0.0, std)
        if key.endswith("ln_f.bias"):
            row = weights["gpt.transformer.wte.weight"][STOP]
            value = PULL * row / row.square().sum()
        weights[key] = random_tensor(f"{LAYOUT}/{key}", key, shape) if value is None else value
    weights["gpt.lm_head.weight"] = weights["gpt.transformer.wte.weight"]
    return weights


def write_clapcap(folder: Path) -> Path:
    """Write the file as msclap publishes it and return its path."""
    torch.save({"model": clapcap_state()}, folder / FILE)
    return folder / FILE
