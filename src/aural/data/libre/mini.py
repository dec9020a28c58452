"""Build `libre-mini`: about 2,200 short clips of the free corpus as Opus files, small enough to cache and share.

The clips come from the sources in `MiniConfig.sources`, whose packages are quick to fetch. They are read, cleaned and
split by the code of the full corpus, so a group has the same split in both. At most a fixed number of clips per class
and split is kept and written as Opus. `manifest.parquet` lists captions, license and hash per clip. `SHA256SUMS`
contains the checksum of every sound file (`sha256sum --check SHA256SUMS`).
"""

from __future__ import annotations

import dataclasses
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np

from aural.audio.io import read
from aural.core.config import Config
from aural.core.errors import DataError
from aural.core.files import atomic_write, delete, user_cache, write_text
from aural.core.types import Clip
from aural.data.encode import encode
from aural.data.libre.build import Report, build
from aural.data.libre.cards import source_cards
from aural.data.manifest import Manifest, Row, pcm_sha256, read_manifest, write_manifest

VERSION: Final = "1"
"""Incremented when the selection or the encoding changes."""
WORK: Final = ".work"
DONE: Final = "libre-mini.json"
SOURCES: Final = (
    "asterisk-en", "asterisk-es", "asterisk-fr", "asterisk-it", "asterisk-ru", "avldrums", "bucklespring",
    "desktop-themes", "freedesktop", "freepats", "gcompris", "hydrogen-data", "ktuberling", "lincity-ng", "lmms",
    "lugaru", "minetest", "openttd-opensfx", "scorched3d", "scratch", "sonic-pi", "tuxpaint", "ufoai", "wesnoth",
)  # fmt: skip


class MiniConfig(Config):
    """Selection of the clips of libre-mini."""

    sources: tuple[str, ...] = SOURCES
    train: int = 22
    """Maximum training clips per class."""
    valid: int = 3
    """Maximum validation clips per class."""
    held_out: int = 14
    """Maximum clips per class in the splits test and eval-only together."""
    languages: tuple[str, ...] = ("en", "es", "fr", "it", "ru")
    """Languages whose speech is kept. Each language counts as one class for the limits above."""
    longest_s: float = 8.0
    """Longer sounds are cut to this length in seconds before their captions are generated."""


@dataclass(frozen=True)
class MiniReport:
    """Result of a build: the folder, the number of clips, the bytes of sound, and the report of the source build."""

    folder: Path
    clips: int
    size_bytes: int
    sources: Report | None
    """None if the corpus was complete before the call."""


def cache_folder() -> Path:
    """Return the default folder of libre-mini: `libre-mini` in the user's cache folder."""
    return user_cache() / "libre-mini"


def build_mini(
    out: Path,
    config: MiniConfig | None = None,
    *,
    jobs: int = 1,
    debs: Path | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> MiniReport:
    """Build libre-mini in `out`, or return immediately if it is complete there.

    A build that was stopped resumes. The packages and the lossless clips are deleted at the end.

    Raises:
        DataError: the folder contains another corpus, or a source's package cannot be fetched.
    """
    config = config or MiniConfig()
    key = hashlib.sha256(f"{VERSION} {config.model_dump_json()}".encode()).hexdigest()
    done = out / DONE
    if done.is_file():
        if done.read_text(encoding="utf-8").strip() != key:
            raise DataError(f"{out}: contains another version of libre-mini; delete the folder or choose another one")
        return _report(out, None)
    if (out / "manifest.parquet").is_file() and not (out / WORK).is_dir():
        raise DataError(f"{out}: contains another corpus; choose another folder")
    cards = source_cards(config.sources)
    sources = build(cards, out / WORK, jobs=jobs, debs=debs, longest_s=config.longest_s, say=say)
    if sources.missing:
        name, reason = next(iter(sources.missing.items()))
        raise DataError(
            f"{name}: {reason}; libre-mini needs every source, so run the build again when it can be fetched"
        )
    lossless = read_manifest(out / WORK)
    rows = [_write_clip(row, lossless, out) for row in select(lossless, config)]
    write_manifest(out / "manifest.parquet", rows)
    sums = (f"{_sha256(out / row.path)}  {row.path}\n" for row in rows)
    write_text(out / "SHA256SUMS", "".join(sums))
    write_text(done, key + "\n")
    delete(out / WORK)
    return _report(out, sources)


def select(rows: Iterable[Row], config: MiniConfig) -> list[Row]:
    """Return the rows to keep, sorted by path: at most a fixed number per class and split, spread over groups.

    Within a class and split, one clip per group is taken in turn until the number is reached. Groups and clips are
    ordered by a hash of their names.
    """
    limits = {"train": config.train, "valid": config.valid, "test": config.held_out, "eval-only": config.held_out}
    pools: dict[tuple[str, int], list[Row]] = defaultdict(list)
    for row in rows:
        if not row.language or row.language in config.languages:
            side = "held-out" if row.split in ("test", "eval-only") else row.split
            pools[f"{row.language or row.class_name}/{side}", limits[row.split]].append(row)
    kept = [row for (_, limit), pool in pools.items() for row in _in_turn(pool)[:limit]]
    return sorted(kept, key=lambda row: row.path)


def _in_turn(rows: Sequence[Row]) -> list[Row]:
    """Order rows so that the first clip of every group comes first, then the second of every group, and so on."""
    groups: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: _rank(row.path)):
        groups[row.group].append(row)
    turns = [(turn, _rank(group), row) for group, members in groups.items() for turn, row in enumerate(members)]
    return [row for _, _, row in sorted(turns, key=lambda item: item[:2])]


def _write_clip(row: Row, lossless: Manifest, out: Path) -> Row:
    """Write one clip as mono Opus and return its row. Length, level and hash are those of the decoded file."""
    path = row.path.removesuffix(".flac") + ".opus"
    target = out / path
    if not target.is_file():
        clip = read(lossless.file(row), mono=True)
        content = encode(Clip(clip.samples, clip.sample_rate_hz), "opus")
        with atomic_write(target, parents=True) as part:
            part.write_bytes(content)
    clip = read(BytesIO(target.read_bytes()))
    rms_db = 10 * float(np.log10(np.mean(clip.samples.astype(np.float64) ** 2) + 1e-12))
    return dataclasses.replace(
        row,
        path=path,
        sha256=pcm_sha256(clip),
        duration_s=round(clip.duration_s, 6),
        sample_rate_hz=clip.sample_rate_hz,
        channels=clip.channels,
        rms_db=round(rms_db, 2),
    )


def _report(out: Path, sources: Report | None) -> MiniReport:
    manifest = read_manifest(out)
    size = sum((out / path).stat().st_size for path in manifest.column("path"))
    return MiniReport(out, len(manifest), size, sources)


def _rank(name: str) -> str:
    return hashlib.sha256(f"libre-mini\n{name}".encode()).hexdigest()


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
