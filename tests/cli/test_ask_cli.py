"""`aural ask`: options by similarity, the least cosine for yes and no, and a bridge to a language model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import aural
from aural.core.errors import CheckpointError, ConfigError
from aural.generate.writer import SearchConfig
from aural.models.answerer import Answer, ComparingAnswerer, sound_in
from aural.models.bridge import BridgeConfig, choice_question, prompt_ids, read_bridge
from aural.models.sound_writer import SoundWriter
from aural.nn.bridges.mapper import MapperConfig, MlpMapper
from aural.nn.decoder import Decoder, DecoderConfig
from tiny import save_place

Run = Callable[..., tuple[int, str, str]]
CHOICES = ["a dog barks", "rain on a roof", "a bell rings"]
LETTERS = " abcdefghijklmnopqrstuvwxyz?:,."


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_place(tmp_path_factory.mktemp("ask"))


def test_the_nearest_option_is_chosen_and_bad_files_are_skipped(run_aural: Run, place: Path) -> None:
    files = [place / "a.wav", place / "bad.wav", place / "b.wav"]
    words = ["ask", *files, "which sound is it?", "--choices", ", ".join(CHOICES), "--model", place / "model"]
    code, out, err = run_aural(*words, "--json")
    assert code == 0
    rows = [json.loads(line) for line in out.splitlines()]
    model = aural.load(place / "model")
    cosines = model.similarity([files[0], files[2]], CHOICES)
    assert [row["answer"] for row in rows] == [CHOICES[i] for i in cosines.argmax(1)]
    shares = np.exp(model.logit_scale * cosines)
    shares /= shares.sum(1, keepdims=True)
    assert [row["score"] for row in rows] == pytest.approx(shares.max(1).tolist(), abs=1e-4)
    assert all(row["kind"] == "compared" and len(row["options"]) == 3 for row in rows)
    assert "answers come from similarities and spans" in err
    assert "bad.wav" in err
    assert run_aural(*words, "--strict")[0] == 2


class Known:
    """Two sounds and two texts with known vectors, and a least cosine of 0.5."""

    name, logit_scale, least_cosine = "known", 10.0, 0.5

    def embed_audio(self, clips: Any) -> Any:
        return np.array([[1.0, 0.0]], np.float32)

    def embed_text(self, texts: Any) -> Any:
        return np.array([[0.6, 0.8] if text == "a dog" else [0.3, 0.95] for text in texts], np.float32)


def test_yes_is_a_cosine_above_a_share_of_the_least_one() -> None:
    answerer = ComparingAnswerer(Known())  # type: ignore[arg-type]
    yes, no = (answerer.answer_of("a.wav", f"Is there {name}?", ["yes", "no"]) for name in ("a dog", "rain"))
    assert (yes.text, no.text) == ("yes", "no")
    assert answerer.answer_of("a.wav", "Is there a dog?") == yes
    limit = 0.65 * 0.5
    assert yes.score == pytest.approx(1 / (1 + np.exp(-10 * (0.6 - limit))))
    assert no.score == pytest.approx(1 / (1 + np.exp(-10 * (limit - 0.3))))
    with pytest.raises(ConfigError, match="is there"):
        answerer.answer_of("a.wav", "does it bark twice?", ["yes", "no"])
    with pytest.raises(ConfigError, match="answers no free question"):
        answerer.answer_of("a.wav", "what is it?")


def test_a_span_says_yes_where_the_vector_of_the_whole_sound_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the spans: "rain" has one, whatever the clip; "a dog" is found by its vector and never located."""
    asked: list[str] = []

    def spans(model: Any, clip: Any, name: str) -> float | None:
        asked.append(name)
        return 0.7 if name == "rain" else None

    monkeypatch.setattr("aural.models.answerer.surest_span", spans)
    monkeypatch.setattr("aural.models.answerer.EmbeddingModel", Known)
    answerer = ComparingAnswerer(Known())  # type: ignore[arg-type]
    located, compared, unheard = (answerer.answer_of("a.wav", f"is there {one}?") for one in ("rain", "a dog", "wind"))
    assert (located.text, located.score, located.kind) == ("yes", 0.7, "located")
    assert (compared.text, compared.kind) == ("yes", "compared")
    assert (unheard.text, unheard.kind) == ("no", "compared")
    assert asked == ["rain", "wind"]


