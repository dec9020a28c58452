"""Weight cards: exact names, one place each, and the numbers that the papers give."""

import ast
from pathlib import Path

import pytest

from aural.core.errors import ConfigError
from aural.core.weights import WeightCard, card_for, weight_card, weight_cards

PUBLISHED = {  # name: (rate in Hz, window in s, joint dimensions), from the publishers' configurations
    "msclap-2022": (44100, 5.0, 1024),
    "msclap-2023": (44100, 7.0, 1024),
    "laion-630k-audioset": (48000, 10.0, 512),
    "laion-630k-audioset-fusion": (48000, 10.0, 512),
    "clap-htsat-unfused": (48000, 10.0, 512),
    "clap-htsat-fused": (48000, 10.0, 512),
    "larger-clap-general": (48000, 10.0, 512),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_numbers(name: str) -> None:
    card = weight_card(name)
    assert (card.sample_rate_hz, card.window_s, card.embed_dim) == PUBLISHED[name]


def test_every_card_is_whole() -> None:
    for name, card in weight_cards().items():
        assert card.name == name
        assert card.weights_license
        assert card.citation
        assert card.folder is None or card.bundled().is_dir(), name
    assert sum(name.startswith("laion-") for name in weight_cards()) == 7


def test_unknown_name_tells_the_near_miss() -> None:
    with pytest.raises(ConfigError, match='unknown model "msclap2023"; did you mean "msclap-2023"'):
        weight_card("msclap2023")


@pytest.mark.parametrize("places", [{}, {"repository": "a/b", "folder": "weights/a"}])
def test_exactly_one_place(places: dict[str, str]) -> None:
    values = weight_card("msclap-2023").model_dump(exclude={"repository", "file", "folder", "url"})
    with pytest.raises(ConfigError, match="exactly one of repository, folder and url"):
        WeightCard.parse(values | places, "card.toml")


@pytest.mark.parametrize("name", ["larger-clap-music", "laion/larger_clap_music"])
def test_a_broken_checkpoint_warns_at_load(name: str) -> None:
    from aural.core.errors import DefectWarning, MissingDependencyError
    from aural.models.load import load

    with pytest.warns(DefectWarning, match=r"cosine of 0\.9993"), pytest.raises(MissingDependencyError):
        load(name, offline=True)


def test_a_repository_is_its_card_only_if_it_is_one_model() -> None:
    card = card_for("laion/clap-htsat-fused")
    assert card is not None
    assert card.name == "clap-htsat-fused"
    assert card_for("microsoft/msclap") is None  # one repository with several files
    assert card_for("some/folder/deep") is None


def test_every_family_is_in_the_table_of_models() -> None:
    from typing import get_args

    from aural.core.weights import Family

    source = (Path(__file__).parents[2] / "tools" / "docs_site.py").read_text(encoding="utf-8")
    table = ast.parse(source)
    families = next(
        node.value
        for node in table.body
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "FAMILIES"
    )
    assert {key.value for key in families.keys} == set(get_args(Family))
    used = {card.family for card in weight_cards().values()}
    assert used <= set(get_args(Family))
