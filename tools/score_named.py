"""Score bundled models on named sounds of the sources by whose packages models were chosen, without the chosen sounds.

    python tools/score_named.py libre/manifest.parquet fresh/manifest.parquet libre-base libre-fast libre-small

The first manifest is the corpus with all sources of its second edition; clips of the sources that are never trained on
(`make_libre_base.UNFAMILIAR`) with a class are used. The second lists the fresh sounds by which models are chosen. A
clip that is like one of them (fingerprints within 3 dB) or has its file name is left out. Each clip, at most its first
20 s, is asked about all classes of these clips in the words "the sound of ...". Intervals are 95% bootstrap intervals
over clips.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from aural.audio.io import read
from aural.core.scoring import label_prompts
from aural.data.fingerprint import fingerprint, similar
from aural.data.manifest import Manifest, Row, read_manifest
from aural.evaluate.stats import paired_mean_interval
from aural.models.embedding import EmbeddingModel
from aural.models.load import load
from make_libre_base import UNFAMILIAR

NEAR_DB = 3.0
LONGEST_S = 20.0


def named_rows(corpus: Manifest, fresh: Manifest) -> list[Row]:
    """Return the rows of unfamiliar sources that have a class and are like no fresh sound."""
    rows = [row for row in corpus if row.source in UNFAMILIAR]
    prints = [row.fingerprint or fingerprint(read(corpus.file(row))) for row in rows]
    prints += [row.fingerprint or fingerprint(read(fresh.file(row))) for row in fresh]
    alike = {first for first, second in similar(prints, NEAR_DB) if first < len(rows) <= second}
    names = {Path(row.path).stem.lower() for row in fresh}
    return [
        row
        for place, row in enumerate(rows)
        if row.class_name and place not in alike and Path(row.path).stem.lower() not in names
    ]


def ranks(model: EmbeddingModel, corpus: Manifest, rows: list[Row]) -> NDArray[np.int64]:
    """Return the rank (N,), from 1, of the class of each clip among all classes of the rows."""
    classes = sorted({row.class_name for row in rows})
    sounds = model.embed_audio(read(corpus.file(row), duration_s=LONGEST_S) for row in rows)
    cosines = sounds @ model.embed_text(label_prompts(classes)).T
    correct = cosines[np.arange(len(rows)), [classes.index(row.class_name) for row in rows]]
    return np.asarray((cosines > correct[:, None]).sum(axis=1) + 1)


def shares(hits: NDArray[np.bool_], keys: list[str]) -> dict[str, float]:
    """Return the share of hits per key, sorted by key."""
    return {key: float(hits[np.array(keys) == key].mean()) for key in sorted(set(keys))}


def report(name: str, rows: list[Row], places: NDArray[np.int64]) -> str:
    """Return the lines that are printed for one model."""
    lines = []
    for score, values in (("top-1", (places == 1).astype(float)), ("MRR", 1 / places)):
        low, high = paired_mean_interval(values, np.arange(len(rows)), np.random.default_rng(0), resamples=4000)
        lines.append(f"{name} {score} {values.mean():.3f} [{low:.3f}, {high:.3f}]")
    classes = shares(places == 1, [row.class_name for row in rows])
    sources = shares(places == 1, [row.source for row in rows])
    sizes = Counter(row.source for row in rows)
    lines.append(f"{name} top-1, mean over {len(classes)} classes {np.mean(list(classes.values())):.3f}")
    lines.append(
        f"{name} top-1 by source: " + ", ".join(f"{key} {one:.3f} of {sizes[key]}" for key, one in sources.items())
    )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("manifest", type=Path)
    parser.add_argument("fresh", type=Path)
    parser.add_argument("models", nargs="+")
    options = parser.parse_args()
    corpus = read_manifest(options.manifest)
    rows = named_rows(corpus, read_manifest(options.fresh))
    print(f"{len(rows)} clips, {len({row.class_name for row in rows})} classes", flush=True)
    for name in options.models:
        print(report(name, rows, ranks(load(name), corpus, rows)), flush=True)


if __name__ == "__main__":
    main()
