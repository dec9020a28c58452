"""Fixed windows, batches by length, and open_clip, trained on the same clips of 1 to 30 s with towers of the same size.

    python bench/variable_length.py --open-clip CHECKOUT/src
    python bench/variable_length.py --device cpu --tiny --clips 64 --steps 4

Clips are log-mels of noise (48 kHz, 10 ms, 64 bands) whose lengths are evenly distributed, with captions of 8 to 20
words. The sound tower is a ViT of width 320, 14 layers and patches of 16 x 16, which is open_clip's
`naflexclap_little`; the text tower is RoBERTa. A step holds `--batch` windows of 30 s, or clips of similar length of
that many seconds.

* windows: today's way, every clip filled to 30 s by repeating it.
* lengths: `data.batching: lengths`; "packed" adds `data.pack_text: 128`.
* causes: single steps on new shapes and on shapes seen before, with one thing changed per row.
* open_clip: its NaFlexVit, CLAPTask and AdamW on the patches of the same batches, as its own collation pads them; and
  with every clip in a window of 30 s. Its text is padded to 77 tokens, as its tokenizer does.

Ours are runs of `aural.train` from shards with loader workers; open_clip's step gets batches that are on the device. On
the CPU single steps are timed by processor time instead, so that other jobs do not count.
"""

from __future__ import annotations

import argparse
import tarfile
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from aural.train.batching import Lengths
from aural.train.config import BatchingConfig, Recipe
from aural.train.loader import to_device
from aural.train.loop import prepare, train
from aural.train.mels import add_mel
from aural.train.parallel import Place
from aural.train.recipes import load_recipe
from aural.train.track import lines_of
from open_clip_peer import OpenClipStep
from train import Bench

RATE_HZ, HOP, BANDS, PATCH, LONGEST_S = 48000, 480, 64, 16, 30.0
WORDS = (
    "a",
    "dog",
    "barks",
    "while",
    "rain",
    "falls",
    "on",
    "the",
    "roof",
    "and",
    "people",
    "talk",
    "near",
    "an",
    "open",
    "window",
    "as",
    "cars",
    "pass",
    "by",
    "slowly",
)
VIT = {"dim": 320, "depth": 14, "heads": 5, "mlp_ratio": 5.6, "max_frames": 3008, "drop_path": 0.0}


