"""Test the wrapper of the msclap package in the environment that holds it (tests/golden/make_peers_env.sh)."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
PEERS = ROOT / ".peers" / "bin" / "python"


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["msclap_2022", "msclap_2023"])
def test_the_package_itself(layout: str, tmp_path: Path) -> None:
    if not PEERS.is_file():
        pytest.skip("no .peers; run tests/golden/make_peers_env.sh")
    script = [str(Path(__file__).with_name("real_msclap.py")), layout, str(tmp_path / "out.npz")]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(PEERS), *script, sysconfig.get_path("purelib")], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = np.load(tmp_path / "out.npz")
    for side in ("audio", "text"):
        theirs = found[f"their_{side}"] / np.linalg.norm(found[f"their_{side}"], axis=1, keepdims=True)
        assert np.abs(theirs - found[f"our_{side}"]).max() < 1e-5
        assert np.linalg.norm(theirs[0] - theirs[1]) > 1e-3  # different inputs, different vectors
    assert (found["long"][0] == found["long"][1]).all()
    assert np.abs(found["random_crops"][0] - found["random_crops"][1]).max() > 0  # why long sounds are read in windows
    assert len(found["frames"]) == len(found["times"]) == 3
    assert found["times"][-1][1] == pytest.approx(2.3 * float(found["window_s"]), abs=1e-3)
