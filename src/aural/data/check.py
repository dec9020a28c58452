"""Compare a downloaded data set with its card and report missing, unexpected and broken files, each with a fix."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

from aural.core.errors import AudioError, DataError, near_miss
from aural.data.cards import DatasetCard
from aural.data.readers import Item
from aural.data.readers.files import Files, ignored

KINDS: Final = ("table", "missing", "broken", "unexpected", "count", "label", "split", "checksum")


@dataclass(frozen=True, slots=True)
class Problem:
    """One problem: its kind (one of KINDS), the file or split, and the reason."""

    kind: str
    where: str
    why: str


@dataclass
class Report:
    """The result of a check of a download."""

    card: DatasetCard
    root: Path
    clips: dict[str, int] = field(default_factory=dict)  # split -> clips in the tables
    present: dict[str, int] = field(default_factory=dict)  # split -> clips with a sound file
    absent: list[str] = field(default_factory=list)  # missing optional parts
    problems: list[Problem] = field(default_factory=list)
    known_defects: list[Problem] = field(default_factory=list)  # problems that the card lists

    @property
    def ok(self) -> bool:
        """True if there are no problems other than the defects that the card lists."""
        return not self.problems

    def of(self, kind: str) -> list[Problem]:
        """Return the problems of one kind."""
        return [problem for problem in self.problems if problem.kind == kind]

    def lines(self, show: int = 5) -> Iterator[str]:
        """Yield the report as text: counts, then every kind of problem with its fix and up to `show` examples."""
        yield f"{self.card.title} ({self.card.version}) in {self.root}"
        for split, expected in self.card.splits.items():
            rows = self.clips.get(split, 0)
            sounds = self.present.get(split, 0)
            published = f" of {expected.clips:,} published" if expected.clips is not None else ""
            yield f"  {split}: {rows:,} clips in the tables{published}, {sounds:,} with a sound file"
        for kind in KINDS:
            if problems := self.of(kind):
                yield f"{kind}: {len(problems):,} ({self.fix(kind)})"
                yield from (f"  {problem.where}: {problem.why}" for problem in problems[:show])
                if len(problems) > show:
                    yield f"  ... and {len(problems) - show:,} more"
        for glob in self.absent:
            yield f"missing, optional: {glob}"
        for problem in self.known_defects:
            yield f"known defect: {problem.where}: {problem.why}"
        if self.ok:
            yield "no missing, unexpected or broken files"

    def fix(self, kind: str) -> str:
        """Return how to fix a kind of problem."""
        unavailable = (
            "sounds downloaded from the web disappear over time; use --partial and report the count, or download again"
        )
        return {
            "table": f"get the data set: {self.card.get}",
            "missing": unavailable if self.card.gathered else "unpack the archives again, or get the missing files",
            "broken": "unpack these files again; if they are still broken, download their archive again",
            "unexpected": "no table lists them: leftovers, copies or another version; delete or ignore them",
            "count": "the tables are truncated or belong to another version; get them again",
            "label": "the tables belong to another version, or the card is wrong: report it",
            "split": "one sound is in two splits: do not train on one of them and score on the other",
            "checksum": "download this archive again",
        }[kind]


def check(
    card: DatasetCard,
    folder: str | Path,
    *,
    splits: Sequence[str] = (),
    decode: bool = False,
    checksums: bool = False,
    jobs: int = 8,
) -> Report:
    """Compare a download with its card.

    The header of every sound file is read.

    splits: Only these splits; empty for all. Unexpected files are reported only if all splits are checked.
    decode: Decode every sound to its end, which also detects truncated and silent files.
    checksums: Compare the published checksums with the archives in the folder.
    jobs: Number of files read in parallel.
    """
    if any("{" not in part.split for part in card.parts) and (unknown := set(splits) - set(card.splits)):
        raise DataError(f'{card.name}: has no split "{min(unknown)}"; {near_miss(min(unknown), card.splits)}')
    files = card.files(folder)
    report = Report(card, files.root)
    items, unread = _read_parts(card, files, splits, report)
    _count(report, items, unread)
    named = [item.path for item in items if item.path]
    for path, why in _broken(files, named, decode, jobs):
        report.problems.append(Problem("broken", path, why))
    if not splits:
        unlisted = set(files.audio).difference(named)
        unexpected = (path for path in files.audio if path in unlisted and not ignored(path, card.ignore))
        report.problems += [Problem("unexpected", path, "no table lists it") for path in unexpected]
    if checksums:
        report.problems += _checksums(card, files)
    defects = {p: why for p in report.problems for glob, why in card.known_bad.items() if ignored(p.where, [glob])}
    report.known_defects = [Problem(p.kind, p.where, f"{p.why}; {why}") for p, why in defects.items()]
    report.problems = [problem for problem in report.problems if problem not in defects]
    return report


def sound_fault(path: Path, decode: bool = False) -> str:
    """Return why a sound file cannot be used, or "" if it can."""
    from aural.audio import io

    try:
        info = io.info(path)
        if info.format.upper() == "RAW":  # libsndfile reads any .au file without a header as raw samples
            return "has no sound file header"
        if not decode:
            return "contains no samples" if info.frames == 0 else ""
        frames, loud = 0, False
        for block in io.blocks(path, 10.0, mono=False):
            frames += block.frames
            loud = loud or bool(block.samples.any())
        if info.frames is not None and frames < info.frames:
            return f"is truncated: {frames} of {info.frames} frames"
        return "" if loud else "contains only digital silence"
    except AudioError as error:
        return str(error).removeprefix(f"{path}: ")


def _read_parts(card: DatasetCard, files: Files, splits: Sequence[str], report: Report) -> tuple[list[Item], set[str]]:
    """Return the items of all readable parts and the splits of the other parts; report what cannot be read."""
    items: list[Item] = []
    unread: set[str] = set(card.splits).difference(splits) if splits else set()
    for part in card.parts:
        fixed = "{" not in part.split
        if splits and fixed and part.split not in splits:
            continue
        missing = [glob for glob in part.needs() if not files.glob(glob)]
        try:
            if not missing:
                items += (item for item in part.items(files) if not splits or item.split in splits)
                continue
        except DataError as error:
            why = str(error).removeprefix(f"{files.root}/").removeprefix(f"{part.anchor}: ")
            report.problems.append(Problem("table", part.anchor, why))
        unread |= {part.split} if fixed else set(card.splits)
        if part.optional and not files.glob(part.anchor):
            report.absent.append(part.anchor)
        else:
            what = "sound files" if part.kind == "folder-per-class" else "table"
            report.problems += [Problem("table", glob, f"no such {what}") for glob in missing]
    return items, unread


def _count(report: Report, items: Iterable[Item], unread: set[str]) -> None:
    """Count clips and sounds per split; report missing sounds, sounds in two splits, unknown labels, wrong counts."""
    clips, present, unknown = Counter[str](), Counter[str](), Counter[str]()
    seen: dict[str, str] = {}
    classes = set(report.card.classes)
    for item in items:
        clips[item.split] += 1
        if item.path:
            present[item.split] += 1
            if (other := seen.setdefault(item.path, item.split)) != item.split:
                report.problems.append(Problem("split", item.path, f"is in {other} and {item.split}"))
        else:
            report.problems.append(Problem("missing", item.wanted, "no such sound file"))
        unknown.update(label for label in item.labels if classes and label not in classes)
    report.clips, report.present = dict(clips), dict(present)
    for label, count in unknown.items():
        report.problems.append(Problem("label", label, f"is not a class of the card ({count} clips)"))
    for split, expected in report.card.splits.items():
        if expected.clips not in (None, clips[split]) and split not in unread:
            why = f"the tables list {clips[split]:,} clips, but {expected.clips:,} are published"
            report.problems.append(Problem("count", split, why))


def _broken(files: Files, paths: Sequence[str], decode: bool, jobs: int) -> Iterator[tuple[str, str]]:
    empty = {path for path in paths if not files.sizes[path]}
    yield from ((path, "is empty (0 bytes)") for path in sorted(empty))
    rest = [path for path in dict.fromkeys(paths) if path not in empty]
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        faults = pool.map(partial(sound_fault, decode=decode), (files.root / path for path in rest))
        yield from ((path, why) for path, why in zip(rest, faults, strict=True) if why)


def _checksums(card: DatasetCard, files: Files) -> Iterator[Problem]:
    for name, published in card.checksums.items():
        kind, _, digest = published.partition(":")
        for path in files.glob(f"**/{name}"):
            with (files.root / path).open("rb") as stream:
                actual = hashlib.file_digest(stream, kind).hexdigest()
            if actual != digest:
                yield Problem("checksum", path, f"{kind} is {actual}, but {digest} is published")
