"""Cards are strict: what is wrong is named before anything runs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from aural.core.errors import ConfigError
from aural.reproduce.card import ClaimCard, claim, claim_names, claims

GOOD = {
    "name": "toy",
    "rows": [1],
    "paper": "p",
    "claim": "c",
    "package": "tests",
    "base": "small_pair",
    "tasks": ["scenes-order"],
    "arms": {"plain": [], "ours": ["loop.steps=3"]},
    "check": [{"what": "gain", "task": "scenes-order", "of": "ours - plain", "above": 0.0, "primary": True}],
}


def card(**changes: object) -> ClaimCard:
    return ClaimCard.parse(GOOD | changes, "toy")


def test_a_card_states_its_primary_check_and_hash() -> None:
    assert card().primary.terms == (("ours", 1.0), ("plain", -1.0))
    assert card().hash == card(cost={"gpu_min": 3.0}, limits={"synthetic": "all"}).hash
    assert card().hash != card(seeds=[0, 1]).hash


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"study": "a:b"}, "either base"),
        ({"base": ""}, "either base"),
        ({"arms": {}}, "needs arms"),
        ({"arms": {"ours": ["model.audio_init={many}"], "plain": []}}, '"{many}" names no stage'),
        ({"arms": {"Ours": []}}, "small letters"),
        ({"seeds": [1, 1]}, "each seed"),
        ({"check": [GOOD["check"][0] | {"primary": False}]}, "exactly one check"),  # type: ignore[index]
        ({"check": [GOOD["check"][0] | {"below": 0.0}]}, "exactly one of above"),  # type: ignore[index]
        ({"check": [GOOD["check"][0] | {"of": "other - plain"}]}, 'unknown arm "other"'),  # type: ignore[index]
        ({"check": [GOOD["check"][0] | {"task": "scenes-odor"}]}, "scenes-order"),  # type: ignore[index]
        ({"sedes": [1]}, 'unknown key "sedes"; did you mean "seeds"'),
    ],
)
def test_a_wrong_card_is_one_sentence(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        card(**changes)
    assert message in str(error.value)


def test_cards_are_found_by_exact_name_package_or_path(tmp_path: Path) -> None:
    name = claim_names()[0]
    assert claim(name).name == name
    assert claim(name) in claims(claim(name).package)
    with pytest.raises(ConfigError, match="unknown claim"):
        claim(name + "s")
    with pytest.raises(ConfigError, match="unknown package"):
        claims("nothing")
    path = tmp_path / "toy.toml"
    path.write_text('name = "toys"\n')
    with pytest.raises(ConfigError, match=str(path)):
        claim(path)


def test_listing_imports_no_torch() -> None:
    code = (
        "import sys; from aural.cli.main import app; from typer.testing import CliRunner; "
        "r = CliRunner().invoke(app, ['reproduce', '--list']); assert r.exit_code == 0, r.output; print(r.output); "
        "assert not {'torch', 'transformers'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in claim_names())
