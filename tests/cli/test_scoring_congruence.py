"""The command line, the Python API, the server and the tags of a library give the same zero-shot scores."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aural.cli.main import main
from aural.models.load import load
from aural.models.pipeline import Model
from tiny import save_tiny, tiny_config, tiny_state, write_wav

for package in ("lancedb", "fastapi", "httpx", "prometheus_client", "python_multipart"):
    pytest.importorskip(package)

LABELS = ["rain", "wind", "a dog barking", "speech", "music"]


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Six tones of 0.4 to 0.9 s, one window each."""
    folder = tmp_path_factory.mktemp("sounds")
    return [write_wav(folder / f"{i}.wav", 0.4 + i / 10, hz=150 * (i + 1), seed=i) for i in range(6)]


@pytest.fixture(scope="module", params=["softmax", "sigmoid"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, sounds: list[Path]) -> Model:
    """A tiny model; the bias of the sigmoid one lies at the median logit, so that half of the labels apply."""
    folder = tmp_path_factory.mktemp(request.param)
    if request.param == "softmax":
        return load(save_tiny(folder / "model"), device="cpu")
    from aural.models.format import save_own

    config = tiny_config(logit_bias=True)
    state = tiny_state(config)
    draft = load(save_own(folder / "draft", config, state, source="tiny"), device="cpu")
    cosines = draft.similarity(sounds, [f"the sound of {label}" for label in LABELS])
    state["logit_bias"].fill_(-draft.logit_scale * float(np.median(cosines)))
    return load(save_own(folder / "model", config, state, source="tiny"), device="cpu")


def aural(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> str:
    monkeypatch.setattr(sys, "argv", ["aural", *map(str, arguments)])
    with pytest.raises(SystemExit) as ended:
        main()
    out, err = capsys.readouterr()
    assert not ended.value.code, err
    return out


@pytest.mark.parametrize("multi_label", [False, True])
def test_command_line_and_server_agree_with_python(
    model: Model,
    sounds: list[Path],
    multi_label: bool,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from fastapi.testclient import TestClient

    from aural.search.library import Library
    from aural.serve.app import create_app
    from aural.serve.settings import Settings

    python = [
        {prediction.label: prediction.score for prediction in predictions}
        for predictions in model.classify(sounds, LABELS, multi_label=multi_label)
    ]
    if not multi_label:
        assert [sum(scores.values()) for scores in python] == pytest.approx([1.0] * len(sounds))

    flags = ("--multi-label",) if multi_label else ()
    options = ("--labels", ",".join(LABELS), "--model", model.source, "--top", len(LABELS), "--json", *flags)
    lines = aural(capsys, monkeypatch, "classify", *sounds, *options).splitlines()
    for line, scores in zip(lines, python, strict=True):
        printed = {entry["label"]: entry["score"] for entry in json.loads(line)["predictions"]}
        assert printed == pytest.approx(scores, abs=2e-6)

    library = Library.create(tmp_path / "library", model, model=model.source, window_s=1.0)
    with TestClient(create_app(library, model, Settings()), "http://localhost") as client:
        for sound, scores in zip(sounds, python, strict=True):
            data = {"labels": LABELS, "multi_label": multi_label}
            answer = client.post("/v1/classify", files={"sound": sound.read_bytes()}, data=data).json()
            served = {entry["label"]: entry["score"] for entry in answer["labels"]}
            assert served == pytest.approx(scores, abs=2e-5)


def test_library_tags_are_the_labels_above_one_half(model: Model, sounds: list[Path], tmp_path: Path) -> None:
    from aural.search.library import Library
    from aural.search.tag import tag

    library = Library.create(tmp_path / "library", model, model=model.source, window_s=1.0)
    list(library.add(sounds, model))
    tag(library, model, LABELS, top=len(LABELS))
    rows = library.store.rows(["path", "tags"]).to_pylist()
    tagged = {Path(row["path"]).name: row["tags"] for row in rows}
    expected = {
        sound.name: [prediction.label for prediction in predictions if prediction.score > 0.5]
        for sound, predictions in zip(sounds, model.classify(sounds, LABELS, multi_label=True), strict=True)
    }
    assert tagged == expected
    if model.logit_bias is not None:
        assert 0 < sum(map(len, expected.values())) < len(sounds) * len(LABELS)
