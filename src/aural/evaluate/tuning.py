"""Options of fine-tuning, in a separate module so that reading them does not import torch."""

from __future__ import annotations

from pydantic import Field

from aural.core.config import Config


class FineTune(Config):
    """Options of fine-tuning: AdamW with a linear warm-up, then half a cosine down to zero."""

    epochs: int = Field(default=10, ge=1)
    batch: int = Field(default=32, ge=2)
    tower_lr: float = Field(default=1e-4, gt=0)
    head_lr: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=0.01, ge=0)
    warmup: float = Field(default=0.1, ge=0, lt=1)
    """Share of all steps."""
