"""Choose a torch device and find out what it computes in hardware."""

from __future__ import annotations

import torch

from aural.core.errors import ConfigError


def pick_device(device: str | torch.device | None) -> torch.device:
    """Return the requested device; None and "auto" select cuda if there is a CUDA device, else cpu.

    Raises ConfigError when the device is unknown or not available on this machine.
    """
    if device is None or device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        picked = torch.device(device)
    except RuntimeError:
        raise ConfigError(f'device "{device}" is not known; use cpu, cuda, cuda:N or mps') from None
    if picked.type == "cuda" and (not torch.cuda.is_available() or (picked.index or 0) >= torch.cuda.device_count()):
        raise ConfigError(f'device "{device}": torch sees {torch.cuda.device_count()} CUDA devices here; use cpu')
    if picked.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError('device "mps" is not available on this machine; use cpu')
    if picked.type not in ("cpu", "cuda", "mps"):
        raise ConfigError(f'device "{device}" is not supported; use cpu, cuda, cuda:N or mps')
    return picked


def has_bf16(device: torch.device) -> bool:
    """Return whether the device multiplies bfloat16 matrices in hardware (on x86: AVX512-BF16 or AMX)."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu" and hasattr(torch.cpu, "get_capabilities"):
        features = torch.cpu.get_capabilities()
        return any(features.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))
    return False
