"""Compare the inference speed of aural and the reference packages, from wav file and sentence to vector.

All of them run on the CPU with the same weights.

    python bench/inference.py --peers .peers/bin/python [--rounds 3] [--out out/inference.json]

Each system runs in a separate process, in turn, `rounds` times; medians are printed. msclap 2023 and aural load one
file of random weights in msclap's layout; transformers' ClapModel and aural one folder of random weights in its own.
`--peers` names the Python of the environment that tests/golden/make_peers_env.sh builds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
TEXTS = [f"the sound of {what} in the distance" for what in ("a dog", "rain", "a car", "thunder")] * 4


class System(NamedTuple):
    """A package with a checkpoint layout. aural has a precision and the reference package it is compared with."""

    layout: str
    precision: str = ""
    reference: str = ""


SYSTEMS = {
    "msclap": System("msclap_2023"),
    "aural (msclap 2023)": System("msclap_2023", "fp32", reference="msclap"),
    "aural bf16 (msclap 2023)": System("msclap_2023", "bf16", reference="msclap"),
    "transformers": System("hf_unfused"),
    "aural (clap-htsat-unfused)": System("hf_unfused", "fp32", reference="transformers"),
}


def median_seconds(function, repeats: int) -> float:
    """Return the median wall time in seconds after one warm-up call."""
    function()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


# A worker loads one package and returns its functions for audio, for text and (aural only) for single stages. Imports
# are part of the measured time.


def aural_worker(folder: Path, layout: str, precision: str):
    import aural

    path = folder / ("CLAP_weights_2023.pth" if layout == "msclap_2023" else "clap-htsat-unfused")
    model = aural.load(path, precision=precision, device="cpu")
    stages = {}

    def measure_stages(files):
        import numpy as np
        import torch

        from aural.audio.length import windows

        audio = model.config.audio
        read = [next(windows(f, audio.sample_rate_hz, audio.window_s)).samples for f in files]
        wave = torch.from_numpy(np.stack(read))
        tower = model.audio_tower
        with torch.inference_mode():
            mel = tower.front_end(wave[:4])
            pooled = tower.encoder(mel).pooled
            stages["read and resample"] = median_seconds(
                lambda: [next(windows(f, audio.sample_rate_hz, audio.window_s)) for f in files], 3
            ) / len(files)
            stages["log-mel"] = median_seconds(lambda: tower.front_end(wave[:4]), 3) / 4
            stages["encoder"] = median_seconds(lambda: tower.encoder(mel), 3) / 4
            stages["projection"] = median_seconds(lambda: tower.projection(pooled), 3) / 4
            from torch.utils.flop_counter import FlopCounterMode

            with FlopCounterMode(display=False) as counter:
                tower.encoder(mel)
            flop = counter.get_total_flops() / 4
            square = torch.randn(2048, 2048)
            rate = 2 * 2048**3 / median_seconds(lambda: square @ square, 5)
        return {"seconds_per_clip": stages, "encoder_flop_per_clip": flop, "matrix_flop_per_s": rate}

    return model.embed_audio, model.embed_text, measure_stages


def msclap_worker(folder: Path):
    sys.path.insert(0, str(ROOT / "tests" / "golden"))
    import types

    import peers
    import transformers

    load = transformers.AutoModel.from_pretrained
    transformers.AutoModel.from_pretrained = staticmethod(lambda name, **_: load(folder / name))
    import msclap

    module = sys.modules[msclap.CLAP.__module__]
    module.AutoTokenizer = types.SimpleNamespace(
        from_pretrained=lambda _name: transformers.AutoTokenizer.from_pretrained(folder / "tokenizer-gpt2")
    )
    module.torchaudio.load = peers._soundfile_load
    wrapper = module.CLAPWrapper(model_fp=str(folder / "CLAP_weights_2023.pth"), version="2023", use_cuda=False)
    return wrapper.get_audio_embeddings, wrapper.get_text_embeddings, None


def transformers_worker(folder: Path):
    import librosa
    import torch
    from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel

    path = folder / "clap-htsat-unfused"
    model = ClapModel.from_pretrained(path).eval()
    extractor = ClapFeatureExtractor.from_pretrained(path)
    tokenizer = AutoTokenizer.from_pretrained(path)

    def audio(files):
        clips = [librosa.load(f, sr=48000)[0] for f in files]
        inputs = extractor(clips, sampling_rate=48000, return_tensors="pt")
        with torch.no_grad():
            return model.get_audio_features(**inputs)

    def text(texts):
        with torch.no_grad():
            return model.get_text_features(**tokenizer(list(texts), padding=True, return_tensors="pt"))

    return audio, text, None


def work(name: str, folder: Path, repeats: int) -> dict:
    """Measure one system in this process: import and load, first vector, batches. Return seconds and peaks in MiB."""
    layout, precision, _ = SYSTEMS[name]
    files = [str(folder / "audio" / layout / f"{i:02d}.wav") for i in range(16)]
    start = time.perf_counter()
    if precision:
        audio, text, stages = aural_worker(folder, layout, precision)
    else:
        audio, text, stages = (msclap_worker if layout == "msclap_2023" else transformers_worker)(folder)
    loaded = time.perf_counter()
    audio(files[:1])
    first = time.perf_counter()
    metrics = {"load_s": loaded - start, "first_vector_s": first - start}
    metrics["audio_1_s"] = median_seconds(lambda: audio(files[:1]), repeats)
    metrics["audio_16_s"] = median_seconds(lambda: audio(files), repeats)
    metrics["peak_audio_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    text(TEXTS[:1])
    metrics["text_1_s"] = median_seconds(lambda: text(TEXTS[:1]), repeats)
    metrics["text_16_s"] = median_seconds(lambda: text(TEXTS), repeats)
    metrics["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if stages:
        metrics["stages"] = stages(files)
    return metrics


def prepare(folder: Path) -> None:
    """Write random checkpoints in the published layouts, the text tower that msclap downloads, and the sounds."""
    code = f"""
