"""Distribution packages without installing them: fetch by name, unpack, read the copyright file."""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Final

from aural.core.errors import DataError
from aural.data.libre.cards import Package

PICTURES: Final = frozenset(
    [
        ".png",
        ".jpg",
        ".jpeg",
        ".svg",
        ".svgz",
        ".gif",
        ".xpm",
        ".tga",
        ".dds",
        ".webp",
        ".ttf",
        ".otf",
        ".mo",
        ".po",
        ".html",
        ".gz~",
    ]
)


def fetch(name: str, package: Package, cache: Path, debs: Path | None = None) -> Path:
    """Return the .deb of a package: from the folder `debs`, from the cache, or by `apt-get download` (no root needed).

    The pinned version is requested first; if the archive no longer has it, the current one is used.
    """
    for folder in (debs, cache):
        if folder is not None and (matched := sorted(folder.glob(f"{name}_*.deb"))):
            pinned = [path for path in matched if deb_version(path) == package.version]
            return (pinned or matched)[-1]
    if shutil.which("apt-get") is None:
        raise DataError(f"{name}: apt-get is not on this machine; put the .deb into a folder and name it with --debs")
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".fetch-") as part:
        output = ""
        for wanted in ([f"{name}={package.version}"] if package.version else []) + [name]:
            run = subprocess.run(["apt-get", "download", wanted], cwd=part, capture_output=True, text=True, check=False)
            if run.returncode == 0 and (got := list(Path(part).glob("*.deb"))):
                final = cache / got[0].name
                os.replace(got[0], final)
                return final
            output = next((line for line in run.stderr.splitlines() if line.startswith("E:")), output)
    raise DataError(f"{name}: cannot be downloaded ({output[2:].strip() or 'apt-get gave no file'})")


def deb_version(path: Path) -> str:
    """Return the version in a .deb file's name: "x_1%3a2.0-1_all.deb" -> "1:2.0-1"."""
    return path.name.split("_")[1].replace("%3a", ":") if path.name.count("_") >= 2 else ""


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack(deb: Path, folder: Path) -> None:
    """Write the package's regular files below `folder`, no pictures, fonts or links (but library names)."""
    try:
        with deb.open("rb") as file, tarfile.open(fileobj=_data_member(file), mode="r:*") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                library = member.issym() and ".so" in path.name and "/" not in member.linkname
                if not (member.isfile() or library) or path.suffix.lower() in PICTURES or ".." in path.parts:
                    continue
                target = folder / Path(*[part for part in path.parts if part not in ("/", ".")])
                target.parent.mkdir(parents=True, exist_ok=True)
                if library:  # the engine's libraries find each other by such names
                    target.unlink(missing_ok=True)
                    target.symlink_to(member.linkname)
                    continue
                source = tar.extractfile(member)
                if source is not None:
                    with target.open("wb") as out:
                        shutil.copyfileobj(source, out, 1 << 20)
    except (OSError, EOFError, tarfile.TarError) as error:
        raise DataError(f"{deb}: is damaged ({error}); delete it and build again") from None


def _data_member(file: io.BufferedReader) -> io.BytesIO:
    """The data.tar.* of a .deb, which is an `ar` archive: 60-byte headers, members padded to even length."""
    if file.read(8) != b"!<arch>\n":
        raise tarfile.ReadError("not an ar archive")
    while len(header := file.read(60)) == 60:
        size = int(header[48:58])
        if header[:16].strip().rstrip(b"/").startswith(b"data.tar"):
            return io.BytesIO(file.read(size))
        file.seek(size + size % 2, io.SEEK_CUR)
    raise tarfile.ReadError("holds no data.tar")


class Copyright:
    """The machine-readable `debian/copyright`: license of a path, last matching stanza first."""

    def __init__(self, text: str) -> None:
        self._stanzas: list[tuple[list[str], str]] = []
        for stanza in re.split(r"\n\s*\n", text):
            fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*((?:.*)(?:\n[ \t].*)*)", stanza, flags=re.MULTILINE))
            if "Files" in fields and "License" in fields:
                self._stanzas.append((fields["Files"].split(), fields["License"].strip().splitlines()[0].strip()))

    @classmethod
    def of(cls, unpacked: Path) -> Copyright:
        """Read the copyright file of an unpacked package; empty where the file is missing or not machine-readable."""
        matched = sorted(unpacked.glob("usr/share/doc/*/copyright"))
        return cls(matched[0].read_text(encoding="utf-8", errors="replace") if matched else "")

    def license(self, path: str) -> str:
        """Return the SPDX name for an installed path; "" where no stanza but the last resort "*" names it.

        Patterns are of paths in the source, which end like the installed ones: "share/game/Sounds/*" also names
        usr/share/games/game/Sounds/a.ogg, as long as a folder and a name agree.
        """
        best, matched = 0, ""
        for patterns, license in self._stanzas:
            depth = max((_depth(pattern, path) for pattern in patterns), default=0)
            if depth and depth >= best:  # the longest agreement, then the last stanza
                best, matched = depth, license
        return spdx(matched)


def _depth(pattern: str, path: str) -> int:
    """How many of a pattern's last parts agree with the path's end; 0 for none."""
    parts = pattern.removeprefix("./").split("/")
    if len(parts) == 1:
        return int("." in pattern and fnmatchcase(path.rpartition("/")[2], pattern))
    for first in range(len(parts) - 1):
        if parts[first] not in ("*", "") and fnmatchcase(path, f"*/{'/'.join(parts[first:])}"):
            return len(parts) - first
    return 0


def spdx(license: str) -> str:
    """Convert a copyright file's short name to SPDX: "GPL-2+" -> "GPL-2.0-or-later", "CC0" -> "CC0-1.0"."""
    if matched := re.fullmatch(r"((?:A|L)?GPL|GFDL|CC-BY(?:-SA)?)-(\d)(\.\d)?(\.0)?(\+)?", license):
        name, major, minor, _, later = matched.groups()
        version = f"{name}-{major}{minor or '.0'}"
        return version if name.startswith("CC") else f"{version}-{'or-later' if later else 'only'}"
    return {"CC0": "CC0-1.0", "Expat": "MIT"}.get(license, license)
