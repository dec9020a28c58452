"""The manifest: a parquet table with one row per clip, used for every data set, shard and simulator.

A text column that does not apply is "" (never null), so filters need no null handling. Rows with the same `group` must
be in one split: a recording and its numbered variants, a speaker, a drum kit, or a program of a soundfont.
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from aural.core.errors import DataError, near_miss
from aural.core.files import atomic_write
from aural.core.types import Clip

if TYPE_CHECKING:
    import pyarrow as pa

VERSION: Final = "1"
SPLITS: Final = ("train", "valid", "test", "eval-only")
TRAINING_SPLITS: Final = ("train", "valid")
PcmHash: TypeAlias = str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One clip. `path`, `source` and `split` are required; every other column is optional."""

    path: str  # relative to the manifest's folder, with forward slashes
    source: str  # name of the dataset card
    split: str  # one of SPLITS; clips of "eval-only" are never used for training
    sha256: PcmHash = ""  # `pcm_sha256` of the decoded samples
    start_s: float = 0.0  # start of the clip in its file
    duration_s: float = 0.0  # 0 = not measured
    sample_rate_hz: int = 0
    channels: int = 0
    rms_db: float = 0.0  # of the whole clip, re full scale 1.0; 0 = not measured
    source_version: str = ""
    license: str = ""  # SPDX identifier if there is one
    label: str = ""  # label in the source, cleaned: "hen", "Ride Bell"
    class_name: str = ""  # class of the label taxonomy: "chicken", "ride cymbal"
    family: str = ""  # family of the class: "animal", "drum"
    tags: list[str] = field(default_factory=list)
    caption_label: str = ""  # level of detail 1: one or two words, "hen clucking"
    caption_short: str = ""  # level of detail 2: one short sentence
    caption_detailed: str = ""  # level of detail 3: one sentence with all available facts
    captions: list[str] = field(default_factory=list)  # alternatives of any level of detail
    language: str = ""  # BCP 47 tag of the spoken words, "" if there are none
    transcript: str = ""
    speaker: str = ""
    group: str = ""
    fingerprint: bytes = b""  # spectral fingerprint, used to detect near-duplicates; see `fingerprint.similar`
    meta: str = ""  # JSON of further facts from the source (pitch, velocity, timed events ...)


COLUMNS: Final = tuple(f.name for f in dataclasses.fields(Row))


def pcm_sha256(clip: Clip) -> PcmHash:
    """Return the SHA-256 of the decoded samples, which lossless re-encoding and 16-bit copies do not change.

    The hashed bytes are b"aural-pcm-1 {rate} {channels}\\n" and the samples as interleaved little-endian int16, where a
    sample x becomes round(32767 x), clipped.
    """
    digest = hashlib.sha256(f"aural-pcm-1 {clip.sample_rate_hz} {clip.channels}\n".encode())
    digest.update(np.rint(np.clip(clip.samples.T, -1.0, 1.0) * 32767.0).astype("<i2").tobytes())
    return digest.hexdigest()


def schema() -> pa.Schema:
    """Return the parquet schema of a manifest; its metadata contains the version."""
    import pyarrow as pa

    texts = pa.list_(pa.string())
    types = {"str": pa.string(), "PcmHash": pa.string(), "float": pa.float64(), "int": pa.int32()}
    types |= {"list[str]": texts, "bytes": pa.binary()}
    fields = [pa.field(f.name, types[str(f.type)], nullable=False) for f in dataclasses.fields(Row)]
    return pa.schema(fields, metadata={"aural.manifest": VERSION})


