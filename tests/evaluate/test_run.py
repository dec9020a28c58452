"""Test runs: resume after kills, caching, missing data, unreadable sounds, and the commands."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from fakes import RandomEmbedder, made_up
from typer.testing import CliRunner

from aural.cli.main import app
from aural.core.errors import AudioError, ConfigError, WriteError
from aural.core.types import FloatArray
from aural.evaluate import cards
from aural.evaluate.data_root import DataRoot
from aural.evaluate.run import evaluate

TASKS = ("esc50", "clotho-text-to-audio", "scenes-order")


def run_once(root: Path, out: Path) -> subprocess.Popen[bytes]:
    code = (
        "from aural.evaluate import cards; from aural.evaluate.run import evaluate;"
        "from aural.evaluate.data_root import DataRoot; from slow_embedder import slow; import sys;"
        f"evaluate(slow, [cards.task(n) for n in {TASKS}], DataRoot(sys.argv[1]), sys.argv[2], resamples=50)"
    )
    paths = [str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return subprocess.Popen([sys.executable, "-c", code, str(root), str(out)], env=environment)


def results(out: Path) -> dict[str, object]:
    kept = {}
    for path in sorted((out / "scores").glob("*.json")):
        record = json.loads(path.read_text())
        kept[path.name] = {key: value for key, value in record.items() if key != "seconds"}
    return kept


def test_killed_runs_resume_to_identical_numbers(tmp_path: Path) -> None:
    for name in TASKS:
        made_up(cards.task(name), tmp_path / "data", 400)
    start = time.monotonic()
    assert run_once(tmp_path / "data", tmp_path / "whole").wait() == 0
    took = time.monotonic() - start
    generator, kills = np.random.default_rng(5), 0
    for attempt in range(8):
        child = run_once(tmp_path / "data", tmp_path / "killed")
        try:
            child.wait(timeout=took * (0.3 + 0.5 * float(generator.random())) if attempt < 3 else 120)
            break
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
            kills += 1
    assert kills > 0
    assert results(tmp_path / "killed") == results(tmp_path / "whole")
    assert len(results(tmp_path / "whole")) == len(TASKS)


def test_embeddings_are_computed_once_and_belong_to_model_and_data(tmp_path: Path) -> None:
    card = cards.task("esc50")
    root = made_up(card, tmp_path / "data", 40)
    first = RandomEmbedder()
    evaluate(first, [card], root, tmp_path / "a", cache=tmp_path / "cache", resamples=10)
    assert first.calls == 4  # 100 clips in parts of 32
    again = RandomEmbedder()
    evaluate(again, [card], DataRoot(tmp_path / "data"), tmp_path / "b", cache=tmp_path / "cache", resamples=10)
    assert again.calls == 0
    other = RandomEmbedder(seed=1)
    evaluate(other, [card], root, tmp_path / "c", cache=tmp_path / "cache", resamples=10)
    assert other.calls == 4
    sound = next((tmp_path / "data").rglob("7.wav"))
    sound.write_bytes(b"another sound")
    changed = RandomEmbedder()
    evaluate(changed, [card], DataRoot(tmp_path / "data"), tmp_path / "a", cache=tmp_path / "cache", resamples=10)
    assert changed.calls == 1  # only the part that holds it


class Deaf(RandomEmbedder):
    """An embedder that cannot read clip 3."""

    def embed_audio(self, clips: list[Path]) -> FloatArray:
        if any(Path(clip).name == "3.wav" for clip in clips):
            raise AudioError("3.wav: is empty")
        return super().embed_audio(clips)


def test_unreadable_sounds_are_told_and_left_out(tmp_path: Path) -> None:
    card = cards.task("esc50")
    evaluate(Deaf(), [card], made_up(card, tmp_path / "data", 40), tmp_path / "out", resamples=10)
    assert json.loads((tmp_path / "out" / "run.json").read_text())["unreadable"] == {
        "clips/esc50/train/3.wav": "3.wav: is empty"
    }
    assert json.loads((tmp_path / "out/scores/esc50@zero-shot.json").read_text())["units"] == 99


def test_a_disk_that_refuses_ends_the_run_and_leaves_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made_up(cards.task("esc50"), tmp_path / "data", 40)

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(WriteError, match="No space left on device"):
        evaluate(RandomEmbedder(), [cards.task("esc50")], DataRoot(tmp_path / "data"), tmp_path / "new" / "scores")
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_methods_on_one_task(tmp_path: Path) -> None:
    card = cards.task("gtzan-genres")
    methods = ("zero-shot", "linear-probe", "knn", "few-shot")
    run = evaluate(
        RandomEmbedder(), [card], made_up(card, tmp_path / "d", 60), tmp_path / "o", methods=methods, resamples=10
    )
    assert {key.partition("@")[2] for key in run.scores} == set(methods)
    assert all(abs(record["score"] - 0.1) < 0.15 for record in run.scores.values())
    details = run.scores["gtzan-genres@few-shot"]["details"]
    assert set(details) == {"1 shots", "5 shots"}
    assert len(details["5 shots"]["values"]) == 5
    assert sorted(run.scores["gtzan-genres@knn"]["folds"]) == ["1", "2", "3", "4", "5"]


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    made_up(cards.task("sesa"), tmp_path / "data", 40)
    arguments = ["--data", str(tmp_path / "data"), "--task", "sesa", "--task", "clotho-text-to-audio"]
    for out, model in (("a", "fakes:RandomEmbedder"), ("b", "slow_embedder:slow")):
        made = CliRunner().invoke(app, ["evaluate", "--model", model, *arguments, "--out", str(tmp_path / out)])
        assert made.exit_code == 0, made.output
        assert "clotho-text-to-audio@zero-shot: not scored" in made.output
        assert "zenodo" in made.output.lower()  # how to get it
    page = tmp_path / "page.html"
    made = CliRunner().invoke(app, ["compare", str(tmp_path / "a"), str(tmp_path / "b"), "-o", str(page)])
    assert made.exit_code == 0, made.output
    assert "msclap-2023 0.650" in made.output
    text = page.read_text()
    assert text.count("<svg") >= 4
    assert "http-equiv" not in text
    assert "<script" not in text
    assert "src=" not in text
    shutil.rmtree(tmp_path / "a")
    listed = CliRunner().invoke(app, ["evaluate", "--list"]).output
    assert "clap-2022: " in listed


def test_wrong_names_name_the_near_miss(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match='did you mean "clap-2023"'):
        cards.choose(["clap-2032"], [])
    with pytest.raises(ConfigError, match='did you mean "esc50"'):
        cards.task("ecs50")
    path = tmp_path / "mine.toml"
    card = {"name": "mine", "title": "x", "kind": "retrieval", "dataset": "esc50", "metric": "accuracy"}
    card |= {"dimension": "awareness", "aspect": "matching", "citation": "x"}
    path.write_text("".join(f'{key} = "{value}"\n' for key, value in card.items()))
    with pytest.raises(ConfigError, match='metric "accuracy" is none of a retrieval task'):
        cards.task(path)


def test_a_probe_is_not_told_as_zero_shot(tmp_path: Path) -> None:
    card = cards.task("gtzan-genres")
    root = made_up(card, tmp_path / "d", 60)
    methods = ("zero-shot", "linear-probe")
    run = evaluate(RandomEmbedder(), [card], root, tmp_path / "o", methods=methods, resamples=5)
    told = {key.partition("@")[2]: record["definition"] for key, record in run.scores.items()}
    assert "prompt" in told["zero-shot"]
    assert told["linear-probe"].startswith("Logistic regression on frozen embeddings of the training clips. Share of")
