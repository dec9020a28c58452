"""Lay out the files of a library's mapped index, and distinguish complete ones from damaged or outdated ones.

The folder `mapped` of a library holds what searches map into memory:

- `vectors-N`: the vectors (S, E), one slot per vector, float32 in a small library and float16 in a large one. The file
  only grows; a new number N starts it again.
- `codes-N.npy`: in a large library, the 8-bit codes of the first slots, list by list.
- `lists-N.npz`: the centers of the lists, where each begins in the codes, and the slots in the order of the codes.
- `rows-N.arrow`: the metadata of the rows, sorted by file and window, with each row's slot.
- `index.json`: which files belong together, the version of the table that they hold, their sizes and checksums.

`index.json` is replaced last, so a process that is killed leaves the files of before. All of them are computed from the
table and can be deleted.
"""

from __future__ import annotations

import contextlib
import os
import zlib
from pathlib import Path
from typing import Final, Literal

from aural.core.config import Config
from aural.core.errors import ConfigError, WriteError
from aural.core.files import delete, remove_stale, write_text
from aural.search.folder import TABLE_FOLDER
from aural.search.lance_files import newest_number

FOLDER: Final = "mapped"
INDEX: Final = "index.json"
FORMAT: Final = 1
"""Counts up when the files change; an index of another format is built again."""
OPEN_BYTES: Final = 64 << 20
"""Files up to this size are compared with their checksums when they are opened; of larger ones, the sizes."""
_BLOCK_BYTES: Final = 1 << 20


class FileRecord(Config):
    """The number of bytes of a file that belong to the index, and their CRC-32."""

    size: int
    crc32: int


class MappedManifest(Config):
    """The files of an index and what they hold.

    version: of the table. rows: number of rows. slots: number of stored vectors, those of deleted rows included.
    coded_slots: number of slots in lists; the vectors of later slots are compared one by one. trained_slots: number of
    slots when the centers were chosen. scale: factor from vectors to 8-bit codes. dtype: of the vectors.
    """

    format: int = FORMAT
    version: int
    embed_dim: int
    rows: int
    slots: int
    coded_slots: int = 0
    trained_slots: int = 0
    scale: float
    dtype: Literal["float32", "float16"]
    number: int
    """Counts up with every manifest; names of new files hold it."""
    vectors: str
    table: str
    codes: str | None = None
    lists: str | None = None
    files: dict[str, FileRecord]
    crc32: int = 0
    """Of all other values."""

    def checksum(self) -> int:
        """Return the CRC-32 of the values."""
        return zlib.crc32(self.model_dump_json(exclude={"crc32"}).encode())


def read_manifest(folder: Path) -> MappedManifest | None:
    """Return the manifest of the index in `folder`, or None if there is none that can be used."""
    try:
        manifest = MappedManifest.read(folder / INDEX)
    except (ConfigError, OSError):
        return None
    return manifest if manifest.format == FORMAT and manifest.crc32 == manifest.checksum() else None


def holds_newest(library: Path) -> bool:
    """Return whether the index of a library's folder holds the newest version of its table."""
    manifest = read_manifest(library / FOLDER)
    try:
        return manifest is not None and manifest.version == newest_number(library / TABLE_FOLDER)
    except OSError:
        return False


def write_manifest(folder: Path, manifest: MappedManifest) -> None:
    """Make an index current: replace the manifest, and delete the files that it does not name."""
    manifest = manifest.model_copy(update={"crc32": manifest.checksum()})
    write_text(folder / INDEX, manifest.model_dump_json(indent=1) + "\n")
    remove_unused(folder)


def remove_unused(folder: Path) -> None:
    """Delete the files of earlier and of interrupted indexes; without a current one, delete the folder.

    Processes that have the files mapped keep their content.
    """
    manifest = read_manifest(folder)
    if manifest is None:
        delete(folder)
        return
    remove_stale(folder)
    used = {INDEX, *manifest.files}
    for path in folder.iterdir():
        if path.name not in used:
            with contextlib.suppress(WriteError):
                delete(path)


def record(path: Path, size: int | None = None, earlier: FileRecord | None = None) -> FileRecord:
    """Return the size and checksum of the first `size` bytes of a file (default: all).

    earlier: a record of the first bytes, which are then not read again.
    """
    crc32, start = (earlier.crc32, earlier.size) if earlier is not None else (0, 0)
    left = (path.stat().st_size if size is None else size) - start
    with path.open("rb") as file:
        file.seek(start)
        while left > 0 and (block := file.read(min(left, _BLOCK_BYTES))):
            crc32 = zlib.crc32(block, crc32)
            start += len(block)
            left -= len(block)
    return FileRecord(size=start, crc32=crc32)


def intact(folder: Path, manifest: MappedManifest, read_bytes: int | None = None) -> bool:
    """Return whether the files of an index are as they were written.

    read_bytes: files up to this size are read; of the others the sizes are compared. None: all are read.
    """
    try:
        for name, stored in manifest.files.items():
            size = (folder / name).stat().st_size
            if size < stored.size or (size > stored.size and name != manifest.vectors):
                return False
            read = read_bytes is None or stored.size <= read_bytes
            if read and record(folder / name, stored.size) != stored:
                return False
    except OSError:
        return False
    return True


def is_readable(folder: Path) -> bool:
    """Return whether an index is missing, which is no error, or complete and undamaged."""
    if not os.path.lexists(folder) or (folder.is_dir() and not os.path.lexists(folder / INDEX)):
        return True
    manifest = read_manifest(folder)
    return manifest is not None and intact(folder, manifest)
