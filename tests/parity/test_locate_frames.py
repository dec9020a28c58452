"""`aural locate` through PE-A-Frame: the spans are those of the frame probabilities of transformers' own model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from planted_frames import PARTS, RATE_HZ, main
from typer.testing import CliRunner

from aural.cli.main import app
from aural.core.names import DEFAULT_TEMPLATE
from aural.models.load import load
from aural.models.span_replies import surest_span
from tiny import save_tiny, tone

transformers = pytest.importorskip("transformers", minversion="5.20")
FRAME_S = 0.04


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    main(folder)
    return folder


def located(folder: Path, *options: str) -> dict[str, list[tuple[float, float]]]:
    """Return the spans of each text that the command prints as JSON."""
    words = ["locate", str(folder / "scene.wav"), "--model", str(folder / "model"), "--device", "cpu", "--json"]
    for text in PARTS:
        words += ["-t", text]
    done = CliRunner().invoke(app, [*words, *options])
    assert done.exit_code == 0, done.output
    values = json.loads(done.stdout.splitlines()[0])
    assert values["origin"] == "model"
    spans: dict[str, list[tuple[float, float]]] = {text: [] for text in PARTS}
    for span in values["spans"]:
        spans[span["text"]].append((span["onset_s"], span["offset_s"]))
    return spans


def test_each_text_is_located_in_its_part(planted: Path) -> None:
    spans = located(planted, "--min-duration", "0.3")
    for text, part in PARTS.items():
        (span,) = spans[text]
        assert span == pytest.approx(part, abs=2 * FRAME_S)


def test_spans_are_those_of_transformers_probabilities(planted: Path) -> None:
    """A span is a run of frames at or above half the threshold that reaches the threshold, 0.5 for this family."""
    from transformers import AutoTokenizer, PeAudioFeatureExtractor, PeAudioFrameLevelModel

    folder = planted / "model"
    peer = PeAudioFrameLevelModel.from_pretrained(folder).eval()
    prompts = [DEFAULT_TEMPLATE.format(text) for text in PARTS]
    words = AutoTokenizer.from_pretrained(folder)(prompts, padding=True, return_tensors="pt")
    wave = soundfile.read(planted / "scene.wav", dtype="float32")[0]
    heard = PeAudioFeatureExtractor.from_pretrained(folder)([wave], sampling_rate=RATE_HZ, return_tensors="pt")
    with torch.inference_mode():
        probabilities = torch.sigmoid(peer(**words, **heard).logits_audio_text[0]).numpy()
    spans = located(planted, "--max-gap", "0")
    for text, row in zip(PARTS, probabilities, strict=True):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], row >= 0.25, [False]]))).reshape(-1, 2)
        expected = [(FRAME_S * start, FRAME_S * stop) for start, stop in edges if row[start:stop].max() >= 0.5]
        assert np.allclose(spans[text], expected, atol=1e-3)


def test_is_there_takes_the_surest_span_of_locate(planted: Path) -> None:
    model = load(planted / "model", device="cpu")
    wave = soundfile.read(planted / "scene.wav", dtype="float32")[0]
    for part in ((0, len(wave)), (0, RATE_HZ), (RATE_HZ, 2 * RATE_HZ)):
        clip = (wave[slice(*part)], RATE_HZ)
        for text in PARTS:
            spans = model.locate([clip], [text])[0].spans
            assert surest_span(model, clip, text) == max((span.confidence for span in spans), default=None)


def test_without_calibrated_frames_no_span_says_yes(tmp_path: Path) -> None:
    model = load(save_tiny(tmp_path / "tiny"), device="cpu")
    assert model.locate([(tone(1.0), 16000)], ["a tone"])[0].origin == "score"
    assert surest_span(model, (tone(1.0), 16000), "a tone") is None
