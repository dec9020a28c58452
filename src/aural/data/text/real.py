"""Real words for the text encoder: descriptions of pictures in many languages, and glosses of a dictionary.

Both come from distribution packages, which are fetched and verified like those of the sound corpus. `build_texts`
writes one JSON record per line: key, source, license, texts by language, and the words that a gloss explains.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Final, Literal
from zlib import crc32

from pydantic import Field

from aural.core.config import Config
from aural.core.errors import DataError
from aural.core.files import write_text
from aural.data.libre.cards import Package
from aural.data.libre.debian import fetch, file_sha256, unpack
from aural.data.text.example import Example

PICTURES: Final = "tuxpaint-stamps-default"
GLOSSES: Final = "wordnet-base"
PACKAGES: Final = {
    PICTURES: Package(
        version="2022.06.04-1", sha256="6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34"
    ),
    GLOSSES: Package(version="1:3.0-37", sha256="61060d960f9ada8fa120872312eccd3ecebfbab8c4579e4f5a74e1cf67620752"),
}
"""Package -> version and checksum of its .deb file."""
LICENSES: Final = {PICTURES: "GPL-2.0-or-later", GLOSSES: "WordNet-3.0"}
TEXTS_FILE: Final = "texts.jsonl"
TEST_SHARE: Final = 10
"""One of this many records belongs to the split "test"."""


@dataclass(frozen=True)
class RealText:
    """A text of a distribution package."""

    key: str
    source: str
    license: str
    texts: dict[str, str]
    """Language -> text."""
    words: list[str] = field(default_factory=list)
    """The words that a gloss explains."""

    @property
    def split(self) -> str:
        """The split that the record belongs to, a function of its key."""
        return "test" if crc32(self.key.encode()) % TEST_SHARE == 0 else "train"


def read_descriptions(folder: Path) -> Iterator[RealText]:
    """Yield the descriptions of pictures: English in the first line of NAME.txt, then lines "LANGUAGE.utf8=text"."""
    for path in sorted(folder.rglob("*.txt")):
        lines = [
            line.strip() for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()
        ]
        if not lines or ".utf8=" in lines[0]:
            continue
        texts = {"en": lines[0]}
        for line in lines[1:]:
            language, mark, text = line.partition(".utf8=")
            if mark and text.strip():
                texts[language] = text.strip()
        key = path.relative_to(folder).with_suffix("").as_posix()
        yield RealText(f"picture {key}", PICTURES, LICENSES[PICTURES], texts)


def read_glosses(file: Path) -> Iterator[RealText]:
    """Yield the glosses of a WordNet data file without their example sentences."""
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("  "):  # the license
            continue
        head, bar, gloss = line.partition(" | ")
        fields = head.split()
        count = int(fields[3], 16)
        words = [re.sub(r"\(\w+\)$", "", fields[4 + 2 * i]).replace("_", " ") for i in range(count)]
        text = gloss.partition('; "')[0].strip()
        if bar and text:
            yield RealText(f"gloss {fields[2]}{fields[0]}", GLOSSES, LICENSES[GLOSSES], {"en": text}, words)


def build_texts(out: Path, debs: Path | None = None) -> dict[str, int]:
    """Fetch and verify both packages, write OUT/texts.jsonl, and return source -> number of records.

    Raises DataError where a package cannot be fetched or is not the expected version.
    """
    records: list[RealText] = []
    out.mkdir(parents=True, exist_ok=True)
    for name, package in PACKAGES.items():
        deb = fetch(name, package, out / "packages", debs)
        if file_sha256(deb) != package.sha256:
            raise DataError(f"{deb}: is not version {package.version} of {name}; delete it and run the build again")
        unpacked = Path(tempfile.mkdtemp(dir=out, prefix=".unpack-"))
        try:
            unpack(deb, unpacked)
            if name == PICTURES:
                records += read_descriptions(unpacked / "usr/share/tuxpaint/stamps")
            else:
                for part in ("noun", "verb", "adj", "adv"):
                    records += read_glosses(unpacked / f"usr/share/wordnet/data.{part}")
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)
    lines = (json.dumps(asdict(record), ensure_ascii=False) for record in records)
    write_text(out / TEXTS_FILE, "\n".join(lines) + "\n")
    return {name: sum(record.source == name for record in records) for name in PACKAGES}


class RealTextsConfig(Config):
    """Options of the world "real-texts"."""

    file: str
    """The file texts.jsonl of `aural corpus texts`, or its folder."""
    source: Literal["tuxpaint-stamps-default", "wordnet-base"] = PICTURES
    split: Literal["train", "test"] = "train"
    languages: Annotated[tuple[str, ...], Field(min_length=1)] = ("en",)
    """Languages of the texts; the first one is `text`, the others are its paraphrases."""


def read_texts(config: RealTextsConfig) -> list[RealText]:
    """Return the records of a source and split that have a text in the first language and another text or word.

    Raises DataError where the file is missing or holds no such record.
    """
    file = Path(config.file)
    file = file / TEXTS_FILE if file.is_dir() else file
    if not file.is_file():
        raise DataError(f"{file}: no such file; write it with `aural corpus texts --out FOLDER`")
    records = [RealText(**json.loads(line)) for line in file.read_text(encoding="utf-8").splitlines()]
    kept = [one for one in records if one.source == config.source and one.split == config.split]
    kept = [one for one in kept if config.languages[0] in one.texts]
    if not kept:
        raise DataError(f'{file}: has no text of {config.source} in "{config.languages[0]}"; name another language')
    return kept


def example_of(record: RealText, languages: tuple[str, ...]) -> Example:
    """Return a record as an example: its text, and as paraphrases its translations or the words that it explains."""
    first, *others = languages
    paraphrases = [record.texts[language] for language in others if language in record.texts]
    paraphrases += [", ".join(record.words)] if record.words else []
    return Example("sentence", record.texts[first], paraphrases=tuple(paraphrases))
