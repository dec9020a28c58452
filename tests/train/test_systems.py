"""Every system: gradient caching equals the whole batch, resuming equals an unbroken run, two processes equal one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from test_parallel import run
from test_step import assert_caching_equals_the_whole_batch, ready, without_dropout

from aural.core.errors import ConfigError
from aural.train import checkpoint
from aural.train.config import Recipe
from aural.train.loop import prepare, train
from aural.train.parallel import Place
from aural.train.recipes import load_recipe
from aural.train.selected import system_of
from aural.train.step import Stepper
from aural.train.system import SYSTEMS
from aural.train.track import lines_of

SCENES = "scene_options: {events: [1, 2], event_s: [0.3, 1.0], room_chance: 0, background_chance: 0}"
CLASSES = "[low, middle, high]"
QUEUE = "{kind: queue, of: [text_a], size: 24}"
TWO = (
    "objectives=[{name: info_nce}, {name: soft_targets, weight: 0.5, label: soft, targets: [{name: label_sets}]},"
    "{name: sup_con, weight: 0.1, inputs: {audio_group: label}}]"
)
# name -> recipe and changes; between them every system, kind of teacher and way to combine objectives
CASES: dict[str, tuple[str, list[str]]] = {
    "pair": ("tiny_clap_2023", [TWO, f"data.fields.labels.classes={CLASSES}"]),
    "text twins": ("text_twins", []),
    "text twins by dropout": ("text_twins", ["system.embeddings.text_b={tower: text, draw: 1}"]),
    "text twins with a queue": ("text_twins", [f"teachers=[{QUEUE}]"]),
    "sound twins": ("sound_twins", []),
    "without negatives": ("sound_twins_without_negatives", []),
    "peers": (
        "sound_twins",
        [
            "teachers=[{kind: peer}]",
            "objectives.0={name: regress, inputs: {audio_emb: audio_a, teacher_audio_emb: teacher_audio_b}}",
        ],
    ),
    "frames": ("frame_head", [f"system.classes={CLASSES}"]),
    "heads": ("tiny_clap_2023_stage1", []),
}


@pytest.fixture
def case(tones: Path, request: pytest.FixtureRequest) -> Recipe:
    return recipe_of(request.param, tones)


def recipe_of(name: str, tones: Path, *changes: str) -> Recipe:
    base, more = CASES[name]
    source = f"scenes: {tones}, {SCENES}" if base == "frame_head" else f"manifest: {tones}"
    tasks = ["names", "tags", "pitch", "number", "words"] if base.endswith("stage1") else [""]
    sources = ", ".join(f'{{{source}, task: "{task}"}}' for task in tasks)
    common = [f"data.sources=[{sources}]", "data.workers=0", "loop.batch=8", "evaluators=[]", "loop.micro_batch=0"]
    return load_recipe(base, [*common, *more, *changes])


def test_the_cases_cover_every_system(tones: Path) -> None:
    used = {system_of(recipe_of(name, tones))[0] for name in CASES}
    others = ("sentences", "self-supervised")  # they compute their loss: test_sentences.py, test_self_supervised.py
    assert used == {SYSTEMS[name] for name in SYSTEMS if name not in others}


@pytest.mark.parametrize("case", CASES, indirect=True)
def test_gradient_caching_equals_the_whole_batch(case: Recipe) -> None:
    assert_caching_equals_the_whole_batch(case, 2, exact=True)


@pytest.mark.parametrize("case", ["without negatives", "text twins with a queue", "frames"], indirect=True)
def test_a_resumed_run_equals_an_unbroken_one(case: Recipe, tmp_path: Path) -> None:
    loop = case.loop.model_copy(update={"steps": 4, "save_every": 2, "keep": 9})
    recipe = case.model_copy(update={"loop": loop})
    train(recipe, tmp_path, device="cpu")
    first = checkpoint.read(tmp_path / "checkpoints" / "step-00000004")
    for file in (tmp_path / "checkpoints" / "step-00000004").iterdir():
        file.unlink()
    train(recipe, tmp_path, device="cpu", resume=True)
    again = checkpoint.read(tmp_path / "checkpoints" / "step-00000004")
    assert all(torch.equal(tensor, again[0][name]) for name, tensor in first[0].items())
    for before, after in zip(first[2]["teachers"], again[2]["teachers"], strict=True):
        assert before.keys() == after.keys()
        assert all(torch.equal(tensor, after[name]) for name, tensor in before.items())


@pytest.mark.slow
def test_two_processes_equal_one(tones: Path, tmp_path: Path) -> None:
    changes = [
        "loop.steps=3", "optimizer={name: adamw, lr: 1e-3, eps: 1e-3}", "schedule={name: constant}",
        "loop.save_every=1000",
    ]  # fmt: skip
    recipes = {name.replace(" ", "_"): recipe_of(name, tones, *changes) for name in CASES}
    alone, two = (run(recipes, tmp_path / str(world), world) for world in (1, 2))
    for name, losses in alone.items():
        assert two[name] == pytest.approx(losses, abs=2e-5), name


def test_several_objectives_are_weighted_and_logged(tones: Path, tmp_path: Path) -> None:
    train(recipe_of("pair", tones, "loop.steps=1"), tmp_path, device="cpu")
    line = lines_of(tmp_path / "metrics.jsonl")[0]
    total = line["loss.info_nce"] + 0.5 * line["loss.soft"] + 0.1 * line["loss.sup_con"]
    assert line["loss"] == pytest.approx(total, abs=1e-5)
    assert "info_nce.audio_to_text" in line


@pytest.mark.parametrize(
    ("name", "change", "sentence"),
    [
        ("text twins", "objectives.0.inputs.text_emb=text_c", 'objective "info_nce" needs text_c, which this recipe'),
        ("text twins", "objectives.0.inputs.txet_emb=text_a", 'takes no input "txet_emb"; it takes audio_emb'),
        ("text twins", "system.embeddings.text_a.tower=txet", 'no tower "txet"; did you mean "text"'),
        ("text twins", "system.name=pairs", 'unknown system "pairs"; did you mean "pair"'),
        ("text twins", "data.fields.sound.views=2", "the recipe's system has no sound tower"),
        ("text twins", "teachers=[{kind: ema, of: [text_z]}]", "the system has no rows text_z"),
        ("text twins", "optimizer.lr_scale={txet: 2}", 'the system has no part "txet"; did you mean "text"'),
        ("pair", "objectives.0.targets=[{name: labels}]", 'objective "info_nce" takes no targets'),
        ("pair", "objectives.1.label=info_nce", 'two entries are named "info_nce"'),
        ("heads", "objectives=[{name: info_nce}]", "computes its own loss"),
        ("without negatives", "system.predictor=0", "predict needs `predictor`"),
    ],
)
def test_what_cannot_work_is_refused_before_the_first_step(
    tones: Path, tmp_path: Path, name: str, change: str, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        train(recipe_of(name, tones, change), tmp_path, device="cpu")
    assert "\n" not in str(caught.value)


class WordsToText:
    """A token-level loss: the best token of a caption matches the embedding of the other caption of its clip."""

    needs = frozenset({"words", "text_b", "mask"})

    def __call__(self, tensors: dict[str, torch.Tensor], gather: object = None) -> dict[str, torch.Tensor]:
        scores = torch.einsum("ble,ce->bcl", tensors["words"], tensors["text_b"])
        scores = scores.masked_fill(tensors["mask"][:, None] == 0, -1.0).amax(2)
        return {"loss": torch.nn.functional.cross_entropy(10 * scores, torch.arange(len(scores)))}


def test_tokens_of_texts_are_an_output_that_a_loss_can_take(tones: Path) -> None:
    recipe = recipe_of("text twins", tones, "system.embeddings.words={tower: text, tokens: true}")
    system, batch = ready(recipe)[1:]
    out = system({k: v for k, v in batch.items() if isinstance(v, torch.Tensor)})
    assert out["words"].shape == (*batch["ids"].shape, out["text_a"].shape[1])
    plan = prepare(recipe, Place(0, 1, torch.device("cpu"))).plan
    assert plan.ragged == {"words"}
    grads = {}
    for micro in (0, 2):
        loop = recipe.loop.model_copy(update={"micro_batch": micro})
        changed = recipe.model_copy(update={"loop": loop})
        with without_dropout():
            run, system, batch = ready(changed)
            losses: Any = WordsToText()
            Stepper(system, losses, changed, plan=run.plan, device=torch.device("cpu")).gradients(batch, 0)
            grads[micro] = {name: p.grad for name, p in system.named_parameters() if p.grad is not None}
    assert grads[0].keys() == grads[2].keys()
    for name, grad in grads[0].items():
        assert float((grads[2][name] - grad).norm()) <= 1e-5 * float(grad.norm()) + 1e-9, name


def test_a_tag_task_on_scenes_learns_from_the_truth_record(tones: Path) -> None:
    recipe = load_recipe(
        "tiny_clap_2023_stage1",
        [
            f"data.sources=[{{scenes: {tones}, {SCENES}, task: t}}]",
            "loop.batch=8",
            "tasks={t: {kind: tag, column: classes}}",
        ],
    )
    labels = prepare(recipe, Place(0, 1, torch.device("cpu"))).batches[0]["label.t"]
    assert labels.shape == (8, 3)
    assert bool((labels.sum(1) >= 1).all())
