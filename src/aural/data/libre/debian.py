"""Fetch distribution packages by name, unpack them without installing them, and read their copyright files."""

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

from aural.core.errors import DataError, WriteError
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
    """Return the .deb file of a package from the folder `debs`, from the cache, or by `apt-get download`.

    No root access is needed. The pinned version is preferred; if it is not available, another version is used.

    Raises:
        DataError: the package cannot be downloaded.
    """
    for folder in (debs, cache):
        if folder is not None and (paths := sorted(folder.glob(f"{name}_*.deb"))):
            pinned = [path for path in paths if deb_version(path) == package.version]
            return (pinned or paths)[-1]
    if shutil.which("apt-get") is None:
        raise DataError(
            f"{name}: apt-get is not installed; put the .deb file into a folder and give the folder with --debs"
        )
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache, prefix=".fetch-") as part:
        message = ""
        for wanted in ([f"{name}={package.version}"] if package.version else []) + [name]:
            run = subprocess.run(["apt-get", "download", wanted], cwd=part, capture_output=True, text=True, check=False)
            if run.returncode == 0 and (got := list(Path(part).glob("*.deb"))):
                final = cache / got[0].name
                os.replace(got[0], final)
                return final
            message = next((line for line in run.stderr.splitlines() if line.startswith("E:")), message)
    reason = message[2:].strip() or "apt-get wrote no file"
    raise DataError(f"{name}: cannot be downloaded ({reason}); check the apt sources, or give its folder with --debs")


def deb_version(path: Path) -> str:
    """Return the version in the name of a .deb file, or an empty string.

    >>> deb_version(Path("x_1%3a2.0-1_all.deb"))
    '1:2.0-1'
    """
    return path.name.split("_")[1].replace("%3a", ":") if path.name.count("_") >= 2 else ""


def file_sha256(path: Path) -> str:
    """Return the SHA-256 checksum of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def unpack(deb: Path, folder: Path) -> None:
    """Write the regular files of a package below `folder`, without pictures and fonts.

    Symbolic links are skipped, except those between shared libraries in one folder.
    """
    try:
        with deb.open("rb") as file, tarfile.open(fileobj=_data_member(file), mode="r:*") as tar:
            for member in tar:
                path = PurePosixPath(member.name)
                library = member.issym() and ".so" in path.name and "/" not in member.linkname
                if not (member.isfile() or library) or path.suffix.lower() in PICTURES or ".." in path.parts:
                    continue
                target = folder / Path(*[part for part in path.parts if part not in ("/", ".")])
                target.parent.mkdir(parents=True, exist_ok=True)
                if library:  # fluidsynth finds its libraries by these names
                    target.unlink(missing_ok=True)
                    target.symlink_to(member.linkname)
                    continue
                source = tar.extractfile(member)
                if source is not None:
                    with target.open("wb") as out:
                        shutil.copyfileobj(source, out, 1 << 20)
    except (OSError, EOFError, tarfile.TarError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the package was read before
            reason = error.strerror or error
            raise WriteError(f"{folder}: cannot be written ({reason}); check the folder and the free space") from None
        raise DataError(f"{deb}: is damaged ({error}); delete it and run the build again") from None


def _data_member(file: io.BufferedReader) -> io.BytesIO:
    """Return the member data.tar.* of a .deb file.

    The file is an `ar` archive: a 60-byte header per member, members padded to even length.
    """
    if file.read(8) != b"!<arch>\n":
        raise tarfile.ReadError("not an ar archive")
    while len(header := file.read(60)) == 60:
        size = int(header[48:58])
        if header[:16].strip().rstrip(b"/").startswith(b"data.tar"):
            return io.BytesIO(file.read(size))
        file.seek(size + size % 2, io.SEEK_CUR)
    raise tarfile.ReadError("contains no data.tar")


class Copyright:
    """A machine-readable `debian/copyright` file that gives the license of an installed path.

    If several stanzas match a path equally well, the last one applies.
    """

    def __init__(self, text: str) -> None:
        self._stanzas: list[tuple[list[str], str]] = []
        for stanza in re.split(r"\n\s*\n", text):
            fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*((?:.*)(?:\n[ \t].*)*)", stanza, flags=re.MULTILINE))
            license = fields.get("License", "").strip().partition("\n")[0].strip()
            if "Files" in fields and license:
                self._stanzas.append((fields["Files"].split(), license))

    @classmethod
    def of(cls, unpacked: Path) -> Copyright:
        """Read the file of an unpacked package. It has no stanzas if the file is missing or not machine-readable."""
        paths = sorted(unpacked.glob("usr/share/doc/*/copyright"))
        return cls(paths[0].read_text(encoding="utf-8", errors="replace") if paths else "")

    def license(self, path: str) -> str:
        """Return the SPDX name for an installed path, or "" if only the general stanza "*" matches it.

        Patterns are for paths in the source package, which end like the installed ones. So a pattern matches if its
        last parts match the end of the path: "share/game/Sounds/*" matches usr/share/games/game/Sounds/a.ogg.
        """
        best = 0
        short_name = ""
        for patterns, license in self._stanzas:
            depth = max((_depth(pattern, path) for pattern in patterns), default=0)
            if depth and depth >= best:  # prefer the longest match, then the last stanza
                best, short_name = depth, license
        return spdx(short_name)


def _depth(pattern: str, path: str) -> int:
    """Return how many parts of the pattern match the end of the path, 0 if none."""
    parts = pattern.removeprefix("./").split("/")
    if len(parts) == 1:
        return int("." in pattern and fnmatchcase(path.rpartition("/")[2], pattern))
    for first in range(len(parts) - 1):
        if parts[first] not in ("*", "") and fnmatchcase(path, f"*/{'/'.join(parts[first:])}"):
            return len(parts) - first
    return 0


def spdx(license: str) -> str:
    """Return the SPDX name for a short name of a copyright file, or the short name if it has no known SPDX name.

    >>> spdx("GPL-2+"), spdx("CC0")
    ('GPL-2.0-or-later', 'CC0-1.0')
    """
    if parts := re.fullmatch(r"((?:A|L)?GPL|GFDL|CC-BY(?:-SA)?)-(\d)(\.\d)?(\.0)?(\+)?", license):
        name, major, minor, _, later = parts.groups()
        version = f"{name}-{major}{minor or '.0'}"
        return version if name.startswith("CC") else f"{version}-{'or-later' if later else 'only'}"
    return {"CC0": "CC0-1.0", "Expat": "MIT"}.get(license, license)
