"""Commands that write corpora, manifests, shards, log-mels and listening pages."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from faults.harness import Operation, Place
from tiny import write_wav

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS / "train"), str(TESTS / "data" / "libre")]


def tones_of(place: Place) -> Path:
    """Return the manifest of 16 tones with captions, 12 for training and 4 for testing."""
    from sounds import make_sounds

    from aural.data.manifest import read_manifest, write_manifest

    folder = place.inputs / "tones"
    if not folder.exists():
        splits = ("train", "train", "train", "test")
        rows = [
            replace(row, split=splits[i % 4], tags=[("low", "high")[i // 4 % 2]], label=row.class_name)
            for i, row in enumerate(read_manifest(make_sounds(folder, 16)))
        ]
        write_manifest(folder / "manifest.parquet", rows)
    return folder / "manifest.parquet"


def recipe_of(place: Place) -> Path:
    """Return a recipe of a tiny model on the tones."""
    recipe = place.inputs / "tiny.yaml"
    if not recipe.exists():
        text = (TESTS / "tiny_recipes" / "recipes" / "tiny_clap_2022.yaml").read_text()
        small = {"data/tiny": str(tones_of(place)), "width: 8": "width: 2", "embed_dim: 64": "embed_dim: 8"}
        small |= {"dim: 64": "dim: 8", "hidden_dim: 128": "hidden_dim: 8", "depth: 2": "depth: 1"}
        for old, new in small.items():
            text = text.replace(old, new)
        recipe.write_text(text)
    return recipe


def _packages(place: Place) -> None:
    """Write a package with a few sounds under the names that the card of a source expects."""
    from test_build import deb, sound

    names = ["sfx/dog", "sfx/rain"]
    files = {f"usr/share/x/{name}.wav": sound(n, 0.1) for n, name in enumerate(names)}
    deb(place.inputs / "debs", "one-data", files)
    cards = place.inputs / "catalog" / "datasets" / "libre"
    cards.mkdir(parents=True, exist_ok=True)
    (cards / "one.toml").write_text(
        'name = "one"\nversion = "1"\ntitle = "one"\nreader = "files"\nlicense = "CC0-1.0"\nroot = "usr/share/x"\n'
        '[packages.one-data]\n[rules]\n"sfx/dog" = "dog"\n"sfx/rain" = "rain"\n'
    )


def _download(place: Place) -> None:
    """Write a pack of Freesound."""
    folder = place.work / "download" / "pack"
    folder.mkdir(parents=True)
    lines = []
    for i, name in enumerate(("bell", "rain")):
        write_wav(folder / f"{i}__someone__{name}.wav", 0.2, seed=i)
        lines.append(f"    * {i}__someone__{name}.wav\n      * url: https://x\n      * license: CC0\n")
    (folder / "_readme_and_license.txt").write_text("\n".join(lines))


def _old(name: str) -> str:
    return f"an earlier file {name}"


def _tones(place: Place) -> None:
    tones_of(place)
    (place.work / "kept.txt").write_text(_old("kept.txt"))


def _recipe(place: Place) -> None:
    recipe_of(place)
    (place.work / "kept.txt").write_text(_old("kept.txt"))


def _page(place: Place) -> None:
    _tones(place)
    (place.work / "page.html").write_text(_old("page.html"))


def _corpus(place: Place) -> None:
    from shutil import copytree

    copytree(tones_of(place).parent, place.work / "corpus")


OPERATIONS = [
    Operation(
        "corpus build",
        _packages,
        lambda at: [
            *("corpus", "build", "libre", "--only", "one"),
            *("--debs", f"{at.inputs}/debs", "--out", f"{at.work}/libre"),
        ],
    ),
    Operation("corpus show", _corpus, lambda at: ["corpus", "show", f"{at.work}/corpus"]),
    Operation(
        "data manifest",
        _download,
        lambda at: ["data", "manifest", "freesound-pack", f"{at.work}/download", f"{at.work}/manifest.parquet"],
    ),
    Operation(
        "data shard",
        _tones,
        lambda at: ["data", "shard", str(tones_of(at)), f"{at.work}/shards", "--size", "8", "--jobs", "1"],
    ),
    Operation(
        "data mels",
        _recipe,
        lambda at: ["data", "mels", str(recipe_of(at)), "--out", f"{at.work}/mels", "--jobs", "1"],
    ),
    Operation(
        "data world",
        _page,
        lambda at: [
            *("data", "world", "scenes", "--set", f"manifest={tones_of(at).parent}", "--count", "1"),
            *("--set", "scenes.duration_s=[2,2]", "-o", f"{at.work}/page.html"),
        ],
    ),
]  # fmt: skip
