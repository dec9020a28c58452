"""Read published tables as records: csv and tsv with or without header, and lines that match a regular expression."""

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
    """Yield the rows of each table that matches the glob `pattern`, as ("table.csv: line 7", fields).

    columns: Field names of tables without a header.
    comment: Prefix of lines to skip; "" for none.
    quotes: Whether fields may be quoted.
    header_rows: Number of header rows; the names of several rows are joined by a dot ("track.title").
    skip_rows: Number of rows to skip after the header.

    Raises:
        DataError: no table matches, a row has too many fields, or a table cannot be read.
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
                        "the table is damaged or differs from the published one; get it again"
                    )
                else:
                    row += [""] * (len(names) - len(row))
                    yield f"{path}: line {number}", _place(path) | dict(zip(names, row, strict=True))


def lines(files: Files, pattern: str, line: str, encoding: str = "utf-8-sig") -> Iterator[tuple[str, Record]]:
    """Yield the lines that match the regular expression `line`; its named groups are the fields."""
    form = re.compile(line)
    for path in tables(files, pattern):
        with (files.root / path).open(encoding=encoding) as stream:
            for number, text in enumerate(decoded(stream, path), start=1):
                if match := form.search(text.rstrip("\r\n")):
                    yield f"{path}: line {number}", _place(path) | {k: v or "" for k, v in match.groupdict().items()}


def tables(files: Files, pattern: str) -> list[str]:
    """Return the tables that match a glob; raise DataError if there are none."""
    if not (paths := files.glob(pattern)):
        names = [path for path in files.sizes if path.endswith(pattern[-4:])]
        raise DataError(f"{files.root / pattern}: no such table; {near_miss(pattern, names)}")
    return paths


def decoded(stream: TextIO, path: str) -> Iterator[str]:
    """Yield the lines of a text file; raise DataError naming the file if its encoding is wrong."""
    try:
        yield from stream
    except UnicodeDecodeError as error:
        raise DataError(f"{stream.name}: is not text in {error.encoding} (byte {error.start} of a block)") from None


def _place(path: str) -> Record:
    """Return the fields for the location of a table: its path, and its folder with a slash ("" for the root)."""
    return {"table": path, "at": path[: path.rfind("/") + 1]}


def _rows(stream: TextIO, path: str, delimiter: str, comment: str, quotes: bool) -> Iterator[tuple[int, list[str]]]:
    plain = decoded(stream, path)
    # Comments become empty lines, so that line numbers stay correct.
    kept = ("\n" if line.startswith(comment) else line for line in plain) if comment else plain
    reader = (
        csv.reader(kept, delimiter=delimiter, skipinitialspace=True)
        if quotes
        else csv.reader(kept, delimiter=delimiter, quoting=csv.QUOTE_NONE)
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
        raise DataError(f"{path}: is empty; download it again")
    if count == 1:
        return [name.strip() for name in heads[0]]
    return [
        ".".join(part for part in parts if part) or f"column{n}" for n, parts in enumerate(zip(*heads, strict=False))
    ]
