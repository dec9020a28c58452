"""Training steps per second of HTSAT-tiny and RoBERTa compared with transformers' ClapModel, and where the time goes.

    python bench/train.py --device cuda --out train.json
    python bench/train.py --device cpu --tiny            the same script, small, to see that it runs

Sections (--only a,b): limits, peer, towers, step, cached, loop. All in one process, one after the other; times are
medians of steps, warm-up left out. Captions have 77 tokens, none of them padding, on both sides.

* step: every system, at once and with gradient caching, compiled or not, with and without FSDP (general_step.py).
* peer: transformers' ClapModel in its own way: bf16 autocast, AdamW in one kernel, log-mels given.
* towers: the recipe laion_htsat_roberta through aural's own Stepper, from stored log-mels and from 48 kHz sounds.
  Then the parts of that step, each compared with its limit: operations over the rate of a large matrix product, or
  bytes over the rate of a large copy, whichever is longer.
* cached: clap_2023 (HTSAT, GPT-2) at its published batch through gradient caching.
* loop: `aural.train` itself on shards of log-mels: the share of the time that it does not wait for the loader.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tarfile
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import general_step
from aural.core.plugins import add_plugin
from aural.nn.window import use_kernels
from aural.train.config import Recipe
from aural.train.inputs import log_mel
from aural.train.loop import compile_parts, train
from aural.train.losses import Losses
from aural.train.mels import add_mel, pack
from aural.train.optimizer import build_optimizer
from aural.train.recipes import load_recipe
from aural.train.selected import system_of
from aural.train.shorthand import objectives_of
from aural.train.step import Stepper
from aural.train.system import System
from aural.train.track import lines_of

GIB = 2**30
FLOPS = {"audio": 35.4e9, "text": 39.9e9}
"""Forward and backward of a clip of 10 s in HTSAT-tiny, of a caption of 77 tokens in RoBERTa (docs/train/bench.md)."""


class Bench:
    def __init__(self, args: argparse.Namespace) -> None:
        add_plugin(str(Path(__file__).resolve().parents[1] / "tests" / "tiny_recipes"))
        args.precision = "bf16" if args.device.startswith("cuda") else "fp32"
        self.args, self.device = args, torch.device(args.device)
        self.cuda = self.device.type == "cuda"
        self.timer = time.perf_counter if self.cuda else time.process_time  # other jobs do not count on the CPU
        self.rows: list[dict[str, Any]] = []
        self.matrix, self.copy = 0.0, 0.0

    def report(self) -> None:
        """Run the sections that the arguments name, write the rows, and end with code 1 if one failed."""
        device = torch.cuda.get_device_name() if self.cuda else "CPU"
        print(f"{device}, torch {torch.__version__}", flush=True)
        failed = self.run(self.args.only)
        if self.args.out:
            content = {"device": device, "torch": torch.__version__, "rows": self.rows, "failed": failed}
            self.args.out.write_text(json.dumps(content, indent=1) + "\n")
        raise SystemExit(1 if failed else 0)

    def run(self, sections: list[str]) -> list[str]:
        """Run methods by name; return what failed, since one section must not cost the others their numbers."""
        failed: list[str] = []
        for section in sections:
            try:
                getattr(self, section)()
            except Exception as error:
                failed.append(f"{section}: {type(error).__name__}: {error}")
                print("failed:", failed[-1][:2000], flush=True)
            if self.cuda:
                torch.cuda.empty_cache()
        return failed

    def clock(self, step: Callable[[], object], repeats: int | None = None, warm: int = 4) -> float:
        """Median seconds."""
        repeats = repeats or self.args.repeats
        times = []
        for i in range(warm + repeats):
            self.wait()
            began = time.perf_counter()
            step()
            self.wait()
            if i >= warm:
                times.append(time.perf_counter() - began)
        return statistics.median(times)

    def streamed(self, step: Callable[[], object], repeats: int | None = None) -> float:
        """Seconds a step when nobody waits between steps, as in the loop."""
        repeats = repeats or self.args.repeats
        for _ in range(4):
            step()
        self.wait()
        began = self.timer()
        for _ in range(repeats):
            step()
        self.wait()
        return (self.timer() - began) / repeats

    def wait(self) -> None:
        if self.cuda:
            torch.cuda.synchronize()

    def row(self, name: str, seconds: float, clips: int = 0, **more: Any) -> None:
        row: dict[str, Any] = {"what": name, "ms": round(1e3 * seconds, 3)}
        if clips:
            row["clips_per_s"] = round(clips / seconds, 1)
        if self.cuda:
            row["peak_gib"] = round(torch.cuda.max_memory_allocated() / GIB, 2)
            torch.cuda.reset_peak_memory_stats()
        self.rows.append(row | more)
        print(json.dumps(self.rows[-1]), flush=True)

    def limits(self) -> None:
        side = 8192 if self.cuda else 512
        a, b = (torch.randn(side, side, device=self.device, dtype=torch.bfloat16) for _ in range(2))
        seconds = self.clock(lambda: a @ b)
        self.matrix = 2 * side**3 / seconds
        big = torch.randn(side * side * 8, device=self.device)
        other = torch.empty_like(big)
        moved = self.clock(lambda: other.copy_(big))
        self.copy = 2 * big.nbytes / moved
        self.row("bf16 matrix product", seconds, tflops=round(self.matrix / 1e12, 1))
        self.row("copy, read + write", moved, tb_per_s=round(self.copy / 1e12, 3))

    # The published towers ------------------------------------------------------------------------------------------

    def recipe(self, name: str, *changes: str) -> Recipe:
        args = self.args
        own = ["data.sources=[{manifest: none}]", f"loop.precision={args.precision}", "model.text_init=random"]
        name = f"tiny_{name}" if args.tiny else name
        return load_recipe(name, [*own, f"loop.batch={args.batch}", "loop.epochs=0", "loop.steps=40", *changes])

    def batch(self, recipe: Recipe, kind: str, size: int) -> dict[str, Any]:
        audio, text = recipe.model.clap.audio, recipe.model.clap.text
        samples = round(audio.window_s * audio.sample_rate_hz)
        draw = torch.Generator(self.device).manual_seed(0)
        tokens = min(77, text.max_tokens)
        ids = torch.randint(10, text.vocab_size - 10, (size, tokens), generator=draw, device=self.device)
        batch: dict[str, Any] = {"keys": [""] * size, "ids": ids, "mask": torch.ones_like(ids)}
        if kind == "wave":
            wave = 0.1 * torch.randn(size, samples, generator=draw, device=self.device)
            return batch | {"wave": (wave * 32768).to(torch.int16)}
        shape = size, samples // audio.mel.hop + 1, audio.mel.n_mels
        mel = -30 + 15 * torch.randn(shape, generator=draw, device=self.device)
        return batch | {"mel": (mel * 256).clamp(-32768, 32767).to(torch.int16)}

    def ours(self, recipe: Recipe, *, compiled: bool = True) -> tuple[System, Stepper, torch.optim.Optimizer]:
        torch.manual_seed(0)
        kind, config = system_of(recipe)
        model = kind(config, None).to(self.device).train()
        if self.cuda:
            use_kernels(model)
        if self.cuda and compiled:
            compile_parts(model, graphs=self.args.graphs)
        losses = Losses(objectives_of(recipe))
        optimizer = build_optimizer(model, recipe.optimizer, self.device)
        return model, Stepper(model, losses, recipe, plan=config.plan(recipe), device=self.device), optimizer

    def step(self) -> None:
        self.rows += general_step.run(self.device, tiny=self.args.tiny)

    def towers(self) -> None:
        size = self.args.batch
        recipe = self.recipe("laion_htsat_roberta", "loop.micro_batch=0", "objective={name: info_nce, options: {}}")
        self.held = model, stepper, optimizer = self.ours(recipe)
        for kind in ("mel", "wave"):
            batch = self.batch(recipe, kind, size)
            began = time.perf_counter()

            def go(batch: dict[str, Any] = batch) -> None:
                stepper.gradients(batch, 0)
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)

            go()
            self.wait()
            first = time.perf_counter() - began
            self.row(f"aural, step from {kind}", self.streamed(go), size, first_s=round(first, 1))
            if self.args.profile and kind == "mel":
                self.profile(go)
        short = self.batch(recipe, "mel", size)
        short |= {"ids": short["ids"][:, :16].contiguous(), "mask": short["mask"][:, :16].contiguous()}
        if self.args.trimmed:
            self.row("aural, step from mel, captions trimmed to 16 tokens", self.streamed(lambda: go(short)), size)
        if not self.args.graphs:  # one tower alone would run on the other's graph
            self.stages(recipe, model, optimizer, stepper)

    def profile(self, step: Callable[[], object]) -> float:
        """Print device time by kernel over three steps; return the milliseconds of one."""
        from torch.profiler import ProfilerActivity, profile

        kinds = [ProfilerActivity.CUDA] if self.cuda else [ProfilerActivity.CPU]
        with profile(activities=kinds) as found:
            for _ in range(3):
                step()
            self.wait()
        events = [(e.self_device_time_total if self.cuda else e.self_cpu_time_total, e) for e in found.key_averages()]
        events.sort(key=lambda pair: -pair[0])
        total = sum(us for us, _ in events) / 3e3
        print(f"device time of a step {total:.2f} ms in {sum(e.count for _, e in events) // 3} kernels")
        for us, event in events[: self.args.profile]:
            print(f"{us / 3e3:8.3f} ms {event.count // 3:5d} x {event.key[:110]}")
        return float(total)

    def stages(self, recipe: Recipe, model: System, optimizer: torch.optim.Optimizer, stepper: Stepper) -> None:
        size, clap = self.args.batch, model.model()
        batch, wave = self.batch(recipe, "mel", size), self.batch(recipe, "wave", size)
        mel = log_mel(clap.audio.front_end, batch)

        def forward_backward(call: Callable[[], Tensor]) -> Callable[[], None]:
            def go() -> None:
                with torch.autocast(self.device.type, torch.bfloat16, enabled=self.args.precision == "bf16"):
                    out = call()
                out.backward(torch.ones_like(out))

            return go

        def limit(operations: float = 0.0, moved: float = 0.0) -> dict[str, float]:
            return {"limit_ms": round(1e3 * max(operations / self.matrix, moved / self.copy), 3)} if self.matrix else {}

        audio = forward_backward(lambda: clap.audio.embed_mel(mel))
        self.row("audio tower", self.clock(audio), size, **limit(FLOPS["audio"] * size))
        text = forward_backward(lambda: clap.text(batch["ids"], batch["mask"]))
        self.row("text tower", self.clock(text), size, **limit(FLOPS["text"] * size))
        samples = wave["wave"].shape[1]
        spectra = size * mel.shape[1] * 513 * (8 + 4) * 2 + size * samples * 2
        front = self.clock(lambda: log_mel(clap.audio.front_end, wave))
        self.row("log-mel from sounds", front, size, **limit(moved=spectra))
        count = sum(p.numel() for p in model.parameters())
        self.row("AdamW", self.clock(optimizer.step), **limit(moved=28 * count))
        out = {k: v.detach().requires_grad_() for k, v in stepper._forward(batch, 0, 0).items()}
        self.row("loss", self.clock(lambda: stepper._loss(out, batch)["loss"].backward()))
        optimizer.zero_grad(set_to_none=True)

    def peer(self) -> None:
        """transformers' ClapModel as its users train it."""
        from transformers import ClapConfig, ClapModel

        options: dict[str, Any] = {}
        if self.args.tiny:
            layers = {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64}
            small = {"depths": [1, 1, 1, 1], "patch_embeds_hidden_size": 32, "hidden_size": 256}
            options = {"text_config": layers, "audio_config": small}
        torch.manual_seed(0)
        model = ClapModel(ClapConfig(**options)).to(self.device).train()
        optimizer = torch.optim.AdamW(model.parameters(), 1e-4, fused=self.cuda or None)
        size = self.args.batch
        draw = torch.Generator(self.device).manual_seed(0)
        mel = -30 + 15 * torch.randn(size, 1, 1001, 64, generator=draw, device=self.device)
        ids = torch.randint(10, 50000, (size, 77), generator=draw, device=self.device)
        given = {"input_features": mel, "is_longer": torch.zeros(size, 1, dtype=torch.bool, device=self.device)}
        given |= {"input_ids": ids, "attention_mask": torch.ones_like(ids), "return_loss": True}

        def go() -> None:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.args.precision == "bf16"):
                loss = model(**given).loss
            loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        self.row("transformers ClapModel, step from mel", self.streamed(go), size)

    def cached(self) -> None:
        total = 8 * self.args.batch
        changes = [f"loop.batch={total}", f"loop.micro_batch={self.args.batch}"]
        recipe = self.recipe("clap_2023", *changes)
        _, stepper, optimizer = self.ours(recipe)
        batch = self.batch(recipe, "mel", total)

        def go() -> None:
            stepper.gradients(batch, 0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        go()
        seconds = self.streamed(go, max(2, self.args.repeats // 5))
        self.row(f"aural, clap_2023 at batch {total}, {self.args.batch} at a time", seconds, total)

    def loop(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            changes = ["loop.micro_batch=0", "objective={name: info_nce, options: {}}", "evaluators=[]", "loop.keep=1"]
            recipe = self.recipe("laion_htsat_roberta", *changes)
            clips = write_mels(Path(folder) / "shards", recipe, self.args.clips)
            source = f"data.sources=[{{shards: [{folder}/shards]}}]"
            more = [
                source,
                f"data.workers={self.args.workers}",
                f"loop.steps={self.args.loop_steps}",
                "data.pad_text=full",
            ]
            more += [f"loop.compile={str(self.cuda).lower()}", f"loop.graphs={str(self.args.graphs).lower()}"]
            more += ["loop.save_every=100000"]
            tokens = [f"model.clap.text.tokenizer={self.args.tokenizer}", "model.clap.text.special_tokens=bert"]
            recipe = self.recipe("laion_htsat_roberta", *changes, *more, *(tokens if self.args.tokenizer else []))
            train(recipe, Path(folder) / "out", device=self.args.device)
            lines = [x for x in lines_of(Path(folder) / "out" / "metrics.jsonl") if "loss" in x]
        steady = lines[len(lines) // 2 :]
        seconds = sum(self.args.batch / x["clips_per_s"] for x in steady)
        waited = sum(x["loader_wait_s"] for x in steady)
        busy = {"not_waiting": round(1 - waited / seconds, 4), "clips_in_shards": clips}
        self.row("aural train from shards of log-mels", seconds / len(steady), self.args.batch, **busy)


def write_mels(folder: Path, recipe: Recipe, count: int) -> int:
    """Shards of noise: what matters here is their bytes."""
    audio = recipe.model.clap.audio
    frames = round(audio.window_s * audio.sample_rate_hz) // audio.mel.hop + 1
    folder.mkdir()
    draw = torch.Generator().manual_seed(0)
    for shard in range(-(-count // 250)):
        with tarfile.open(folder / f"shard-{shard:06d}.tar", "w") as tar:
            for i in range(min(250, count - 250 * shard)):
                mel = -30 + 15 * torch.randn(frames, audio.mel.n_mels, generator=draw)
                add_mel(tar, f"{shard}-{i:06d}", pack(mel), {"captions": [f"sound {i} of shard {shard}, quite long"]})
    return count


SECTIONS = ("limits", "peer", "towers", "step", "cached", "loop")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(SECTIONS))
    parser.add_argument("--batch", type=int, default=192)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--clips", type=int, default=4000, help="in the shards of the loop section")
    parser.add_argument("--loop-steps", type=int, default=80)
    parser.add_argument("--tokenizer", default="bert-base-uncased", help="for the loop section; bundled, so no network")
    parser.add_argument("--trimmed", action="store_true", help="also with captions trimmed to 16 tokens")
    parser.add_argument("--graphs", action="store_true", help="CUDA graphs for the encoders")
    parser.add_argument("--profile", type=int, default=0, help="print so many kernels")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    Bench(args).report()


__all__ = ["Bench", "nn"]

if __name__ == "__main__":
    main()
