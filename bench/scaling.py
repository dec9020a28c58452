"""Compare training on several GPUs of one host with one GPU: losses at the same global batch, and clips per second.

    python bench/scaling.py --gpus 2 --out scaling.json
    python bench/scaling.py --device cpu --tiny          the same script, small, to see that it runs

equal: HTSAT-tiny and RoBERTa (published widths, random weights) in float32 without dropout, 20 steps, global batch 64,
on one process and on several: DDP with gathered, tiled and ring exchange, gradient caching, FSDP2. speed: bf16, 192
clips a process from shards of log-mels, captions of 77 tokens; the global batch grows with the processes. Both go
through `aural.train` itself. A way that is refused or fails is reported and the rest runs.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch.multiprocessing.spawn import spawn

from aural.core.plugins import add_plugin
from aural.train.config import Recipe
from aural.train.mels import add_mel, pack
from aural.train.recipes import load_recipe
from aural.train.track import lines_of

TILED = "objective={name: tiled_info_nce, options: {exchange: %s}}"
PLAIN = "objective={name: info_nce, options: {}}"
EQUAL = {
    "DDP, info_nce": [PLAIN],
    "DDP, tiles gathered": [TILED % "gather"],
    "DDP, tiles in a ring": [TILED % "ring"],
    "DDP, gradient caching": [PLAIN, "loop.micro_batch=8"],
    "FSDP2, info_nce": [PLAIN, "loop.parallel=fsdp"],
}
SPEED = {  # name: changes on one process, on several
    "DDP, not compiled": ([PLAIN, "loop.compile=false"], [PLAIN, "loop.compile=false"]),
    "DDP, info_nce": ([PLAIN], [PLAIN]),
    "DDP, CUDA graphs": ([PLAIN, "loop.graphs=true"], [PLAIN, "loop.graphs=true"]),
    "DDP, tiles gathered": (None, [TILED % "gather"]),
    "FSDP2, info_nce": (None, [PLAIN, "loop.parallel=fsdp"]),
}


def recipe_for(args: argparse.Namespace, shards: Path, *changes: str) -> Recipe:
    own = [
        f"data.sources=[{{shards: [{shards}]}}]", "data.pad_text=full", "model.text_init=random", "evaluators=[]",
        "model.clap.text.tokenizer=bert-base-uncased", "model.clap.text.special_tokens=bert", "loop.epochs=0",
        "loop.steps=1", "loop.micro_batch=0", "loop.save_every=100000", "loop.keep=1",
    ]  # fmt: skip
    return load_recipe("tiny_laion_htsat_roberta" if args.tiny else "laion_htsat_roberta", [*own, *changes])


def equal_recipe(args: argparse.Namespace, shards: Path, *changes: str) -> Recipe:
    own = [
        "loop.precision=fp32", "loop.compile=false", "loop.batch=64", f"loop.steps={args.steps}", "optimizer.lr=1e-4",
        "optimizer.eps=1e-3", "schedule={name: constant, warmup: 2}", "model.batch_norm=calibrated", "data.workers=4",
        "model.clap.audio.encoder_options.drop_path=0.0",
    ]  # fmt: skip
    return recipe_for(args, shards, *own, *changes)


def speed_recipe(args: argparse.Namespace, shards: Path, world: int, *changes: str) -> Recipe:
    cuda = args.device == "cuda"
    own = [
        f"loop.precision={'bf16' if cuda else 'fp32'}", f"loop.compile={str(cuda).lower()}",
        f"loop.steps={args.speed_steps}",
        f"loop.batch={args.batch * world}", f"data.workers={args.workers}", "model.batch_norm=calibrated",
    ]  # fmt: skip
    return recipe_for(args, shards, *own, *changes)


def work(rank: int, file: str, out: str, world: int, device: str) -> None:
    """One process of a run, as torchrun would start it."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
    recipe = Recipe.parse(json.loads(Path(file).read_text()), "bench")
    if recipe.loop.precision == "fp32":
        torch.backends.cudnn.allow_tf32 = False
        attention = torch.nn.functional.scaled_dot_product_attention
        torch.nn.functional.dropout = lambda x, *args, **options: x  # differs between processes by design
        torch.nn.functional.scaled_dot_product_attention = (  # type: ignore[assignment]
            lambda *args, **options: attention(*args, **{**options, "dropout_p": 0.0})
        )
    from aural.train.loop import train

    train(recipe, out, device=device)


def launch(file: str, out: str, world: int, device: str) -> None:
    """Start all processes of a run in a separate process, so that one way's failure costs only that way."""
    if world == 1:
        work(0, file, out, 1, device)
    else:
        spawn(work, args=(file, out, world, device), nprocs=world)


