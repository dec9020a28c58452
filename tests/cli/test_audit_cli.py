"""`aural audit` on the bundled model: equal to the Python call, and one sentence for bad input."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import aural
from aural.cli.demo import bundled_sounds
from aural.data.manifest import Row, write_manifest
from aural.evaluate.audit.clips import Clips
from aural.evaluate.audit.run import audit

SOUNDS = Path(aural.__file__).parent / "sounds"


def test_the_command_gives_what_the_function_gives(
    run_aural: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    code, out, _ = run_aural("audit", "--json", "-o", tmp_path / "page.html")
    truth, _ = bundled_sounds()
    clips = Clips(list(truth), [file.name for file in truth], list(truth.values()))
    direct = audit(aural.load(), clips, generator=np.random.default_rng(0)).record()
    assert code == 0
    assert json.loads(out) == json.loads(json.dumps(direct))
    assert "Audit of" in (tmp_path / "page.html").read_text()


def corpus(folder: Path) -> Path:
    folder.mkdir()
    rows = []
    for n, file in enumerate(sorted(SOUNDS.glob("*.ogg"))):
        (folder / file.name).write_bytes(file.read_bytes())
        rows.append(Row(path=file.name, source="demo", split=("train", "test")[n % 2], caption_label=file.stem))
    write_manifest(folder / "manifest.parquet", rows)
    return folder


def test_membership_of_a_manifest(run_aural: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    folder = corpus(tmp_path / "corpus")
    code, out, _ = run_aural("audit", "--data", folder, "--trained-on", "train", "--group", "split")
    assert code == 0
    assert "6 trained, 6 other" in out
    assert "fewer than two groups" in out


def test_membership_of_names(run_aural: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    lists = []
    for name, persons in (("trained", "Anna Weber\nPeter Novak\nRosa Silva"), ("others", "Leon Brown\n\nIrene Vogel")):
        lists.append(tmp_path / f"{name}.txt")
        lists[-1].write_text(persons)
    code, out, _ = run_aural("audit", "--names", *lists, "-o", tmp_path / "page.html")
    assert code == 0
    assert "3 trained, 2 other, text alone" in out
    assert "3 trained names against 2 others" in (tmp_path / "page.html").read_text()
    code, _, err = run_aural("audit", "--names", lists[0], lists[0])
    assert code == 2
    assert '"Anna Weber" is in both lists' in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--data", "{sounds}", "--group", "family"), '"family" needs a folder with a manifest.parquet'),
        (("--data", "{corpus}", "--group", "famly"), 'the manifest has no column "famly"; did you mean "family"'),
        (("--data", "{corpus}", "--trained-on", "valid"), "0 of 12 clips are in these splits"),
        (
            (
                "--data",
                "{corpus}/none",
            ),
            "none",
        ),
    ],
)
def test_bad_input_is_one_sentence(
    run_aural: Callable[..., tuple[int, str, str]], tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    places = {"sounds": str(SOUNDS), "corpus": str(corpus(tmp_path / "corpus"))}
    code, out, err = run_aural("audit", *(argument.format(**places) for argument in arguments))
    assert code == 2
    assert out == ""
    assert sentence in err
    assert "Traceback" not in err
