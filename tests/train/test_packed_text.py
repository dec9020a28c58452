"""Packed captions: the same embeddings and gradients as padded ones, through loader, system and loss."""

from __future__ import annotations

import pytest
import torch
from sounds import MakeRecipe
from torch import Tensor

from aural.core.errors import AuralError, ConfigError
from aural.train.inputs import unit
from aural.train.loader import Batches
from aural.train.loop import prepare, train
from aural.train.parallel import Place
from aural.train.selected import system_of

NAMES = ["tiny_clap_2022", "tiny_clap_2023", "tiny_laion_htsat_roberta"]
BASE = ("loop.batch=8", "loop.micro_batch=0", "loop.steps=2", "evaluators=[]", "data.captions_per_clip=2")


@pytest.mark.parametrize("name", NAMES)
def test_a_packed_batch_gives_what_a_padded_one_gives(make_recipe: MakeRecipe, name: str) -> None:
    outs: list[Tensor] = []
    for more in ((), ("data.pack_text=40",)):
        recipe = make_recipe(name, *BASE, *more)
        kind, config = system_of(recipe)
        batch = Batches(recipe, plan=config.plan(recipe))[1]
        assert ("starts" in batch) == bool(more)
        assert set(batch) - {"keys", "captions", "bad"} <= Batches(recipe, plan=config.plan(recipe)).gives
        torch.manual_seed(0)
        system = kind(config, None).eval()
        outs.append(system({k: v for k, v in batch.items() if isinstance(v, Tensor)})["text_emb"])
    assert outs[0].shape[0] == 16
    torch.testing.assert_close(outs[1], outs[0], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(unit(outs[0])[0], unit(outs[0])[3])  # captions differ


def test_a_run_with_packed_captions(make_recipe: MakeRecipe, tmp_path: object) -> None:
    recipe = make_recipe("tiny_clap_2022", *BASE, "data.captions_per_clip=1", "data.pack_text=32")
    assert train(recipe, f"{tmp_path}/run", device="cpu").is_dir()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (("data.pack_text=8",), "a caption can have 32 tokens"),
        (("data.pack_text=40", "loop.micro_batch=4"), "rows of tokens hold several captions"),
        (("data.pack_text=40", "teachers=[{kind: frozen, model: x, towers: [text]}]"), "teacher"),
    ],
)
def test_refusals(make_recipe: MakeRecipe, changes: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(AuralError, match=sentence):
        prepare(make_recipe("tiny_clap_2022", *BASE, *changes), Place(0, 1, torch.device("cpu")))


def test_tokens_of_a_caption_are_refused(make_recipe: MakeRecipe) -> None:
    recipe = make_recipe("tiny_clap_2022", *BASE, "data.pack_text=40")
    _, config = system_of(recipe)
    tokens = config.model_copy(update={"embeddings": {"words": {"tower": "text", "tokens": True}}})
    with pytest.raises(ConfigError, match="no tokens of a single caption"):
        type(config).parse(tokens.model_dump(), "test").plan(recipe)
