"""Studies of voices: measures with known values, storage in 8 bits, and views of captions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau

from aural.data.manifest import Row
from aural.data.speech.simulator import SpeechConfig, plan
from aural.reproduce.studies import independent_voices, paralinguistics, ranked_emotion, rephrased, soundmarks, voices
from aural.reproduce.studies.voices import from_bytes, load_voices, to_bytes, toy_voice
from aural.reproduce.study import StudyContext


def context(folder: Path) -> StudyContext:
    return StudyContext(seed=0, smoke=True, device="cpu", data=None, out=folder)


def test_recall_is_the_mean_of_recalls_per_class() -> None:
    """As scikit-learn's balanced accuracy, averaged over classifications; clips without a class do not count."""
    from sklearn.metrics import balanced_accuracy_score

    rng = np.random.default_rng(0)
    truth = {"a": rng.integers(0, 3, 50), "b": rng.integers(-1, 2, 50)}
    predicted = {name: rng.integers(0, 3, 50) for name in truth}
    correct = {name: predicted[name] == truth[name] for name in truth}
    kept = truth["b"] >= 0
    wanted = [
        balanced_accuracy_score(truth["a"], predicted["a"]),
        np.mean([np.mean(predicted["b"][kept][truth["b"][kept] == c] == c) for c in (0, 1)]),
    ]
    assert paralinguistics.recall(correct, truth, ("a", "b")).mean() == pytest.approx(np.mean(wanted))


def test_kendall_tau_is_that_of_scipy_with_ties() -> None:
    rng = np.random.default_rng(0)
    left, right = rng.integers(0, 6, (2, 3, 30)).astype(np.float64)
    wanted = [kendalltau(one, other).statistic for one, other in zip(left, right, strict=True)]
    assert ranked_emotion.kendall_tau(left, right) == pytest.approx(wanted)
    assert ranked_emotion.kendall_tau(np.ones((1, 4)), np.arange(4.0)[None]).tolist() == [0]


def test_eight_bits_are_exact_to_a_quarter_of_a_decibel() -> None:
    mel = np.arange(-96 * 256, 31 * 256, 17, dtype=np.int16)
    assert np.abs(from_bytes(to_bytes(mel)).astype(int) - mel).max() <= 64
    assert from_bytes(to_bytes(np.array([-32768, 32767], np.int16))).tolist() == [-96 * 256, round(31.5 * 256)]


def test_voices_are_stored_once_with_their_measures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load_voices(context(tmp_path), "train")
    monkeypatch.setattr(voices, "pack_clips", lambda waves: pytest.fail("computed twice"))
    second = load_voices(context(tmp_path), "train")
    assert torch.equal(first.mel, second.mel)
    assert first.mel.shape == (24, voices.FRAMES, 48)
    planted = [(190 if one.speaker.startswith("f") else 110) * one.prosody.pitch for one in first.plans]
    assert [one.f0_hz for one in first.measures] == pytest.approx(planted, rel=0.01)


def test_the_queries_of_a_loud_fast_high_voice_have_these_words(tmp_path: Path) -> None:
    train = load_voices(context(tmp_path), "train")
    terciles = paralinguistics.Terciles.of(train.measures)
    queries = paralinguistics.queries_of(train, terciles)
    loudest = int(np.argmax([one.level_dbfs for one in train.measures]))
    highest = int(np.argmax([one.f0_hz for one in train.measures]))
    assert "a person speaking loudly" in queries[loudest]
    assert "a high-pitched voice" in queries[highest]
    prompts = {text for texts in paralinguistics.PROMPTS.values() for text in texts}
    assert not prompts & {text for of_clip in queries for text in of_clip}


