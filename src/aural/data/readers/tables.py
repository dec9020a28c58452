"""Published tables as records: csv and tsv with or without header, and lines that a regular expression takes apart."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from typing import TextIO

from aural.core.errors import DataError, near_miss
from aural.data.readers.files import Files
from aural.data.readers.template import Record


def records(
    files: Files,
    pattern: str,
    delimiter: str = ",",
    columns: tuple[str, ...] = (),
    *,
    comment: str = "",
    quotes: bool = True,
    header_rows: int = 1,
    skip_rows: int = 0,
    encoding: str = "utf-8-sig",
) -> Iterator[tuple[str, Record]]:
    """Yield the rows of each table that the glob names, as ("table.csv: line 7", fields).

    `columns` names the fields of a table without header; several header rows join by a dot ("track.title").
    """
    for path in tables(files, pattern):
        with (files.root / path).open(encoding=encoding, newline="") as stream:
            rows = _rows(stream, path, delimiter, comment, quotes)
            names = list(columns) or _header(rows, path, header_rows)
            for number, row in rows:
                if skip_rows > 0:
                    skip_rows -= 1
                elif len(row) > len(names):
                    raise DataError(
                        f"{files.root / path}: line {number} has {len(row)} fields, expected {len(names)}; "
                        "the table is damaged or not the published one"
                    )
                else:
                    row += [""] * (len(names) - len(row))
                    yield f"{path}: line {number}", _place(path) | dict(zip(names, row, strict=True))


def lines(files: Files, pattern: str, line: str, encoding: str = "utf-8-sig") -> Iterator[tuple[str, Record]]:
    """Yield the lines that match `line`; its named groups are the fields."""
    form = re.compile(line)
    for path in tables(files, pattern):
        with (files.root / path).open(encoding=encoding) as stream:
            for number, text in enumerate(decoded(stream, path), start=1):
                if match := form.search(text.rstrip("\r\n")):
                    yield f"{path}: line {number}", _place(path) | {k: v or "" for k, v in match.groupdict().items()}


def tables(files: Files, pattern: str) -> list[str]:
    """Return the tables that a glob names; none is an error."""
    if not (paths := files.glob(pattern)):
        names = [path for path in files.sizes if path.endswith(pattern[-4:])]
        raise DataError(f"{files.root / pattern}: no such table; {near_miss(pattern, names)}")
    return paths


def decoded(stream: TextIO, path: str) -> Iterator[str]:
    """Yield the lines of a text file; wrong bytes are an error that names the file."""
    try:
        yield from stream
    except UnicodeDecodeError as error:
        raise DataError(f"{stream.name}: is not text in {error.encoding} (byte {error.start} of a block)") from None


def _place(path: str) -> Record:
    """Return the location of a record's table: `table` is its path, `at` the folder with its slash ("" at the root)."""
    return {"table": path, "at": path[: path.rfind("/") + 1]}


def _rows(stream: TextIO, path: str, delimiter: str, comment: str, quotes: bool) -> Iterator[tuple[int, list[str]]]:
    plain = decoded(stream, path)
    wanted = ("\n" if line.startswith(comment) else line for line in plain) if comment else plain  # lines keep count
    reader = (
        csv.reader(wanted, delimiter=delimiter, skipinitialspace=True)
        if quotes
        else csv.reader(wanted, delimiter=delimiter, quoting=csv.QUOTE_NONE)
    )
    try:
        for row in reader:
            if any(row):
                yield reader.line_num, row
    except csv.Error as error:
        raise DataError(f"{stream.name}: line {reader.line_num} cannot be read ({error})") from None


def _header(rows: Iterable[tuple[int, list[str]]], path: str, count: int) -> list[str]:
    heads = [row for _, row in zip(range(count), (row for _, row in rows), strict=False)] if count else []
    if len(heads) < count:
        raise DataError(f"{path}: is empty; fetch it again")
    if count == 1:
        return [name.strip() for name in heads[0]]
    return [
        ".".join(part for part in parts if part) or f"column{n}" for n, parts in enumerate(zip(*heads, strict=False))
    ]
