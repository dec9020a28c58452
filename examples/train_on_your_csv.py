"""Train an audio-text model on sounds that a CSV describes, then use it.

    python examples/train_on_your_csv.py [CAPTIONS_CSV]

The CSV has the columns file (relative to the CSV), caption, and split (train or test). Without an argument tones are
synthesized, so that the script runs anywhere in seconds. The printed output is stored in
examples/output/train_on_your_csv.txt.
"""

from __future__ import annotations

import csv
import sys
import tempfile
from pathlib import Path

import soundfile

import aural
from aural.data.manifest import Row, write_manifest
from aural.train.loop import train
from aural.train.recipes import load_recipe
from tones import write_tones


def manifest_of(path: Path) -> Path:
    """Write the manifest of a CSV next to it: one row per clip."""
    rows = []
    with path.open(newline="", encoding="utf-8") as stream:
        for line in csv.DictReader(stream):
            duration_s = soundfile.info(path.parent / line["file"]).duration
            captions = [line["caption"]]
            row = Row(path=line["file"], source="mine", split=line["split"], captions=captions, duration_s=duration_s)
            rows.append(row)
    return write_manifest(path.parent / "manifest.parquet", rows)


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        table = Path(sys.argv[1]) if len(sys.argv) > 1 else write_tones(Path(scratch))
        manifest_of(table)
        recipe = load_recipe(
            str(Path(__file__).parent / "small.yaml"), [f"data.sources.0.manifest={table.parent.as_posix()}"]
        )
        folder = train(recipe, Path(scratch) / "run", device="cpu")
        model = aural.load(folder, device="cpu")

        with table.open(newline="", encoding="utf-8") as stream:
            test = [line for line in csv.DictReader(stream) if line["split"] == "test"]
        captions = sorted({line["caption"] for line in test})
        right = 0
        for line in test:
            best = model.classify([table.parent / line["file"]], captions, template="{}", top=1)[0][0]
            right += best.label == line["caption"]
        print(f"{right} of {len(test)} test sounds get the right one of {len(captions)} captions")


if __name__ == "__main__":
    main()
