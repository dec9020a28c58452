"""Read the sounds of unpacked packages, with the names and metadata that each package format provides."""

from __future__ import annotations

import struct
import xml.etree.ElementTree as ET
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, Final, TypeAlias

from aural.core.errors import DataError
from aural.core.registry import Registry
from aural.core.types import Clip
from aural.data.libre.c4group import GROUPS, entries, without_endings
from aural.data.libre.cards import SourceCard

SOUNDS: Final = frozenset([".wav", ".ogg", ".oga", ".flac", ".mp3", ".aif", ".aiff", ".au", ".opus", ".wv", ".g722"])
LICENSES: Final = {
    "Creative Commons Attribution 3.0": "CC-BY-3.0",
    "Creative Commons Attribution 3.0 Unported": "CC-BY-3.0",
    "Creative Commons Attribution-ShareAlike 3.0 Unported": "CC-BY-SA-3.0",
    "Creative Commons Zero 1.0": "CC0-1.0",
}


@dataclass(frozen=True, slots=True)
class SourceClip:
    """One sound of a source. `name` gives the path of the stored clip and is matched against the rules of the card."""

    name: str
    sound: Path | bytes | Clip | Callable[[], Clip]
    match_name: str = ""  # matched against the rules instead of `name`, if not empty
    label: str = ""
    class_name: str = ""  # if the reader can determine it; otherwise the rules of the card do
    language: str = ""
    transcript: str = ""
    speaker: str = ""
    group: str = ""
    license: str = ""  # if the source states it per sound
    meta: dict[str, Any] = field(default_factory=dict)


Reader: TypeAlias = Callable[[Path, SourceCard], Iterator[SourceClip]]
readers: Registry[Reader] = Registry("reader")


def wanted(name: str, card: SourceCard) -> bool:
    """Return whether a name matches one of the card's `include` patterns."""
    return any(fnmatchcase(name, pattern) for pattern in card.include)


def walk(folder: Path, suffixes: frozenset[str] = SOUNDS) -> Iterator[tuple[str, Path]]:
    """Yield (relative name, path) of the files with one of the suffixes, sorted by path."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in suffixes and path.is_file():
            yield path.relative_to(folder).as_posix(), path


def _root(unpacked: Path, card: SourceCard) -> Path:
    root = unpacked / card.root
    if not root.is_dir():
        raise DataError(f"{card.name}: the package has no folder {card.root}; update `root` in the card")
    return root


@readers.register("files")
def files(unpacked: Path, card: SourceCard) -> Iterator[SourceClip]:
    """Read the sound files below the root and inside the zip containers that match `archives`."""
    root = _root(unpacked, card)
    for name, path in walk(root):
        if wanted(name, card):
            yield SourceClip(name, path)
    for pattern in card.archives:
        for archive in sorted(root.glob(pattern)):
            try:
                with zipfile.ZipFile(archive) as inside:
                    for entry in sorted(inside.namelist()):
                        if PurePosixPath(entry).suffix.lower() in SOUNDS and wanted(entry, card):
                            yield SourceClip(entry, inside.read(entry))
            except (zipfile.BadZipFile, zlib.error) as error:
                raise DataError(f"{card.name}: {archive.name} is damaged ({error}); fetch the package again") from None


@readers.register("c4group")
def c4group(unpacked: Path, card: SourceCard) -> Iterator[SourceClip]:
    """Read the sounds of C4Group archives (.oc?) below the root; names are paths without the endings of the groups."""
    root = _root(unpacked, card)
    for name, path in walk(root):
        if wanted(plain := without_endings(name), card):
            yield SourceClip(plain, path)
    for name, path in walk(root, GROUPS):
        try:
            for inside, content in entries(path.read_bytes()):
                plain = without_endings(f"{name}/{inside}")
                if PurePosixPath(plain).suffix.lower() in SOUNDS and wanted(plain, card):
                    yield SourceClip(plain, content)
        except (struct.error, zlib.error, ValueError) as error:
            raise DataError(f"{card.name}: {path.name} is damaged ({error}); fetch the package again") from None


@readers.register("tuxpaint")
def tuxpaint(unpacked: Path, card: SourceCard) -> Iterator[SourceClip]:
    """Read stamps: a sound file, described by the first line of the text file with the same stem."""
    root = _root(unpacked, card)
    for name, path in walk(root):
        text = path.with_suffix(".txt")
        if "_desc" not in path.stem and text.is_file() and wanted(name, card):
            yield SourceClip(name, path, label=_lines(text)[0].strip())


@readers.register("tuxpaint-speech")
def tuxpaint_speech(unpacked: Path, card: SourceCard) -> Iterator[SourceClip]:
    """Read spoken stamp descriptions: <stem>_desc_<lang>.ogg speaks the line `<lang>.utf8=` of <stem>.txt."""
    for name, path in walk(_root(unpacked, card)):
        stem, mark, language = path.stem.partition("_desc")
        text = path.with_name(f"{stem}.txt")
        if not mark or not text.is_file():
            continue
        lines = _lines(text)
        spoken = dict(line.split(".utf8=", 1) for line in lines if ".utf8=" in line) | {"en": lines[0]}
        language = language.removeprefix("_") or "en"
        if words := spoken.get(language, "").strip():
            yield SourceClip(name, path, language=language.replace("_", "-"), transcript=words, group=language)


@readers.register("hydrogen")
def hydrogen(unpacked: Path, card: SourceCard) -> Iterator[SourceClip]:
    """Read drum kits: drumkit.xml gives the instrument of each layer's file. The kit is the group."""
    for _, path in walk(_root(unpacked, card), frozenset((".xml",))):
        if path.name != "drumkit.xml":
            continue
        tree = ET.fromstring(path.read_text(encoding="utf-8", errors="replace"))
        for node in tree.iter():
            node.tag = node.tag.rpartition("}")[2]
        kit = path.parent.name
        for instrument in tree.iter("instrument"):
            label = (instrument.findtext("name") or "").strip()
            layers = [layer.findtext("filename") or "" for layer in instrument.iter("layer")]
            for filename in layers or [instrument.findtext("filename") or ""]:
                sound = path.parent / filename
                if filename and sound.is_file():
                    name = f"{kit}/{filename}"
                    yield SourceClip(
                        name, sound, match_name=f"{kit}/{label}", label=label, group=kit, meta={"kit": kit}
                    )


