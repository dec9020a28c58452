"""The model users hold: unit rows, streams and batches that agree, policies for long sounds, refusals in a sentence."""

from __future__ import annotations

import random
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aural.core.errors import AuralError, DefectWarning
from aural.core.types import Clip, Embedder
from aural.models.load import load
from aural.models.pipeline import Model
from aural.models.zeroshot import Classifier
from tiny import RATE_HZ, save_tiny, tiny_config, tone, write_wav

LENGTHS_S = (0.02, 0.5, 1.0, 1.3, 3.7)


def sounds() -> list[Any]:
    return [(tone(seconds, hz=100 * (i + 1), seed=i), RATE_HZ) for i, seconds in enumerate(LENGTHS_S)]


def test_is_an_embedder(tiny: Model) -> None:
    assert isinstance(tiny, Embedder)
    assert (tiny.sample_rate_hz, tiny.embed_dim) == (16000, 24)
    assert tiny.logit_scale == pytest.approx(1 / 0.07)


def test_unit_rows_of_float32(tiny: Model) -> None:
    for rows in (tiny.embed_audio(sounds()), tiny.embed_text(["rain", "", "a dog barks " * 50])):
        assert rows.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)
    assert tiny.embed_audio([]).shape == tiny.embed_text([]).shape == (0, 24)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 64])
def test_batched_is_one_by_one(tiny: Model, batch_size: int) -> None:
    alone = np.concatenate([tiny.embed_audio([sound]) for sound in sounds()])
    np.testing.assert_allclose(tiny.embed_audio(sounds(), batch_size=batch_size), alone, atol=2e-6)
    texts = ["rain", "a dog barking in the distance", "", "wind", "a very long text " * 20]
    alone = np.concatenate([tiny.embed_text([text]) for text in texts])
    np.testing.assert_allclose(tiny.embed_text(texts, batch_size=batch_size), alone, atol=2e-6)


def test_long_sounds_are_the_weighted_mean_of_their_windows(tiny: Model) -> None:
    """3.7 s in windows of 1 s: three whole ones, and the last second with 0.7 s of new sound."""
    samples = tone(3.7, hz=500)
    windows = [samples[at : at + 16000] for at in (0, 16000, 32000, len(samples) - 16000)]
    vectors = tiny.embed_waves(np.stack(windows))
    total = (vectors * np.array([[1], [1], [1], [0.7]])).sum(0)
    found = tiny.embed_audio([(samples, RATE_HZ)])[0]
    np.testing.assert_allclose(found, total / np.linalg.norm(total), atol=1e-6)


def test_one_window_policies(tiny: Model) -> None:
    samples = tone(3.0, hz=500)
    first, center = (tiny.embed_audio([(samples, RATE_HZ)], longer=how)[0] for how in ("first", "center"))  # type: ignore[arg-type]
    golden = tiny.embed_waves(np.stack([samples[:16000], samples[16000:32000]]))
    np.testing.assert_allclose(np.stack([first, center]), golden, atol=1e-6)
    draws = [
        tiny.embed_audio([(samples, RATE_HZ)], longer="random", generator=random.Random(seed)) for seed in (1, 1, 2)
    ]
    np.testing.assert_array_equal(draws[0], draws[1])
    assert not np.allclose(draws[0], draws[2])


def test_shorter_policies(tiny: Model) -> None:
    samples = tone(0.3)
    padded = tiny.embed_waves(np.pad(samples, (0, 16000 - len(samples)))[None])
    np.testing.assert_allclose(tiny.embed_audio([(samples, RATE_HZ)], shorter="pad"), padded, atol=1e-6)
    assert not np.allclose(tiny.embed_audio([(samples, RATE_HZ)]), padded, atol=1e-3)


