"""Recognize a folder or file of another model family and open it."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from aural.core.errors import ConfigError
from aural.models.embedding import EmbeddingModel

# Each module registers its folders and files.
from aural.models.families import embedding_gemma2, flam, glap, m2d, pe_audio, sentence_text
from aural.models.families.base import FILES, FOLDERS, OpenOptions
from aural.models.open import folder_config, read_state

__all__ = ["embedding_gemma2", "flam", "glap", "m2d", "open_family", "pe_audio"]


def open_family(place: Path, options: OpenOptions, *, compat: Literal["peer"] | None) -> EmbeddingModel | None:
    """Open a model of another family, or return None for a two-tower model that `aural.models.open` reads.

    Raises ConfigError for compat="peer": up to the window's length, these families compute what their packages compute.
    """
    opened: EmbeddingModel | None = None
    if place.is_dir():
        values = folder_config(place)
        model_type = str(values.get("model_type", ""))
        if sentence_text.is_text_folder(place, values):
            opened = sentence_text.open_text(place, values, options)
        elif model_type in FOLDERS:
            opened = FOLDERS[model_type](place, values, options)
    else:
        state = read_state(place)
        marker = next((name for name in FILES if name in state), None)
        if marker is not None:
            opened = FILES[marker](state, place, options)
    if opened is not None and compat is not None:
        raise ConfigError(f'{place}: compat="{compat}" is for msclap, LAION CLAP and ClapModel; leave it out')
    return opened
