"""Task kinds: a kind of another package is checked, listed and scored like the built-in ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fakes import RandomEmbedder, made_up

from aural.core.config import Config
from aural.core.errors import ConfigError
from aural.core.types import Answerer, Captioner, Embedder, FrameEmbedder, TextEmbedder, Transcriber
from aural.evaluate import cards
from aural.evaluate.cards import TaskCard
from aural.evaluate.examples import LoadedTask, captions
from aural.evaluate.kinds import KINDS, TaskKind
from aural.evaluate.metrics import METRICS
from aural.evaluate.metrics.base import stored_values
from aural.evaluate.outcome import Context, Outcome
from aural.evaluate.run import evaluate
from aural.evaluate.runners import KINDS as WITH_RUNNERS

CARD = {
    "name": "toy",
    "title": "toy",
    "dimension": "awareness",
    "aspect": "words",
    "dataset": "clotho",
    "columns": {"split": ["test"]},
    "metric": "share-right",
    "citation": "x",
}


class Shout(Config):
    """Options of the toy kind."""

    capitals: bool = False


class Parrot:
    """Transcribes every clip as the first caption of clip 0."""

    revision = "parrot"

    def transcribe(self, clips: Sequence[Any]) -> list[str]:
        return ["bell 0 of clip test 0"] * len(clips)


@pytest.fixture
def toy_kind() -> Iterator[TaskKind]:
    """Register a kind with a metric and a runner, as a plug-in would, and remove it afterwards."""
    stored_values("share-right", "right", "Share of clips whose transcript is the first caption.")
    kind = TaskKind(("share-right",), "share-right", needs=(Transcriber,), truth="captions", options=Shout)
    KINDS.add("toy-transcription", kind)

    @kind.runner("zero-shot")
    def transcription(context: Context, task: LoadedTask) -> Outcome:
        options = task.card.kind_options()
        assert isinstance(options, Shout)
        clips = task.test
        written = context.embedder.transcribe([clips.corpus.source(int(n)) for n in clips.numbers])
        truth = [captions(one, task.card)[0] for one in clips.rows]
        expected = [text.upper() if options.capitals else text for text in truth]
        right = np.array([a == b for a, b in zip(written, expected, strict=True)])
        return Outcome({"right": right, "units": np.arange(len(right))}, clips.ids)

    yield kind
    del KINDS._items["toy-transcription"], METRICS._items["share-right"]


@pytest.mark.parametrize(("options", "score"), [({}, 1 / 24), ({"capitals": True}, 0.0)])
def test_a_kind_of_another_package_is_scored(
    toy_kind: TaskKind, tmp_path: Path, options: dict[str, Any], score: float
) -> None:
    card = TaskCard.parse(CARD | {"kind": "toy-transcription", "options": options}, "toy")
    root = made_up(card, tmp_path / "data", 24)
    run = evaluate(Parrot(), [card], root, tmp_path / "out", resamples=10)
    assert run.scores["toy@zero-shot"]["score"] == score
    missing = evaluate(RandomEmbedder(), [card], root, tmp_path / "other", resamples=10).missing
    assert missing == {"toy@zero-shot": "the model is no Transcriber: it needs transcribe"}


def test_a_card_may_only_set_the_keys_of_its_kind(toy_kind: TaskKind) -> None:
    with pytest.raises(ConfigError, match='a pairs task has no key "prompt"; it may set captions, pair_kinds'):
        TaskCard.parse(CARD | {"kind": "pairs", "metric": "pair-accuracy", "prompt": "{}"}, "toy")
    with pytest.raises(ConfigError, match=r'unknown key "capital"; did you mean "capitals"'):
        TaskCard.parse(CARD | {"kind": "toy-transcription", "options": {"capital": True}}, "toy")
    with pytest.raises(ConfigError, match="a pairs task has no options"):
        TaskCard.parse(CARD | {"kind": "pairs", "metric": "pair-accuracy", "options": {"a": 1}}, "toy")
    with pytest.raises(ConfigError, match='unknown task kind "pair"; did you mean "pairs"'):
        TaskCard.parse(CARD | {"kind": "pair"}, "toy")
    with pytest.raises(ValueError, match="already registered"):
        toy_kind.runner("zero-shot")(lambda context, task: None)


def test_every_kind_has_a_runner_and_its_primary_metric() -> None:
    for name in WITH_RUNNERS:
        kind = WITH_RUNNERS[name]
        assert "zero-shot" in kind.runners, name
        assert kind.primary in kind.metrics, name
        assert all(metric in METRICS for metric in kind.metrics), name
    assert {cards.task(name).kind for name in cards.names()} == set(KINDS)


def test_protocols_name_the_capabilities() -> None:
    model = RandomEmbedder()
    assert isinstance(model, Embedder)
    assert isinstance(model, TextEmbedder)
    assert isinstance(model, FrameEmbedder)
    assert not isinstance(model, Captioner)
    assert not isinstance(model, Answerer)
    assert isinstance(Parrot(), Transcriber)
