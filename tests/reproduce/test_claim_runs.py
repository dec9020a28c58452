"""The runner: resumes to the byte, survives failures, keeps worlds, budgets and stored effects apart."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aural.cli.main import app
from aural.core.errors import ConfigError, DataError
from aural.reproduce import effects
from aural.reproduce.card import ClaimCard
from aural.reproduce.page import write_pages
from aural.reproduce.run import Options, parse_budget, reproduce, seeds_of

sys.path.insert(0, str(Path(__file__).parent))


def study(name: str = "gain", **changes: object) -> ClaimCard:
    check = {"what": "gain", "task": "score", "of": "ours - plain", "above": 0.0, "primary": True}
    values = {"name": "toy", "rows": [1], "paper": "p", "claim": "c", "package": "tests", "check": [check]}
    return ClaimCard.parse(values | {"study": f"toy_study:{name}"} | changes, "toy")


def test_a_study_is_run_per_seed_and_its_effect_has_an_interval(tmp_path: Path) -> None:
    effect = reproduce([study()], Options(tmp_path))["toy"]
    (check,) = effect["checks"]
    assert (effect["verdict"], len(check["per_seed"]), effect["seeds"]) == ("shown", 5, [0, 1, 2, 3, 4])
    assert check["low"] < 1.0 < check["high"]
    assert effect["arms"]["ours"]["score"]["mean"] - effect["arms"]["plain"]["score"]["mean"] == pytest.approx(
        check["value"], abs=1e-5
    )
    assert (tmp_path / "toy/study/all/0/table.md").is_file()
    assert json.loads((tmp_path / "toy/effect.json").read_text()) == effect
    run = json.loads((tmp_path / "toy/run.json").read_text())
    assert {"commit", "devices", "seconds", "code"} <= run.keys()


def test_options_of_a_study_reach_it_and_another_card_starts_over(tmp_path: Path) -> None:
    reproduce([study()], Options(tmp_path))
    effect = reproduce([study(options={"shift": -1.0})], Options(tmp_path))["toy"]
    assert effect["verdict"] == "reversed"


def test_missing_scores_and_modules_are_named(tmp_path: Path) -> None:
    lines: list[str] = []
    assert reproduce([study("nothing")], Options(tmp_path), lines.append) == {}
    assert any('returned no "score" for arm "ours"' in line for line in lines)
    for wrong in ("toy_study", "toy_study:absent", "no_module_here:x"):
        with pytest.raises(ConfigError, match="toy: "):
            reproduce([study(study=wrong)], Options(tmp_path))


def test_a_failed_or_dead_run_stops_no_other_and_is_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parent), *sys.path]))
    lines: list[str] = []
    card, options = study("fails_once"), Options(tmp_path, jobs=2)
    assert reproduce([card], options, lines.append) == {}
    assert any("ZeroDivisionError: seed 1 is bad luck" in line for line in lines)
    assert any("died with exit code 9" in line for line in lines)
    done = sorted(path.parent.name for path in tmp_path.glob("toy/study/all/*/done.json"))
    assert done == ["0", "3", "4"]
    assert "seed 1 is bad luck" in (tmp_path / "toy/study/all/1/error.txt").read_text()
    (tmp_path / "healthy").touch()
    assert reproduce([card], options, lines.append)["toy"]["verdict"] == "shown"


def test_no_run_starts_after_the_budget(tmp_path: Path) -> None:
    lines: list[str] = []
    assert reproduce([study()], Options(tmp_path, budget_s=1e-9), lines.append) == {}
    assert "toy: no effect yet; 5 of 5 runs are missing" in lines[1]
    assert (parse_budget("90s"), parse_budget("2h"), parse_budget("")) == (90.0, 7200.0, 0.0)
    with pytest.raises(ConfigError, match="--budget"):
        parse_budget("ten minutes")


def test_seeds_are_cut_or_extended() -> None:
    card = study(seeds=[3, 1, 5])
    assert seeds_of(card, Options(Path("x"))) == (3, 1, 5)
    assert seeds_of(card, Options(Path("x"), seeds=2)) == (3, 1)
    assert seeds_of(card, Options(Path("x"), seeds=5)) == (3, 1, 5, 0, 2)
    assert seeds_of(card, Options(Path("x"), smoke=True)) == (3, 1)


TRAINED = """
name = "toy-training"
rows = [61]
paper = "none"
claim = "none"
package = "tests"
base = "small_pair"
world = "mini"
seeds = [0, 1]
common = [
  "loop.steps=6", "loop.batch=8", "loop.save_every=1", "schedule.warmup=0", "model.clap.text.dim=12",
  "model.clap.text.hidden_dim=24", "model.clap.audio.encoder_options.depth=1",
]
tasks = ["scenes-order", "scenes-retrieval"]
[stages.first]
changes = ["data.sources=[{shards: ['{world}/clips']}]"]
[arms]
plain = ["data.sources=[{shards: ['{world}/scenes']}]"]
ours = ["data.sources=[{shards: ['{world}/scenes']}]", "model.init={first}"]
[[check]]
what = "gain"
task = "scenes-retrieval"
metric = "MRR"
of = "ours - plain"
above = 0.0
primary = true
"""


def test_killed_at_ten_random_moments_ends_with_the_same_bytes(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fork a child that runs the card and dies after a random amount of CPU time, ten times; then let it finish."""
    from aural.reproduce import run as runner
    from aural.reproduce import worlds

    card = ClaimCard.parse(__import__("tomllib").loads(TRAINED), "toy-training")
    monkeypatch.setattr(runner, "SMOKE_CHANGES", ())
    first = Options(runs, Path("toys"), device="cpu", smoke=True)
    worlds.prepare("mini", first.data, runs, smoke=True)
    began_s = time.process_time()
    reproduce([card], first)
    duration_s = time.process_time() - began_s
    straight = (runs / "toy-training/effect.json").read_bytes()
    (tmp_path / "worlds").symlink_to(runs / "worlds")
    again = Options(tmp_path, Path("toys"), device="cpu", smoke=True)
    moments, killed = random.Random(0), 0
    for _ in range(10):
        limit_s = moments.uniform(0.02, 0.15) * duration_s
        child = os.fork()
        if child == 0:
            signal.setitimer(signal.ITIMER_PROF, limit_s)  # SIGPROF ends the process at once
            try:
                reproduce([card], again)
            finally:
                os._exit(0)
        killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
    assert killed >= 5
    reproduce([card], again)
    assert (tmp_path / "toy-training/effect.json").read_bytes() == straight
    assert not list(tmp_path.rglob("*.part*"))


