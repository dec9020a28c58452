"""Files of a library's folder next to the table: its card `library.json` and the lock of the writing process.

The card is stored twice, so that a library whose card is damaged or deleted can be repaired: the second copy is
`safety/library.json`. Its key `digest` shows whether a value changed since it was written.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
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
from aural.search.lance_files import read_version, version_names

CARD: Final = "library.json"
LOCK: Final = "writer.lock"
SAFETY: Final = "safety"
"""Folder with checksums and copies of what cannot be computed again; see `aural.search.checksums`."""

FORMAT: Final = 2
"""Version of the format: 1 has neither checksums nor digests of rows; it is still read and extended."""

CARD_COPY: Final = f"{SAFETY}/{CARD}"
TABLE_FOLDER: Final = "sounds.lance"
SAME_MODEL_COSINE: Final = 0.99
"""Least cosine of reference vectors of one model. One model in two precisions is above, two models are below."""


class LibraryCard(Config):
    """Metadata of a library: the model and window of its vectors, and the folders that `update` looks through.

    roots: addresses of folders, files, tars and object stores. removed: addresses below them that updates leave out.
    probe: the model's vector of a fixed sound; see `reference_vector`. digest: 16 hex digits of all other values; empty
    in a library of an earlier version.
    """

    aural: int = 1
    model: str
    sample_rate_hz: int
    embed_dim: int
    window_s: float = 10.0
    roots: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    probe: tuple[float, ...] = ()
    digest: str = ""

    def expected_digest(self) -> str:
        """Return the digest of the values."""
        later = {"removed"} if not self.removed else set()  # cards without the key keep their digest
        values = self.model_dump(mode="json", exclude={"digest"} | later)
        return hashlib.blake2b(json.dumps(values, sort_keys=True).encode(), digest_size=8).hexdigest()


class UnusableLibraryError(DataError):
    """A library cannot be read or written now, whatever is requested from it."""


class BusyLibraryError(DataError):
    """Another process is writing to the library."""


class DamagedLibraryError(UnusableLibraryError):
    """A library is damaged; the sentence names it and proposes the repair. reason: what is wrong with it."""

    def __init__(self, folder: Path, reason: str) -> None:
        fix = f"run `aural library check --library {folder}`, then `aural library repair --library {folder}`"
        super().__init__(f"{folder}: the library is damaged ({reason}); {fix}")
        self.reason = reason


def read_card(folder: Path) -> LibraryCard:
    """Read the card of the library in `folder`. Raises DataError if there is no library or its card is damaged."""
    card = stored_card(folder)
    if card is None:
        hint = f"create one with `aural library add DIR --library {folder}`"
        raise DataError(f"{folder}: is not a sound library; {hint}")
    return card


def stored_card(folder: Path) -> LibraryCard | None:
    """Return the card of the library in `folder`, or None if there is no library.

    Raises DataError if it is damaged, or if LanceDB cannot open a folder of this name.
    """
    try:
        str(folder).encode()
    except UnicodeEncodeError:
        raise DataError(f"{folder}: LanceDB cannot open a folder whose name is not UTF-8; rename it") from None
    if not os.path.lexists(folder / CARD):
        if (folder / CARD_COPY).exists() or _has_rows(folder / TABLE_FOLDER):
            raise DamagedLibraryError(folder, f"{CARD} is missing")
        return None
    try:
        return parse_card(folder / CARD)
    except ConfigError as error:
        raise DamagedLibraryError(folder, str(error).removeprefix(f"{folder}/")) from None


def parse_card(path: Path) -> LibraryCard:
    """Read a card or its copy.

    Raises ConfigError if it cannot be read or a value changed since it was written, and DataError for a later format.
    """
    card = LibraryCard.read(path)
    if card.aural > FORMAT:
        raise DataError(f"{path}: has format {card.aural}, this version reads up to {FORMAT}; update aural")
    if card.digest and card.digest != card.expected_digest():
        raise ConfigError(f"{path}: a value changed since it was written")
    return card


def write_card(folder: Path, card: LibraryCard) -> None:
    """Replace the card and then its copy, each in one step: a reader sees the old card or the new one."""
    card = card.model_copy(update={"digest": card.expected_digest()})
    text = json.dumps(card.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n"
    write_text(folder / CARD, text)
    (folder / SAFETY).mkdir(exist_ok=True)
    write_text(folder / CARD_COPY, text)


def _has_rows(table: Path) -> bool:
    """Return whether a table has a version with rows, or one that cannot be read."""
    names = version_names(table)
    try:
        return bool(names) and bool(read_version(table, names[0][1]).fragments)
    except DataError:
        return True


@contextlib.contextmanager
def writer_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of the one process that may write. The system releases it when that process ends, even if killed.

    Raises BusyLibraryError if another process is writing, and DataError if the library cannot be written.
    """
    lock = folder / LOCK
    try:
        file = lock.open("a+", encoding="utf-8", errors="replace")
    except OSError as error:
        if lock.is_dir():
            raise DamagedLibraryError(folder, f"{LOCK} is a folder") from None
        raise DataError(f"{lock}: cannot be written ({error.strerror}); check the folder and the free space") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            writer = file.read().strip() or "another process"
            raise BusyLibraryError(
                f"{folder}: {writer} is writing to this library; try again when it is done"
            ) from None
        with contextlib.suppress(OSError):  # the note for other processes needs space on the disk, the lock does not
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
