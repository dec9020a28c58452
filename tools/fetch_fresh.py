"""Fetch the 129 fresh sounds by which models are chosen, and write their manifest.

    python tools/fetch_fresh.py fresh
    python tools/tune_libre_base.py libre/manifest.parquet tuned --dev fresh/manifest.parquet

`fresh_sounds.toml` lists the packages with versions and checksums, and each sound with its class, license and SHA-256.
The names are those of the files; no one listened to the sounds. They are never trained on and are not part of the
corpus. Needs `apt-get`, or the .deb files in a folder given with --debs. A sound whose content has another checksum
ends the command.
"""

from __future__ import annotations

import argparse
import tempfile
import tomllib
import zipfile
from collections.abc import Mapping
from pathlib import Path

from aural.core.errors import DataError
from aural.core.files import atomic_write
from aural.data.libre.cards import Package
from aural.data.libre.debian import fetch, file_sha256, unpack
from aural.data.manifest import Row, write_manifest

LIST = Path(__file__).with_name("fresh_sounds.toml")
ARCHIVE = "pk"
"""Folder that replaces the archives (.pk3) of a package in the paths of the list."""


def content(folder: Path, path: str) -> bytes:
    """Return the bytes of a sound of an unpacked package."""
    if not path.startswith(f"{ARCHIVE}/"):
        return (folder / path).read_bytes()
    name = path.removeprefix(f"{ARCHIVE}/")
    for archive in sorted(folder.rglob("*.pk3")):
        with zipfile.ZipFile(archive) as stored:
            if name in stored.namelist():
                return stored.read(name)
    raise DataError(f"{path}: no archive of the package has it; use the version of {LIST.name}")


def fetched(out: Path, debs: Path | None, packages: Mapping[str, Package], clips: list[dict[str, str]]) -> list[Row]:
    """Write the sounds of all packages below `out` and return their rows in the order of the list."""
    for name, package in packages.items():
        with tempfile.TemporaryDirectory(dir=out) as part:
            unpack(fetch(name, package, out / "debs", debs), Path(part))
            for clip in clips:
                if clip["path"].startswith(f"{name}/"):
                    file = out / clip["path"]
                    file.parent.mkdir(parents=True, exist_ok=True)
                    with atomic_write(file) as new:
                        new.write_bytes(content(Path(part), clip["path"].removeprefix(f"{name}/")))
    for clip in clips:
        if file_sha256(out / clip["path"]) != clip["sha256"]:
            raise DataError(f"{out / clip['path']}: not the sound of {LIST.name}; use the version of its package there")
    return [
        Row(
            path=clip["path"], source="fresh", split="eval-only", class_name=clip["class"], license=clip["license"],
            sha256=clip["sha256"],
        )
        for clip in clips
    ]  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--debs", type=Path, help="folder of .deb files that are used instead of downloads")
    options = parser.parse_args()
    listed = tomllib.loads(LIST.read_text(encoding="utf-8"))
    packages = {name: Package.model_validate(fields) for name, fields in listed["packages"].items()}
    options.out.mkdir(parents=True, exist_ok=True)
    rows = fetched(options.out, options.debs, packages, listed["clips"])
    print(f"{len(rows)} sounds of {len({row.class_name for row in rows})} classes: {write_manifest(options.out, rows)}")


if __name__ == "__main__":
    main()
