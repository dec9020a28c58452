"""Kinds of supervised tasks: labels, widths and losses by hand, and a kind of a plug-in."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from sounds import MakeRecipe
from torch import nn

from aural.core import plugins
from aural.core.errors import ConfigError, DataError
from aural.encoders.base import AudioFeatures
from aural.train.config import TaskConfig
from aural.train.head_kinds import CAPTION_END, HEAD_KINDS, IGNORE, HeadKind
from aural.train.loop import train
from aural.train.sources import Item
from aural.train.track import lines_of

PLUGIN = '''
import torch
from aural.train.head_kinds import HEAD_KINDS, HeadKind

@HEAD_KINDS.register("sign")
class Sign(HeadKind):
    """Whether a number is above a half."""

    width = 1

    def labels(self, answers):
        return torch.tensor([0.0 if value is None else float(float(value) > 0.5) for value in answers])

    def loss(self, head, features, labels):
        logits = head(features.pooled).float()[:, 0]
        losses = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="none")
        return losses, ((logits > 0) == (labels > 0.5)).float()
'''


def kind_of(name: str, classes: tuple[str, ...] = (), **options: object) -> HeadKind:
    task = TaskConfig.parse({"kind": name, "column": "x", **options}, "test")
    return HEAD_KINDS[name]("t", task, classes)


def features(pooled: list[list[float]]) -> AudioFeatures:
    x = torch.tensor(pooled)
    return AudioFeatures(x, x[:, None])


def test_labels_of_each_kind() -> None:
    assert kind_of("classify", ("a", "b")).labels(["b", None, "a"]).tolist() == [1, IGNORE, 0]
    assert kind_of("tag", ("a", "b")).labels([["b", "a"], None, ["c"]]).tolist() == [[1, 1], [0, 0], [0, 0]]
    assert kind_of("regress").labels(["0.5", None]).tolist() == [0.5, IGNORE]
    assert kind_of("count", highest=4).labels([9, 2, None]).tolist() == [4, 2, IGNORE]
    captions = kind_of("caption", max_tokens=5).labels(["a dog", None])
    assert captions.shape == (2, 5)
    assert captions[1].tolist() == [IGNORE] * 5
    assert captions[0, 2:].tolist() == [220, CAPTION_END, IGNORE]  # after two words a space, the end, and padding


def test_widths_and_losses_of_each_kind() -> None:
    head = nn.Identity()
    x = features([[2.0, 0.0], [0.0, 2.0]])
    right = torch.log(torch.tensor(1 + torch.e**-2)).item()
    losses, scores = kind_of("classify", ("a", "b")).loss(head, x, torch.tensor([0, 0]))
    assert losses.tolist() == pytest.approx([right, right + 2])
    assert scores.tolist() == [1, 0]
    losses, scores = kind_of("tag", ("a", "b")).loss(head, x, torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
    assert scores.tolist() == [0.5, 0.5]
    losses, scores = kind_of("regress").loss(head, x, torch.tensor([1.5, -2.0]))
    assert losses.tolist() == [0.125, 1.5]
    assert scores.tolist() == [-0.5, -2.0]
    for name, classes, width in (("classify", ("a", "b"), 2), ("regress", (), 1), ("count", (), 5)):
        linear = kind_of(name, classes, highest=4).head(3)
        assert isinstance(linear, nn.Linear)
        assert linear.weight.shape == (width, 3)


def test_wrong_answers_are_named() -> None:
    with pytest.raises(DataError, match=r'tasks.t: "c" is not one of its classes'):
        kind_of("classify", ("a", "b")).labels(["c"])
    with pytest.raises(DataError, match=r'tasks.t: x holds "loud", which is not a number'):
        kind_of("count").labels(["loud"])
    with pytest.raises(DataError, match=r"clip.wav: has no caption"):
        kind_of("caption").answer(Item("clip.wav", {}))
    with pytest.raises(DataError, match=r"tasks.t: "):
        kind_of("tag", ("a", "b")).answer(Item("clip.wav", {"y": 1}))


def test_a_plug_in_adds_a_kind(make_recipe: MakeRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes = ["loop.batch=10", "loop.steps=2", "tasks.pitch.kind=sign", "evaluators=[]"]
    with pytest.raises(ConfigError, match='unknown kind of task head "sign"'):
        train(make_recipe("tiny_clap_2023_stage1", *changes), tmp_path / "before", device="cpu")
    monkeypatch.setattr(HEAD_KINDS, "_items", dict(HEAD_KINDS._items))
    monkeypatch.setattr(HEAD_KINDS, "_axes", dict(HEAD_KINDS._axes))
    (tmp_path / "toy_sign_kind.py").write_text(PLUGIN)
    monkeypatch.setenv("AURAL_PLUGINS", os.environ["AURAL_PLUGINS"])  # restored after the test
    monkeypatch.setattr(plugins._state, "plugins", dict(plugins._state.plugins))
    monkeypatch.syspath_prepend(tmp_path)
    plugins.add_plugin("toy_sign_kind")
    train(make_recipe("tiny_clap_2023_stage1", *changes), tmp_path / "run", device="cpu")
    line = lines_of(tmp_path / "run" / "metrics.jsonl")[-1]
    assert line["score.pitch"] in (0.0, 0.5, 1.0)
