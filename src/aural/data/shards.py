"""Write a manifest as webdataset shards: tars of KEY.flac and KEY.json, with equal bytes for equal manifests.

Every shard is written under a temporary name and renamed when complete, so a killed run leaves no partial tar and can
be resumed. KEY is the row number in the manifest. The tars are plain ustar, which webdataset also reads.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tarfile
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from aural.core.config import Config
from aural.core.errors import AudioError, DataError
from aural.data import remote
from aural.data.encode import Codec, encode
from aural.data.manifest import Manifest, Row, read_manifest

PLAN: Final = "plan.json"
INDEX: Final = "index.json"
OMITTED: Final = ("fingerprint", "path")  # columns that KEY.json does not contain


class ShardConfig(Config):
    """Options of `write_shards`."""

    codec: Codec = "flac"
    size: Annotated[int, Field(ge=1)] = 1000  # clips per shard
    sample_rate_hz: Annotated[int | None, Field(ge=1_000)] = None  # None: no resampling
    mono: bool = False
    bits: Literal[16, 24] = 16
    seed: int | None = None  # shuffle the clips over the shards


@dataclass(frozen=True)
class Skip:
    """A clip that was left out because it cannot be read."""

    key: str
    path: str
    why: str


@dataclass(frozen=True)
class Written:
    """The shards in the folder after `write_shards`."""

    shards: tuple[str, ...]
    samples: int
    size_bytes: int
    skipped: tuple[Skip, ...]
    resumed: int  # shards that already existed


def write_shards(
    manifest: str | Path | Manifest, out: str, config: ShardConfig | None = None, *, jobs: int = 2
) -> Written:
    """Write the shards of a manifest into `out` (a folder or an fsspec location), or resume an interrupted run.

    jobs: Number of shards written in parallel. It does not change the bytes.

    Raises:
        DataError: the manifest has no rows, or `out` contains shards of another manifest or other options.
    """
    config = config or ShardConfig()
    table = manifest if isinstance(manifest, Manifest) else read_manifest(manifest)
    rows = list(enumerate(table.rows()))
    if not rows:
        raise DataError(f"{table.folder}: the manifest has no rows; there is nothing to write")
    if config.seed is not None:
        rows.sort(key=lambda pair: hashlib.blake2b(f"{config.seed}/{pair[0]}".encode()).digest())
    parts = [rows[at : at + config.size] for at in range(0, len(rows), config.size)]
    names = [f"shard-{number:06d}.tar" for number in range(len(parts))]
    _plan(out, config, [row for _, row in rows], table.folder)
    done = [_state(out, name) for name in names]
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        new = pool.map(
            lambda work: work[2] or _write(out, work[0], work[1], table, config), zip(names, parts, done, strict=True)
        )
        states = list(new)
    skipped = tuple(Skip(**skip) for state in states for skip in state["skipped"])
    written = Written(
        tuple(names),
        sum(state["samples"] for state in states),
        sum(state["size_bytes"] for state in states),
        skipped,
        sum(state is not None for state in done),
    )
    shards = dict(zip(names, states, strict=True))
    _put_json(out, INDEX, {"samples": written.samples, "size_bytes": written.size_bytes, "shards": shards})
    return written


def _plan(out: str, config: ShardConfig, rows: Sequence[Row], folder: Path) -> None:
    """Write the plan before the first shard; raise DataError if the folder contains another plan."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps([str(v) for v in dataclasses.astuple(row)]).encode())
    plan = {"version": 1, "manifest": digest.hexdigest(), "clips": len(rows), "config": config.model_dump()}
    if (content := remote.read_bytes(out, PLAN)) is None:
        _put_json(out, PLAN, plan)
    elif json.loads(content) != plan:
        raise DataError(f"{out}: contains shards of another manifest or with other options; choose an empty folder")


def _state(out: str, name: str) -> dict[str, Any] | None:
    """Return the recorded state of a complete shard, or None if the shard must be written."""
    content = remote.read_bytes(out, f"{name}.json")
    if content is None:
        return None
    state: dict[str, Any] = json.loads(content)
    return state if remote.file_size(out, name) == state["size_bytes"] else None


def _write(
    out: str, name: str, rows: Sequence[tuple[int, Row]], manifest: Manifest, config: ShardConfig
) -> dict[str, Any]:
    skipped: list[dict[str, str]] = []
    with remote.atomic_upload(out, name) as part:
        with part.open("wb") as file, tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for number, row in rows:
                key = f"{number:08d}"
                try:
                    sound, suffix, facts = _sound(manifest.file(row), row, config)
                except AudioError as error:
                    skipped.append({"key": key, "path": row.path, "why": str(error)})
                    continue
                _add(tar, f"{key}.json", _describe(row, sound, facts))
                _add(tar, f"{key}.{suffix}", sound)
        with part.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        state = {"samples": len(rows) - len(skipped), "size_bytes": part.stat().st_size, "sha256": digest}
        _put_json(out, f"{name}.json", state | {"skipped": skipped})  # before the rename: an existing tar is complete
    return state | {"skipped": skipped}


def _sound(path: Path, row: Row, config: ShardConfig) -> tuple[bytes, str, dict[str, Any]]:
    """Return the bytes of the encoded sound, their suffix, and the columns that encoding changed."""
    from aural.audio import io

    if config.codec == "copy":
        if row.start_s:
            raise AudioError(f"{path}: the clip is a part of the file, which codec copy cannot cut; use flac")
        io.info(path)
        return path.read_bytes(), path.suffix[1:].lower(), {}
    duration_s = row.duration_s or None
    clip = io.read(
        path, sample_rate_hz=config.sample_rate_hz, mono=config.mono, start_s=row.start_s, duration_s=duration_s
    )
    facts = {"duration_s": clip.duration_s, "sample_rate_hz": clip.sample_rate_hz, "channels": clip.channels}
    return encode(clip, config.codec, config.bits), str(config.codec), facts


def _describe(row: Row, sound: bytes, facts: dict[str, Any]) -> bytes:
    """Return KEY.json: the non-empty columns of the row, and the CRC-32 of the sound, which detects damage."""
    values = {name: value for name, value in dataclasses.asdict(row).items() if value and name not in OMITTED}
    values |= facts | {"name": row.path, "crc32": zlib.crc32(sound)}
    return json.dumps(values, ensure_ascii=False, sort_keys=True).encode()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)  # mode 0644, owner 0, time 0: independent of machine and time
    entry.size = len(content)
    tar.addfile(entry, BytesIO(content))


def _put_json(out: str, name: str, value: Any) -> None:
    with remote.atomic_upload(out, name) as part:
        part.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")
