"""Every toggle with every option: a finite loss whose gradient reaches the encoder, and what is particular to it."""

from __future__ import annotations

import json
from copy import deepcopy
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np
import pytest
import torch

from aural.data.text.world import examples_of
from aural.encoders.bert import Bert
from aural.encoders.text import TextConfig
from aural.train.recipes import load_recipe
from aural.train.sentences import TOGGLES, Shape, Step, Toggle
from aural.train.sentences.contrast import alike
from aural.train.sentences.tokens import sentence_tokenizer

KINDS = {
    "neighbors": "story", "next-words": "story", "discourse": "story", "turns": "dialogue", "future": "dialogue",
    "past": "dialogue", "phrase": "phrase",
}  # fmt: skip
OPTIONS: list[tuple[str, dict[str, Any]]] = [
    *((name, {}) for name in TOGGLES),
    ("simcse", {"rate": 0.0}),
    ("simcse", {"view": "any"}),
    ("simcse", {"view": "mask-span"}),
    ("simcse", {"view": "misspell"}),
    ("simcse", {"positive": "entailed", "hard": True, "hinge": 1.0, "prompt": 4}),
    ("simcse", {"attention": 0.1}),
    ("simcse", {"positive": "context"}),
    ("simcse", {"positive": "span"}),
    ("simcse", {"positive": "translation"}),
    ("debiased-negatives", {"noise": 8, "after": 0, "hard": True}),
    ("propensity", {"after": 0}),
    ("refined", {"after": 0, "sentences": True, "pairs": 0.5, "threshold": 0.9, "hard": True}),
    *(("prompt", {"views": views}) for views in ("templates", "paraphrase", "easy", "translated")),
    ("prompt", {"demonstrations": 1.0}),
    ("labels", {"loss": "cross-entropy"}),
    ("graded", {"binary": True}),
    ("ranked", {"loss": "list-mle"}),
    ("ranked", {"loss": "triplet"}),
    ("turns", {"triples": False}),
    ("phrase", {"characters": False, "kinds": 0.0}),
]


@lru_cache(maxsize=1)
def shape() -> Shape:
    large = load_recipe("sentences", ()).system["text"]
    text = TextConfig.model_validate({**large, "dim": 16, "depth": 1, "heads": 2, "hidden_dim": 16})
    torch.manual_seed(0)
    return Shape(text, sentence_tokenizer(text, "random"), Bert(text, 0.1))


def test_translations_are_drawn_from_both_toy_languages() -> None:
    toggle, step = built("simcse", {"positive": "translation"})
    anchors, positives, _ = toggle.pairs(step)  # type: ignore[operator]
    languages = {example.translations.index(text) for example, text in zip(step.examples, positives, strict=True)}
    assert languages == {0, 1}
    assert anchors == [example.text for example in step.examples]


def built(name: str, options: dict[str, Any]) -> tuple[Toggle, Step]:
    kind = TOGGLES[name]
    torch.manual_seed(0)
    toggle = kind(kind.config_type.parse(options, name), shape())
    material = "story" if options.get("positive") == "span" else KINDS.get(name, "sentence")
    material = "phrase" if options.get("positive") == "context" else material
    world = examples_of(json.dumps({"kind": material, "size": 64}))
    bert = deepcopy(shape().bert)
    second = deepcopy(bert).eval() if kind.second else None
    examples = [world.example(i) for i in range(8)]
    rng = np.random.default_rng(0)
    step = Step(examples, bert, second, shape().tokenizer, shape().special, rng, 500, torch.device("cpu"))
    return toggle, step


@pytest.mark.parametrize(("name", "options"), OPTIONS)
def test_a_finite_loss_reaches_the_encoder(name: str, options: dict[str, Any]) -> None:
    toggle, step = built(name, options)
    loss = toggle(step)["loss"]
    assert loss.ndim == 0
    assert bool(torch.isfinite(loss))
    loss.backward()
    layer = next(iter(step.bert.encoder.parameters()))
    assert layer.grad is not None
    assert float(layer.grad.abs().sum()) > 0
    unused = [name for name, parameter in toggle.named_parameters() if parameter.grad is None]
    heads = {"head.weight", "head.bias", "kind.weight", "kind.bias"}
    assert set(unused) <= heads


def test_without_dropout_both_views_are_equal() -> None:
    assert float(built("simcse", {"rate": 0.0})[0](built("simcse", {})[1])["alignment"]) == pytest.approx(0, abs=1e-5)
    assert float(built("simcse", {})[0](built("simcse", {})[1])["alignment"]) > 1e-4


def test_planted_duplicates_are_left_out_of_the_denominator() -> None:
    toggle, step = built("debiased-negatives", {"after": 0, "rate": 0.0})
    copies = replace(step, examples=[*step.examples[:4], *step.examples[:4]])
    rows = torch.eye(8)[[0, 1, 2, 3, 0, 1, 2, 3]]
    weights = toggle.negatives(copies, [], rows, rows)["weights"]  # type: ignore[operator]
    kept = weights + torch.eye(8)
    assert bool((kept[torch.arange(8), (torch.arange(8) + 4) % 8] == 0).all())
    assert int((weights == 0).sum()) == 8


def test_filters_drop_repetitions_and_the_least_similar_pairs() -> None:
    toggle, step = built("refined", {"after": 0, "sentences": True})
    copies = replace(step, examples=[*step.examples[:4], *step.examples[:4]])
    step.bert.eval()
    anchors, positives, kept = toggle.pairs(copies)  # type: ignore[operator]
    assert len(anchors) == len(positives) == len(kept) <= 4
    assert anchors == [example.text for example in kept]
    half, step = built("refined", {"after": 0, "pairs": 0.5})
    assert len(half.pairs(step)[0]) == 4  # type: ignore[operator]
    late, step = built("refined", {"after": 501, "pairs": 0.5})
    assert len(late.pairs(step)[0]) == 8  # type: ignore[operator]


def test_form_is_shared_words_times_the_ratio_of_lengths() -> None:
    assert alike("a dog barks", "a dog barks") == 1
    assert alike("a dog barks", "a dog") == pytest.approx(2 / 3 * 2 / 3)
    assert alike("a", "b") == 0


def test_a_soft_prompt_and_characters_change_vectors_at_test_time() -> None:
    for name, options in (("simcse", {"prompt": 2}), ("phrase", {}), ("self-guided", {})):
        toggle, step = built(name, options)
        step.bert.eval()
        with torch.no_grad():
            vectors, plain = toggle.embed(step, ["a dog barks."]), step.vectors(["a dog barks."])
        assert vectors is not None
        assert vectors.shape == plain.shape
        assert not torch.allclose(vectors, plain)
    toggle, step = built("simcse", {})
    assert toggle.embed(step, ["a dog barks."]) is None


def test_turns_are_encoded_once_and_scored_by_mixtures() -> None:
    toggle, step = built("turns", {})
    step.bert.eval()
    turns = step.examples[0].turns
    with torch.no_grad():
        rows = toggle.encode(step, step.examples[1].turns, 2)  # type: ignore[operator]
        scores = toggle.next_scores(step, turns[:4], rows)  # type: ignore[operator]
    assert scores.shape == (len(rows),)
    assert float(scores.abs().max()) <= 1 + 1e-5


def test_a_prompt_scores_every_class() -> None:
    toggle, step = built("prompt", {"demonstrations": 1.0})
    scores = toggle.classify(step, ["a dog barks.", "a bell rings."])  # type: ignore[operator]
    assert scores.shape == (2, 8)
