"""Readers of tables: `class-csv`, `multi-label-csv`, `timed-events`, `caption-csv`.

All of them read tables in csv, tsv, or lines parsed with a regular expression. They differ in the content of a row: one
label, several labels, a label with its times, or captions. The rows of a clip become one item.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pydantic import model_validator

from aural.core.errors import ConfigError
from aural.data.readers import tables
from aural.data.readers.base import Reader
from aural.data.readers.files import Files
from aural.data.readers.registry import READERS
from aural.data.readers.template import Record


class TableReader(Reader):
    """Base class of readers of tables. Each row is a record, and its field `table` is the path of the table."""

    required: ClassVar[tuple[str, ...]] = ("audio",)
    file: str  # path of the table, or a glob for several tables
    delimiter: str = ","
    columns: tuple[str, ...] = ()  # column names of tables without a header
    comment: str = ""  # prefix of lines to skip
    quotes: bool = True
    header_rows: int = 1
    skip_rows: int = 0
    encoding: str = "utf-8-sig"
    line: str = ""  # regex with named groups, for tables that are not csv

    @model_validator(mode="after")
    def _check_required(self) -> TableReader:
        for name in self.required:
            if not getattr(self, name):
                raise ConfigError(f'reader "{self.kind}" needs the key "{name}"')
        return self

    @property
    def anchor(self) -> str:
        return self.file

    def records(self, files: Files) -> Iterator[tuple[str, Record]]:
        if self.line:
            yield from tables.lines(files, self.file, self.line, self.encoding)
        else:
            yield from tables.records(
                files,
                self.file,
                self.delimiter,
                self.columns,
                comment=self.comment,
                quotes=self.quotes,
                header_rows=self.header_rows,
                skip_rows=self.skip_rows,
                encoding=self.encoding,
            )


@READERS.register("class-csv")
class ClassCsv(TableReader):
    """A reader of tables with one clip and one label per row."""

    kind: ClassVar[str] = "class-csv"
    required: ClassVar[tuple[str, ...]] = ("audio", "label")


@READERS.register("multi-label-csv")
class MultiLabelCsv(TableReader):
    """A reader of tables with several labels per clip, in one field (`separator`) or one per row."""

    kind: ClassVar[str] = "multi-label-csv"
    required: ClassVar[tuple[str, ...]] = ("audio", "label")


@READERS.register("timed-events")
class TimedEvents(TableReader):
    """A reader of tables with one labeled interval per row. A row without an onset marks a clip without events."""

    kind: ClassVar[str] = "timed-events"
    required: ClassVar[tuple[str, ...]] = ("audio", "label", "onset_s", "offset_s")


@READERS.register("caption-csv")
class CaptionCsv(TableReader):
    """A reader of tables with captions, in one or several columns or one per row."""

    kind: ClassVar[str] = "caption-csv"
    required: ClassVar[tuple[str, ...]] = ("audio", "captions")
