"""Opening of the packaged language model in a new process: the converted folder, and the GGUF file by transformers.

    python bench/open_gguf.py --rounds 3

The processes of both take turns. Printed are the medians of the seconds, the import of transformers included, and of
the peak resident memory. The conversion itself is timed once, into an empty cache folder.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile

FOLDER = "from aural.models.causal import open_decoder; open_decoder(device='cpu')"
DIRECT = """
from aural.models.gguf_files import dtype_option
from aural.models.packaged import SMOLLM2
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
path = SMOLLM2.path()
file = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
AutoModelForCausalLM.from_pretrained(**file, **dtype_option(torch.float32))
AutoTokenizer.from_pretrained(**file)
"""
TIMED = """
import resource, time
start = time.perf_counter()
{}
print(time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def measured(code: str, cache: str) -> tuple[float, float]:
    """Return the seconds and the peak MiB of a new process that runs the code."""
    environment = os.environ | {"XDG_CACHE_HOME": cache}
    run = subprocess.run(
        [sys.executable, "-c", TIMED.format(code)], env=environment, capture_output=True, text=True, check=True
    )
    seconds, mebibytes = map(float, run.stdout.split()[-2:])
    return seconds, mebibytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        print(f"conversion and opening: {measured(FOLDER, cache)[0]:.1f} s")
        results = {name: [] for name in ("folder", "file")}
        for _ in range(options.rounds):
            results["folder"].append(measured(FOLDER, cache))
            results["file"].append(measured(DIRECT, cache))
    medians = {
        name: [statistics.median(column) for column in zip(*rows, strict=True)] for name, rows in results.items()
    }
    for name, (seconds, mebibytes) in medians.items():
        print(f"{name:6} {seconds:6.1f} s {mebibytes:6.0f} MiB")
    print(f"file / folder: {medians['file'][0] / medians['folder'][0]:.1f}")


if __name__ == "__main__":
    main()
