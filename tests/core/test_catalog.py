"""Catalogs of cards: exact names, near misses, folders of the user, errors that name the file, lazy reading."""

import os
from pathlib import Path

import pytest

from aural.core.catalog import Catalog
from aural.core.config import Config
from aural.core.errors import ConfigError


class Planet(Config):
    """A card of this test."""

    name: str
    moons: int


def card(folder: Path, name: str, text: str = "moons = 1\n", **names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.toml"
    path.write_text(f'name = "{names.get("says", name)}"\n{text}')
    return path


@pytest.fixture
def planets(tmp_path: Path) -> Catalog[Planet]:
    card(tmp_path / "planets", "earth")
    card(tmp_path / "planets", "mars", "moons = 2\n")
    return Catalog("planet", str(tmp_path / "planets"), Planet, skip=("taxonomy",))


def test_a_card_is_found_by_its_exact_name_or_by_path(planets: Catalog[Planet], tmp_path: Path) -> None:
    assert planets["mars"] == Planet(name="mars", moons=2)
    assert planets["mars"] is planets["mars"]
    assert list(planets) == ["earth", "mars"]
    assert len(planets) == 2
    assert "earth" in planets
    assert "Earth" not in planets
    assert planets.card(card(tmp_path, "venus", "moons = 0\n")).moons == 0
    with pytest.raises(ConfigError, match=r'unknown planet "erth"; did you mean "earth"\?'):
        planets.card("erth")


def test_files_are_read_when_they_are_asked_for(planets: Catalog[Planet], tmp_path: Path) -> None:
    bad = card(tmp_path / "planets", "pluto", "moons = [\n")
    card(tmp_path / "planets", "taxonomy", "anything = 1\n")
    assert list(planets) == ["earth", "mars", "pluto"]
    assert planets["earth"].moons == 1
    with pytest.raises(ConfigError, match=f"^{bad}: cannot be read as toml"):
        planets.card("pluto")


@pytest.mark.parametrize(
    ("text", "says", "sentence"),
    [
        ("mons = 1\n", "venus", 'unknown key "mons"; did you mean "moons"'),
        ("moons = 0\n", "hesperus", 'says name "hesperus"; a card must have the name of its file'),
    ],
)
def test_every_error_names_its_file(
    planets: Catalog[Planet], tmp_path: Path, text: str, says: str, sentence: str
) -> None:
    path = card(tmp_path / "planets", "venus", text, says=says)
    with pytest.raises(ConfigError, match=f"^{path}: {sentence}"):
        planets.card("venus")


def test_a_check_that_refuses_a_card_names_the_file(tmp_path: Path) -> None:
    def few(planet: Planet, path: Path) -> None:
        if planet.moons > 10:
            raise ConfigError("has too many moons")

    path = card(tmp_path / "planets", "jupiter", "moons = 95\n")
    with pytest.raises(ConfigError, match=f"^{path}: has too many moons"):
        Catalog("planet", str(tmp_path / "planets"), Planet, check=few).card("jupiter")


def test_folders_of_the_user_add_cards_and_may_not_replace_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    planets = Catalog("planet", "planets", Planet)
    assert list(planets) == []  # the package has no such folder
    monkeypatch.setenv("AURAL_CATALOG", os.pathsep.join((str(tmp_path / "a"), str(tmp_path / "b"), "/no/such/folder")))
    card(tmp_path / "a" / "planets", "venus")
    card(tmp_path / "b" / "planets", "saturn")
    assert list(planets) == ["saturn", "venus"]
    planets.add_folder(tmp_path / "mine")
    card(tmp_path / "mine", "neptune")
    assert planets["neptune"].moons == 1
    again = card(tmp_path / "mine", "venus")
    with pytest.raises(ConfigError, match=f'^{again}: .*venus.toml is also called "venus"; rename this card'):
        list(planets)


def test_get_returns_the_default_for_unknown_names() -> None:
    from aural.core.weights import weight_cards

    cards = weight_cards()
    assert cards.get("no such model") is None
    assert cards.get("x" * 5000) is None
    assert cards.get("libre-small") is cards["libre-small"]