def test_arms_draw_their_views_from_the_same_numbers() -> None:
    captions = [5, 6, 7, 8]
    views = {
        arm: [rephrased.draw_views(captions, arm, np.random.default_rng(n)) for n in range(200)]
        for arm in ("plain", "repeated", "drawn", "views")
    }
    assert {tuple(one) for one in views["plain"]} == {(5,)}
    assert {tuple(one) for one in views["repeated"]} == {(5, 5, 5)}
    assert {one[0] for one in views["drawn"]} == {5, 6, 7, 8}
    assert {one[0] for one in views["views"]} == {5}
    assert {text for one in views["views"] for text in one[1:]} == {6, 7, 8}
    assert rephrased.draw_views([5], "views", np.random.default_rng(0)) == [5, 5, 5]


def test_only_unseen_paraphrases_of_trained_classes_are_asked() -> None:
    def row(name: str, *captions: str) -> Row:
        return Row(path=name, source="t", split="", class_name=name, caption_label=name, captions=list(captions))

    train = [row("dog", "a dog barks")]
    test = [row("dog", "a dog barks", "barking"), row("cat", "a cat"), row("dog", "a dog barks")]
    place = {"dog": 0, "a dog barks": 1, "barking": 2, "cat": 3, "a cat": 4}
    assert rephrased.queries_of(train, test, place, {"dog", "a dog barks"}) == [(0, 0, [2])]


def test_soundmarks_differ_between_places_and_signals_heard_everywhere_do_not() -> None:
    def melody(language: str, name: str, local: bool) -> np.ndarray:
        one = soundmarks.Signal(language, name, local, plan(SpeechConfig(), 0))
        return soundmarks.melody(one, transpose=1.0, stretch=1.0)

    telephone = melody("en", soundmarks.EVERYWHERE[0], False)
    assert np.array_equal(telephone, melody("ru", soundmarks.EVERYWHERE[0], False))
    ferries = [melody(language, "the ferry", True) for language in soundmarks.PLACES]
    assert all(len(a) != len(b) or not np.allclose(a, b) for i, a in enumerate(ferries) for b in ferries[:i])
    signals = soundmarks.draw_signals("test", 2)
    assert len(signals) == 5 * 10 * 2
    shared = {one.spoken.text for one in signals if one.name == "the ferry"}
    assert shared & {one.spoken.text for one in signals if one.name == "a telephone"}


def test_a_toy_voice_has_the_planted_level() -> None:
    one = plan(SpeechConfig(), 3)
    quiet = toy_voice(one)
    assert np.isfinite(quiet).all()
    assert 0.001 < np.std(quiet) < 0.5


def test_a_changed_clip_is_louder_and_faster() -> None:
    """A ramp over time becomes steeper by the rate; 1 dB is 256 steps."""
    ramp = torch.arange(voices.FRAMES, dtype=torch.int16)[:, None].repeat(1, 48) * 10
    louder = independent_voices.changed(ramp, 1.0, 1.0)
    assert torch.equal(louder[:-1] - ramp[:-1], torch.full_like(ramp[:-1], 256))
    faster = independent_voices.changed(ramp, 0.0, 1.5)
    assert faster[:100, 0].tolist() == [15 * i for i in range(100)]
    assert faster[-1, 0] < ramp[-1, 0]  # it has started again


def test_varied_voices_have_levels_and_rates_without_relation_to_emotion(tmp_path: Path) -> None:
    before = load_voices(context(tmp_path), "train")
    after = independent_voices.varied(before, 0)
    gains = [b.prosody.level_dbfs - a.prosody.level_dbfs for a, b in zip(before.plans, after.plans, strict=True)]
    measured = [b.level_dbfs - a.level_dbfs for a, b in zip(before.measures, after.measures, strict=True)]
    assert gains == pytest.approx(measured)
    assert 3 < np.std(gains) < 8
    assert abs(np.corrcoef(gains, before.plane[:, 1])[0, 1]) < 0.5
    shift = (after.mel - before.mel).float().mean((1, 2)) / 256
    assert np.corrcoef(shift.numpy(), gains)[0, 1] > 0.95
