"""Four systems on the general step: text twins, sound twins, frame heads, and twins without negatives."""

from __future__ import annotations

import ast
import inspect
import io
import tokenize
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from sounds import RATE

import aural
from aural.core.errors import AuralError
from aural.train.loader import Batches
from aural.train.loop import build, train
from aural.train.recipes import load_recipe
from aural.train.systems import frames
from aural.train.track import lines_of

SCENES = "{events: [1, 2], event_s: [0.3, 1.0], room_chance: 0, background_chance: 0}"


def losses(folder: Path, name: str = "loss") -> list[float]:
    return [line[name] for line in lines_of(folder / "metrics.jsonl") if "loss" in line]


def test_text_twins_learn_from_texts_alone(tones: Path, tmp_path: Path) -> None:
    changes = [f"data.sources.0.manifest={tones}", "loop.steps=120", "loop.batch=20"]
    recipe = load_recipe("text_twins", changes)
    batch = Batches(recipe)[0]
    assert "wave" not in batch
    assert all(a != b for a, b in zip(batch["captions"], batch["captions.1"], strict=True))
    folder = train(recipe, tmp_path, device="cpu")
    model = aural.load(folder, device="cpu")
    a = model.embed_text([f"tone number {i} of {110.0 * 2 ** (i / 8):.0f} hertz" for i in range(40)])
    b = model.embed_text([f"sound {i}, beeping" for i in range(40)])
    assert np.allclose(np.linalg.norm(a, axis=1), 1, atol=1e-5)
    hits = float(((a @ b.T).argmax(1) == np.arange(40)).mean())
    assert hits >= 0.5  # chance 1 in 40
    with pytest.raises(AuralError, match="no sound tower; it embeds texts only"):
        model.embed_audio([(np.zeros(RATE, np.float32), RATE)])


def test_sound_twins_learn_from_sounds_alone(tones: Path, tmp_path: Path) -> None:
    recipe = load_recipe("sound_twins", [f"data.sources.0.manifest={tones}", "loop.steps=40"])
    batch = Batches(recipe)[0]
    assert "ids" not in batch
    assert not torch.equal(batch["wave"], batch["wave.1"])  # two augmentations of the same window
    folder = train(recipe, tmp_path, device="cpu")
    curve = losses(tmp_path)
    assert sum(curve[-8:]) / 8 < 1.8  # chance: log 16 = 2.77
    model = aural.load(folder, device="cpu")
    assert model.embed_audio([(np.zeros(RATE, np.float32), RATE)]).shape == (1, 64)
    with pytest.raises(AuralError, match="no text tower; it embeds sounds only"):
        model.embed_text(["a dog"])


def test_a_frame_head_learns_when_each_class_sounds(tones: Path, tmp_path: Path) -> None:
    recipe = load_recipe(
        "frame_head",
        [
            f"data.sources=[{{scenes: {tones}, scene_options: {SCENES}}}]",
            "system.classes=[low, middle, high]",
            "loop.steps=60",
        ],
    )
    batches = Batches(recipe)
    labels = batches[0]["frame_labels"]
    assert labels.shape == (16, 16, 3)
    assert 0.05 < float(labels.mean()) < 0.5
    train(recipe, tmp_path, device="cpu")
    from aural.train import checkpoint

    system = build(recipe, batches)
    system.load_state_dict(checkpoint.read(checkpoint.newest(tmp_path))[0])  # type: ignore[arg-type]
    held_out = batches[500]  # scenes that the run did not see
    with torch.no_grad():
        scores = system.eval()({k: v for k, v in held_out.items() if isinstance(v, torch.Tensor)})["frame_logits"]
    assert average_precision(scores.flatten(), held_out["frame_labels"].flatten()) > 1.5 * float(
        held_out["frame_labels"].mean()
    )
    with pytest.raises(AuralError, match='system "frames", which gives no embeddings'):
        aural.load(tmp_path / "model", device="cpu")


def average_precision(scores: torch.Tensor, labels: torch.Tensor) -> float:
    right = labels[scores.argsort(descending=True)]
    precision = right.cumsum(0) / torch.arange(1, len(right) + 1)
    return float((precision * right).sum() / right.sum())


def test_twins_without_negatives_collapse_without_the_predictor(tones: Path, tmp_path: Path) -> None:
    changes = [f"data.sources.0.manifest={tones}", "loop.steps=60"]
    train(load_recipe("sound_twins_without_negatives", changes), tmp_path / "byol", device="cpu")
    bare = [
        *changes,
        "teachers.0.kind=peer",
        "objectives.0.inputs.predicted_a=audio_a",
        "objectives.0.inputs.predicted_b=audio_b",
    ]
    train(load_recipe("sound_twins_without_negatives", bare), tmp_path / "bare", device="cpu")
    learned = losses(tmp_path / "byol")
    assert learned[-1] < learned[0]
    assert losses(tmp_path / "byol", "spread")[-1] > 2 * losses(tmp_path / "bare", "spread")[-1]


def code_lines(module: ModuleType) -> int:
    """Count the lines of a module that hold code: no blank lines, comments and docstrings."""
    source = inspect.getsource(module)
    texts = [
        node.value
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    ]
    inside = {line for text in texts for line in range(text.lineno, (text.end_lineno or text.lineno) + 1)}
    skipped = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    return len({token.start[0] for token in tokens if token.type not in skipped} - inside)


@pytest.mark.parametrize("name", ["text_twins", "sound_twins", "sound_twins_without_negatives", "frame_head"])
def test_a_toy_system_takes_at_most_60_lines(name: str) -> None:
    """The recipe, and for frame_head the module of its system."""
    recipe = (Path(aural.__file__).parent / "recipes" / f"{name}.yaml").read_text(encoding="utf-8")
    lines = [line for line in recipe.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    assert len(lines) + (code_lines(frames) if name == "frame_head" else 0) <= 60