@dataclass(frozen=True)
class Manifest:
    """A table of clips, and the folder that its paths are relative to."""

    table: pa.Table
    folder: Path

    def __len__(self) -> int:
        return int(self.table.num_rows)

    def __iter__(self) -> Iterator[Row]:
        return self.rows()

    def __getitem__(self, index: int) -> Row:
        return Row(**self.table.slice(index, 1).to_pylist()[0])

    def column(self, name: str) -> list[Any]:
        """Return all values of one column."""
        if name not in COLUMNS:
            raise DataError(f'the manifest has no column "{name}"; {near_miss(name, COLUMNS)}')
        values: list[Any] = self.table.column(name).to_pylist()
        return values

    def rows(self) -> Iterator[Row]:
        """Yield the rows in file order."""
        for batch in self.table.to_batches(max_chunksize=4096):
            yield from (Row(**values) for values in batch.to_pylist())

    def file(self, row: Row) -> Path:
        """Return the path of the row's sound file."""
        return self.folder / row.path

    def filter(self, keep: Callable[[Row], bool] | None = None, **equal: str | Sequence[str]) -> Manifest:
        """Return the rows that match all conditions.

        keep: Function that returns True for rows to keep.
        equal: Column name and the accepted value, or a sequence of accepted values.

        >>> manifest.filter(split="train", family=["animal", "vehicle"])  # doctest: +SKIP
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        table = self.table
        for name, wanted in equal.items():
            if name not in COLUMNS:
                raise DataError(f'the manifest has no column "{name}"; {near_miss(name, COLUMNS)}')
            accepted = [wanted] if isinstance(wanted, str) else list(wanted)
            table = table.filter(pc.is_in(table.column(name), value_set=pa.array(accepted, pa.string())))
        kept = Manifest(table, self.folder)
        if keep is None:
            return kept
        return Manifest(table.filter(pa.array([keep(row) for row in kept], pa.bool_())), self.folder)


def from_rows(rows: Iterable[Row], folder: str | Path) -> Manifest:
    """Return a manifest in memory, without checking the rows."""
    import pyarrow as pa

    rows = list(rows)
    columns = [[getattr(row, name) for row in rows] for name in COLUMNS]
    arrays = [pa.array(values, f.type) for values, f in zip(columns, schema(), strict=True)]
    return Manifest(pa.Table.from_arrays(arrays, schema=schema()), Path(folder))


def _manifest_file(path: str | Path) -> Path:
    """Return the path of a manifest, given as a file or as its folder."""
    path = Path(path)
    return path / "manifest.parquet" if path.is_dir() else path


def write_manifest(path: str | Path, rows: Iterable[Row]) -> Path:
    """Check the rows and write them to `path` atomically; return the path.

    Readers see the old or the new file, never a part of it. `path` may be a folder, which then holds manifest.parquet.
    """
    import pyarrow.parquet as pq

    path = _manifest_file(path)
    manifest = from_rows(rows, path.parent)
    check(manifest, str(path))
    with atomic_write(path, parents=True) as part:
        pq.write_table(manifest.table, part, compression="zstd")
    return path


def read_manifest(path: str | Path) -> Manifest:
    """Read and check a manifest. `path` may be the folder of a manifest.parquet.

    Raises:
        DataError: the file is missing, is not a manifest of this version, or contains an invalid row.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = _manifest_file(path)
    if not path.is_file():
        raise DataError(f"{path}: no such manifest")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: is not a parquet table ({str(error).splitlines()[0]})") from None
    version = (table.schema.metadata or {}).get(b"aural.manifest", b"").decode()
    if version != VERSION:
        raise DataError(
            f"{path}: is manifest version {version or 'unknown'}, but version {VERSION} is required; rebuild it"
        )
    table = table.rename_columns(["license" if name == "licence" else name for name in table.column_names])
    if missing := [name for name in COLUMNS if name not in table.column_names]:
        raise DataError(f'{path}: column "{missing[0]}" is missing; rebuild it')
    manifest = Manifest(table.select(list(COLUMNS)).cast(schema()), path.parent)
    check(manifest, str(path))
    return manifest


def check(manifest: Manifest, name: str) -> None:
    """Raise DataError for the first invalid row, with the file and the row number."""
    seen: dict[tuple[str, float], int] = {}
    columns = zip(
        *(manifest.column(c) for c in ("path", "start_s", "source", "split", "duration_s", "sha256")), strict=True
    )
    for number, (path, start_s, source, split, duration_s, sha256) in enumerate(columns, start=1):
        where = f"{name}: row {number}"
        pure = PurePosixPath(path)
        if not path or pure.is_absolute() or ".." in pure.parts or "\\" in path:
            raise DataError(f'{where}: path "{path}" must be relative to the manifest and inside its folder')
        where += f" ({path})"
        if not source:
            raise DataError(f"{where}: source is empty; set it to the name of the dataset card")
        if split not in SPLITS:
            raise DataError(f'{where}: unknown split "{split}"; {near_miss(split, SPLITS)}')
        if not (np.isfinite(duration_s) and duration_s >= 0 and np.isfinite(start_s) and start_s >= 0):
            raise DataError(f"{where}: start {start_s} s and duration {duration_s} s must be finite and not negative")
        if sha256 and (len(sha256) != 64 or set(sha256) - set("0123456789abcdef")):
            raise DataError(f'{where}: sha256 "{sha256}" is not 64 hexadecimal digits')
        if (first := seen.setdefault((path, start_s), number)) != number:
            raise DataError(f"{where}: is a duplicate of row {first}; remove one of them")