def test_streamed_is_direct(tiny: Model, tmp_path: Path) -> None:
    files = [write_wav(tmp_path / f"{i}.wav", seconds, seed=i) for i, seconds in enumerate(LENGTHS_S)]
    found = list(tiny.stream_audio(files, keep_windows=True, batch_size=3))
    assert [one.index for one in found] == list(range(5))
    np.testing.assert_allclose(np.stack([one.embedding for one in found]), tiny.embed_audio(files), atol=2e-6)
    assert [len(one.windows) for one in found] == [1, 1, 1, 2, 4]  # type: ignore[arg-type]
    assert [one.duration_s for one in found] == pytest.approx(LENGTHS_S)


def test_streams_go_on_past_bad_sources(tiny: Model, tmp_path: Path) -> None:
    good = write_wav(tmp_path / "good.wav", 1.3)
    bad = (np.full(40000, np.nan, np.float32), RATE_HZ)
    half = (np.concatenate([tone(2.0), [np.nan]]), RATE_HZ)  # good windows come first
    found = list(tiny.stream_audio([bad, good, tmp_path / "none.wav", half, good, 7], batch_size=2))  # type: ignore[list-item]
    assert [one.error is None for one in found] == [False, True, False, False, True, False]
    assert [one.embedding is None for one in found] == [True, False, True, True, False, True]
    np.testing.assert_allclose(found[1].embedding, found[4].embedding, atol=1e-6)  # type: ignore[arg-type]
    with pytest.raises(AuralError, match=r"none.wav: no such file"):
        tiny.embed_audio([good, tmp_path / "none.wav"])


@given(st.lists(st.floats(0.01, 2.5), max_size=6), st.integers(1, 5))
@settings(max_examples=15, deadline=None)
def test_any_list_gives_each_its_own_vector(tiny: Model, seconds: list[float], batch_size: int) -> None:
    clips = [Clip(tone(s, seed=i)[None], RATE_HZ) for i, s in enumerate(seconds)]
    found = list(tiny.stream_audio(clips, batch_size=batch_size))
    assert [one.index for one in found] == list(range(len(clips)))
    for one, clip in zip(found, clips, strict=True):
        assert one.duration_s == pytest.approx(clip.duration_s)


def test_silence_is_embedded_and_told(tiny: Model) -> None:
    (silent, loud) = tiny.stream_audio([(np.zeros(40000), RATE_HZ), (tone(1.0), RATE_HZ)])
    assert (silent.silent, loud.silent) == (True, False)
    assert np.linalg.norm(silent.embedding) == pytest.approx(1, abs=1e-6)  # type: ignore[arg-type]


def test_one_source_needs_no_list(tiny: Model, tmp_path: Path) -> None:
    path = write_wav(tmp_path / "a.wav")
    golden = tiny.embed_audio([path])
    with path.open("rb") as file:
        for one in (str(path), path, path.read_bytes(), file, (path,), Clip(tone(0.5)[None], RATE_HZ)):
            np.testing.assert_allclose(tiny.embed_audio(one), golden, atol=1e-3)  # type: ignore[arg-type]


def test_classify_is_softmax_of_scaled_cosines(tiny: Model) -> None:
    labels = ["rain", "a dog", "wind"]
    (ranked,) = tiny.classify(sounds()[:1], labels, template="{} here")
    cosine = tiny.similarity(sounds()[:1], [f"{label} here" for label in labels])[0].astype(np.float64)
    want = np.exp(tiny.logit_scale * cosine)
    want /= want.sum()
    assert {one.label: one.score for one in ranked} == pytest.approx(dict(zip(labels, want, strict=True)), abs=1e-4)
    assert [one.score for one in ranked] == sorted((one.score for one in ranked), reverse=True)
    assert len(tiny.classify(sounds()[:2], labels, top=2)[1]) == 2


