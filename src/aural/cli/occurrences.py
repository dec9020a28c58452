"""`aural library duplicates --fingerprint`: say where recordings are heard inside others."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

from aural.cli.files import Batch, json_line, progress
from aural.cli.locate import clock
from aural.core.errors import AuralError
from aural.core.printable import printable
from aural.core.printable import safe_print as print


def list_occurrences(library: Path, *, as_json: bool) -> int:
    """Print which parts of files are heard in which others; skip unreadable files and return the exit code."""
    from aural.models.segment_prints import HOP_S, SEGMENT_S, segment_prints
    from aural.search.library import Library
    from aural.search.occurrences import Prints, library_prints, occurrences

    target = Library(library)
    batch = Batch(strict=False)
    paths, sounds = list[str](), list[Prints]()
    for path, prints in progress(library_prints(target, segment_prints), len(target.files()), "reading"):
        if isinstance(prints, AuralError):
            batch.skip(prints)
            continue
        batch.done += 1
        paths.append(path)
        sounds.append(prints)
    hits = occurrences(sounds, segment_s=SEGMENT_S, hop_s=HOP_S)
    for hit in hits:
        path, inside = paths[hit.sound], paths[hit.inside]
        if as_json:
            values = asdict(hit) | {"sound": path, "inside": inside, "cosine": round(hit.cosine, 6)}
            print(json_line({"kind": "inside"} | values))
        else:
            part = f"{clock(hit.at_s)} - {clock(hit.at_s + hit.duration_s)}"
            print(f"{printable(path)}  {part}\n  in {printable(inside)} at {clock(hit.inside_at_s)} ({hit.cosine:.2f})")
    print(f"{len(hits)} occurrence{'' if len(hits) == 1 else 's'}", file=sys.stderr)
    return batch.close()
