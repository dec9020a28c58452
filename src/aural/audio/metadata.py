"""Read and write what sound files say about themselves: tags (ID3, Vorbis, MP4), bext, iXML and UCS file names.

Source: the package mutagen for tags; `aural.audio.riff` and `aural.audio.ucs` for the rest.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from aural.audio.io import read
from aural.audio.riff import describing_chunks, has_loops, parse_bext, parse_ixml
from aural.audio.ucs import categories, parse_ucs
from aural.core.errors import AudioError, ConfigError, MissingDependencyError, one_line
from aural.core.files import atomic_write

TAGS: Final = ("title", "artist", "genre", "description")
"""Tags that are read and written."""
_ID3: Final = {"title": "TIT2", "artist": "TPE1", "genre": "TCON", "description": "COMM"}
_IXML: Final = {
    "title": ("USER/TRACKTITLE", "ASWG/songTitle"),
    "artist": ("USER/ARTIST", "USER/DESIGNER", "ASWG/creatorId"),
    "description": ("USER/DESCRIPTION", "BEXT/BWF_DESCRIPTION", "NOTE"),
    "category": ("USER/CATEGORY", "ASWG/category"),
    "subcategory": ("USER/SUBCATEGORY", "ASWG/subCategory"),
    "creator": ("USER/DESIGNER", "ASWG/creatorId"),
}
_IXML_CAT_ID: Final = ("USER/CATID", "ASWG/catId")
_MP4: Final = {"title": "\xa9nam", "artist": "\xa9ART", "genre": "\xa9gen", "description": "desc"}


@dataclass(frozen=True, slots=True)
class Metadata:
    """The metadata of a sound file; missing texts are empty.

    category, subcategory, creator: from the UCS file name, else from iXML, whose CatID comes before its names.
    has_loops: of the smpl chunk.
    """

    title: str = ""
    artist: str = ""
    genre: str = ""
    description: str = ""
    has_loops: bool = False
    category: str = ""
    subcategory: str = ""
    creator: str = ""


def read_metadata(path: str | Path) -> Metadata:
    """Return the metadata of a file of this machine. Tags come before bext, bext before iXML.

    Raises AudioError if the file cannot be read; tags that are damaged count as missing.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            chunks = describing_chunks(file)
    except OSError as error:
        raise AudioError(f"{path}: cannot be read ({error.strerror})") from None
    ixml = parse_ixml(chunks.get(b"iXML", b""))
    values = {name: next((ixml[key] for key in keys if key in ixml), "") for name, keys in _IXML.items()}
    for key in _IXML_CAT_ID:
        if ixml.get(key) in categories():
            values["category"], values["subcategory"] = categories()[ixml[key]]
    values |= {"description": parse_bext(chunks.get(b"bext", b"")).get("description", "") or values["description"]}
    values |= {name: text for name, text in _read_tags(path).items() if text}
    if (name := parse_ucs(path.name)) is not None:
        values |= {"category": name.category, "subcategory": name.subcategory}
        values |= {"creator": name.creator or values["creator"]}
    return Metadata(**values, has_loops=has_loops(chunks))


def write_tags(path: str | Path, tags: Mapping[str, str]) -> None:
    """Write tags to a file: ID3 for mp3, wav and aiff, Vorbis comments for flac, ogg and opus, MP4 atoms for m4a.

    An empty text deletes a tag. The file is replaced in one step by a copy whose decoded samples are equal. Raises
    ConfigError for an unknown tag, and AudioError if the format has no tags or the samples would differ.
    """
    path = Path(path)
    unknown = sorted(set(tags) - set(TAGS))
    if unknown:
        raise ConfigError(f'"{unknown[0]}" is not a tag that can be written; use {", ".join(TAGS)}')
    before = read(path)
    with atomic_write(path, AudioError) as part:
        shutil.copy2(path, part)
        file = _open_tags(part)
        if file is None:
            raise AudioError(f"{path}: its format has no tags that can be written")
        try:
            _set_tags(file, tags)
            file.save()
        except (_mutagen().MutagenError, ValueError, EOFError) as error:
            if error.args and isinstance(error.args[0], OSError):  # mutagen wraps the errors of the system
                raise error.args[0] from None
            raise AudioError(f"{path}: its tags cannot be written ({one_line(error)})") from None
        if not np.array_equal(read(part).samples, before.samples):
            raise AudioError(f"{path}: writing tags would change the sound; the file was not changed")


def _mutagen() -> Any:
    try:
        import mutagen
    except ImportError:
        raise MissingDependencyError('tags need the package mutagen; pip install "aural[metadata]"') from None
    return mutagen


def _open_tags(path: Path) -> Any:
    """Return mutagen's view of a file, or None if it does not know the format."""
    mutagen = _mutagen()
    try:
        return mutagen.File(path)
    except (mutagen.MutagenError, OSError, ValueError, EOFError):
        return None


def _read_tags(path: Path) -> dict[str, str]:
    file = _open_tags(path)
    if file is None or file.tags is None:
        return {}
    if hasattr(file.tags, "getall"):  # ID3
        frames = {name: file.tags.getall(key) for name, key in _ID3.items()}
        return {name: str(texts[0].text[0]).strip() for name, texts in frames.items() if texts and texts[0].text}
    keys = _MP4 if _is_mp4(file) else {name: name for name in TAGS}
    return {name: str(file.tags[key][0]).strip() for name, key in keys.items() if file.tags.get(key)}


def _set_tags(file: Any, tags: Mapping[str, str]) -> None:
    if file.tags is None:
        file.add_tags()
    if hasattr(file.tags, "getall"):
        from mutagen import id3

        for name, text in tags.items():
            extra = {"lang": "eng", "desc": ""} if name == "description" else {}
            frames = [getattr(id3, _ID3[name])(encoding=3, text=[text], **extra)] if text else []
            file.tags.setall(_ID3[name], frames)
        return
    keys = _MP4 if _is_mp4(file) else {name: name for name in TAGS}
    for name, text in tags.items():
        if text:
            file.tags[keys[name]] = [text]
        elif keys[name] in file.tags:
            del file.tags[keys[name]]


def _is_mp4(file: Any) -> bool:
    from mutagen.mp4 import MP4

    return isinstance(file, MP4)
