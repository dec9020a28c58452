"""The system self-supervised: every pretext task trains, repeats, and is refused where something is missing."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import ctc_loss

from aural.core.errors import AuralError, CheckpointError, ConfigError
from aural.data.store import pack_sounds
from aural.data.worlds import open_world
from aural.encoders.base import build_audio_encoder
from aural.encoders.sequence import SequenceConfig, SequenceEncoder
from aural.train.config import Recipe
from aural.train.loop import build_seeded, prepare, train
from aural.train.parallel import Place
from aural.train.recipes import load_recipe
from aural.train.selfsupervised import PRETEXTS, Shape, Step
from aural.train.selfsupervised.labeled import LETTERS, Ctc, best_path
from aural.train.selfsupervised.tokenizer import TokenizerConfig, Tokenizers, save_centers, stacked
from aural.train.systems.self_supervised import SelfSupervised, load_self_supervised

PLACE = Place(0, 1, torch.device("cpu"))
CAUSAL = "system.audio.encoder_options={n_mels: 64, dim: 16, depth: 2, heads: 2, hidden_dim: 16, context: %s}"
TRANSFORMER = CAUSAL % "transformer"
RANDOM = "system.tokenizers=[{kind: random, groups: 2, codes: 8}]"
INSTRUMENTS = "data.fields.labels={column: instrument, classes: [clarinet, harp, organ, reed]}"


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    world = open_world("notes", {})
    file = tmp_path_factory.mktemp("sounds") / "notes.npz"
    items = [world.item(i) for i in range(12)]
    np.savez_compressed(file, **pack_sounds((one.wave, one.sample_rate_hz, one.facts) for one in items))  # type: ignore[arg-type, misc]
    return file


def recipe(sounds: Path, *changes: str) -> Recipe:
    source = f"data.sources=[{{world: stored, world_options: {{files: ['{sounds}']}}}}]"
    small = ("loop.steps=3", "loop.batch=4", "schedule.warmup=0", "system.quantizer={groups: 2, codes: 8}")
    return load_recipe("self_supervised", (source, TRANSFORMER, *small, *changes))


def built(one: Recipe) -> SelfSupervised:
    system = build_seeded(one, prepare(one, PLACE).batches, PLACE.device)
    assert isinstance(system, SelfSupervised)
    return system


def pretexts(*tasks: str) -> str:
    return f"system.pretexts=[{', '.join(tasks)}]"


TASKS = {
    "masked-contrast": (),
    "masked-tokens": (RANDOM, "system.discrete=true"),
    "next-token": (RANDOM, "system.discrete=true", CAUSAL % "causal-transformer", "system.front=cochlea"),
    "next-step": (CAUSAL % "causal-convolution", "system.front=wave"),
    "reconstruct": (),
    "distill": (),
    "future-frames": (CAUSAL % "causal-transformer",),
    "ctc": ("system.watch_by=instrument",),
    "classes": (INSTRUMENTS, "system.pretexts=[{name: classes, options: {classes: 4}}]"),
}


@pytest.mark.parametrize("name", PRETEXTS)
def test_a_pretext_task_trains_and_repeats(name: str, sounds: Path, tmp_path: Path) -> None:
    one = recipe(sounds, pretexts(f"{{name: {name}}}"), *TASKS[name])
    first, again = (load_self_supervised(train(one, tmp_path / run, device="cpu")) for run in ("a", "b"))
    start = built(one)
    for key, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[key]), key
    moved = [
        key
        for key, value in start.encoder.named_parameters()
        if not torch.equal(value, first.state_dict()[f"encoder.{key}"])
    ]
    assert len(moved) >= 4
    lines = [json.loads(line) for line in (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == 3
    assert np.isfinite(losses).all()


@pytest.mark.parametrize(
    "changes",
    [
        ("system.pretexts=[{name: next-step, options: {steps: 6, predictions: 3}}]", CAUSAL % "recurrent"),
        ("system.pretexts=[{name: next-step, options: {predictor: transformer}}]", CAUSAL % "recurrent"),
        ("system.pretexts=[{name: next-step, options: {quantized: true, decorrelation: 1.0}}]", CAUSAL % "two-ways",
         "system.quantizer={kind: nearest, groups: 2, codes: 8}"),
        ("system.pretexts=[{name: masked-contrast, options: {layer: 1}}, "
         "{name: masked-tokens, options: {source: quantizer}}]",),
        ("system.pretexts=[{name: masked-contrast, options: {quantized: false}}]",),
        ("system.pretexts=[{name: reconstruct}, {name: distill}]",),
    ],
)  # fmt: skip
def test_variants_give_gradients_to_the_encoder(changes: tuple[str, ...], sounds: Path) -> None:
    one = recipe(sounds, *changes)
    prepared = prepare(one, PLACE)
    system = built(one).train()
    loss = system({k: v for k, v in prepared.batches[0].items() if isinstance(v, torch.Tensor)})["loss"]
    loss.backward()
    gradients = [p.grad for p in system.encoder.parameters() if p.grad is not None]
    assert sum(float(g.abs().sum()) for g in gradients) > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (("system.quantizer=null",), "needs system.quantizer"),
        ((pretexts("{name: masked-tokens}"),), "needs system.tokenizers"),
        (("system.discrete=true",), "give tokenizers"),
        ((pretexts("{name: next-stop}"),), 'unknown pretext task "next-stop"; did you mean "next-step"'),
        ((pretexts("{name: ctc, options: {x: 1}}"),), 'unknown key "x"'),
        (("system.audio.encoder=cnn9",), 'must be "sequence"'),
        (("system.init=missing",), "missing"),
        (("system.tokenizers=[{codes: 8}, {codes: 4}]",), "same number of codes"),
        (("system.tokenizers=[{kind: centers, file: none.npz}]",), "none.npz holds no centers"),
    ],
)
def test_what_is_missing_is_one_sentence(changes: tuple[str, ...], message: str, sounds: Path) -> None:
    with pytest.raises(AuralError) as error:
        built(recipe(sounds, *changes))
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_fine_tuning_starts_from_a_trained_encoder_and_resets_its_top(sounds: Path, tmp_path: Path) -> None:
    model = train(recipe(sounds), tmp_path / "start", device="cpu")
    trained = load_self_supervised(model).encoder.state_dict()
    ctc = (pretexts("{name: ctc}"), f"system.init={model}")
    tuned, reset = built(recipe(sounds, *ctc)), built(recipe(sounds, *ctc, "system.reset_top=1"))
    assert all(torch.equal(value, trained[key]) for key, value in tuned.encoder.state_dict().items())
    same = {key: torch.equal(value, trained[key]) for key, value in reset.encoder.state_dict().items()}
    assert same["network.layers.0.linear1.weight"]
    assert not same["network.layers.1.linear1.weight"]
    locked = built(recipe(sounds, *ctc, "system.locked=true"))
    assert {name.split(".")[0] for name, p in locked.named_parameters() if p.requires_grad} <= {"pretexts", "quantizer"}
    assert all(isinstance(text, str) for text in tuned.eval().transcribe(torch.randn(2, 25_600)))
    with pytest.raises(ConfigError, match="no head for transcripts"):
        load_self_supervised(model).transcribe(torch.randn(1, 25_600))
    other = TRANSFORMER.replace("dim: 16, depth", "dim: 24, depth")
    with pytest.raises(CheckpointError, match="does not fit"):
        built(recipe(sounds, *ctc, other))


def test_a_resumed_run_equals_an_unbroken_one(sounds: Path, tmp_path: Path) -> None:
    """The averaged teacher also goes on where it was."""
    one = recipe(sounds, pretexts("{name: distill}"), "loop.steps=4", "loop.save_every=2", "loop.keep=9")
    unbroken = load_self_supervised(train(one, tmp_path, device="cpu"))
    shutil.rmtree(tmp_path / "checkpoints" / "step-00000004")
    shutil.rmtree(tmp_path / "model")
    again = load_self_supervised(train(one, tmp_path, device="cpu", resume=True)).state_dict()
    assert any(key.startswith("teacher.") for key in again)
    assert all(torch.equal(tensor, again[key]) for key, tensor in unbroken.state_dict().items())


def test_the_encoder_serves_as_start_of_other_systems(sounds: Path, tmp_path: Path) -> None:
    from aural.train.start import load_encoder

    model = train(recipe(sounds), tmp_path / "run", device="cpu")
    options = {"n_mels": 64, "dim": 16, "depth": 2, "heads": 2, "hidden_dim": 16}
    tower = build_audio_encoder("sequence", options)
    load_encoder(tower, str(model))
    mel = torch.randn(1, 40, 64)
    assert torch.equal(tower.eval()(mel).pooled, load_self_supervised(model).encoder(mel).pooled)


def test_the_loss_is_logged_for_each_value_of_a_fact(sounds: Path, tmp_path: Path) -> None:
    train(recipe(sounds, "system.watch_by=instrument"), tmp_path, device="cpu")
    first = json.loads((tmp_path / "metrics.jsonl").read_text().splitlines()[0])
    groups = {key: value for key, value in first.items() if key.startswith("masked-contrast.loss.")}
    assert set(groups) <= {f"masked-contrast.loss.{name}" for name in ("clarinet", "harp", "organ", "reed")}
    assert groups


@pytest.mark.parametrize("context", ["causal-transformer", "causal-convolution", "recurrent"])
def test_causal_contexts_do_not_see_the_future(context: str) -> None:
    torch.manual_seed(0)
    encoder = SequenceEncoder(SequenceConfig(n_mels=8, dim=16, depth=2, heads=2, hidden_dim=16, context=context)).eval()  # type: ignore[arg-type]
    z = torch.randn(1, 12, 16)
    changed = z.clone()
    changed[:, 7:] += 1.0
    for a, b in zip(encoder.context(z), encoder.context(changed), strict=True):
        assert torch.allclose(a[:, :7], b[:, :7], atol=1e-5)
        assert not torch.allclose(a[:, 7:], b[:, 7:], atol=1e-3)


def test_both_ways_see_past_and_future_in_their_halves() -> None:
    torch.manual_seed(0)
    encoder = SequenceEncoder(SequenceConfig(n_mels=8, dim=16, depth=2, context="two-ways")).eval()
    z = torch.randn(1, 12, 16)
    changed = z.clone()
    changed[:, 6] += 1.0
    moved = (encoder.context(z)[-1] - encoder.context(changed)[-1]).abs() > 1e-6
    assert moved[0, 6].all()
    assert not moved[0, :6, :8].any()
    assert not moved[0, 7:, 8:].any()


def test_masked_latents_are_hidden() -> None:
    torch.manual_seed(0)
    encoder = SequenceEncoder(SequenceConfig(n_mels=8, dim=16, depth=1, heads=2, hidden_dim=16)).eval()
    z = torch.randn(1, 6, 16)
    mask = torch.tensor([[False, True, True, False, False, False]])
    other = torch.where(mask[..., None], torch.randn(1, 6, 16), z)
    assert torch.equal(encoder.context(z, mask)[-1], encoder.context(other, mask)[-1])


def test_ctc_is_that_of_torch() -> None:
    torch.manual_seed(0)
    shape = Shape(SequenceConfig(dim=16, depth=1, heads=2), 64, (0, 0), (0, 0))
    head, encoder = Ctc(Ctc.config_type(), shape), SequenceEncoder(SequenceConfig(dim=16, depth=1, heads=2))
    letters, counts = torch.tensor([[2, 3, 3], [5, 0, 0]]), torch.tensor([3, 1])
    step = Step(torch.randn(2, 40, 64), encoder, None, None, None, None, {"letters": letters, "letter_counts": counts})
    logs = head.head(step.layers[-1]).log_softmax(-1).transpose(0, 1)
    expected = [
        ctc_loss(logs[:, [i]], letters[[i], :n], torch.tensor([20]), torch.tensor([n]), reduction="sum") / n
        for i, n in enumerate((3, 1))
    ]
    assert head(step).loss.item() == pytest.approx(torch.stack(expected).mean().item(), rel=1e-5)
    assert best_path([LETTERS.index("a") + 1] * 3 + [0] + [LETTERS.index("a") + 1]) == "aa"


def test_tokens_of_centers_are_the_nearest(tmp_path: Path) -> None:
    torch.manual_seed(0)
    frames = torch.randn(2, 20, 8)
    points = stacked(frames, 2)
    centers = torch.stack([points[0, :5, :8], points[1, :5, 8:]])
    save_centers(tmp_path / "c.npz", centers, 0)
    config = TokenizerConfig(kind="centers", file=str(tmp_path / "c.npz"))
    tokens = Tokenizers([config], 8, 2, load_self_supervised)(frames, {})
    assert tokens.shape == (2, 10, 2)
    assert tokens[0, :5, 0].tolist() == [0, 1, 2, 3, 4]
    assert tokens[1, :5, 1].tolist() == [0, 1, 2, 3, 4]
    brute = torch.cdist(points[..., :8], centers[0]).argmin(-1)
    assert torch.equal(tokens[..., 0], brute)
