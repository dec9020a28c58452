"""What the shipped model costs: first result, file to vector on one core, memory, and how its forms agree.

    taskset -c 0 python bench/libre_small.py --first --speed
    python bench/libre_small.py --forms libre            # libre: the free corpus
    aims: first result within 3 s; 100 times real time on one core; less than 400 MiB; equal rankings

Every timing runs in a separate process on one thread. `--forms` writes float32 and int8 ONNX
with `aural models export`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

MODEL = "libre-small"
SPEED = """
import resource, sys, time
form, name, *files = sys.argv[1:]
if form == "torch":
    import torch
    torch.set_num_threads(1)
    from aural.models.load import load
    model = load(name, device="cpu", engine="torch")
else:
    from aural.models.onnx_model import OnnxModel
    model = OnnxModel(name, threads=1)
model.embed_audio(files[:1])
took, spent = [], []
for _ in range(5):
    start, busy = time.perf_counter(), time.process_time()
    model.embed_audio(files)
    took.append(time.perf_counter() - start)
    spent.append(time.process_time() - busy)
print(sorted(took)[2], sorted(spent)[2], min(spent), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def one_thread() -> dict[str, str]:
    """The environment of a timed process."""
    return os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "AURAL_OFFLINE": "1"}


def first(rounds: int) -> None:
    """Seconds from typing the command to its end."""
    from aural.cli.demo import bundled_sounds

    sound = str(next(iter(bundled_sounds()[0])))
    for engine in ("auto", "torch"):
        for words in (["classify", sound, "--labels", "a baby crying,rain"], ["demo"]):
            took = []
            for _ in range(rounds):
                start = time.perf_counter()
                command = [sys.executable, "-m", "aural", *words]
                subprocess.run(command, check=True, capture_output=True, env=one_thread() | {"AURAL_ENGINE": engine})
                took.append(time.perf_counter() - start)
            line = f"median {np.median(took):.2f} s, best {min(took):.2f} s (aim 3)"
            print(
                f"first result, aural {words[0]}, {'onnxruntime' if engine == 'auto' else 'torch'}: {line}", flush=True
            )


def speed(folders: dict[str, str]) -> None:
    """60 s of stereo wav at 44.1 kHz as one file, and 60 files of 5 s at 24 kHz mono, to vectors."""
    import soundfile

    generator = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as folder:
        long, short = Path(folder) / "long.wav", [Path(folder) / f"{n}.wav" for n in range(12)]
        soundfile.write(long, 0.1 * generator.standard_normal((60 * 44100, 2)), 44100)
        for path in short:
            soundfile.write(path, 0.1 * generator.standard_normal(5 * 24000), 24000)
        for form, name in folders.items():
            kind = "torch" if form == "torch" else "onnx"
            for what, files in (("60 s, 44.1 kHz stereo", [long]), ("12 x 5 s, 24 kHz mono", short)):
                command = [sys.executable, "-c", SPEED, kind, name, *map(str, files)]
                done = subprocess.run(command, check=True, capture_output=True, text=True, env=one_thread())
                median, busy, best, memory = map(float, done.stdout.split())
                result = f"{60 / median:.0f}x real time, by processor time {60 / busy:.0f}x (best {60 / best:.0f}x)"
                result += f", {memory:.0f} MiB (aims 100, 400)"
                print(f"file to vector on one thread, {form}, {what}: {result}", flush=True)


def export(folder: Path) -> dict[str, str]:
    """Both whole forms, by the command."""
    found = {}
    for form in ("onnx", "onnx-int8"):
        command = [sys.executable, "-m", "aural", "models", "export", MODEL, str(folder / form), "--format", form]
        subprocess.run(command, check=True, capture_output=True)
        found[form] = str(folder / form)
        sizes = {path.name: path.stat().st_size / 1e6 for path in sorted((folder / form).iterdir())}
        print(f"{form}: " + ", ".join(f"{name} {size:.2f} MB" for name, size in sizes.items()), flush=True)
    return found


def agree(folders: dict[str, str], corpus: Path, most: int) -> None:
    """On the corpus' test clips: cosine to torch, same best class, same best clip and same order of clips for words."""
    from aural.data.manifest import read_manifest
    from aural.models.load import load
    from aural.models.onnx_model import OnnxModel

    rows = [row for row in read_manifest(corpus).filter(split=["test"]) if row.captions]
    rows = rows[:: max(1, len(rows) // most)]
    files = [corpus / row.path for row in rows]
    classes = sorted({row.class_name for row in rows if row.class_name})
    labels = [f"This is a sound of {name.replace('_', ' ')}." for name in classes]
    words = sorted({row.captions[0] for row in rows})
    vectors: dict[str, tuple[Any, Any, Any]] = {}
    for form, name in folders.items():
        model = load(name, device="cpu", engine="torch") if form == "torch" else OnnxModel(name)
        vectors[form] = model.embed_audio(files), model.embed_text(labels), model.embed_text(words)
    print(f"{len(files)} test clips, {len(classes)} classes, {len(words)} captions")
    right, own = np.array([classes.index(r.class_name) if r.class_name else -1 for r in rows]), vectors["torch"]
    known = right >= 0
    for form, (sounds, named, result) in vectors.items():
        best, theirs = (sounds @ named.T).argmax(1), (own[0] @ own[1].T).argmax(1)
        found, wanted = np.argsort(-(result @ sounds.T), 1), np.argsort(-(own[2] @ own[0].T), 1)
        overlap = np.mean([len(set(a[:10]) & set(b[:10])) / 10 for a, b in zip(found, wanted, strict=True)])
        facts = {
            "cosine of sounds, mean": float((sounds * own[0]).sum(1).mean()),
            "least": float((sounds * own[0]).sum(1).min()),
            "cosine of captions, mean": float((result * own[2]).sum(1).mean()),
            "same best class": float((best == theirs).mean()),
            "best class right": float((best == right)[known].mean()),
            "same first clip": float((found[:, 0] == wanted[:, 0]).mean()),
            "of the first 10 clips the same": float(overlap),
            "rank correlation of clips": rank_correlation(found, wanted),
        }
        print(form, json.dumps({name: round(value, 5) for name, value in facts.items()}), flush=True)


def rank_correlation(a: Any, b: Any) -> float:
    """Mean Spearman correlation of two orders (Q, D) of the same documents."""
    ranks_a, ranks_b = np.argsort(a, 1).astype(float), np.argsort(b, 1).astype(float)
    n = a.shape[1]
    return float(np.mean(1 - 6 * ((ranks_a - ranks_b) ** 2).sum(1) / (n * (n * n - 1))))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--first", action="store_true")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--forms", type=Path, help="the free corpus")
    parser.add_argument("--exported", type=Path, help="folder with onnx and onnx-int8 from before")
    parser.add_argument("--most", type=int, default=10_000, help="test clips that forms are compared on")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args(arguments)
    from aural.core.weights import weight_card

    folders = {"torch": MODEL, "onnx, bundled graphs": str(weight_card(MODEL).bundled())}
    if chosen.first:
        first(chosen.rounds)
    with tempfile.TemporaryDirectory() as folder:
        if chosen.exported:
            folders |= {form: str(chosen.exported / form) for form in ("onnx", "onnx-int8")}
        elif chosen.forms:
            folders |= export(Path(folder))
        if chosen.speed:
            speed(folders)
        if chosen.forms:
            agree(folders, chosen.forms, chosen.most)


if __name__ == "__main__":
    main()
