"""Files of a library's folder next to the table: its card `library.json` and the lock of the writing process."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from aural.core.config import Config
from aural.core.errors import ConfigError, DataError
from aural.core.files import write_text
from aural.core.types import Clip, Embedder, FloatArray

CARD: Final = "library.json"
LOCK: Final = "writer.lock"
SAME_MODEL_COSINE: Final = 0.99
"""Least cosine of reference vectors of one model. One model in two precisions is above, two models are below."""


class LibraryCard(Config):
    """Metadata of a library: the model and window of its vectors, and the folders that `update` looks through.

    roots: addresses of folders, files, tars and object stores. probe: the model's vector of a fixed sound; see
    `reference_vector`.
    """

    aural: int = 1
    model: str
    sample_rate_hz: int
    embed_dim: int
    window_s: float = 10.0
    roots: tuple[str, ...] = ()
    probe: tuple[float, ...] = ()


def read_card(folder: Path) -> LibraryCard:
    """Read the card of the library in `folder`. Raises DataError if there is no library."""
    if not (folder / CARD).is_file():
        hint = f"create one with `aural library add DIR --library {folder}`"
        raise DataError(f"{folder}: is not a sound library; {hint}")
    return LibraryCard.read(folder / CARD)


def write_card(folder: Path, card: LibraryCard) -> None:
    """Replace the card in one step: a reader sees the old card or the new one."""
    write_text(folder / CARD, json.dumps(card.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n")


@contextlib.contextmanager
def writer_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of the one process that may write. The system releases it when that process ends, even if killed.

    Raises DataError if another process is writing.
    """
    with (folder / LOCK).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            writer = file.read().strip() or "another process"
            raise DataError(f"{folder}: {writer} is writing to this library; try again when it is done") from None
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        yield


def reference_vector(embedder: Embedder) -> FloatArray:
    """Return the model's vector (E,) of one fixed sound, which distinguishes models whatever their names are."""
    rate = embedder.sample_rate_hz
    t = np.arange(rate, dtype=np.float64) / rate
    wave = 0.3 * np.sin(2 * np.pi * (200 + 1500 * t) * t) * (1 + np.sin(2 * np.pi * 5 * t)) / 2
    return embedder.embed_audio([Clip(wave.astype(np.float32)[None], rate)])[0]


def check_model(card: LibraryCard, embedder: Embedder, folder: Path) -> None:
    """Raise ConfigError if the library's vectors were computed by another model than `embedder`."""
    fix = f"use --model {card.model}, or create another library for this model"
    if (embedder.embed_dim, embedder.sample_rate_hz) != (card.embed_dim, card.sample_rate_hz):
        raise ConfigError(f"{folder}: was created with the model {card.model}, whose vectors differ; {fix}")
    if card.probe:
        cosine = float(reference_vector(embedder) @ np.asarray(card.probe, np.float32))
        if cosine < SAME_MODEL_COSINE:
            raise ConfigError(f"{folder}: was created with the model {card.model} or other weights of it; {fix}")
