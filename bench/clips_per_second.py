"""Clips per second of HTSAT-tiny and RoBERTa in training: what captions, batch size and the peer's code change.

    python bench/clips_per_second.py --graphs --open-clip CHECKOUT/src --profile 50
    python bench/clips_per_second.py --device cpu --tiny --batch 4 --repeats 1

Captions have 10 to 26 tokens, evenly distributed, which is about what Clotho's rule of 8 to 20 words gives. They are
padded to 77 tokens (as published), padded to the longest of the batch, or packed into rows of 128 tokens
(`data.pack_text`). Sections (--only a,b): limits, captions, batches, parts, open_clip.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from aural.encoders.packed import pack
from aural.train.config import Recipe
from aural.train.tokens import ROWS
from open_clip_peer import OpenClipStep
from train import FLOPS, Bench

SHORTEST, LONGEST, PUBLISHED, ROW = 10, 26, 77, 128
CAPTIONS = ("77 tokens, no padding", "padded to 77", "padded to the longest", "packed")
OBJECTIVE = ("loop.micro_batch=0", "objective={name: info_nce, options: {}}")


def captions(how: str, size: int, vocabulary: int, pad_id: int, most: int = PUBLISHED) -> dict[str, torch.Tensor]:
    """Return the text tensors of a batch; `most` is the longest caption that the tower takes."""
    draw = torch.Generator().manual_seed(1)
    full = how == CAPTIONS[0]
    lengths = torch.randint(SHORTEST, LONGEST + 1, (size,), generator=draw)
    width = most if how in CAPTIONS[:2] else LONGEST
    lengths = torch.full_like(lengths, most) if full else lengths
    mask = (torch.arange(width) < lengths[:, None]).long()
    ids = torch.where(mask == 1, torch.randint(10, vocabulary - 10, mask.shape, generator=draw), pad_id)
    if how != "packed":
        return {"ids": ids, "mask": mask}
    rows, packed = pack(ids, mask, width=ROW, pad_id=pad_id, multiple=ROWS)
    return {"ids": rows} | packed._asdict()


class Arms(Bench):
    """The published towers with other captions and batch sizes."""

    def tensors(self, recipe: Recipe, kind: str, size: int, how: str) -> dict[str, Any]:
        text = recipe.model.clap.text
        batch = {k: v for k, v in self.batch(recipe, kind, size).items() if k not in ("ids", "mask")}
        rows = captions(how, size, text.vocab_size, text.pad_id, min(PUBLISHED, text.max_tokens))
        return batch | {name: tensor.to(self.device) for name, tensor in rows.items()}

    def go(self, stepper: Any, optimizer: Any, batch: dict[str, Any]) -> Callable[[], None]:
        def step() -> None:
            stepper.gradients(batch, 0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        return step

    def captions(self) -> None:
        torch._dynamo.config.automatic_dynamic_shapes = False  # compile each shape by itself
        recipe = self.recipe("laion_htsat_roberta", *OBJECTIVE)
        _, stepper, optimizer = self.ours(recipe)
        for how in self.args.captions:
            for kind in ("mel", "wave"):
                size = self.args.batch
                step = self.go(stepper, optimizer, self.tensors(recipe, kind, size, how))
                self.row(f"aural, {kind}, batch {size}, {how}", self.streamed(step), size)
                if self.args.profile and kind == "mel":
                    self.profile(step)

    def batches(self) -> None:
        for size in self.args.batches:
            torch._dynamo.reset()
            recipe = self.recipe("laion_htsat_roberta", *OBJECTIVE, f"loop.batch={size}")
            _, stepper, optimizer = self.ours(recipe)
            step = self.go(stepper, optimizer, self.tensors(recipe, "mel", size, "packed"))
            self.row(f"aural, mel, batch {size}, packed", self.streamed(step), size)

    def parts(self) -> None:
        """Device time of each tower alone, compiled without graphs, by the profiler: launches do not count."""
        torch._dynamo.reset()
        size = self.args.batch
        recipe = self.recipe("laion_htsat_roberta", *OBJECTIVE)
        self.args.graphs, graphs = False, self.args.graphs
        model, _, _ = self.ours(recipe)
        self.args.graphs = graphs
        batch = self.tensors(recipe, "mel", size, "packed")
        clap = model.model()
        mel = batch["mel"].float() / 256

        def audio() -> None:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.args.precision == "bf16"):
                out = clap.audio.embed_mel(mel)
            out.backward(torch.ones_like(out))

        for _ in range(3):
            audio()
        self.row("aural, audio tower alone", self.clock(audio), size)
        if self.args.profile:
            device_ms = self.profile(audio)
            shares: dict[str, float] = {}
            if self.matrix and not self.args.tiny:
                limit_ms = 1e3 * FLOPS["audio"] * size / self.matrix
                shares = {"limit_ms": round(limit_ms, 2), "share_of_limit": round(limit_ms / device_ms, 3)}
            self.row("aural, audio tower alone, device time", 1e-3 * device_ms, size, **shares)

    def open_clip(self) -> None:
        size = self.args.batch
        draw = torch.Generator(self.device).manual_seed(0)
        ids = captions("padded to 77", size, 50265, 1)["ids"].to(self.device)
        mel = -30 + 15 * torch.randn(size, 1001, 64, generator=draw, device=self.device)
        wave = 0.1 * torch.randn(size, 480000, generator=draw, device=self.device)
        for compiled in (False, True) if self.args.compile_peer else (False,):
            torch._dynamo.reset()
            peer = OpenClipStep(self.args.open_clip, self.device, bf16=self.cuda, compiled=compiled)
            name = "open_clip, compiled" if compiled else "open_clip"
            for kind, sounds in (("wave", wave), ("mel", mel)):  # in this order: mels remove the front end
                step = peer.step(peer.batch(sounds, ids, mels=kind == "mel"))
                self.row(f"{name}, {kind}, batch {size}, padded to 77", self.streamed(step), size)


SECTIONS = ("limits", "captions", "batches", "parts", "open_clip")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(SECTIONS))
    parser.add_argument("--batch", type=int, default=192)
    parser.add_argument("--batches", type=lambda text: [int(x) for x in text.split(",")], default=[512, 768])
    parser.add_argument("--captions", type=lambda text: [CAPTIONS[int(x)] for x in text.split(",")], default=CAPTIONS)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--graphs", action="store_true", help="CUDA graphs for the encoders")
    parser.add_argument("--profile", type=int, default=0, help="print so many kernels")
    parser.add_argument("--open-clip", type=Path, help="the folder `src` of a checkout of open_clip")
    parser.add_argument("--compile-peer", action="store_true", help="also compile open_clip's model")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    Arms(args).report()


if __name__ == "__main__":
    main()