@readers.register("opensfx")
def opensfx(unpacked: Path, card: SourceCard) -> Iterator[SourceClip]:
    """Read .cat files: (offset, length) pairs, then per sound a title with a length prefix and a RIFF file."""
    for _, path in walk(_root(unpacked, card), frozenset((".cat",))):
        data = path.read_bytes()
        count = (struct.unpack_from("<I", data)[0] & 0x7FFFFFFF) // 8
        for number in range(count):
            offset, length = struct.unpack_from("<II", data, 8 * number)
            offset &= 0x7FFFFFFF
            start = offset + 1 + data[offset]
            header = data[offset + 1 : start].rstrip(b"\0").decode("latin-1").strip('" ')
            title, _, credit = header.partition('"')
            license = LICENSES.get(credit.partition("License:")[2].strip(" ."), "")
            original = credit.partition('"')[2].partition('"')[0]
            if length > 100:
                sound = data[start : start + length]
                yield SourceClip(
                    f"{number:02d}.wav", sound, match_name=title, label=title, group=original or title, license=license
                )


@readers.register("rcc")
def rcc(unpacked: Path, card: SourceCard) -> Iterator[SourceClip]:
    """Read Qt resource files: a tree of nodes with names in UTF-16 and plain or deflated data."""
    for archive_name, path in walk(_root(unpacked, card), frozenset((".rcc",))):
        stem = PurePosixPath(archive_name).stem
        for name, data in _rcc_entries(path.read_bytes()):
            if PurePosixPath(name).suffix.lower() in SOUNDS and wanted(f"{stem}/{name}", card):
                yield SourceClip(f"{stem}/{PurePosixPath(name).name}", data)


