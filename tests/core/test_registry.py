"""Names are looked up exactly, registered once, and carry checked axes."""

import pytest

from aural.core.config import Config
from aural.core.errors import ConfigError
from aural.core.registry import Registry, build


def test_exact_names_only() -> None:
    shapes = Registry[int]("shape")
    shapes.add("square", 4)

    @shapes.register("triangle")
    def three() -> int:
        return 3

    assert shapes["square"] == 4
    assert shapes["triangle"] is three
    assert (list(shapes), len(shapes), "square" in shapes, "squ" in shapes) == (["square", "triangle"], 2, True, False)
    with pytest.raises(ConfigError, match='did you mean "square"'):
        shapes["sqare"]


def test_second_registration_is_refused() -> None:
    shapes = Registry[int]("shape")
    shapes.add("square", 4)
    with pytest.raises(ConfigError, match='shape "square" is registered twice'):
        shapes.add("square", 5)
    assert shapes["square"] == 4


def test_axes_are_checked_and_missing_ones_are_listed() -> None:
    shapes = Registry[int]("shape", {"sides": ("few", "many"), "color": ("red", "blue")})
    shapes.add("square", 4, sides="few", color="red")
    shapes.add("circle", 1, color="blue")
    assert shapes.axes_of("square") == {"sides": "few", "color": "red"}
    assert shapes.missing_axes() == {"circle": ["sides"]}
    with pytest.raises(ConfigError, match='shape "star": unknown axis "colour"; did you mean "color"'):
        shapes.add("star", 10, colour="red")
    with pytest.raises(ConfigError, match='shape "star": axis "sides" has no value "man"; did you mean "many"'):
        shapes.add("star", 10, sides="man")
    assert "star" not in shapes
    with pytest.raises(ConfigError, match='did you mean "square"'):
        shapes.axes_of("sqare")


def test_build_parses_the_config_of_the_class() -> None:
    class SquareConfig(Config):
        side: int = 1

    class Square:
        config_type = SquareConfig

        def __init__(self, config: SquareConfig) -> None:
            self.side = config.side

    shapes = Registry[type[Square]]("shape")
    shapes.register("square")(Square)
    assert build(shapes, "square", {"side": 3}).side == 3
    assert build(shapes, "square").side == 1
    with pytest.raises(ConfigError, match='shape "square": unknown key "sides"; did you mean "side"'):
        build(shapes, "square", {"sides": 3})