def test_multi_label_scores_each_label_on_its_own(tiny: Model, tmp_path: Path) -> None:
    few = tiny.classify(sounds()[:1], ["rain"], multi_label=True)[0][0]
    many = tiny.classify(sounds()[:1], ["rain", "wind"], multi_label=True)[0]
    assert few.score == pytest.approx(next(one.score for one in many if one.label == "rain"), abs=1e-6)
    sigmoid = load(save_tiny(tmp_path / "bias", tiny_config(logit_bias=True)), device="cpu")
    (found,) = sigmoid.classify(sounds()[:1], ["rain"], multi_label=True)[0]
    bias = sigmoid.checkpoint.tensors["logit_bias"]
    logit = sigmoid.logit_scale * sigmoid.similarity(sounds()[:1], ["the sound of rain"])[0, 0] + float(bias)
    assert found.score == pytest.approx(1 / (1 + np.exp(-logit)), rel=1e-3)


def test_trainable_copy_gives_the_same(tiny: Model) -> None:
    tiny.embed_audio(sounds()[:1])  # under inference first
    clap = tiny.clap().eval()
    wave = torch.from_numpy(tone(1.0))[None]
    tokens = tiny.tokenizer(["rain"])
    out = clap(wave, tokens.ids, tokens.mask)
    np.testing.assert_allclose(out["audio_emb"].detach(), tiny.embed_waves(wave), atol=1e-6)
    np.testing.assert_allclose(out["text_emb"].detach(), tiny.embed_text(["rain"]), atol=1e-6)
    (out["audio_emb"] @ out["text_emb"].T * out["logit_scale"]).sum().backward()
    assert all(
        p.grad is not None for name, p in clap.named_parameters() if not name.startswith("text.encoder.model.pooler")
    )


def test_bf16_is_near(tiny_folder: Path, tiny: Model) -> None:
    half = load(tiny_folder, device="cpu", precision="bf16")
    cosine = (half.embed_audio(sounds()) * tiny.embed_audio(sounds())).sum(1)
    assert cosine.min() > 0.999


