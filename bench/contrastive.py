"""Measure time, memory and error of the contrastive losses, forward and backward, by number of pairs.

    python bench/contrastive.py --device cuda --out contrastive.json
    python bench/contrastive.py --device cpu --sizes 512,1024,2048 --dims 256

The tiled losses are compared with the plain ones where they fit, and with the package inf-cl
(`pip install inf-cl==1.2.1`, CUDA only; both directions) where it is installed. Every row has its floor: the
operations of its method over the rate of a large matrix product of the same precision, measured in the same run.

Errors are measured against float64 at every size at the cost of one small batch: N = k n pairs that repeat n pairs k
times have a loss and gradients that follow from the n pairs (`truth`). Times are medians.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize, softplus

from aural.objectives import InfoNCE, Objective, Sigmoid, TiledConfig, TiledInfoNCE, TiledSigmoid

GIB = 2**30
BASE = 8192  # pairs that larger batches repeat
Given = dict[str, Tensor]


@dataclass
class Row:
    """One measurement; times in s, memory in GiB, errors relative."""

    loss: str
    method: str
    precision: str
    pairs: int
    seconds: float | None = None
    floor_s: float | None = None
    peak_gib: float | None = None
    extra_gib: float | None = None  # beyond the towers and their gradients
    error_loss: float | None = None
    error_grad: float | None = None
    note: str = ""


def draw(pairs: int, dims: int, device: torch.device) -> Given:
    """Return unit float32 rows whose pairs match moderately, as after some training."""
    generator = torch.Generator(device).manual_seed(0)
    audio = torch.randn(pairs, dims, generator=generator, device=device)
    text = 0.3 * audio + torch.randn(pairs, dims, generator=generator, device=device)
    scalars = {"logit_scale": torch.tensor(20.0, device=device), "logit_bias": torch.tensor(-10.0, device=device)}
    return {"audio_emb": normalize(audio, dim=1), "text_emb": normalize(text, dim=1), **scalars}


def repeated(given: Given, times: int) -> Given:
    return {name: x.repeat(times, 1) if x.ndim else x.clone() for name, x in given.items()}


def truth(loss: str, base: Given, times: int) -> Given:
    """Return loss and gradients in float64 of the batch that repeats `base` `times` times.

    InfoNCE: every sum of exponentials is `times` times as large, so the loss grows by log(times). Sigmoid: of the pairs
    of a row with copies of itself one matches and times - 1 do not. In both, the copies of a row share its gradient
    equally.
    """
    leaves = {name: x.double().requires_grad_() for name, x in base.items()}
    audio, text, scale, bias = leaves.values()
    n = len(audio)
    if loss == "info_nce":
        value = InfoNCE()(leaves)["loss"] + math.log(times)
    else:
        match = scale * (audio * text).sum(1) + bias
        off = softplus(scale * audio @ text.T + bias).sum() - softplus(match).sum()
        pairs = times * softplus(-match).sum() + (times**2 - times) * softplus(match).sum() + times**2 * off
        value = pairs / (times * n)
    value.backward()
    gradients = {f"d_{name}": x.grad for name, x in leaves.items() if x.grad is not None}
    return {"loss": value.detach()} | {k: v / times if v.ndim else v for k, v in gradients.items()}


@contextmanager
def tf32(wanted: bool) -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = wanted
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def inf_cl() -> Callable[[Given], Tensor] | None:
    """Return the loss of the package inf-cl in both directions, as InfoNCE, or None if it is not installed."""
    try:
        from inf_cl import cal_flash_loss  # type: ignore[import-not-found]
    except ImportError:
        return None

    def loss(given: Given) -> Tensor:
        audio, text, scale = given["audio_emb"], given["text_emb"], given["logit_scale"]
        both = cal_flash_loss(audio, text, scale=scale).mean() + cal_flash_loss(text, audio, scale=scale).mean()
        return torch.as_tensor(both) / 2

    return loss


def sync(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def rates(device: torch.device, precisions: list[str]) -> dict[str, float]:
    """Return the operations per second of a large square matrix product, by precision."""
    side = 8192 if device.type == "cuda" else 1024
    per_second: dict[str, float] = {}
    generator = torch.Generator(device).manual_seed(1)
    a, b = (torch.randn(side, side, generator=generator, device=device) for _ in range(2))
    for name in ("float32", "tf32", "bf16"):
        if device.type == "cpu" and name != "float32":
            per_second[name] = per_second["float32"]  # computed in float32 there
            continue
        x, y = (a.bfloat16(), b.bfloat16()) if name == "bf16" else (a, b)
        with tf32(name == "tf32"):
            seconds = timed(lambda x=x, y=y: x @ y, device, 0.3)  # type: ignore[misc]
        per_second[name] = 2 * side**3 / seconds
    per_second["bf16x3"] = per_second["bf16"] / 3
    return {name: per_second[name] for name in precisions}


def timed(step: Callable[[], object], device: torch.device, at_least_s: float, warm: int = 2) -> float:
    """Return the median seconds of a step. Above 4 s it runs once, above 1 s twice and the second run counts."""
    times: list[float] = []
    while sum(times) < at_least_s or len(times) < warm + 3:
        sync(device)
        start = time.perf_counter()
        step()
        sync(device)
        times.append(time.perf_counter() - start)
        if times[-1] > 4 or (times[-1] > 1 and len(times) == 2):
            break
    return statistics.median(times[warm:] or times[-1:])


def measure(row: Row, loss: Callable[[Given], Tensor], base: Given, at_least_s: float) -> Row:
    """Fill in time, memory and errors, or a note that memory ran out."""
    device = base["audio_emb"].device
    times = row.pairs // len(base["audio_emb"])
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    given = {name: x.requires_grad_() for name, x in repeated(base, times).items()}
    values: list[Tensor] = []

    def step() -> None:
        for x in given.values():
            x.grad = None
        value = loss(given)
        value.backward()
        values[:] = [value.detach()]

    try:
        row.seconds = timed(step, device, at_least_s)
    except torch.OutOfMemoryError:
        row.note = "out of memory"
        return row
    if device.type == "cuda":
        towers_bytes = 2 * sum(x.numel() * x.element_size() for x in given.values())
        row.peak_gib = torch.cuda.max_memory_allocated() / GIB
        row.extra_gib = row.peak_gib - towers_bytes / GIB
    wanted = truth(row.loss, base, times)
    row.error_loss = float((values[0].double() - wanted["loss"]).abs() / wanted["loss"].abs())
    row.error_grad = 0.0
    for name, x in given.items():
        if x.grad is not None:
            pieces = x.grad.split(len(base[name])) if x.ndim else (x.grad,)
            errors = [float((g.double() - wanted[f"d_{name}"]).norm() / wanted[f"d_{name}"].norm()) for g in pieces]
            row.error_grad = max(row.error_grad, *errors)
    return row


def run(args: argparse.Namespace) -> tuple[list[Row], dict[str, float]]:
    device = torch.device(args.device)
    speed = rates(device, ["float32", "tf32", "bf16", "bf16x3"])
    rows: list[Row] = []

    def floor(row: Row, operations: int) -> Row:
        row.floor_s = operations * row.pairs**2 * args.dims / speed[row.precision]
        return row

    def add(row: Row, loss: Callable[[Given], Tensor], base: Given) -> None:
        rows.append(measure(row, loss, base, args.at_least))
        print(rows[-1], flush=True)

    for pairs in args.sizes:
        base = draw(BASE if pairs % BASE == 0 else pairs, args.dims, device)
        for name in args.losses:
            plain: Objective = InfoNCE() if name == "info_nce" else Sigmoid()
            tiled = TiledInfoNCE if name == "info_nce" else TiledSigmoid
            if pairs <= args.plain_up_to:
                for precision in ("float32", "tf32") if device.type == "cuda" else ("float32",):
                    with tf32(precision == "tf32"):
                        row = floor(Row(name, "plain", precision, pairs), 6)
                        add(row, lambda given, plain=plain: plain(given)["loss"], base)  # type: ignore[misc]
            peer = inf_cl() if device.type == "cuda" and name == "info_nce" else None
            if peer and pairs <= args.inf_cl_up_to:
                add(Row(name, "inf-cl", "tf32", pairs), peer, base)
            for precision in args.precisions:
                if precision == "float32" and device.type == "cuda" and pairs > args.float32_up_to:
                    continue
                row = floor(Row(name, "tiled", precision, pairs), 8 if name == "info_nce" else 6)
                objective = tiled(TiledConfig(matmul_precision=precision, tile=args.tile, fused=not args.no_fused))
                add(row, lambda given, objective=objective: objective(given)["loss"], base)  # type: ignore[misc]
    return rows, speed


def table(rows: list[Row]) -> str:
    heads = [
        "loss",
        "pairs",
        "method",
        "products",
        "time",
        "floor",
        "time / floor",
        "peak",
        "extra",
        "error",
        "of gradient",
    ]
    lines = ["| " + " | ".join(heads) + " |", "|" + " --- |" * len(heads)]
    for row in rows:
        ratio = f"{row.seconds / row.floor_s:.2f}" if row.seconds and row.floor_s else ""
        memory = [f"{x:.2f} GiB" if x is not None else "" for x in (row.peak_gib, row.extra_gib)]
        errors = [f"{x:.0e}" if x is not None else "" for x in (row.error_loss, row.error_grad)]
        times = [spoken(row.seconds) or row.note, spoken(row.floor_s), ratio]
        cells = [row.loss, f"{row.pairs:,}", row.method, row.precision, *times, *memory, *errors]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def spoken(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    numbers = lambda text: [int(x) for x in text.split(",")]  # noqa: E731
    parser.add_argument("--sizes", type=numbers, help="pairs, with commas")
    parser.add_argument("--dims", type=int, default=1024)
    parser.add_argument("--losses", type=lambda text: text.split(","), default=["info_nce", "sigmoid"])
    parser.add_argument("--precisions", type=lambda text: text.split(","), default=None)
    parser.add_argument("--tile", type=int, default=0)
    parser.add_argument("--no-fused", action="store_true", help="plain torch instead of Triton in the tiles")
    parser.add_argument("--plain-up-to", type=int, default=32768)
    parser.add_argument("--inf-cl-up-to", type=int, default=262144)
    parser.add_argument("--float32-up-to", type=int, default=65536, help="on CUDA")
    parser.add_argument("--at-least", type=float, default=0.5, help="seconds measured per row")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    cuda = args.device.startswith("cuda")
    args.sizes = args.sizes or ([8192 * 2**k for k in (0, 2, 3, 5, 7)] if cuda else [512, 1024, 2048])
    args.precisions = args.precisions or (["float32", "bf16x3", "tf32", "bf16"] if cuda else ["float32"])
    rows, speed = run(args)
    device = torch.cuda.get_device_name() if cuda else f"CPU, {torch.get_num_threads()} threads"
    print(f"\n{device}, torch {torch.__version__}, {args.dims} dimensions")
    print("rates: " + ", ".join(f"{name} {rate / 1e12:.3g} TFLOP/s" for name, rate in speed.items()) + "\n")
    print(table(rows))
    if args.out:
        record = {"device": device, "torch": torch.__version__, "dims": args.dims, "rates": speed}
        args.out.write_text(
            json.dumps(record | {"rows": [asdict(row) for row in rows]}, indent=1) + "\n", encoding="utf-8"
        )


if __name__ == "__main__":
    main()