def test_effects_are_stored_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Smoke tests are not stored; the page shows verdicts, the number of chance effects and changed code."""
    card = study(seeds=[0, 1, 2])
    for module in ("effects", "page"):
        monkeypatch.setattr(f"aural.reproduce.{module}.claims", lambda package="": [card])
    monkeypatch.setattr(effects, "claim_names", lambda: ("toy",))
    reproduce([card], Options(tmp_path / "out", smoke=True))
    assert effects.store_effects(tmp_path / "out", tmp_path / "effects") == []
    reproduce([card], Options(tmp_path / "out"))
    (stored,) = effects.store_effects(tmp_path / "out", tmp_path / "effects")
    values = json.loads(stored.read_text())
    assert stored.stat().st_size < 6000
    index = write_pages(tmp_path / "pages", tmp_path / "effects").read_text()
    assert "1 of 1 cards have been run: 1 shown, 0 not shown, 0 reversed" in index
    assert "about 0.1 of their intervals" in index
    assert "| **shown** | gain |" in index
    assert "| no |" in index
    page = (tmp_path / "pages/toy.md").read_text()
    assert "Verdict: shown" in page
    assert "toy.svg" in page
    assert (tmp_path / "pages/toy.svg").read_text().count("<circle") == 3
    values["run"]["code"]["study"] = "other"
    stored.write_text(json.dumps(values))
    assert "| study |" in write_pages(tmp_path / "pages", tmp_path / "effects").read_text()
    stored.write_text("{")
    with pytest.raises(DataError, match="restore it"):
        effects.stored_effect("toy", tmp_path / "effects")


def test_the_command_refuses_in_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    runner = CliRunner()
    for arguments, message in (
        ([], "name a claim"),
        (["nothing-of-the-kind"], "unknown claim"),
        (["scenes-vs-labels", "--out", str(tmp_path)], "libre-mini is not in the cache"),
        (["scenes-vs-labels", "--data", str(tmp_path), "--out", str(tmp_path)], "holds no manifest.parquet"),
    ):
        result = runner.invoke(app, ["reproduce", *arguments])
        assert result.exit_code != 0
        assert message in str(result.exception), arguments


@pytest.mark.slow
def test_the_real_card_killed_at_ten_random_moments_ends_with_the_same_bytes(tmp_path: Path) -> None:
    """SIGKILL of the process group of `aural reproduce scenes-vs-labels --smoke`; tools/kill_claim.py does it."""
    tool = Path(__file__).parents[2] / "tools" / "kill_claim.py"
    command = [sys.executable, str(tool), "scenes-vs-labels", "--smoke", "--data", "toys", "--out", str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "effect.json is equal to the byte" in done.stdout
