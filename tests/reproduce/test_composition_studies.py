"""Studies of composition: captions, controls at chance, planted order that is learned, and the shared parts."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from aural.objectives import InfoNCE, TemporalFocus, TemporalFocusConfig
from aural.reproduce import short_captions as short
from aural.reproduce.scene_world import FRAMES, HOP_S, Scenes, Sizes, reduced, seen_classes, smoke_sizes
from aural.reproduce.studies import attributes, frame_prior, long_sounds, refined_captions, sequence_distances
from aural.reproduce.studies import scene_pair as pairs
from aural.reproduce.studies.scene_scores import audio_rows, pair_accuracy, retrieval
from aural.reproduce.studies.text_only import text_only

NAMES = ("a bell", "a dog", "rain", "an owl", "a horn", "a drum")


def event(number: int, onset_s: float, level_db: float = -20.0) -> dict[str, Any]:
    offset_s = onset_s + 0.5
    return {
        "label": NAMES[number], "phrases": [NAMES[number]], "onset_s": onset_s, "offset_s": offset_s,
        "level_db": level_db, "level_dba": level_db,
    }  # fmt: skip


def planted(count: int, seed: int) -> Scenes:
    """Scenes of one or two separate events; a frame of event k is the k-th unit vector, others are zeros."""
    rng = np.random.default_rng(seed)
    frames = torch.zeros(count, FRAMES, len(NAMES))
    records = []
    for n in range(count):
        events = [event(int(k), 0.4 + 2.4 * i) for i, k in enumerate(rng.choice(len(NAMES), 1 + n % 2, replace=False))]
        for one in events:
            span = slice(round(one["onset_s"] / HOP_S), round(one["offset_s"] / HOP_S) + 1)
            frames[n, span, NAMES.index(one["label"])] = 3.0
        truth = {"events": events, "classes": [one["label"] for one in events]}
        records.append({"truth": truth, "captions": [], "negatives": []})
    return pairs.shortly(Scenes(frames, records), seed)


@pytest.fixture(scope="module")
def data() -> tuple[pairs.Captioned, pairs.Captioned, pairs.Texts]:
    train, test = planted(60, 0), planted(30, 1)
    texts = pairs.Texts(pairs.texts_in(train, test), torch.device("cpu"))
    return pairs.captioned(train, texts), pairs.captioned(test, texts), texts


def test_short_captions_by_hand() -> None:
    truth = {"events": [event(1, 2.0, -30.0), event(0, 0.0, -20.0)]}
    captions, false = short.write_captions(truth, np.random.default_rng(0), count=6)
    assert {text.removeprefix("first ") for text in captions} <= {f"a bell{joint}a dog" for joint in short.JOINTS}
    for text, one in zip(captions, false, strict=True):
        assert one == {"order": text.replace("a bell", "X").replace("a dog", "a bell").replace("X", "a dog")}
    loud, wrong = short.write_captions(truth, np.random.default_rng(0), loudness=True, count=20)
    said = [(text, one) for text, one in zip(loud, wrong, strict=True) if "loudness" in one]
    assert 0 < len(said) < 20
    for text, one in said:
        assert "a loud bell" in text
        assert "a quiet dog" in text
        assert "a quiet bell" in one["loudness"]
        assert text.index("bell") < text.index("dog")
        assert one["order"].index("quiet dog") < one["order"].index("loud bell")


def test_near_levels_are_neither_loud_nor_quiet_and_overlapping_sounds_are_left_out() -> None:
    assert short.loudness_words([event(0, 0.0, -20.0), event(1, 1.0, -24.0)]) == []
    assert short.loudness_words([event(0, 0.0, -26.0), event(1, 1.0, -20.0)]) == ["quiet", "loud"]
    assert short.separate({"events": [event(0, 0.0), event(1, 0.75)]})
    assert not short.separate({"events": [event(0, 0.0), event(1, 0.6)]})


def test_swapped_sounds_have_the_other_order(data: tuple[pairs.Captioned, pairs.Captioned, pairs.Texts]) -> None:
    train = data[0]
    frames, numbers = pairs.swapped_sounds(train)
    assert len(numbers) == 30
    for n in numbers:
        first, second = (NAMES.index(one["label"]) for one in short.in_order(train.scenes.records[n]["truth"]))
        for values, earlier, later in ((train.scenes.frames[n], first, second), (frames[n], second, first)):
            assert values[:, earlier].nonzero().min() < values[:, later].nonzero().min()
        torch.testing.assert_close(frames[n].sum(0), train.scenes.frames[n].sum(0))
    singles = sorted(set(range(60)) - set(numbers.tolist()))
    torch.testing.assert_close(frames[singles], train.scenes.frames[singles])


def test_planted_order_is_learned_with_false_captions(
    data: tuple[pairs.Captioned, pairs.Captioned, pairs.Texts],
) -> None:
    """Perfect frames: the temporal loss teaches order; the sound of another scene and the text alone are at chance."""
    train, test, texts = data
    plain, temporal = InfoNCE(), TemporalFocus(TemporalFocusConfig(masked=True))
    loss = pairs.with_false(train, ["order"], 0.0, lambda given: plain(given)["loss"] + 2 * temporal(given)["loss"])
    pair = pairs.ScenePair(len(NAMES), texts, 0, moment=True)
    pairs.fit(pair, len(train), loss, pairs.Training(steps=120, batch=30, lr=3e-3, warmup=5), 0)
    audio = audio_rows(pair, test.scenes.frames)
    order = pair_accuracy(audio, pair, test, "order")
    assert len(order) == 15
    assert order.mean() > 0.85
    assert retrieval(audio, pair, test)["R@10"].mean() > 0.8
    assert pair_accuracy(np.roll(audio, 3, axis=0), pair, test, "order").mean() < 0.8
    scores = text_only(train, test, texts, ["order"], pairs.Training(steps=20, batch=20), 0)["order"]
    assert 0.1 < scores.mean() < 0.9


def test_arms_see_the_same_scenes(data: tuple[pairs.Captioned, pairs.Captioned, pairs.Texts]) -> None:
    train, _, texts = data
    seen: dict[str, list[list[int]]] = {"one": [], "two": []}
    for arm, drawn in seen.items():

        def loss(pair: pairs.ScenePair, numbers: Any, rng: Any, arm: str = arm, drawn: Any = drawn) -> torch.Tensor:
            drawn.append(list(numbers))
            rng.random(3 if arm == "one" else 7)
            return pair.embed_texts(train.captions[0]).sum()

        pairs.fit(pairs.ScenePair(len(NAMES), texts, 0), 60, loss, pairs.Training(steps=3, batch=20, warmup=0), 5)
    assert seen["one"] == seen["two"]
    assert sorted(n for batch in seen["one"] for n in batch) == list(range(60))


def test_planted_captions_name_a_sound_that_is_heard_and_one_that_is_not(
    data: tuple[pairs.Captioned, pairs.Captioned, pairs.Texts],
) -> None:
    train = data[0]
    noisy, false = refined_captions.plant(train, 0.2, np.random.default_rng(0))
    assert false.sum() == 12
    for n in np.flatnonzero(false):
        donor = next(k for k, texts in enumerate(train.captions) if texts[0] == noisy.captions[n][0])
        here, there = (set(train.scenes.records[k]["truth"]["classes"]) for k in (n, donor))
        assert here & there
        assert there - here
    assert all(noisy.captions[n] == train.captions[n][:1] for n in np.flatnonzero(~false))
    scores = np.where(false, -1.0, 1.0)
    assert refined_captions.area(scores, false) == 1.0
    assert refined_captions.area(-scores, false) == 0.0
    assert refined_captions.area(scores, np.zeros(60, bool)) == 0.5


def test_recall_among_orders_by_hand() -> None:
    """Two scenes in six orders. Perfect within the scenes, and the other scene is nearer to the first query."""
    distance = 1.0 - np.eye(12)
    distance[0, 7] = -1.0
    scores = sequence_distances.recall(distance)
    assert scores["order-R@1"].tolist() == [1.0] * 12
    assert scores["R@1"].tolist() == [0.0] + [1.0] * 11


def test_peaks_by_hand() -> None:
    """Sentence 0 describes segment 2 and is nearest to it; sentence 1 describes segment 0 and is nearest to 1."""
    segments, sentences = torch.eye(3)[None], torch.eye(3)[None, [2, 1]]
    sounds = long_sounds.LongSounds(np.array([[0, 1, 2]]), np.array([[2, 0]]), np.zeros((1, 2), np.int64))
    assert long_sounds.peaks(segments, sentences, sounds, 0.1).tolist() == [0.5]
    assert long_sounds.recall(torch.eye(4).roll(1, 0))["R@1"].sum() == 0


def test_reduced_features_have_unit_scale_and_the_level_comes_last() -> None:
    rng = np.random.default_rng(0)
    raw = {name: rng.standard_normal((count, 4, 9)).astype(np.float16) for name, count in (("train", 200), ("test", 5))}
    raw["train"][..., 0] *= 4
    result = reduced(raw, 3)
    assert result["test"].shape == (5, 4, 4)
    assert float(np.square(result["train"][..., :3].astype(np.float64)).mean()) == pytest.approx(1, abs=0.01)
    level = result["train"][..., 3].astype(np.float64)
    assert (level.mean(), level.std()) == (pytest.approx(0, abs=0.01), pytest.approx(1, abs=0.01))
    correlation = np.corrcoef(result["train"][..., 0].ravel(), raw["train"][..., 0].ravel())[0, 1]
    assert abs(correlation) > 0.98, "the first axis is that of the largest variance"


def test_every_so_many_th_class_is_unseen() -> None:
    classes = tuple("abcdefghijkl")
    assert sorted(seen_classes(classes, Sizes())) == list(classes)
    seen = seen_classes(classes, Sizes(unseen=4))
    assert len(seen) == 9
    assert set(seen) < set(classes)
    assert smoke_sizes(Sizes(quadruples=0, orders=60)).orders == 2


class Planted:
    """Towers whose embeddings are given: the first frame of a sound, and a row per text."""

    def __init__(self, texts: torch.Tensor) -> None:
        self.texts, self.scale = texts, torch.tensor(1.0)

    def embed_audio(self, frames: torch.Tensor) -> torch.Tensor:
        return frames[:, 0]

    def embed_texts(self, numbers: list[int]) -> torch.Tensor:
        return self.texts[numbers]


@pytest.mark.parametrize(("sounds", "parts"), [(False, 2), (True, 3)])
def test_the_partner_of_a_quadruple_is_a_false_caption_and_a_false_sound(sounds: bool, parts: int) -> None:
    frames = torch.eye(2)[:, None].expand(2, FRAMES, 2)
    data = pairs.Captioned(Scenes(frames, []), [[0] * attributes.FORMS, [1] * attributes.FORMS], [])
    loss = attributes.with_partner(data, 0.0, 1.0, sounds=sounds)
    right = float(loss(Planted(torch.eye(2)), [0, 1], np.random.default_rng(0)))
    assert right == pytest.approx(parts * np.log(1 + np.exp(-1)), abs=1e-6)  # by hand: cosine 1 against 0
    wrong = float(loss(Planted(torch.eye(2).flip(0)), [0, 1], np.random.default_rng(0)))
    assert wrong == pytest.approx(parts * np.log(1 + np.exp(1)), abs=1e-6)


def test_the_best_constant_removes_a_shift() -> None:
    truth = np.zeros((1, 40, 2))
    truth[0, :4, 0] = truth[0, :10, 1] = 1  # active in a tenth and in a quarter
    logits = np.where(truth > 0, 1.0, -1.0) + 3.0
    assert frame_prior.best_constant(logits, truth) == pytest.approx(-3.0, abs=0.01)
    assert frame_prior.balanced_loss(logits - 3.0, truth) == pytest.approx(np.log(1 + np.exp(-1)))


def test_captions_say_that_two_sounds_are_heard_together() -> None:
    truth = {"events": [event(0, 0.0, -20.0), event(1, 0.2, -30.0)]}
    captions, false = short.write_captions(truth, np.random.default_rng(0), together=True)
    assert captions == ["a bell together with a dog"] * 2
    assert false == [{}, {}]
    one_by_one = {"events": [event(0, 0.0), event(1, 1.0)]}
    assert all(
        "together" not in one for one in short.write_captions(one_by_one, np.random.default_rng(0), together=True)[0]
    )
