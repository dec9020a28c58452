"""What a run leaves when it ends, well or not: the model in our own format, the report, the curves, a bad batch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aural.train.config import Recipe
from aural.train.loader import Batch
from aural.train.tasks import Report
from aural.train.towers import ENCODER_FILE, PACKAGED
from aural.train.track import METRICS, curves, lines_of

if TYPE_CHECKING:
    from aural.models.packaged import PackagedText


def write_model(out: Path, recipe: Recipe, state: dict[str, Tensor]) -> None:
    """OUT/model, which `aural.load` opens; after stage 1 the audio encoder and the heads."""
    if recipe.tasks:
        from safetensors.torch import save_file

        folder = out / "model"
        folder.mkdir(parents=True, exist_ok=True)
        for name, prefix in ((ENCODER_FILE, "encoder."), ("heads.safetensors", "heads.")):
            part = folder / f"{name}.part"
            own = {k.removeprefix(prefix): v.cpu().contiguous() for k, v in state.items() if k.startswith(prefix)}
            save_file(own, part)
            part.replace(folder / name)
        return
    from aural.encoders.tokenize import BUNDLED, load_backend
    from aural.models.format import save_own

    clap = recipe.model.clap
    tokenizer = None if clap.text.tokenizer in BUNDLED else load_backend(clap.text.tokenizer).to_str()
    tensors = {name.removeprefix("clap."): tensor.cpu() for name, tensor in state.items()}
    card = f"# {out.name}\n\n{recipe.shows}\n\nTrained by aural; paper: {recipe.paper}\n\n```\n{recipe.command}\n```\n"
    text_from, updates = packaged_tower(recipe)
    save_own(
        out / "model",
        clap,
        tensors | updates,
        source=f"recipe: {recipe.command}",
        card=card,
        tokenizer_json=tokenizer,
        text_from=text_from,
        int8=recipe.model.int8,
    )


def packaged_tower(recipe: Recipe) -> tuple[PackagedText | None, dict[str, Tensor]]:
    """Where a text tower that stayed as it was lies, and the low-rank updates that its folder brought."""
    from aural.models.format import is_own, packaged_text
    from aural.models.packaged import MINILM

    init = recipe.model.text_init
    if "text" not in recipe.model.locked:
        return None, {}
    if init == PACKAGED:
        return MINILM, {}
    if not recipe.model.text_lora and is_own(Path(init)):
        return packaged_text(Path(init))
    return None, {}


def write_report(out: Path, recipe: Recipe, report: Report) -> None:
    """curves.png, and for many tasks report.md."""
    curves(out, recipe.shows)
    if recipe.tasks:
        (out / "report.md").write_text(report.table(lines_of(out / METRICS)), encoding="utf-8")


def keep_batch(out: Path, step: int, rank: int, batch: Batch) -> Path:
    """Save a batch for inspection: its tensors, names and captions."""
    file = out / f"bad-batch-step-{step:08d}-rank-{rank}.pt"
    kept = {k: v.cpu() if isinstance(v, Tensor) else v for k, v in batch.items()}
    torch.save(kept, file)
    return file
