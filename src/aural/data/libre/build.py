"""Build the corpus: fetch packages, read their sounds, and write one manifest.

Each source is built independently. Its clips are stored as FLAC below `clips/`, and its rows in `state/` under a key
computed from the card, the packages and the builder version. The rows are written last, in one atomic step. The
manifest combines the rows of all sources. A build that was killed resumes with the sources that have no rows yet.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import partial
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import numpy as np

from aural.audio.io import info, read
from aural.audio.resample import resample
from aural.core.errors import AudioError, AuralError, DataError, WriteError
from aural.core.files import atomic_write, made_parents, write_text
from aural.core.types import Clip
from aural.data.fingerprint import fingerprint
from aural.data.libre.cards import Meaning, SourceCard, meaning, plain_name, taxonomy
from aural.data.libre.curate import Dropped, curate
from aural.data.libre.debian import Copyright, deb_version, fetch, file_sha256, unpack
from aural.data.libre.readers import SourceClip, readers
from aural.data.manifest import Row, pcm_sha256, read_manifest, write_manifest

BUILDER: Final = "3"  # increment when a change of this file changes rows or clips
MAX_S: Final = 30.0
MAX_RATE_HZ: Final = 48_000
MIN_S: Final = 0.03
SILENT_DB: Final = -75.0
UNPACKED: Final = ".unpacked-"
SPARE: Final = 1.25  # decode this many times the class cap, because duplicates are removed later


@dataclass(frozen=True)
class Report:
    """Result of a build: the manifest, the dropped clips with reasons, and the sources that could not be built."""

    manifest: Path
    clips: int
    dropped: list[Dropped] = field(default_factory=list)
    missing: dict[str, str] = field(default_factory=dict)  # source -> error message
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Place:
    """Paths and limits of a build: the corpus folder, a folder of .deb files, and the maximum seconds per clip."""

    out: Path
    debs: Path | None = None
    longest_s: float = MAX_S


@dataclass(frozen=True)
class _Done:
    state: Path
    notes: list[str]


def build(
    cards: Iterable[SourceCard],
    out: Path,
    *,
    jobs: int = 1,
    debs: Path | None = None,
    longest_s: float = MAX_S,
    say: Callable[[str], None] = lambda _: None,
) -> Report:
    """Build the corpus in `out`, or resume a build that was stopped.

    The result depends only on the cards and packages, not on `jobs`.

    Raises:
        DataError: another build is running in `out`, or a worker process was killed.
    """
    from aural.data.libre import soundfont  # noqa: F401  registers the soundfont readers

    cards = sorted(cards, key=lambda card: card.name)
    with made_parents(out / "state" / "lock"), _exclusive(out):
        _clear(out)
        return _build(cards, Place(out, debs, longest_s), jobs, say)


def _build(cards: list[SourceCard], place: Place, jobs: int, say: Callable[[str], None]) -> Report:
    out = place.out
    done: dict[str, _Done] = {}
    missing: dict[str, str] = {}
    for name, result in _finished(cards, place, jobs):
        try:
            done[name] = result()
            say(f"{name}: {len(read_manifest(done[name].state))} sounds")
        except WriteError:
            raise  # every other source would fail too
        except OSError as error:
            raise WriteError(f"{out}: cannot be written ({error.strerror or error}); check the free space") from error
        except AuralError as error:
            missing[name] = str(error)
            say(f"{name}: left out; {error}")
        except BrokenExecutor:
            raise DataError(f"{out}: a worker process was killed (out of memory?); run the build again") from None
    rows = [row for name in sorted(done) for row in read_manifest(done[name].state)]
    kept, dropped = curate(rows, {card.name: card for card in cards})
    path = write_manifest(out / "manifest.parquet", kept)
    _write_dropped(out / "dropped.tsv", dropped)
    notes = [note for name in sorted(done) for note in done[name].notes]
    return Report(path, len(kept), dropped, dict(sorted(missing.items())), notes)


def _finished(cards: list[SourceCard], place: Place, jobs: int) -> Iterator[tuple[str, Callable[[], _Done]]]:
    """Yield (source name, function that returns its result or raises its error) as sources finish."""
    if jobs == 1:
        for card in cards:
            yield card.name, partial(build_source, card, place)
        return
    parent = os.getpid()
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_exit_with_parent, initargs=(parent,))
    try:
        work = {pool.submit(build_source, card, place): card.name for card in cards}
        for future in as_completed(work):
            yield work[future], future.result
    finally:
        pool.shutdown(cancel_futures=True)


def _exit_with_parent(parent: int) -> None:
    """Make a worker exit soon after its parent, even if the parent was killed.

    A worker that outlived its parent could write while the next build runs.
    """

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.2)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def build_source(card: SourceCard, place: Place) -> _Done:
    """Fetch, unpack and read one source. Return immediately if its rows are up to date."""
    from aural.data.libre import soundfont  # noqa: F401

    out, debs = place.out, place.debs
    paths = {name: fetch(name, package, out / "debs", debs) for name, package in card.packages.items()}
    sums = {name: file_sha256(path) for name, path in paths.items()}
    notes = [
        f"{card.name}: {name} has version {deb_version(paths[name])}; the card was written for {package.version}"
        for name, package in card.packages.items()
        if package.sha256 and package.sha256 != sums[name]
    ]
    content = [BUILDER, _content(card), sums, *([place.longest_s] if place.longest_s != MAX_S else [])]
    key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]
    state = out / "state" / f"{card.name}.{key}.parquet"
    if not state.is_file():
        with tempfile.TemporaryDirectory(dir=out, prefix=f"{UNPACKED}{card.name}-", ignore_cleanup_errors=True) as part:
            for path in paths.values():
                unpack(path, Path(part))
            rows, skipped = _read_source(card, Path(part), place, deb_version(next(iter(paths.values()))))
        for old in (out / "state").glob(f"{card.name}.*.parquet"):
            if old.name.split(".")[0] == card.name:
                old.unlink(missing_ok=True)
        write_text(out / "state" / f"{card.name}.skipped.json", json.dumps(skipped, indent=1))
        write_manifest(state, rows)
    return _Done(state, notes)


def _content(card: SourceCard) -> dict[str, object]:
    """Return the parts of a card that determine its clips and raw rows."""
    table = taxonomy()
    return card.model_dump(exclude={"notes", "edition", "split", "held_out", "cap"}) | {
        "families": sorted(table.families.items())
    }


def _read_source(card: SourceCard, unpacked: Path, place: Place, version: str) -> tuple[list[Row], dict[str, int]]:
    """Write the clips of one source whose names match a rule.

    Return their rows and the number of skipped sounds per reason.
    """
    skipped: Counter[str] = Counter()
    rows: dict[str, Row] = {}
    copyright_file = Copyright.of(unpacked)
    folder = place.out / "clips" / card.name
    for source_clip, matched in _chosen(card, unpacked, skipped):
        try:
            clip = _clip(source_clip, place.longest_s)
        except AudioError:
            skipped["cannot be decoded"] += 1
            continue
        rms_db = 10 * float(np.log10(np.mean(clip.samples.astype(np.float64) ** 2) + 1e-12))
        if clip.duration_s < MIN_S or rms_db < SILENT_DB:
            skipped["silent or shorter than 30 ms"] += 1
            continue
        name = _file_name(source_clip.name)
        while name in rows:
            name = name.removesuffix(".flac") + "_.flac"
        _write_flac(folder / name, clip)
        rows[name] = Row(
            path=f"clips/{card.name}/{name}",
            source=card.name,
            split="train",
            sha256=pcm_sha256(clip),
            duration_s=round(clip.duration_s, 6),
            sample_rate_hz=clip.sample_rate_hz,
            channels=clip.channels,
            rms_db=round(rms_db, 2),
            source_version=version,
            license=_license(card, source_clip, copyright_file),
            label=source_clip.label or matched.phrase or matched.class_name,
            class_name=matched.class_name,
            family=taxonomy().families[matched.class_name],
            caption_label=matched.phrase,
            language=source_clip.language,
            transcript=source_clip.transcript,
            speaker=source_clip.speaker,
            group=f"{card.group_prefix or card.name}/{_group(card, source_clip, matched.class_name)}",
            fingerprint=fingerprint(clip),
            meta=json.dumps(source_clip.meta, sort_keys=True) if source_clip.meta else "",
        )
    return [rows[name] for name in sorted(rows)], dict(sorted(skipped.items()))


def _chosen(card: SourceCard, unpacked: Path, skipped: Counter[str]) -> list[tuple[SourceClip, Meaning]]:
    """Return the sounds whose names match a rule, in the reader's order.

    A class keeps at most `SPARE` times the card's cap, selected by a hash of the names.
    """
    by_class: dict[tuple[str, str], list[tuple[str, SourceClip, Meaning]]] = defaultdict(list)
    order: list[str] = []
    for source_clip in readers[card.reader](unpacked, card):
        class_name = source_clip.class_name or ("speech" if source_clip.language and not card.rules else "")
        matched = Meaning(class_name) if class_name else meaning(card, source_clip.match_name or source_clip.name)
        if matched.refused:
            skipped[matched.refused] += 1
            continue
        rank = hashlib.sha256(source_clip.name.encode()).hexdigest()
        by_class[matched.class_name, source_clip.language].append((rank, source_clip, matched))
        order.append(rank)
    keep: dict[str, tuple[SourceClip, Meaning]] = {}
    for members in by_class.values():
        most = round(card.cap * SPARE) if card.cap else len(members)
        if len(members) > most:
            skipped["over the cap of its class"] += len(members) - most
        keep |= {
            rank: (source_clip, matched)
            for rank, source_clip, matched in sorted(members, key=lambda item: item[0])[:most]
        }
    return [keep[rank] for rank in dict.fromkeys(order) if rank in keep]


def _clip(source_clip: SourceClip, longest_s: float) -> Clip:
    """Return the sound to store: at most `longest_s` seconds, 48 kHz and two channels; mono if both are equal."""
    if isinstance(source_clip.sound, Clip):
        clip = source_clip.sound
    elif callable(source_clip.sound):
        clip = source_clip.sound()
    else:
        clip = _published(source_clip.sound, longest_s)
    samples = clip.samples[:, : round(longest_s * clip.sample_rate_hz)]
    rate = clip.sample_rate_hz
    if rate > MAX_RATE_HZ:
        samples, rate = resample(samples, rate, MAX_RATE_HZ), MAX_RATE_HZ
    samples = samples[:2]
    if len(samples) == 2 and np.array_equal(samples[0], samples[1]):
        samples = samples[:1]
    # round to 16 bits here, so that hash and fingerprint are those of the stored file
    pcm = np.clip(np.rint(samples * 32768.0), -32768, 32767)
    return Clip((pcm / 32768.0).astype(np.float32), rate)


def _published(sound: Path | bytes, longest_s: float) -> Clip:
    """Read a sound of a package. An Ogg stream without a page that is marked as the last is read as far as it goes.

    Some sounds were published like that; the checksum of the package shows that nothing is missing.
    """
    try:
        return read(sound, duration_s=longest_s)
    except AudioError:
        about = info(sound)
        if about.format != "ogg":
            raise
        return read(sound, duration_s=min(longest_s, about.duration_s or longest_s))


def _write_flac(path: Path, clip: Clip) -> None:
    import soundfile

    pcm = (clip.samples.T * 32768.0).astype(np.int16)
    stream = BytesIO()  # libsndfile does not report that a disk is full
    soundfile.write(stream, pcm, clip.sample_rate_hz, format="FLAC", subtype="PCM_16")
    with atomic_write(path, parents=True) as part:
        part.write_bytes(stream.getvalue())


def _file_name(name: str) -> str:
    """Return a safe relative path that ends in .flac."""
    stem = name.rpartition(".")[0] if "." in name.rsplit("/", 1)[-1] else name
    parts = ["".join(c if c.isalnum() or c in "-_+." else "_" for c in part).strip(".") for part in stem.split("/")]
    return "/".join(part or "_" for part in parts) + ".flac"


def _group(card: SourceCard, source_clip: SourceClip, class_name: str) -> str:
    if card.group in ("source", "class"):
        return "all" if card.group == "source" else class_name
    if source_clip.group:
        return source_clip.group
    plain = plain_name(source_clip.name)
    return plain.rpartition("/")[0] or "all" if card.group == "folder" else plain


def _license(card: SourceCard, source_clip: SourceClip, copyright_file: Copyright) -> str:
    from fnmatch import fnmatchcase

    for pattern, license in card.licenses.items():
        if fnmatchcase(source_clip.name, pattern):
            return license
    return source_clip.license or copyright_file.license(f"{card.root}/{source_clip.name}") or card.license


def _write_dropped(path: Path, dropped: list[Dropped]) -> None:
    write_text(path, "".join(f"{d.path}\t{d.reason}\n" for d in dropped))


@contextlib.contextmanager
def _exclusive(out: Path) -> Iterator[None]:
    """Allow one build at a time in a folder. The operating system releases the lock when the process ends."""
    import fcntl

    with (out / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DataError(
                f"{out}: another build is running in this folder; wait for it or choose another folder"
            ) from None
        yield


def _clear(out: Path) -> None:
    """Remove unpacked packages that a killed build left behind; keep clips, rows and fetched packages."""
    for path in out.glob(f"{UNPACKED}*"):
        shutil.rmtree(path, ignore_errors=True)
