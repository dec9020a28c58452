"""Read sounds with captions that are no public data set: a CSV file, or a folder with one subfolder per class.

The result is a manifest in memory; nothing is written next to the sounds.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from aural.audio.find import sounds_under
from aural.audio.io import info
from aural.core.errors import AudioError, DataError, near_miss
from aural.core.files import check_readable
from aural.data.manifest import SPLITS, Manifest, Row, from_rows

COLUMNS: Final = ("path", "caption", "split")
SOURCE: Final = "captioned"


def read_captioned(place: str | Path) -> Manifest:
    """Return the clips of a CSV file or of a folder of classes as a manifest.

    A CSV (or .tsv) has a header with the columns `path` and `caption`, and may have `split` (train by default). Paths
    are relative to the CSV or absolute; a path in several rows has several captions. A folder has one subfolder per
    class, whose name is the label of the sounds in it, with spaces for underscores.

    Raises:
        DataError: the table or the folder is missing, incomplete, or names a file that does not exist.
    """
    path = Path(place)
    if path.is_dir():
        return _as_manifest(_of_folder(path))
    if not path.is_file():
        _refuse_pipe(path)
        raise DataError(f"{place}: no such CSV file or folder")
    return _as_manifest(_of_table(path))


def _refuse_pipe(path: Path) -> None:
    """Raise DataError for a pipe or device in place of the table."""
    if path.exists():
        check_readable(path)


def _of_table(path: Path) -> list[tuple[Path, Row]]:
    captions: dict[str, list[str]] = {}
    splits: dict[str, str] = {}
    for number, line in _lines(path):
        name, caption, split = (str(line.get(key) or "").strip() for key in COLUMNS)
        where = f"{path}: line {number}"
        if not name:
            raise DataError(f"{where}: path is empty")
        if not caption:
            raise DataError(f"{where}: the caption of {name} is empty; write one or delete the line")
        split = split or splits.get(name, "train")
        if split not in SPLITS or splits.setdefault(name, split) != split:
            raise DataError(f'{where}: split "{split}" of {name} is wrong; use one of {", ".join(SPLITS)} per file')
        captions.setdefault(name, []).append(caption)
    files = {name: (path.parent / name).absolute() for name in captions}
    missing = [name for name, file in files.items() if not file.is_file()]
    if missing:
        raise DataError(
            f"{path}: {len(missing)} of {len(files)} files do not exist, the first is {missing[0]}; paths are relative "
            "to the CSV"
        )
    return [
        (files[name], Row(path=name, source=SOURCE, split=splits[name], captions=list(dict.fromkeys(texts))))
        for name, texts in captions.items()
    ]


def _lines(path: Path) -> Iterable[tuple[int, dict[str, str]]]:
    """Return the rows after the header with their line numbers."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path}: is not UTF-8 text; save the CSV as UTF-8") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    reader = csv.DictReader(text.splitlines(), delimiter=delimiter, strict=True)
    try:
        header = [str(name).strip() for name in reader.fieldnames or ()]
        reader.fieldnames = header
        for column in COLUMNS[:2]:
            if column not in header:
                raise DataError(f'{path}: the header has no column "{column}"; {near_miss(column, header)}')
            if header.count(column) > 1:
                raise DataError(f'{path}: the header has the column "{column}" twice; delete one')
        rows = [(reader.line_num, line) for line in reader]
    except csv.Error as error:
        raise DataError(f"{path}: line {reader.line_num}: is not CSV ({error})") from None
    if not rows:
        raise DataError(f"{path}: holds no rows below its header")
    return rows


def _of_folder(folder: Path) -> list[tuple[Path, Row]]:
    classes = sorted(one for one in folder.iterdir() if one.is_dir() and not one.name.startswith("."))
    rows = []
    for one in classes:
        label = one.name.replace("_", " ").strip()
        for file in sorted(sounds_under(one)):
            name = str(file.relative_to(folder))
            rows.append((file.absolute(), Row(path=name, source=SOURCE, split="train", label=label, class_name=label)))
    if not rows:
        raise DataError(f"{folder}: holds no folder with sound files; make one folder per class, named by its label")
    return rows


def _as_manifest(files: list[tuple[Path, Row]]) -> Manifest:
    """Return the manifest with paths relative to the deepest folder that holds all files, and with durations."""
    base = Path(os.path.commonpath([file.parent for file, _ in files]))
    rows = []
    for file, row in files:
        values = {field: getattr(row, field) for field in Row.__dataclass_fields__}
        values["path"] = file.relative_to(base).as_posix()
        try:
            values["duration_s"] = info(file).duration_s or 0.0
        except AudioError:
            values["duration_s"] = 0.0  # reported when it is read
        rows.append(Row(**values))
    return from_rows(rows, base)
