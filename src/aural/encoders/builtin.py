"""Register the built-in audio encoders.

Registration is not in `aural.encoders` itself, because the tokenizers in that package must not import torch.
"""

from __future__ import annotations

# Each module registers its encoder.
from aural.encoders import cnn9, cnn14, htsat, mobilenet, sequence, vit
from aural.encoders.base import AUDIO_ENCODERS

__all__ = ["AUDIO_ENCODERS", "cnn9", "cnn14", "htsat", "mobilenet", "sequence", "vit"]
