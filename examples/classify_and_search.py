"""Classify the sounds of a folder with your own labels, then search the folder with sentences.

    python examples/classify_and_search.py [FOLDER]

Without FOLDER the twelve sounds that are bundled with aural are used. Needs the extras `demo` and `search`.
The printed output is stored in examples/output/classify_and_search.txt.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import aural
from aural.search.library import Library

LABELS = ["a dog barking", "a rooster crowing", "footsteps", "running water", "laughter", "a trumpet"]


def classify(model: aural.Model, files: list[Path]) -> None:
    """Print the best two labels of each file."""
    for file, predictions in zip(files, model.classify(files, LABELS, top=2), strict=True):
        best = ", ".join(f"{one.label} {one.score:.2f}" for one in predictions)
        print(f"{file.name:<24} {best}")


def search(model: aural.Model, folder: Path, library_folder: Path, sentences: list[str]) -> None:
    """Add a folder to a library and print the nearest files of each sentence."""
    library = Library.create(library_folder, model, model="libre-base")
    added = list(library.add([folder], model))
    print(f"{len(added)} files in the library")
    for sentence in sentences:
        hits = library.search(model.embed_text([sentence])[0], top=3)
        print(f"{sentence}: " + ", ".join(f"{Path(hit.path).name} {hit.score:.2f}" for hit in hits))


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(aural.__file__).parent / "sounds"
    files = sorted(path for path in folder.iterdir() if path.suffix in (".wav", ".ogg", ".flac", ".mp3"))
    model = aural.load("libre-base")
    classify(model, files)
    with tempfile.TemporaryDirectory() as library:
        search(model, folder, Path(library), ["someone walks", "water runs", "people laughing"])


if __name__ == "__main__":
    main()
