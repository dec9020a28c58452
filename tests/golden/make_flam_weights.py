"""The random weights and the sounds of OpenFLAM's golden file."""

import numpy as np
import torch
from random_weights import random_tensor
from true_buffers import true_buffer

MEL = (48000, 50, 14000)
PRIORS = {"fc_per_text_logit_bias": -8.0, "fc_per_text_logit_scale": 2.3}
SECONDS = {"short": 3.0, "exact": 10.0}


def flam_state(tensors: list[tuple[str, tuple[int, ...], str]]) -> dict[str, torch.Tensor]:
    """Return every tensor of the layout: true buffers, and random numbers that depend on the key alone."""
    state = {}
    for key, shape, _ in tensors:
        value = true_buffer(key, shape, MEL)
        kind = key.replace("per_text_logit_scale", "head")  # else drawn like a single scale
        value = random_tensor(f"flam/{key}", kind, shape) if value is None else value
        part, _, leaf = key.partition(".2.")
        if part in PRIORS:  # close to the values at the start of training, so that no score saturates
            value = 0.1 * value + (PRIORS[part] if leaf == "bias" else 0.0)
        state[key] = value
    return state


def wave(name: str) -> np.ndarray:
    """Return a sound at 48 kHz, float32, whose character changes all the time."""
    t = np.arange(round(SECONDS[name] * 48000)) / 48000
    noise = np.random.Generator(np.random.Philox(key=len(name))).uniform(-0.2, 0.2, t.size)
    return (np.sin(2 * np.pi * (200 * t + 150 * t**2)) * 0.3 + noise * (t % 1 < 0.4)).astype(np.float32)