def lines(args: argparse.Namespace, recipe: Recipe, folder: Path, world: int) -> list[dict[str, Any]]:
    folder.mkdir(parents=True)
    (folder / "recipe.json").write_text(json.dumps(recipe.model_dump(mode="json")))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    threads = str(max(1, (os.cpu_count() or 1) // world)) if args.device == "cpu" else "4"
    environment = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": threads}
    call = [
        sys.executable,
        __file__,
        "--run",
        str(folder / "recipe.json"),
        str(folder / "out"),
        str(world),
        args.device,
    ]
    done = subprocess.run(call, env=environment, capture_output=True, text=True, check=False, timeout=args.timeout)
    if done.returncode:
        raise RuntimeError(done.stderr.strip()[-1500:])
    return [line for line in lines_of(folder / "out" / "metrics.jsonl") if "loss" in line]


def equal(args: argparse.Namespace, shards: Path, folder: Path) -> list[dict[str, Any]]:
    one = [x["loss"] for x in lines(args, equal_recipe(args, shards, PLAIN), folder / "one", 1)]
    rows: list[dict[str, Any]] = [tell({"what": "one process, info_nce", "losses": one})]
    for i, (name, changes) in enumerate(EQUAL.items()):
        try:
            many = [x["loss"] for x in lines(args, equal_recipe(args, shards, *changes), folder / f"{i}", args.gpus)]
        except (RuntimeError, subprocess.TimeoutExpired) as error:
            rows.append(tell({"what": f"{args.gpus} x {name}", "failed": str(error)}))
            continue
        worst = max(abs(a - b) for a, b in zip(one, many, strict=True))
        rows.append(tell({"what": f"{args.gpus} x {name}", "greatest_difference": worst, "losses": many}))
    return rows


def speed(args: argparse.Namespace, shards: Path, folder: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    alone = 0.0
    for i, (name, (one, many)) in enumerate(SPEED.items()):
        for world, changes in ((1, one), (args.gpus, many)):
            if changes is None:  # measured above
                continue
            try:
                found = lines(args, speed_recipe(args, shards, world, *changes), folder / f"{i}-{world}", world)
            except (RuntimeError, subprocess.TimeoutExpired) as error:
                rows.append(tell({"what": f"{world} x {name}", "failed": str(error)}))
                continue
            later = found[len(found) // 2 :]
            rate = len(later) / sum(1 / x["clips_per_s"] for x in later)
            waited = sum(x["loader_wait_s"] for x in later) / len(later)
            row = {"what": f"{world} x {name}", "clips_per_s": round(rate, 1), "loader_wait_s": round(waited, 5)}
            alone = rate if world == 1 else alone
            more = {"times_one": round(rate / alone, 3)} if world > 1 and alone else {}
            rows.append(tell(row | more))
    return rows


def write_patterns(folder: Path, recipe: Recipe, count: int) -> None:
    """Write a shard of distinguishable log-mels: each a different smooth spectrum with noise."""
    audio = recipe.model.clap.audio
    frames = round(audio.window_s * audio.sample_rate_hz) // audio.mel.hop + 1
    folder.mkdir()
    draw = torch.Generator().manual_seed(0)
    with tarfile.open(folder / "shard-000000.tar", "w") as tar:
        for i in range(count):
            spectrum = torch.randn(1, 1, 9, generator=draw)
            smooth = torch.nn.functional.interpolate(spectrum, audio.mel.n_mels, mode="linear")[0]
            mel = -30 + 15 * smooth + 2 * torch.randn(frames, audio.mel.n_mels, generator=draw)
            add_mel(tar, f"{i:06d}", pack(mel), {"captions": [f"sound number {i}"]})


def tell(row: dict[str, Any]) -> dict[str, Any]:
    print(json.dumps(row), flush=True)
    return row


def main() -> None:
    add_plugin(str(Path(__file__).resolve().parents[1] / "tests" / "tiny_recipes"))
    if sys.argv[1:2] == ["--run"]:
        launch(sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cuda", "cpu"))
    parser.add_argument("--gpus", type=int, default=2, help="processes")
    parser.add_argument("--batch", type=int, default=192, help="clips a process in the speed section")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--speed-steps", type=int, default=80)
    parser.add_argument("--clips", type=int, default=3000, help="clips in the shards")
    parser.add_argument("--workers", type=int, default=12, help="loader workers a process")
    parser.add_argument("--timeout", type=float, default=180, help="seconds a run")
    parser.add_argument("--only", choices=("equal", "speed"))
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    from train import write_mels  # bench/train.py

    name = torch.cuda.get_device_name() if args.device == "cuda" else "CPU"
    tell({"device": name, "processes": args.gpus, "torch": torch.__version__})
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        recipe = recipe_for(args, folder / "noise")
        write_mels(folder / "noise", recipe, args.clips)
        write_patterns(folder / "patterns", recipe, 256)
        for section, shards in ((equal, "patterns"), (speed, "noise")):
            if args.only in (None, section.__name__):
                rows += section(args, folder / shards, folder / section.__name__)
                if args.out:
                    args.out.write_text(
                        json.dumps({"device": name, "torch": torch.__version__, "rows": rows}, indent=1) + "\n"
                    )


if __name__ == "__main__":
    main()