def seconds_of(clips: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(1.0, LONGEST_S, clips)


def write(folder: Path, clips: int) -> float:
    """Write shards of log-mels and captions; return the mean length in seconds."""
    folder.mkdir(parents=True)
    random = np.random.default_rng(1)
    noise = random.integers(-12000, 2000, (2 * 3001, BANDS), np.int16)
    seconds = seconds_of(clips)
    for first in range(0, clips, 250):
        with tarfile.open(folder / f"{first // 250:04d}.tar", "w", format=tarfile.USTAR_FORMAT) as tar:
            for i in range(first, min(first + 250, clips)):
                frames = round(seconds[i] * RATE_HZ) // HOP + 1
                start = int(random.integers(0, 3000))
                words = " ".join(random.permutation(WORDS)[: random.integers(8, 21)])
                add_mel(tar, f"{i:06d}", noise[start : start + frames], {"captions": [f"{words} {i}"]})
    return float(seconds.mean())


class Lengthy(Bench):
    """The arms of the comparison."""

    def recipe_of(self, *changes: str) -> Recipe:
        """Return the recipe of an arm."""
        args = self.args
        base = "tiny_laion_htsat_roberta" if args.tiny else "laion_htsat_roberta"
        size = {"dim": 32, "depth": 1, "heads": 2, "max_frames": 3008, "drop_path": 0.0} if args.tiny else VIT
        size = size | ({"depth": args.layers} if args.layers else {})
        encoder = ", ".join(f"{key}: {value}" for key, value in (size | {"n_mels": BANDS}).items())
        values = [
            "model.text_init=random", "model.clap.audio.mel=laion", "model.clap.audio.encoder=vit",
            f"model.clap.audio.sample_rate_hz={RATE_HZ}", f"model.clap.audio.window_s={LONGEST_S:g}",
            f"model.clap.audio.encoder_options={{{encoder}}}", "model.clap.audio.shorter=repeat",
            "model.clap.text.tokenizer=bert-base-uncased", "model.clap.text.special_tokens=bert",
            "model.batch_norm=batch", "objective={name: info_nce, options: {}}", "evaluators=[]", "loop.keep=1",
            f"data.sources=[{{shards: ['{self.folder}/shards']}}]", f"data.workers={args.workers}",
            "loop.epochs=0", f"loop.steps={args.steps}", f"loop.batch={args.batch}", "loop.micro_batch=0",
            f"loop.precision={args.precision}", "loop.save_every=100000", "loop.compile=false", "track.curves=false",
        ]  # fmt: skip
        values += [f"model.clap.text.depth={args.layers}"] if args.layers else []
        return load_recipe(base, [*values, *changes])

    def run_of(self, name: str, *changes: str) -> None:
        """Train for some steps and report the second half of them."""
        args = self.args
        recipe = self.recipe_of(*changes)
        if self.cuda:
            lines = self.trained(recipe, name)
        else:
            lines = self.stepped(recipe)
        clips = sum(line.get("clips", args.batch) for line in lines)
        seconds = sum(line.get("clips", args.batch) / line["clips_per_s"] for line in lines)
        waited = sum(line["loader_wait_s"] for line in lines) / seconds
        padded = [line["padding"] for line in lines if "padding" in line]
        filled = 1 - self.mean_s / LONGEST_S
        self.row(
            name,
            seconds / len(lines),
            clips=0,
            clips_per_s=round(clips / seconds, 2),
            padding=round(float(np.mean(padded)) if padded else filled, 4),
            loader_wait=round(waited, 4),
            steps=len(lines),
        )

    def trained(self, recipe: Recipe, name: str) -> list[dict[str, Any]]:
        """Run the training loop; return what it logs of the last two thirds of the steps."""
        out = self.folder / name.replace(" ", "_").replace(",", "")
        train(recipe, out, device=self.args.device)
        lines = [line for line in lines_of(out / "metrics.jsonl") if "loss" in line]
        return [line for line in lines[len(lines) // 3 :] if line["clips_per_s"]]

    def stepped(self, recipe: Recipe) -> list[dict[str, Any]]:
        """Time steps by processor time, without the loader; return lines like those of the loop."""
        _, stepper, optimizer = self.ours(recipe, compiled=False)
        batches = prepare(recipe, Place(0, 1, self.device)).batches
        lines = list[dict[str, Any]]()
        for step in range(self.args.steps):
            batch = batches[step]
            began = self.timer()
            stepper.gradients(batch, step)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            clips, padded = len(batch["keys"]), {"padding": batch["padding"][0]} if "padding" in batch else {}
            line = {"clips": clips, "clips_per_s": clips / (self.timer() - began), "loader_wait_s": 0.0}
            lines.append(line | padded)
        return lines[1:]

    def windows(self) -> None:
        self.run_of("aural, windows of 30 s")

    def lengths(self) -> None:
        args = self.args
        by_length = f"data.batching={{name: lengths, pool: {args.pool}, multiple: {args.multiple}}}"
        self.run_of("aural, by length", by_length)
        self.run_of("aural, by length, packed captions", by_length, "data.pack_text=128")

    def causes(self) -> None:
        """Time steps on batches with new shapes and on batches with shapes seen before, with one change per arm.

        A cost per shape (a plan, a compilation) is in the first only; the cost of kernels and launches is in both.
        """
        args = self.args
        by_length = f"data.batching={{name: lengths, pool: {args.pool}, multiple: {args.multiple}}}"
        arms: dict[str, tuple[tuple[str, ...], bool]] = {
            "windows of 30 s": ((), True),
            "by length": ((by_length,), True),
            "by length, no cuDNN attention": ((by_length,), False),
            "by length, text padded to full": ((by_length, "data.pad_text=full"), True),
            "by length, text padded to full, no cuDNN attention": ((by_length, "data.pad_text=full"), False),
            "by length, packed captions": ((by_length, "data.pack_text=128"), True),
            "by length, packed captions, no cuDNN attention": ((by_length, "data.pack_text=128"), False),
        }
        for number, (name, (changes, cudnn)) in enumerate(arms.items()):
            torch.backends.cuda.enable_cudnn_sdp(cudnn)
            self.shapes(name, self.recipe_of(*changes), number * (args.cause_steps + 2))
        torch.backends.cuda.enable_cudnn_sdp(True)

    def shapes(self, name: str, recipe: Recipe, first: int) -> None:
        """Time steps on batches with new shapes, and on batches that all arms share after two passes over them.

        The new batches are those from number `first` on, which no other arm has.
        """
        count = self.args.cause_steps
        _, stepper, optimizer = self.ours(recipe, compiled=False)
        stepper.attention.varying = False  # the arm alone chooses the kernels
        batches = prepare(recipe, Place(0, 1, self.device)).batches
        warm, *new, last = (to_device(batches[first + step], self.device) for step in range(count + 2))
        shared = [to_device(batches[step], self.device) for step in range(100, 100 + count)]

        def go(batch: dict[str, Any]) -> None:
            stepper.gradients(batch, 0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        def seconds(group: list[dict[str, Any]]) -> tuple[float, float]:
            """Return the seconds per step, and the clips per second."""
            total = sum(self.timed(partial(go, batch)) for batch in group)
            return total / len(group), round(sum(len(batch["keys"]) for batch in group) / total, 1)

        go(warm)
        (new_s, new_rate), *_, (seen_s, seen_rate) = (seconds(group) for group in (new, shared, shared, shared))
        rates = {"clips_per_s": new_rate, "seen_ms": round(1e3 * seen_s, 2), "seen_clips_per_s": seen_rate}
        texts = {"text_shapes": len({tuple(b["ids"].shape) for b in new}), "widest": new[0]["ids"].shape[1]}
        self.row(f"{name}: new shapes", new_s, **rates, **texts)
        if self.args.profile and name == "by length":
            self.host(partial(go, last))
            self.profile(partial(go, shared[0]))

    def timed(self, call: Callable[[], None]) -> float:
        """Return the seconds of one call, with the work that it queued."""
        self.wait()
        began = self.timer()
        call()
        self.wait()
        return self.timer() - began

    def host(self, call: Callable[[], None]) -> None:
        """Print where the host's time of one call goes."""
        from torch.profiler import ProfilerActivity, profile

        with profile(activities=[ProfilerActivity.CPU]) as run:
            call()
            self.wait()
        events = sorted(run.key_averages(), key=lambda event: -event.self_cpu_time_total)
        total_ms = sum(event.self_cpu_time_total for event in events) / 1e3
        print(f"host time of a step with new shapes {total_ms:.1f} ms")
        for event in events[: self.args.profile]:
            print(f"{event.self_cpu_time_total / 1e3:8.2f} ms {event.count:5d} x {event.key[:100]}")

    def open_clip(self) -> None:
        """Time open_clip's steps on the groups that batches by length have, and on windows."""
        args = self.args
        config = BatchingConfig(name="lengths", pool=args.pool, multiple=args.multiple)
        seconds = seconds_of(args.clips)
        plan = Lengths(
            config, args.batch * LONGEST_S, lambda i: (i % args.clips, seconds[i % args.clips]), seed=0, world=1
        )
        groups = [seconds[plan.group(step).numbers % args.clips] for step in range(args.steps)]
        windows = [seconds[np.arange(args.batch) + step * args.batch % args.clips] for step in range(args.steps)]
        peer = OpenClipStep(
            args.open_clip, self.device, bf16=self.cuda, name="naflexclap_little_roberta", layers=args.layers
        )
        for name, parts in (("open_clip, windows of 30 s", windows), ("open_clip, by length", groups)):
            whole = "windows" in name
            batches = [self.patches(part, LONGEST_S if whole else float(part.max())) for part in parts]
            steps = [peer.step(batch) for batch in batches]
            steps[0]()
            self.wait()
            began = self.timer()
            for step in steps[1:]:
                step()
            self.wait()
            took = (self.timer() - began) / (len(steps) - 1)
            clips = float(np.mean([len(part) for part in parts[1:]]))
            filled = np.mean([1 - part.mean() / (LONGEST_S if whole else part.max()) for part in parts])
            rates = {"clips_per_s": round(clips / took, 2), "padding": round(float(filled), 4)}
            self.row(name, took, clips=0, **rates, steps=len(steps))

    def patches(self, seconds: np.ndarray, longest_s: float) -> dict[str, Any]:
        """Return a batch in open_clip's layout: patches in order of band and time, coordinates, and what is valid."""
        rows, columns = BANDS // PATCH, -(-(round(longest_s * RATE_HZ) // HOP + 1) // PATCH)
        own = -(-(np.round(seconds * RATE_HZ).astype(int) // HOP + 1) // PATCH)
        own = np.full_like(own, columns) if longest_s == LONGEST_S else own
        count = rows * columns
        time = torch.arange(columns).repeat(rows)
        band = torch.arange(rows).repeat_interleave(columns)
        valid = time[None] < torch.from_numpy(own)[:, None]
        coordinates = torch.stack([band, time], 1).expand(len(seconds), -1, -1)
        draw = torch.Generator(self.device).manual_seed(0)
        patches = torch.randn(len(seconds), count, PATCH * PATCH, generator=draw, device=self.device)
        audio = {"patches": patches, "patch_coord": coordinates.to(self.device), "patch_valid": valid.to(self.device)}
        ids = torch.randint(10, 50000, (len(seconds), 77), generator=draw, device=self.device)
        lengths = torch.randint(10, 27, (len(seconds), 1), generator=draw, device=self.device)
        ids = torch.where(torch.arange(77, device=self.device) < lengths, ids, 1)
        return {"audio": audio, "text": ids}


SECTIONS = ("windows", "lengths", "causes", "open_clip")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(SECTIONS))
    parser.add_argument("--batch", type=int, default=64, help="windows of 30 s per step")
    parser.add_argument("--clips", type=int, default=3000)
    parser.add_argument("--pool", type=int, default=3000)
    parser.add_argument("--layers", type=int, default=0, help="layers of every tower; 0: 14 and 12")
    parser.add_argument("--multiple", type=int, default=8, help="clips per step are a multiple of this")
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--workers", type=int, default=12)
    parser.add_argument("--cause-steps", type=int, default=8, help="batches of the section causes")
    parser.add_argument("--profile", type=int, default=0, help="print so many operations and kernels in causes")
    parser.add_argument("--open-clip", type=Path, help="the folder `src` of a checkout of open_clip")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    args.repeats = args.steps
    bench = Lengthy(args)
    with tempfile.TemporaryDirectory() as folder:
        bench.folder = Path(folder)
        bench.mean_s = write(bench.folder / "shards", args.clips)
        bench.report()


if __name__ == "__main__":
    main()
