"""Write the manifest of a download: one row per clip in the card's tables whose sound file exists."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from aural.core.errors import AudioError, DataError
from aural.data.cards import DatasetCard
from aural.data.manifest import Row, pcm_sha256, write_manifest
from aural.data.readers import Item


@dataclass(frozen=True)
class Collected:
    """The result of `collect`: the number of rows, the missing sounds, and the unreadable sounds with the reason."""

    path: Path
    rows: int
    missing: tuple[str, ...]
    broken: tuple[tuple[str, str], ...]


def collect(
    card: DatasetCard,
    folder: str | Path,
    out: str | Path,
    *,
    splits: Sequence[str] = (),
    partial: bool = False,
    hashes: bool = False,
    jobs: int = 8,
) -> Collected:
    """Write the manifest of a download.

    Paths in the manifest are relative to its folder, which must contain the data.

    out: The manifest (.parquet), or its folder.
    splits: Only clips of these splits; empty for all.
    partial: Leave out missing and unreadable sounds and report them, instead of raising an error.
    hashes: Decode every sound to compute its sha256.
    jobs: Number of files read in parallel.

    Raises:
        DataError: a sound is missing or unreadable and `partial` is False, or no sound is left.
    """
    files = card.files(folder)
    out = Path(out) / "manifest.parquet" if Path(out).suffix != ".parquet" else Path(out)
    prefix = _prefix(files.root, out)
    items = list(card.items(files, splits, partial=partial))
    missing = tuple(item.wanted for item in items if not item.path)
    if missing and not partial:
        raise DataError(
            f"{files.root}: {len(missing)} of {len(items)} sounds are missing, the first is {missing[0]}; "
            f"`aural data check {card.name} {folder}` lists them, --partial leaves them out"
        )
    present = [item for item in items if item.path]
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        facts = list(pool.map(lambda item: _facts(files.root / item.path, hashes), present))
    pairs = list(zip(present, facts, strict=True))
    broken = tuple((item.path, fact) for item, fact in pairs if isinstance(fact, str))
    if broken and not partial:
        raise DataError(
            f"{files.root / broken[0][0]}: {broken[0][1]}; replace the file, or leave it out with --partial"
        )
    rows = [row(card, item, prefix, fact) for item, fact in pairs if not isinstance(fact, str)]
    if not rows:
        raise DataError(f"{files.root}: contains no sound of {card.title}; {card.get}")
    write_manifest(out, rows)
    return Collected(out, len(rows), missing, broken)


@dataclass(frozen=True, slots=True)
class Facts:
    """Measured properties of a sound file."""

    duration_s: float
    sample_rate_hz: int
    channels: int
    sha256: str = ""


def row(card: DatasetCard, item: Item, prefix: str, facts: Facts) -> Row:
    """Return the manifest row of an item; values without a column are stored in `meta`."""
    meta: dict[str, object] = dict(item.meta)
    if item.fold:
        meta["fold"] = item.fold
    if item.events:
        meta["events"] = [list(event) for event in item.events]
    return Row(
        path=prefix + item.path,
        source=card.name,
        source_version=card.version,
        split=item.split,
        sha256=facts.sha256,
        duration_s=facts.duration_s,
        sample_rate_hz=facts.sample_rate_hz,
        channels=facts.channels,
        license=item.license or card.license,
        label=item.labels[0] if len(item.labels) == 1 else "",
        tags=list(item.labels),
        captions=list(item.captions),
        language=item.language,
        transcript=item.transcript,
        speaker=f"{card.name}/{item.speaker}" if item.speaker else "",
        group=f"{card.name}/{item.group}" if item.group else "",
        meta=json.dumps(meta, ensure_ascii=False, sort_keys=True) if meta else "",
    )


def folds(rows: Sequence[Row]) -> Iterator[str]:
    """Yield the fold of each row, or "" if it has none."""
    for manifest_row in rows:
        yield str(json.loads(manifest_row.meta).get("fold", "")) if manifest_row.meta else ""


def _facts(path: Path, hashes: bool) -> Facts | str:
    """Return the properties of a sound file, or the reason why it cannot be read."""
    from aural.audio import io

    try:
        info = io.info(path)
        if not hashes and info.frames:
            return Facts(info.frames / info.sample_rate_hz, info.sample_rate_hz, info.channels)
        clip = io.read(path)  # some containers do not state their length
        digest = pcm_sha256(clip) if hashes else ""
        return Facts(clip.duration_s, clip.sample_rate_hz, clip.channels, digest)
    except AudioError as error:
        return str(error).removeprefix(f"{path}: ")


def _prefix(root: Path, out: Path) -> str:
    """Return the path from the manifest's folder to the data, "" or ending in a slash."""
    folder = out.absolute().parent
    relative = os.path.relpath(root.absolute(), folder).replace(os.sep, "/")
    if relative.startswith(".."):
        raise DataError(f"{out}: a manifest must be in or above the folder of its sounds; write it into {root}")
    return "" if relative == "." else relative + "/"