@pytest.mark.parametrize(
    ("options", "by_spans", "expected"),
    [
        (["A dog", "rain"], "a dog", ("A dog", "located")),
        (["A dog", "rain"], "rain", ("rain", "located")),
        (["A dog", "rain"], "neither is heard", ("rain", "compared")),
        (["A dog", "rain"], None, ("rain", "compared")),
        (["A dog", "wind"], "a dog", ("wind", "compared")),
        (["A dog", "rain", "wind"], "a dog", ("rain", "compared")),
    ],
)
def test_spans_choose_between_the_two_sounds_of_a_question(
    options: list[str], by_spans: str | None, expected: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Deaf(Known):
        def embed_text(self, texts: Any) -> Any:
            return np.array([[0.1, 0.9] if text == "A dog" else [0.5, 0.8] for text in texts], np.float32)

    reply = None if by_spans is None else Answer(text=by_spans, score=0.5, kind="located")
    monkeypatch.setattr(ComparingAnswerer, "_by_spans", lambda self, clip, asked: reply)
    answerer = ComparingAnswerer(Deaf())  # type: ignore[arg-type]
    answer = answerer.answer_of("a.wav", "which is louder, a dog or rain?", options)
    assert (answer.text, answer.kind) == expected


def test_what_is_heard_is_answered_by_a_caption(writer: SoundWriter) -> None:
    answerer = ComparingAnswerer(Known(), lambda: writer)  # type: ignore[arg-type]
    answer = answerer.answer_of("a.wav", "What is heard?")
    assert answer.text == writer.captions_of("a.wav", SearchConfig(max_tokens=40))[0].text
    assert (answer.kind, answer.options) == ("written", ())
    assert answerer.answer_of("a.wav", "which?", ["a dog", "rain"]).kind == "compared"
    with pytest.raises(ConfigError, match='but "what is heard'):
        answerer.answer_of("a.wav", "why does the dog bark?")
    with pytest.raises(ConfigError, match='"known" has no calibrated frames'):
        answerer.answer_of("a.wav", "how often does the dog bark?")


@pytest.mark.parametrize(
    ("question", "sound"),
    [
        ("is there a sound of rain?", "rain"),
        ("Can one hear a bell", "a bell"),
        ("is a dog heard?", "a dog"),
        ("how often does the dog bark?", None),
    ],
)
def test_the_sound_that_a_question_names(question: str, sound: str | None) -> None:
    assert sound_in(question) == sound


class Letters:
    """The decoder of aural with letters as tokens; token 0 ends a text."""

    stop_ids = (0,)

    def __init__(self) -> None:
        torch.manual_seed(0)
        sizes = DecoderConfig(vocab_size=len(LETTERS) + 1, positions=128, dim=8, depth=2, heads=2)
        self.decoder = Decoder(sizes).eval().requires_grad_(False)
        self.dim, self.embed, self.read, self.logits = 8, self.decoder.embed, self.decoder.read, self.decoder.forward

    def ids(self, text: str) -> list[int]:
        return [LETTERS.index(letter) + 1 for letter in text.lower()]

    def text(self, ids: tuple[int, ...]) -> str:
        return "".join(LETTERS[i - 1] for i in ids).strip()


@pytest.fixture
def writer() -> SoundWriter:
    torch.manual_seed(1)
    sizes = MapperConfig(d_in=2, d_out=8, kind="mlp", length=3, hidden=4)
    config = BridgeConfig(embedder="known", decoder="letters", mapper=sizes, decoder_sha256="")
    known: Any = Known()
    known.embed_dim = 2
    return SoundWriter(known, MlpMapper(sizes).eval(), config, Letters())  # type: ignore[arg-type]


def test_options_are_scored_by_the_likelihood_of_the_whole_answer(writer: SoundWriter) -> None:
    options = ["a dog", "rain"]
    answer = writer.answer_of("a.wav", "which is it?", options)
    letters: Any = writer.decoder
    given = prompt_ids(letters.ids, choice_question("which is it?", options))
    prefix = writer.bridge(torch.tensor([[1.0, 0.0]])).detach()
    totals = []
    for option in options:
        total, read = 0.0, list(given)
        for token in [*letters.ids(f" {option}."), 0]:  # one token after the other, without a batch
            vectors = torch.cat([prefix, letters.embed(torch.tensor([read]))], dim=1)
            total += float(letters.logits(vectors)[0, -1].log_softmax(-1)[token])
            read.append(token)
        totals.append(total)
    share = 1 / (1 + np.exp(min(totals) - max(totals)))
    assert answer.text == options[int(np.argmax(totals))]
    assert answer.score == pytest.approx(share, abs=1e-4)
    assert answer.kind == "written"


def test_free_answers_and_captions_are_what_the_search_writes(writer: SoundWriter) -> None:
    answer = writer.answer_of("a.wav", "what is it?")
    caption = writer.captions_of("a.wav", SearchConfig(width=2, max_tokens=5))
    assert answer.options == ()
    assert len(caption) == 2
    assert writer.caption(["a.wav"], SearchConfig(width=2, max_tokens=5)) == [caption[0].text]
    assert writer.answer(["a.wav"], ["what is it?"]) == [answer.text]


def test_a_bridge_must_fit_both_models(writer: SoundWriter, tmp_path: Path) -> None:
    narrow: Any = Known()
    narrow.embed_dim = 3
    with pytest.raises(ConfigError, match="do not fit a bridge from 2 to 8"):
        SoundWriter(narrow, writer.bridge, writer.config, writer.decoder)
    from safetensors.torch import save_file

    (tmp_path / "config.json").write_text(writer.config.model_dump_json())
    tensors = {name: tensor.half() for name, tensor in writer.bridge.state_dict().items()}
    save_file(tensors, tmp_path / "model.safetensors")
    config, bridge = read_bridge(tmp_path)
    assert config == writer.config
    assert torch.allclose(bridge(torch.eye(2)), writer.bridge(torch.eye(2)), atol=1e-3)
    save_file({"out.bias": tensors["out.bias"]}, tmp_path / "model.safetensors")
    with pytest.raises(CheckpointError, match=r"are not those of config.json"):
        read_bridge(tmp_path)


KNOWN = ["a dog", "rain", "a bell"]


@pytest.fixture
def ranking(writer: SoundWriter) -> SoundWriter:
    rows = np.array([[0.6, 0.8], [0.3, 0.95], [-1.0, 0.0]], np.float32)
    config = writer.config.model_copy(update={"prompts": 1, "candidates": 2, "margin": 2.0})
    return SoundWriter(writer.model, writer.bridge, config, writer.decoder, (KNOWN, rows))


def test_known_sentences_are_named_and_compete(ranking: SoundWriter) -> None:
    captions = ranking.captions_of("a.wav", SearchConfig(width=2, max_tokens=4))
    assert captions[0].text == "A dog."  # the cosine decides alone, and 0.6 is the largest
    assert len(captions) == 2
    letters: Any = ranking.decoder
    given = prompt_ids(letters.ids, None, ["a dog"])
    assert letters.text(tuple(given)) == "sounds: a dog. caption:"
    ids = [*letters.ids(" A dog."), 0]
    prefix = torch.cat(
        [ranking.bridge(torch.tensor([[1.0, 0.0]])), letters.embed(torch.tensor([given]))], dim=1
    ).detach()
    vectors = torch.cat([prefix, letters.embed(torch.tensor([ids]))], dim=1)
    rows = letters.logits(vectors)[0, prefix.shape[1] - 1 : -1].log_softmax(-1)
    mean = float(rows[torch.arange(len(ids)), torch.tensor(ids)].mean())
    assert captions[0].score == pytest.approx(mean, abs=1e-5)


def test_with_a_large_weight_the_likeliest_caption_is_first(ranking: SoundWriter) -> None:
    config = ranking.config.model_copy(update={"likelihood": 10.0, "margin": 0.0})
    plain = SoundWriter(ranking.model, ranking.bridge, config, ranking.decoder, (ranking.sentences, ranking.rows))
    scores = [one.score for one in plain.captions_of("a.wav", SearchConfig(width=4, max_tokens=4))]
    assert scores == sorted(scores, reverse=True)
    with pytest.raises(ConfigError, match="needs known sentences"):
        SoundWriter(ranking.model, ranking.bridge, config, ranking.decoder)


def test_a_bridge_is_stored_in_8_bits(writer: SoundWriter, tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    from aural.models.rounding import in_steps

    (tmp_path / "config.json").write_text(writer.config.model_dump_json())
    tensors = {name: tensor.numpy() for name, tensor in writer.bridge.state_dict().items()}
    save_file(in_steps(tensors), tmp_path / "model.safetensors")
    _, bridge = read_bridge(tmp_path)
    assert torch.allclose(bridge(torch.eye(2)), writer.bridge(torch.eye(2)), atol=2e-2)