BAD_CALLS = {  # what is called -> a part of its sentence
    "batch_size is 0; it must be a whole number from 1": lambda m: m.embed_audio(sounds(), batch_size=0),
    'longer="middle" is not known; use windows, first': lambda m: m.embed_audio(sounds(), longer="middle"),
    'shorter="loop" is not known; use repeat': lambda m: m.embed_audio(sounds(), shorter="loop"),
    'longer="random" needs a generator': lambda m: m.embed_audio(sounds(), longer="random"),
    "int is not a list of sounds": lambda m: m.embed_audio(5),
    "NoneType is not a list of sounds": lambda m: m.embed_audio(None),
    "NoneType is not a sound; give a path": lambda m: m.embed_audio([None]),
    "list is not a sound; give a path": lambda m: m.embed_audio([[0.1, 0.2]]),
    "array: its sample rate is not given": lambda m: m.embed_audio(np.zeros(16000)),
    "array: its sample rate is not given; pass": lambda m: m.embed_audio([torch.zeros(16000)]),
    "array: give (samples, sample rate in Hz)": lambda m: m.embed_audio([(np.zeros(16000), "16000")]),
    "array: shape (2, 3, 4) is not (T,) or (C, T)": lambda m: m.embed_audio([(np.zeros((2, 3, 4)), 16000)]),
    "array: shape (16000, 2) is not (T,) or (C, T); transpose": lambda m: m.embed_audio(
        [(np.zeros((16000, 2)), 16000)]
    ),
    "samples of type complex128 are not sound": lambda m: m.embed_audio([(np.zeros(500, complex), 16000)]),
    "samples of type bool are not sound": lambda m: m.embed_audio([(np.zeros(500, bool), 16000)]),
    "samples of type <U1 are not sound": lambda m: m.embed_audio([(["a", "b"], 16000)]),
    "array: its rows differ in length": lambda m: m.embed_audio([([[0.1], [0.1, 0.2]], 16000)]),
    "sample rate 16000.5 Hz is not a whole number": lambda m: m.embed_audio([(np.zeros(500), 16000.5)]),
    "sample rate -1 Hz is not a whole number": lambda m: m.embed_audio([(np.zeros(500), -1)]),
    "sample rate nan Hz is not a whole number": lambda m: m.embed_audio([(np.zeros(500), float("nan"))]),
    "array: holds no samples": lambda m: m.embed_audio([(np.zeros(0), 16000)]),
    "array: sample 3 is NaN or infinite": lambda m: m.embed_audio([([0, 0, 0, float("nan")] * 99, 16000)]),
    "<0 bytes>: no bytes were given": lambda m: m.embed_audio([b""]),
    "opened as text; open the file in binary mode": lambda m: m.embed_audio(open(__file__, encoding="utf-8")),  # noqa: SIM115
    "is a directory, not a sound file": lambda m: m.embed_audio([Path(__file__).parent]),
    "waves of shape (16000,); give (N, 16000)": lambda m: m.embed_waves(np.zeros(16000, np.float32)),
    "waves of shape (1, 500); give (N, 16000)": lambda m: m.embed_waves(np.zeros((1, 500), np.float32)),
    "text 1 is int, not a string": lambda m: m.embed_text(["rain", 1]),
    "NoneType is not a list of texts": lambda m: m.embed_text(None),
    "text 0 holds half a character": lambda m: m.embed_text(["\ud83d"]),
    "batch_size is -1; it must be": lambda m: m.embed_text(["rain"], batch_size=-1),
    'labels is one string ("rain"); give a list': lambda m: m.classify(sounds(), "rain"),
    "no labels were given": lambda m: m.classify(sounds(), []),
    "label 2 is empty": lambda m: m.classify(sounds(), ["rain", " "]),
    'label "rain" is given twice': lambda m: m.classify(sounds(), ["rain", "rain "]),
    "label 1 is NoneType, not a string": lambda m: m.classify(sounds(), [None]),
    "labels is int; give a list of strings": lambda m: m.classify(sounds(), 3),
    'template "sound" has no place for the label': lambda m: m.classify(sounds(), ["rain"], template="sound"),
    "top is 0; it must be a whole number from 1": lambda m: m.classify(sounds(), ["rain"], top=0),
}


@pytest.mark.parametrize("sentence", BAD_CALLS)
def test_bad_calls(tiny: Model, sentence: str) -> None:
    with pytest.raises(AuralError) as error:
        BAD_CALLS[sentence](tiny)
    assert sentence in str(error.value)


@given(st.lists(st.text(max_size=6), max_size=6))
def test_labels_are_kept_in_order_or_refused(labels: list[str]) -> None:
    from aural.models.arguments import check_labels

    stripped = [label.strip() for label in labels]
    if labels and all(stripped) and len(set(stripped)) == len(stripped):
        assert check_labels(labels) == stripped
    else:
        with pytest.raises(AuralError, match="label"):
            check_labels(labels)


class EqualTexts:
    """A model whose text vectors are nearly equal, as those of `larger-clap-music`."""

    name = "equal"

    def __init__(self, spread: float) -> None:
        self.spread = spread

    def embed_text(self, texts: list[str]) -> np.ndarray:
        rows = np.random.default_rng(0).standard_normal((len(texts), 64)) * self.spread + np.eye(64)[0] * 8
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.mark.parametrize(("spread", "labels", "warns"), [(0.02, 4, True), (0.02, 2, False), (1.0, 4, False)])
def test_labels_with_equal_text_vectors_warn(spread: float, labels: int, warns: bool) -> None:
    names = ["rain", "a dog", "wind", "a door"][:labels]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        Classifier(EqualTexts(spread), names, "{}", multi_label=False)  # type: ignore[arg-type]
    texts = [str(one.message) for one in caught if one.category is DefectWarning]
    assert len(texts) == warns
    assert all("4 labels have a mean cosine of 0.99" in text or "1.0000" in text for text in texts)
