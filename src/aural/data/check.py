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

from aural.core.errors import AudioError, DataError
from aural.data.cards import DatasetCard
from aural.data.readers import Item
from aural.data.readers.files import Files, ignored

KINDS: Final = ("table", "missing", "broken", "unexpected", "count", "label", "split", "checksum")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: its kind (one of KINDS), the file or split, and why."""

    kind: str
    where: str
    why: str


@dataclass
class Report:
    """The state of a download."""

    card: DatasetCard
    root: Path
    clips: dict[str, int] = field(default_factory=dict)  # rows of the tables, by split
    present: dict[str, int] = field(default_factory=dict)  # of these, with a sound file
    absent: list[str] = field(default_factory=list)  # optional parts that are not there
    problems: list[Problem] = field(default_factory=list)
    documented: list[Problem] = field(default_factory=list)  # defects that the card lists

    @property
    def intact(self) -> bool:
        """True if the only defects are those that the card lists."""
        return not self.problems

    def of(self, kind: str) -> list[Problem]:
        """Return the problems of one kind."""
        return [problem for problem in self.problems if problem.kind == kind]

    def lines(self, show: int = 5) -> Iterator[str]:
        """Yield the lines of the report: counts, then each kind of problem with `show` examples and its fix."""
        yield f"{self.card.title} ({self.card.version}) in {self.root}"
        for split, expected in self.card.splits.items():
            rows, there = self.clips.get(split, 0), self.present.get(split, 0)
            wanted = f" of {expected.clips:,} published" if expected.clips is not None else ""
            yield f"  {split}: {rows:,} clips in the tables{wanted}, {there:,} sounds there"
        for kind in KINDS:
            if problems := self.of(kind):
                yield f"{kind}: {len(problems):,} ({self.fix(kind)})"
                yield from (f"  {problem.where}: {problem.why}" for problem in problems[:show])
                if len(problems) > show:
                    yield f"  ... and {len(problems) - show:,} more"
        for glob in self.absent:
            yield f"not there, optional: {glob}"
        for problem in self.documented:
            yield f"known defect: {problem.where}: {problem.why}"
        if self.intact:
            yield "nothing is missing, unexpected or broken"

    def fix(self, kind: str) -> str:
        """Return how to fix a kind of problem."""
        gone = "sounds gathered from the web vanish; go on with --partial and state the count, or gather again"
        return {
            "table": f"get the data set so: {self.card.get}",
            "missing": gone if self.card.gathered else "unpack the archives again, or get what is missing",
            "broken": "unpack these again; if they stay broken, fetch their archive again",
            "unexpected": "no table names them: leftovers, copies or another version; delete or ignore them",
            "count": "the tables are another version's or cut off; get them again",
            "label": "the tables are another version's, or the card is wrong: report it",
            "split": "one sound stands in two splits: score neither with the other as training set",
            "checksum": "fetch this archive again",
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

    Headers of all sounds are read; `decode` reads them to the end, which also finds truncated and silent ones.
    `checksums` hashes published archives in the folder.
    """
    files = card.files(folder)
    report = Report(card, files.root)
    items, unread = _read_parts(card, files, splits, report)
    _count(report, items, unread)
    named = [item.path for item in items if item.path]
    for path, why in _broken(files, named, decode, jobs):
        report.problems.append(Problem("broken", path, why))
    if not splits:
        surplus = set(files.audio).difference(named)
        odd = (path for path in files.audio if path in surplus and not ignored(path, card.ignore))
        report.problems += [Problem("unexpected", path, "no table names it") for path in odd]
    if checksums:
        report.problems += _checksums(card, files)
    listed = {p: why for p in report.problems for glob, why in card.known_bad.items() if ignored(p.where, [glob])}
    report.documented = [Problem(p.kind, p.where, f"{p.why}; {why}") for p, why in listed.items()]
    report.problems = [problem for problem in report.problems if problem not in listed]
    return report


def sound_fault(path: Path, decode: bool = False) -> str:
    """Return why a sound file cannot be used, or ""."""
    from aural.audio import io

    try:
        info = io.info(path)
        if info.format.upper() == "RAW":  # what libsndfile makes of any bytes in a file called .au
            return "has no header of a sound file"
        if not decode:
            return "holds no samples" if info.frames == 0 else ""
        frames, loud = 0, False
        for block in io.blocks(path, 10.0, mono=False):
            frames += block.frames
            loud = loud or bool(block.samples.any())
        if info.frames is not None and frames < info.frames:
            return f"is cut off: {frames} of {info.frames} frames"
        return "" if loud else "holds digital silence only"
    except AudioError as error:
        return str(error).removeprefix(f"{path}: ")


def _read_parts(card: DatasetCard, files: Files, splits: Sequence[str], report: Report) -> tuple[list[Item], set[str]]:
    """Items of every part that can be read, and the splits of the others; what hinders them is a problem."""
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
            what = "sounds" if part.kind == "folder-per-class" else "table"
            report.problems += [Problem("table", glob, f"no such {what}") for glob in missing]
    return items, unread


def _count(report: Report, items: Iterable[Item], unread: set[str]) -> None:
    """Clips and sounds by split; sounds that are missing or in two splits, unknown labels, wrong numbers of clips."""
    clips, present, unknown = Counter[str](), Counter[str](), Counter[str]()
    seen: dict[str, str] = {}
    classes = set(report.card.classes)
    for item in items:
        clips[item.split] += 1
        if item.path:
            present[item.split] += 1
            if (other := seen.setdefault(item.path, item.split)) != item.split:
                report.problems.append(Problem("split", item.path, f"stands in {other} and {item.split}"))
        else:
            report.problems.append(Problem("missing", item.wanted, "no such sound"))
        unknown.update(label for label in item.labels if classes and label not in classes)
    report.clips, report.present = dict(clips), dict(present)
    for label, count in unknown.items():
        report.problems.append(Problem("label", label, f"is not a class of the card ({count} clips)"))
    for split, expected in report.card.splits.items():
        if expected.clips not in (None, clips[split]) and split not in unread:
            why = f"the tables hold {clips[split]:,} clips, published are {expected.clips:,}"
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
                yield Problem("checksum", path, f"{kind} is {actual}, published is {digest}")
