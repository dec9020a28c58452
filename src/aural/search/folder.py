"""A library's folder: its card `library.json`, the writer's lock, and the table beside them."""

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
from aural.core.types import Clip, Embedder, FloatArray

CARD: Final = "library.json"
LOCK: Final = "writer.lock"
PROBE_LEAST_COSINE: Final = 0.99  # one model in two precisions stays above, two models do not


class LibraryCard(Config):
    """What a library says of itself: how its vectors came about, and which folders and files it was given."""

    aural: int = 1
    model: str
    sample_rate_hz: int
    embed_dim: int
    window_s: float = 10.0
    roots: tuple[str, ...] = ()
    probe: tuple[float, ...] = ()


def read_card(folder: Path) -> LibraryCard:
    """The card of the library in `folder`."""
    if not (folder / CARD).is_file():
        raise DataError(f"{folder}: holds no sound library; make one with `aural library add DIR --library {folder}`")
    return LibraryCard.read(folder / CARD)


def write_card(folder: Path, card: LibraryCard) -> None:
    """Replace the card in one step: a reader sees the old one or the new one."""
    part = folder / f"{CARD}.part"
    with part.open("w", encoding="utf-8") as file:
        file.write(json.dumps(card.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / CARD)


@contextlib.contextmanager
def writer_lock(folder: Path) -> Iterator[None]:
    """Held by the one process that writes; the system frees it when that process ends, however it ends."""
    with (folder / LOCK).open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            who = file.read().strip() or "another process"
            raise DataError(f"{folder}: {who} is writing to this library; try again when it is done") from None
        file.truncate(0)
        file.write(f"process {os.getpid()}")
        file.flush()
        yield


def probe(embedder: Embedder) -> FloatArray:
    """(E,) the model's vector of one fixed sound: tells models apart whatever they are called."""
    rate = embedder.sample_rate_hz
    t = np.arange(rate, dtype=np.float64) / rate
    wave = 0.3 * np.sin(2 * np.pi * (200 + 1500 * t) * t) * (1 + np.sin(2 * np.pi * 5 * t)) / 2
    return embedder.embed_audio([Clip(wave.astype(np.float32)[None], rate)])[0]


def check_model(card: LibraryCard, embedder: Embedder, folder: Path) -> None:
    """Refuse a model other than the one that made the library's vectors."""
    mend = f"use --model {card.model}, or make another library for this model"
    if (embedder.embed_dim, embedder.sample_rate_hz) != (card.embed_dim, card.sample_rate_hz):
        raise ConfigError(f"{folder}: was made with the model {card.model}, which gives other vectors; {mend}")
    if card.probe and float(probe(embedder) @ np.asarray(card.probe, np.float32)) < PROBE_LEAST_COSINE:
        raise ConfigError(f"{folder}: was made with the model {card.model}, or with other weights of it; {mend}")
