"""Recognize a folder or file of another model family and open it."""

from __future__ import annotations

from pathlib import Path

from aural.core.errors import ConfigError
from aural.models.embedding import EmbeddingModel

# Each module registers its folders and files.
from aural.models.families import audio_only, beats, clapcap, embedding_gemma2, flam, glap, m2d, pe_audio, text_head
from aural.models.families.base import OpenOptions
from aural.models.families.opening import open_registered

__all__ = [
    "audio_only", "beats", "clapcap", "embedding_gemma2", "flam", "glap", "m2d", "open_family", "pe_audio", "text_head",
]  # fmt: skip


def open_family(place: Path, options: OpenOptions) -> EmbeddingModel | None:
    """Open a model of another family, or return None for a two-tower model that `aural.models.open` reads.

    Raises ConfigError for compat="peer" with a family that has no other preprocessing than that of its package, up to
    the window's length.
    """
    opened = open_registered(place, options)
    if opened is not None and options.compat is not None and not getattr(opened, "reproduces_peer", False):
        raise ConfigError(f'{place}: compat="{options.compat}" is for msclap, LAION CLAP and ClapModel; leave it out')
    return opened
