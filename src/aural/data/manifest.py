"""The manifest: a parquet table, one row = one clip, that every data set, shard and simulator shares.

A text field that does not apply holds "" (never null), so filters need no null logic. `group` names what must never
straddle two splits: one recording and its numbered variants, a speaker, a drum kit, a soundfont's program.
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
    """One clip. Required: path, source, split; the rest is what is known of it."""

    path: str  # relative to the manifest's folder, with forward slashes
    source: str  # name of the dataset card
    split: str  # one of SPLITS; "eval-only" is never trained on in any form
    sha256: PcmHash = ""  # `pcm_sha256` of the decoded samples
    start_s: float = 0.0  # where the clip begins in its file
    duration_s: float = 0.0  # 0 = not measured
    sample_rate_hz: int = 0
    channels: int = 0
    rms_db: float = 0.0  # of the whole clip, re full scale 1.0; 0 = not measured
    source_version: str = ""
    license: str = ""  # SPDX name where there is one
    label: str = ""  # the source's own name for it, cleaned: "hen", "Ride Bell"
    class_name: str = ""  # class of the label taxonomy: "chicken", "ride cymbal"
    family: str = ""  # its family: "animal", "drum"
    tags: list[str] = field(default_factory=list)
    caption_label: str = ""  # grain 1: a word or two, "hen clucking"
    caption_short: str = ""  # grain 2: one short sentence
    caption_detailed: str = ""  # grain 3: one sentence with all that is known
    captions: list[str] = field(default_factory=list)  # alternatives of any grain
    language: str = ""  # BCP 47 of the words spoken, "" where none are
    transcript: str = ""
    speaker: str = ""
    group: str = ""
    fingerprint: bytes = b""  # spectral fingerprint for near-duplicates, see `similar`
    meta: str = ""  # JSON of what else the source states (pitch, velocity, timed events ...)


COLUMNS: Final = tuple(f.name for f in dataclasses.fields(Row))


def pcm_sha256(clip: Clip) -> PcmHash:
    """Hash of what is heard: b"aural-pcm-1 {rate} {channels}\\n", then the samples as interleaved little-endian int16.

    A sample x becomes round(32767 x), clipped: lossless re-encodings and 16-bit copies hash alike.
    """
    digest = hashlib.sha256(f"aural-pcm-1 {clip.sample_rate_hz} {clip.channels}\n".encode())
    digest.update(np.rint(np.clip(clip.samples.T, -1.0, 1.0) * 32767.0).astype("<i2").tobytes())
    return digest.hexdigest()


def schema() -> pa.Schema:
    """Return the parquet schema; its metadata carries the version."""
    import pyarrow as pa

    texts = pa.list_(pa.string())
    types = {"str": pa.string(), "PcmHash": pa.string(), "float": pa.float64(), "int": pa.int32()}
    types |= {"list[str]": texts, "bytes": pa.binary()}
    fields = [pa.field(f.name, types[str(f.type)], nullable=False) for f in dataclasses.fields(Row)]
    return pa.schema(fields, metadata={"aural.manifest": VERSION})


@dataclass(frozen=True)
class Manifest:
    """A table of clips and the folder that its paths start from."""

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
        """Return the path of the row's sound."""
        return self.folder / row.path

    def filter(self, keep: Callable[[Row], bool] | None = None, **equal: str | Sequence[str]) -> Manifest:
        """Return the rows whose columns equal a value or one of several, and that `keep` accepts.

        >>> manifest.filter(split="train", family=["animal", "vehicle"])  # doctest: +SKIP
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        table = self.table
        for name, wanted in equal.items():
            if name not in COLUMNS:
                raise DataError(f'the manifest has no column "{name}"; {near_miss(name, COLUMNS)}')
            options = [wanted] if isinstance(wanted, str) else list(wanted)
            table = table.filter(pc.is_in(table.column(name), value_set=pa.array(options, pa.string())))
        kept = Manifest(table, self.folder)
        if keep is None:
            return kept
        return Manifest(table.filter(pa.array([keep(row) for row in kept], pa.bool_())), self.folder)


def from_rows(rows: Iterable[Row], folder: str | Path) -> Manifest:
    """Build a manifest in memory."""
    import pyarrow as pa

    rows = list(rows)
    columns = [[getattr(row, name) for row in rows] for name in COLUMNS]
    arrays = [pa.array(values, f.type) for values, f in zip(columns, schema(), strict=True)]
    return Manifest(pa.Table.from_arrays(arrays, schema=schema()), Path(folder))


def write_manifest(path: str | Path, rows: Iterable[Row]) -> Path:
    """Check the rows and write them to `path` in one step: readers see the old file or the new one, never a part."""
    import pyarrow.parquet as pq

    path = Path(path)
    manifest = from_rows(rows, path.parent)
    check(manifest, str(path))
    with atomic_write(path) as part:
        pq.write_table(manifest.table, part, compression="zstd")
    return path


def read_manifest(path: str | Path) -> Manifest:
    """Read and check a manifest; `path` may be its folder, when the file is called manifest.parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(path)
    path = path / "manifest.parquet" if path.is_dir() else path
    if not path.is_file():
        raise DataError(f"{path}: no such manifest")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: is not a parquet table ({str(error).splitlines()[0]})") from None
    version = (table.schema.metadata or {}).get(b"aural.manifest", b"").decode()
    if version != VERSION:
        raise DataError(f"{path}: is manifest version {version or 'unknown'}, this program reads {VERSION}; rebuild it")
    table = table.rename_columns(["license" if name == "licence" else name for name in table.column_names])
    if missing := [name for name in COLUMNS if name not in table.column_names]:
        raise DataError(f'{path}: column "{missing[0]}" is missing; rebuild it')
    manifest = Manifest(table.select(list(COLUMNS)).cast(schema()), path.parent)
    check(manifest, str(path))
    return manifest


def check(manifest: Manifest, name: str) -> None:
    """Raise DataError naming the file and the row of the first contradiction."""
    seen: dict[tuple[str, float], int] = {}
    columns = zip(
        *(manifest.column(c) for c in ("path", "start_s", "source", "split", "duration_s", "sha256")), strict=True
    )
    for number, (path, start_s, source, split, duration_s, sha256) in enumerate(columns, start=1):
        where = f"{name}: row {number}"
        pure = PurePosixPath(path)
        if not path or pure.is_absolute() or ".." in pure.parts or "\\" in path:
            raise DataError(f'{where}: path "{path}" must be relative to the manifest and stay below it')
        where += f" ({path})"
        if not source:
            raise DataError(f"{where}: source is empty; name its dataset card")
        if split not in SPLITS:
            raise DataError(f'{where}: unknown split "{split}"; {near_miss(split, SPLITS)}')
        if not (np.isfinite(duration_s) and duration_s >= 0 and np.isfinite(start_s) and start_s >= 0):
            raise DataError(f"{where}: start {start_s} s and duration {duration_s} s must be finite and not negative")
        if sha256 and (len(sha256) != 64 or set(sha256) - set("0123456789abcdef")):
            raise DataError(f'{where}: sha256 "{sha256}" is not 64 hexadecimal digits')
        if (first := seen.setdefault((path, start_s), number)) != number:
            raise DataError(f"{where}: is already in row {first}; keep one")
