"""Compare the ONNX form of each published CLAP layout, with random weights, with the torch model.

Per layout: the largest difference of unit vectors between torch and onnxruntime in float32; for int8, the least cosine
with the float32 vectors and the agreement of rankings; sizes in MB and the peak memory of a process that embeds one
text or one sound. Rankings: every text ranks the sounds. With random weights all cosines are close to each other, so
the agreement is a lower bound for trained models.

    python bench/onnx_layouts.py [--optimum] [LAYOUT ...]     # --optimum: in optimum's layout
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

import aural
from aural.cli.demo import bundled_sounds
from aural.models.onnx_export import export_onnx
from aural.models.onnx_model import AUDIO, TEXT, OnnxModel, graph_file
from aural.models.onnx_optimum import export_optimum

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "golden"))
TEXTS = [*bundled_sounds()[1], "rain", "", "a dog barks, far away, while a church bell rings"]
PEAK = """
import re, sys
from pathlib import Path
from aural.models.onnx_model import OnnxModel
model = OnnxModel(sys.argv[1], threads=1)
model.embed_text(["rain"]) if sys.argv[2] == "text" else model.embed_audio([sys.argv[2]])
assert "torch" not in sys.modules
print(int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) // 1024)
"""


def agreement(right: Any, other: Any) -> dict[str, float]:
    """Compare the rankings of M texts over N sounds, given cosines (M, N): same first, and Spearman's mean."""
    ranks = [np.argsort(np.argsort(-cosines, axis=1), axis=1).astype(float) for cosines in (right, other)]
    centered = [rank - rank.mean(1, keepdims=True) for rank in ranks]
    norms = np.sqrt((centered[0] ** 2).sum(1) * (centered[1] ** 2).sum(1))
    spearman = (centered[0] * centered[1]).sum(1) / norms
    same_first = (right.argmax(1) == other.argmax(1)).mean()
    return {"same_first": float(same_first), "spearman": float(spearman.mean())}


def layout_row(layout: str, export: Any = export_onnx) -> dict[str, Any]:
    """Export one layout twice and return its row; `export` writes the folder."""
    from golden_tokenizers import write_tokenizer
    from layouts import LAYOUTS
    from random_weights import write_checkpoint

    sounds = list(bundled_sounds()[0])[:6]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = write_checkpoint(layout, folder / "checkpoint")
        tokenizer = write_tokenizer(LAYOUTS[layout].tokenizer, folder)
        model = aural.load(path, engine="torch", device="cpu", tokenizer=tokenizer)
        vectors = {"torch": (model.embed_audio(sounds), model.embed_text(TEXTS))}
        for form in ("fp32", "int8"):
            export(model, folder / form, int8=form == "int8")
        del model
        sizes, peaks = {}, {}
        for form in ("fp32", "int8"):
            onnx = OnnxModel(folder / form)
            vectors[form] = (onnx.embed_audio(sounds), onnx.embed_text(TEXTS))
            files = [folder / form / graph_file(onnx.header, name) for name in (AUDIO, TEXT)]
            sizes[form] = [round(file.stat().st_size / 1e6, 1) for file in files]
            del onnx
            what = [str(sounds[0]), "text"]
            runs = [[sys.executable, "-c", PEAK, str(folder / form), one] for one in what]
            peaks[form] = [int(subprocess.run(run, check=True, capture_output=True, text=True).stdout) for run in runs]
    largest = [float(np.abs(a - b).max()) for a, b in zip(vectors["torch"], vectors["fp32"], strict=True)]
    least = [float((a * b).sum(1).min()) for a, b in zip(vectors["fp32"], vectors["int8"], strict=True)]
    cosines = [vectors[form][1] @ vectors[form][0].T for form in ("fp32", "int8")]
    return {
        "layout": layout,
        "largest_difference": largest,
        "int8_least_cosine": least,
        **{f"int8_{key}": value for key, value in agreement(*cosines).items()},
        "size_mb": sizes,
        "peak_mb_sound_then_text": peaks,
    }


def main() -> None:
    """Print one JSON line per layout."""
    from layouts import LAYOUTS

    names = [name for name in sys.argv[1:] if name != "--optimum"]
    export = export_optimum if "--optimum" in sys.argv else export_onnx
    for layout in names or LAYOUTS:
        print(json.dumps(layout_row(layout, export)), flush=True)


if __name__ == "__main__":
    main()