def _rcc_entries(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield (path, content) of every file in a Qt resource file."""
    magic, version, tree, blobs, names = struct.unpack_from(">4s4I", data)
    if magic != b"qres":
        raise DataError('a Qt resource file of the package does not start with "qres"; fetch the package again')
    node_size = 22 if version >= 2 else 14

    def name_at(offset: int) -> str:
        (length,) = struct.unpack_from(">H", data, names + offset)
        return data[names + offset + 6 : names + offset + 6 + 2 * length].decode("utf-16-be")

    def below(index: int, prefix: str) -> Iterator[tuple[str, bytes]]:
        name, flags = struct.unpack_from(">IH", data, tree + index * node_size)
        here = prefix + (name_at(name) if index else "")
        if flags & 2:
            count, first = struct.unpack_from(">II", data, tree + index * node_size + 6)
            for child in range(first, first + count):
                yield from below(child, f"{here}/" if here else "")
            return
        (offset,) = struct.unpack_from(">I", data, tree + index * node_size + 10)
        (size,) = struct.unpack_from(">I", data, blobs + offset)
        blob = data[blobs + offset + 4 : blobs + offset + 4 + size]
        if flags & 1:
            blob = zlib.decompress(blob[4:])
        if not flags & 4:  # entries compressed with zstd are pictures in the packages used here
            yield here, blob

    yield from below(0, "")


@readers.register("transcripts")
def transcripts(unpacked: Path, card: SourceCard) -> Iterator[SourceClip]:
    """Read speech of one speaker with a table of `name: words` lines (gzipped text in the package's documentation)."""
    import gzip

    table: dict[str, str] = {}
    who = {"who": card.options["who"]}
    for path in sorted(unpacked.glob(str(card.options["table"]))):
        for line in gzip.decompress(path.read_bytes()).decode("utf-8", errors="replace").splitlines():
            name, colon, words = line.partition(":")
            if colon and not line.startswith(";"):
                table[name.strip()] = words.strip()
    for name, path in walk(_root(unpacked, card)):
        words = table.get(name.rpartition(".")[0], "")
        if words and not words.startswith(("[", "(", "<")):
            speaker = card.speaker
            yield SourceClip(
                name, path, language=card.language, transcript=words, speaker=speaker, group=speaker, meta=who
            )


@readers.register("language-folders")
def language_folders(unpacked: Path, card: SourceCard) -> Iterator[SourceClip]:
    """Read speech in one folder per language. Transcripts come from `sounds.xml`, and are empty without it."""
    root = _root(unpacked, card)
    renamed: dict[str, str] = card.options.get("languages", {})
    words: dict[str, str] = {}
    for path in sorted(root.glob("*/sounds.xml")):
        tree = ET.fromstring(path.read_bytes())
        words |= {node.get("file", ""): node.get("name", "") for node in tree.iter("sound")}
    for name, path in walk(root):
        folder = name.split("/")[0]
        language = renamed.get(folder, folder)
        if "/" in name and language and wanted(name, card):
            speaker = f"{card.name}/{folder}"
            yield SourceClip(
                name, path, language=language, transcript=words.get(name, ""), speaker=speaker, group=speaker
            )


@readers.register("wad")
def wad(unpacked: Path, card: SourceCard) -> Iterator[SourceClip]:
    """Read Doom sound lumps (DS*): format 3, rate, length, 16 bytes of padding, unsigned 8-bit samples."""
    import numpy as np

    for _, path in walk(_root(unpacked, card), frozenset((".wad",))):
        data = path.read_bytes()
        count, directory = struct.unpack_from("<II", data, 4)
        for number in range(count):
            offset, size, raw_name = struct.unpack_from("<II8s", data, directory + 16 * number)
            name = raw_name.rstrip(b"\0").decode("latin-1").lower()
            if not name.startswith("ds") or size < 64:
                continue
            lump = data[offset : offset + size]
            if lump[:2] == b"\x03\x00":
                (rate,) = struct.unpack_from("<H", lump, 2)
                samples = np.frombuffer(lump[24:-16], np.uint8).astype(np.float32) / 128 - 1
                clip = Clip(samples[None].astype(np.float32), rate)
                yield SourceClip(f"{path.stem}/{name}.wav", clip, match_name=name)
            else:
                yield SourceClip(f"{path.stem}/{name}.wav", bytes(lump), match_name=name)


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8", errors="replace").splitlines() or [""]
