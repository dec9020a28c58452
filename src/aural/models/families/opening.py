"""Open a folder or file of a registered family."""

from __future__ import annotations

from pathlib import Path

from aural.models.embedding import EmbeddingModel
from aural.models.families import sentence_text
from aural.models.families.base import FILES, FOLDERS, OpenOptions
from aural.models.open import folder_config, read_state


def open_registered(place: Path, options: OpenOptions) -> EmbeddingModel | None:
    """Open a folder by its model type or a file by the names of its tensors; None when no family knows it."""
    if place.is_dir():
        values = folder_config(place)
        model_type = str(values.get("model_type", ""))
        if sentence_text.is_text_folder(place, values):
            return sentence_text.open_text(place, values, options)
        return FOLDERS[model_type](place, values, options) if model_type in FOLDERS else None
    state = read_state(place)
    marker = next((name for name in FILES if name in state), None)
    return None if marker is None else FILES[marker](state, place, options)
