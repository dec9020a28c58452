"""Reader `folder-per-class`: data sets without tables, described by their folder and file names."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pydantic import field_validator

from aural.data.readers.base import Reader
from aural.data.readers.files import AUDIO, Files, strip, suffix
from aural.data.readers.registry import READERS
from aural.data.readers.template import Record


@READERS.register("folder-per-class")
class FolderPerClass(Reader):
    """A reader of sound files: each file that matches `glob` is a clip.

    Fields: path ("train/dog/1.wav"), stem ("train/dog/1"), name ("1.wav"), title ("1"), folder ("dog"), and the groups
    that `extract` matches in them.
    """

    kind: ClassVar[str] = "folder-per-class"
    glob: str
    label: str = "{folder}"
    audio: tuple[str, ...] = ("{path}",)

    @field_validator("glob")
    @classmethod
    def _relative(cls, pattern: str) -> str:
        if pattern.startswith("/"):
            raise ValueError("must be relative to the data set's folder")
        return pattern

    @property
    def anchor(self) -> str:
        return self.glob

    def records(self, files: Files) -> Iterator[tuple[str, Record]]:
        for path in files.glob(self.glob):
            if suffix(path) in AUDIO:
                folder, _, name = path.rpartition("/")
                title = strip(name)
                fields = {"path": path, "stem": strip(path), "name": name, "title": title}
                yield path, fields | {"folder": folder.rpartition("/")[2]}
