"""A training run over millions of synthetic pairs, killed once and continued: memory over time and wait for the loader.

    python bench/long_run.py --pairs 10000000 --folder out/long --workers 14
    python bench/long_run.py --device cpu --pairs 20000 --batch 512 --workers 2 --folder out/long

Pairs are unique and a function of their number: a log-mel of 0.19 s (20 frames of 8 bands of noise) and a caption of
its number, in plain webdataset shards of 10,000. The towers are small (a ViT of width 256 and 4 layers, and a BERT of
the size of MiniLM; `--tiny`: width 32), so the run measures loader, loop, checkpoints and memory.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil

FRAMES, BANDS, SHARD = 20, 8, 10_000
BLOCK, NAME, HEADER = 512, 12, 128
SOUNDS = ("rain", "wind", "birds", "a dog", "a car", "bells", "waves", "steps", "a drill", "voices")
PLACES = ("in a hall", "by a road", "in a forest", "on a roof", "in a shop", "at sea", "in a yard", "far away")


def caption(number: int) -> str:
    """Return the caption of pair `number`; no other pair has it."""
    sound, other = SOUNDS[number % 10], SOUNDS[number // 10 % 10]
    return f"{sound} and {other} {PLACES[number // 100 % 8]}, take {number}"


def header(size: int, kind: str) -> np.ndarray:
    """Return a tar header (512,) of a member KEY.kind, with zeros for KEY and the checksum."""
    import tarfile

    entry = tarfile.TarInfo("0" * NAME + f".{kind}")
    entry.size = size
    return np.frombuffer(entry.tobuf(tarfile.USTAR_FORMAT), np.uint8).copy()


def shard_bytes(first: int, count: int) -> bytes:
    """Return a shard with pairs `first` to `first + count`: the same bytes that tarfile and numpy write."""
    import io

    array = io.BytesIO()
    np.save(array, np.zeros((FRAMES, BANDS), np.int16))
    head = np.frombuffer(array.getvalue()[:HEADER], np.uint8)
    rows = [json.dumps({"captions": [caption(number)]}).encode() for number in range(first, first + count)]
    words = max(map(len, rows))
    mel_bytes = HEADER + 2 * FRAMES * BANDS
    sizes = {"json": words, "mel": mel_bytes}
    widths = {kind: BLOCK + -(-size // BLOCK) * BLOCK for kind, size in sizes.items()}
    out = np.zeros((count, sum(widths.values())), np.uint8)
    keys = np.array([list(f"{number:0{NAME}d}".encode()) for number in range(first, first + count)], np.uint8)
    at = 0
    for kind, size in sizes.items():
        block = out[:, at : at + BLOCK]
        block[:] = header(size, kind)
        block[:, :NAME] = keys
        block[:, 148:156] = 32
        sums = block.sum(1, dtype=np.int64)
        block[:, 148:156] = np.array([list(b"%06o\0 " % total) for total in sums], np.uint8)
        at += widths[kind]
    start = BLOCK
    out[:, start : start + words] = np.array([list(row.ljust(words)) for row in rows], np.uint8)
    start = widths["json"] + BLOCK
    out[:, start : start + HEADER] = head
    noise = np.random.default_rng(first).integers(-12000, 2000, (count, FRAMES * BANDS), np.int16)
    out[:, start + HEADER : start + mel_bytes] = noise.view(np.uint8).reshape(count, -1)
    return out.tobytes() + bytes(2 * BLOCK)


def write_shard(job: tuple[str, int, int]) -> None:
    path, first, count = job
    Path(path).write_bytes(shard_bytes(first, count))


def write(folder: Path, pairs: int, jobs: int) -> float:
    """Write the shards; return the seconds."""
    began = time.perf_counter()
    folder.mkdir(parents=True, exist_ok=True)
    starts = range(0, pairs, SHARD)
    shards = [(str(folder / f"{first // SHARD:06d}.tar"), first, min(SHARD, pairs - first)) for first in starts]
    with ProcessPoolExecutor(jobs) as pool:
        list(pool.map(write_shard, shards))
    return time.perf_counter() - began


def recipe_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return the recipe as values."""
    mel = {"sample_rate_hz": 16000, "n_fft": 512, "hop": 160, "n_mels": BANDS, "fmin_hz": 50, "fmax_hz": 8000}
    encoder = {"n_mels": BANDS, "patch_frames": 16, "patch_mels": BANDS, "stride_mels": BANDS, "drop_path": 0.0}
    wide = {"dim": 256, "depth": args.layers or 4, "heads": 4}
    encoder |= {"max_frames": 48, "dim": 32, "depth": 1, "heads": 2} if args.tiny else wide
    small = {"dim": 32, "depth": 1, "heads": 2, "hidden_dim": 64}
    usual = {"dim": 384, "depth": args.layers or 6, "heads": 12}
    text = {"architecture": "bert", "vocab_size": 30522} | (small if args.tiny else usual | {"hidden_dim": 1536})
    text |= {"positions": 64, "layer_norm_eps": 1e-12, "pooling": "cls", "tokenizer": "bert-base-uncased"}
    text |= {"special_tokens": "bert", "pad_id": 0, "max_tokens": 28}
    audio = {"sample_rate_hz": 16000, "window_s": (FRAMES - 1) / 100, "mel": mel, "encoder": "vit"}
    clap = {"embed_dim": 256, "audio": audio | {"encoder_options": encoder}, "text": text}
    data = {"sources": [{"shards": [str(args.folder / "shards")]}], "workers": args.workers, "prefetch": args.prefetch}
    loop = {"steps": args.pairs // args.batch, "batch": args.batch, "save_every": args.save_every, "keep": 2}
    precision = {"precision": "bf16" if args.device.startswith("cuda") else "fp32"}
    precision |= {"compile": args.compile}
    words = dict.fromkeys(("paper", "shows", "command", "cost", "expected"), "bench/long_run.py")
    values = {"model": {"clap": clap}, "data": data | {"pad_text": "full"}, "loop": loop | precision}
    return words | values | {"schedule": {"name": "constant"}, "track": {"curves": False}}


def memory(root: psutil.Process) -> tuple[float, float, list[float]]:
    """Return GiB of the training process (RSS), of it with its workers (PSS), and of each worker (RSS, by process id).

    PSS divides shared pages among the processes.
    """
    total, workers = 0.0, list[float]()
    for process in (root, *sorted(root.children(recursive=True), key=lambda child: child.pid)):
        try:
            used = process.memory_full_info()
        except psutil.Error:
            continue
        total += used.pss / 2**30
        workers.append(round(used.rss / 2**30, 3))
    return workers[0], total, workers[1:]


def follow(args: argparse.Namespace, *, resume: bool, kill_at: int, limit_s: float) -> list[dict[str, Any]]:
    """Run the training in a separate process; record its memory, and kill it once `kill_at` steps are logged."""
    command = [sys.executable, __file__, "--train", str(args.folder), "--device", args.device]
    process = subprocess.Popen([*command, *(["--resume"] if resume else [])])
    began, records = time.perf_counter(), list[dict[str, Any]]()
    root, metrics = psutil.Process(process.pid), args.folder / "run" / "metrics.jsonl"
    while process.poll() is None:
        time.sleep(args.every_s)
        done = last_step(metrics)
        try:
            process_gib, total, workers = memory(root)
        except (psutil.Error, IndexError):
            break
        now = {
            "s": round(time.perf_counter() - began, 1),
            "step": done,
            "gib": round(process_gib, 3),
            "all": round(total, 2),
        }
        records.append(now | {"workers": workers})
        print(json.dumps(now | {"worker_least_most": [min(workers, default=0), max(workers, default=0)]}), flush=True)
        if (kill_at and done >= kill_at) or time.perf_counter() - began > limit_s:
            for child in root.children(recursive=True):
                child.kill()
            os.kill(process.pid, signal.SIGKILL)
            break
    process.wait()
    return records


def last_step(metrics: Path) -> int:
    """Return the last logged step, or -1."""
    if not metrics.is_file():
        return -1
    with metrics.open("rb") as file:
        file.seek(max(0, metrics.stat().st_size - 2048))
        lines = [line for line in file.read().splitlines() if line.endswith(b"}") and line.startswith(b"{")]
    return int(json.loads(lines[-1])["step"]) if lines else -1


def report(args: argparse.Namespace, first: list[dict[str, Any]], second: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what the run shows."""
    from aural.train.track import lines_of

    lines = lines_of(args.folder / "run" / "metrics.jsonl")
    steps = [line for line in lines if "loss" in line]
    timed = [line for line in steps if line["clips_per_s"]]
    seconds = sum(args.batch / line["clips_per_s"] for line in timed)
    waited = sum(line["loader_wait_s"] for line in timed)
    shares = [line["loader_wait_s"] * line["clips_per_s"] / args.batch for line in timed]
    last = steps[-1]["step"]
    running = [record for record in second if record["workers"] and record["step"] < last]
    steady = [record for record in running if record["step"] >= 0.5 * last]
    moments = {"start": running[:1], "middle": steady[:1], "end": steady[-1:]}
    return {
        "pairs_trained": len({line["step"] for line in steps}) * args.batch,
        "pairs_unique": args.pairs,
        "steps_in_order": [line["step"] for line in steps] == list(range(len(steps))),
        "pairs_per_s": round(args.batch * len(timed) / seconds),
        "loader_wait_share": round(waited / seconds, 4),
        "loader_wait_share_median_step": round(float(np.median(shares)), 4),
        "loss_first_last": [round(steps[0]["loss"], 4), round(float(np.mean([s["loss"] for s in steps[-20:]])), 4)],
        "killed_at_step": first[-1]["step"] if first else None,
        "memory_gib": {name: [record[name] for record in (*first, *second)] for name in ("gib", "all")},
        "growth_over_last_half_gib": {k: round(steady[-1][k] - steady[0][k], 3) for k in ("gib", "all") if steady},
        "workers_gib": {name: [{r["step"]: r["workers"]} for r in records] for name, records in moments.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--folder", type=Path, default=Path("out/long_run"))
    parser.add_argument("--pairs", type=int, default=10_000_000)
    parser.add_argument("--batch", type=int, default=8192)
    parser.add_argument("--workers", type=int, default=14)
    parser.add_argument("--layers", type=int, default=0, help="layers of both towers; 0: 4 and 6")
    parser.add_argument("--prefetch", type=int, default=4)
    parser.add_argument("--save-every", type=int, default=100)
    parser.add_argument("--every-s", type=float, default=3.0)
    parser.add_argument("--kill-at", type=float, default=0.3, help="share of the steps after which the run is killed")
    parser.add_argument("--limit-s", type=float, default=400.0, help="of writing and both parts of the run")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--resume", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.train:
        from aural.train.config import Recipe
        from aural.train.loop import train

        recipe = Recipe.parse(json.loads((args.train / "recipe.json").read_text()), "bench")
        train(recipe, args.train / "run", device=args.device, resume=args.resume)
        return
    began = time.perf_counter()
    jobs = min(os.cpu_count() or 1, 16)
    print(json.dumps({"written_s": round(write(args.folder / "shards", args.pairs, jobs), 1)}), flush=True)
    recipe = recipe_of(args)
    (args.folder / "recipe.json").write_text(json.dumps(recipe))
    kill_at, part_s = round(args.kill_at * recipe["loop"]["steps"]), args.limit_s * (args.kill_at + 0.1)
    first = follow(args, resume=False, kill_at=kill_at, limit_s=part_s)
    second = follow(args, resume=True, kill_at=0, limit_s=args.limit_s - (time.perf_counter() - began))
    found = report(args, first, second)
    if args.out:
        args.out.write_text(json.dumps(found, indent=1) + "\n")
    found["memory_gib"] = {name: values[:: max(1, len(values) // 12)] for name, values in found["memory_gib"].items()}
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