import sys; sys.path.insert(0, {str(ROOT / "tests" / "golden")!r})
from pathlib import Path
import numpy as np, soundfile
from random_weights import write_checkpoint
from golden_tokenizers import write_tokenizer
from transformers import GPT2Config, GPT2Model
folder = Path({str(folder)!r})
for layout in ("msclap_2023", "hf_unfused"):
    write_checkpoint(layout, folder)
write_tokenizer("gpt2", folder).rename(folder / "tokenizer-gpt2")
GPT2Model(GPT2Config()).save_pretrained(folder / "gpt2")
for layout, rate, seconds in (("msclap_2023", 44100, 7), ("hf_unfused", 48000, 10)):
    (folder / "audio" / layout).mkdir(parents=True, exist_ok=True)
    for i in range(16):
        noise = np.random.default_rng(i).normal(0, 0.1, rate * seconds).astype("float32")
        soundfile.write(folder / "audio" / layout / f"{{i:02d}}.wav", noise, rate)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def import_seconds(python: str, module: str) -> float:
    """Return the median time of an import in a new process, minus the time of an empty process."""

    def once(code: str) -> float:
        start = time.perf_counter()
        subprocess.run([python, "-c", code], check=True, capture_output=True)
        return time.perf_counter() - start

    return statistics.median(once(f"import {module}") - once("pass") for _ in range(3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", default=str(ROOT / ".peers" / "bin" / "python"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=ROOT / "out" / "inference")
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "inference.json")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        print("RESULT " + json.dumps(work(options.worker, options.folder, options.repeats)))
        return
    options.folder.mkdir(parents=True, exist_ok=True)
    if not (options.folder / "audio" / "hf_unfused" / "15.wav").exists():
        prepare(options.folder)
    imports = {
        "aural": import_seconds(sys.executable, "aural"),
        "msclap": import_seconds(options.peers, "msclap"),
        "transformers": import_seconds(options.peers, "transformers"),
    }
    runs: dict[str, list[dict]] = {name: [] for name in SYSTEMS}
    for _ in range(options.rounds):
        for name, system in SYSTEMS.items():
            python = sys.executable if system.precision else options.peers
            command = [python, __file__, "--worker", name, "--folder", str(options.folder)]
            command += ["--repeats", str(options.repeats)]
            environment = os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
            done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
            lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
            if not lines:
                raise SystemExit(f"{name} failed:\n{done.stderr[-2000:]}")
            runs[name].append(json.loads(lines[0].removeprefix("RESULT ")))
            print(f"{name}: {lines[0].removeprefix('RESULT ')}", file=sys.stderr)
    options.out.write_text(json.dumps({"runs": runs, "imports": imports}, indent=1))
    report(runs, imports)


def report(runs: dict[str, list[dict]], imports: dict[str, float]) -> None:
    """Print Markdown tables: medians, ratios to the reference package, and stages against the machine's matrix rate."""
    print("| system | audio 1, clips/s | audio 16, clips/s | text 1, /s | text 16, /s | first vector, s | peak, MiB |")
    print("|---|---|---|---|---|---|---|")
    middle = {
        name: {k: statistics.median(r[k] for r in rs) for k in rs[0] if k != "stages"} for name, rs in runs.items()
    }
    for name, m in middle.items():
        print(
            f"| {name} | {1 / m['audio_1_s']:.1f} | {16 / m['audio_16_s']:.1f} | {1 / m['text_1_s']:.1f} "
            f"| {16 / m['text_16_s']:.0f} | {m['first_vector_s']:.2f} | {m['peak_mib']:.0f} |"
        )
    print("\n| ratio to the reference (median) | audio 1 | audio 16 | text 1 | text 16 | first vector | peak |")
    print("|---|---|---|---|---|---|---|")
    for name, system in SYSTEMS.items():
        if not system.reference:
            continue
        cells = []
        for key in ("audio_1_s", "audio_16_s", "text_1_s", "text_16_s", "first_vector_s", "peak_mib"):
            ratios = [b[key] / a[key] for a, b in zip(runs[name], runs[system.reference], strict=True)]
            cells.append(f"{statistics.median(ratios):.2f}x")
        print(f"| {name} against {system.reference} | " + " | ".join(cells) + " |")
    print("\nimport: " + ", ".join(f"{name} {seconds:.2f} s" for name, seconds in imports.items()))
    for name, rs in runs.items():
        if "stages" in rs[0]:
            s = rs[-1]["stages"]
            parts = ", ".join(f"{stage} {1000 * t:.1f} ms" for stage, t in s["seconds_per_clip"].items())
            floor = s["encoder_flop_per_clip"] / s["matrix_flop_per_s"]
            print(
                f"\n{name}, per clip: {parts}; encoder {s['encoder_flop_per_clip'] / 1e9:.1f} GFLOP at the measured "
                f"{s['matrix_flop_per_s'] / 1e9:.0f} GFLOP/s of a matrix product would take {1000 * floor:.0f} ms"
            )


if __name__ == "__main__":
    main()
