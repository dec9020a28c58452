"""Readers of tables: `class-csv`, `multi-label-csv`, `timed-events`, `caption-csv`.

They read the same tables (csv, tsv, or lines parsed by a regular expression) and differ in what a row must say:
one label, several, a label with its times, or captions. Rows of one clip become one item.
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
    """A reader of tables: path and format; each row is a record, with the path of its table as `table`."""

    required: ClassVar[tuple[str, ...]] = ("audio",)
    file: str  # the table; a glob where there are several
    delimiter: str = ","
    columns: tuple[str, ...] = ()  # for tables without header
    comment: str = ""  # lines that begin so are no rows
    quotes: bool = True
    header_rows: int = 1
    skip_rows: int = 0
    encoding: str = "utf-8-sig"
    line: str = ""  # regex with named groups, for tables that are not csv

    @model_validator(mode="after")
    def _said(self) -> TableReader:
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
    """One row, one clip, one label."""

    kind: ClassVar[str] = "class-csv"
    required: ClassVar[tuple[str, ...]] = ("audio", "label")


@READERS.register("multi-label-csv")
class MultiLabelCsv(TableReader):
    """Several labels per clip: in one field (`separator`), or one row each."""

    kind: ClassVar[str] = "multi-label-csv"
    required: ClassVar[tuple[str, ...]] = ("audio", "label")


@READERS.register("timed-events")
class TimedEvents(TableReader):
    """One row, one labeled stretch of a clip; a row without onset says that the clip has none."""

    kind: ClassVar[str] = "timed-events"
    required: ClassVar[tuple[str, ...]] = ("audio", "label", "onset_s", "offset_s")


@READERS.register("caption-csv")
class CaptionCsv(TableReader):
    """Captions in one or several columns, or one row each."""

    kind: ClassVar[str] = "caption-csv"
    required: ClassVar[tuple[str, ...]] = ("audio", "captions")
