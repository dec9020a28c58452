"""`--reject` and the server's `matches`: the least cosine of a match, by hand from the cosines of a tiny model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from aural.core.errors import ConfigError
from aural.models.format import save_own
from aural.models.load import load
from aural.models.pipeline import Model
from tiny import save_tiny, tiny_config, tiny_state, write_wav

Run = Callable[..., tuple[int, str, str]]
LABELS = ["rain", "wind", "speech"]


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("sounds")
    return [write_wav(folder / f"{i}.wav", 0.5, hz=200 * (i + 1), seed=i) for i in range(4)]


@pytest.fixture(scope="module")
def best(tmp_path_factory: pytest.TempPathFactory, sounds: list[Path]) -> np.ndarray:
    """The best cosine of each sound with the prompts of the labels."""
    model = load(save_tiny(tmp_path_factory.mktemp("plain") / "model"), device="cpu")
    return model.similarity(sounds, [f"the sound of {label}" for label in LABELS]).max(1)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, best: np.ndarray) -> Model:
    """The same model with its least cosine at the median, so that two of the four sounds match."""
    config, folder = tiny_config(), tmp_path_factory.mktemp("least") / "model"
    return load(save_own(folder, config, tiny_state(config), least_cosine=float(np.median(best))), device="cpu")


def test_classify_says_that_nothing_matches(run_aural: Run, sounds: list[Path], model: Model, best: np.ndarray) -> None:
    expected = (best >= np.median(best)).tolist()
    assert sorted(expected) == [False, False, True, True]
    options = ("classify", *sounds, "--labels", ",".join(LABELS), "--model", model.source)
    lines = run_aural(*options, "--reject", "--json")[1].splitlines()
    assert [json.loads(line)["matches"] for line in lines] == expected
    assert ["nothing matches" not in line for line in run_aural(*options, "--reject")[1].splitlines()] == expected
    assert "nothing matches" not in run_aural(*options)[1]
    classifier = model.classifier(LABELS)
    assert [classifier.matches(row) for row in model.embed_audio(sounds)] == expected


def test_a_saved_model_keeps_its_least_cosine(model: Model, tmp_path: Path) -> None:
    assert load(model.save_pretrained(tmp_path / "copy"), device="cpu").least_cosine == model.least_cosine


def test_a_model_without_one_is_refused(run_aural: Run, sounds: list[Path], tiny_folder: Path) -> None:
    code, _, err = run_aural("classify", sounds[0], "--labels", "rain", "--model", tiny_folder, "--reject")
    assert code == 2
    assert "no measured least cosine" in err
    with pytest.raises(ConfigError, match="no measured least cosine"):
        load(tiny_folder, device="cpu").classifier(["rain"]).matches(np.ones(24, np.float32))


def test_search_and_the_server_say_so_too(run_aural: Run, sounds: list[Path], model: Model, tmp_path: Path) -> None:
    for package in ("lancedb", "fastapi", "httpx", "prometheus_client", "python_multipart"):
        pytest.importorskip(package)
    from fastapi.testclient import TestClient

    from aural.search.library import Library
    from aural.serve.app import create_app
    from aural.serve.settings import Settings

    best = {text: float(model.similarity(sounds, [text]).max()) for text in ("rain", "wind", "speech")}
    least = float(np.median(list(best.values())))
    config = tiny_config()
    folder = save_own(tmp_path / "model", config, tiny_state(config), least_cosine=least - 1e-6)
    model = load(folder, device="cpu")
    library = Library.create(tmp_path / "library", model, model=model.source, window_s=1.0)
    list(library.add(sounds, model))
    answers = {text: cosine >= least for text, cosine in best.items()}
    assert sorted(answers.values()) == [False, True, True]
    with TestClient(create_app(library, model, Settings()), "http://localhost") as client:
        for text, matches in answers.items():
            printed = run_aural("search", text, "-L", tmp_path / "library", "--by", "sound", "--reject")[1]
            assert (printed != "nothing matches\n") == matches
            body = {"words": [text], "names": False}
            assert client.post("/v1/search", json=body).json()["matches"] is matches
        data = {"labels": LABELS}
        sound = client.post("/v1/classify", files={"sound": sounds[0].read_bytes()}, data=data).json()
        assert sound["matches"] is model.classifier(LABELS).matches(model.embed_audio(sounds[:1])[0])
    code, _, err = run_aural("search", "rain", "--like", sounds[0], "-L", tmp_path / "library", "--reject")
    assert code == 2
    assert "leave out --like" in err
