"""Configs name text encoders and mel front ends instead of repeating their numbers."""

from __future__ import annotations

import pytest

from aural.audio.mel import PRESETS
from aural.core.errors import ConfigError
from aural.encoders.text import TEXT_TOWERS
from aural.models.clap import ClapConfig

AUDIO = {"sample_rate_hz": 48000, "window_s": 10, "encoder": "cnn14"}


def parse(mel: object, text: object) -> ClapConfig:
    return ClapConfig.parse({"embed_dim": 512, "audio": AUDIO | {"mel": mel}, "text": text}, "config")


@pytest.mark.parametrize("text", ["gpt2", "bert", "roberta", "minilm"])
def test_names_equal_the_numbers(text: str) -> None:
    named = parse("laion", text)
    spelled = parse(PRESETS["laion"].model_dump(), TEXT_TOWERS[text].model_dump())
    assert named == spelled
    assert named.model_dump_json() == spelled.model_dump_json()


def test_a_preset_can_be_changed() -> None:
    config = parse({"preset": "laion", "fmax_hz": 20000}, {"preset": "minilm", "max_tokens": 64})
    assert config.audio.mel == PRESETS["laion"].model_copy(update={"fmax_hz": 20000})
    assert config.text == TEXT_TOWERS["minilm"].model_copy(update={"max_tokens": 64})


def test_unknown_names_are_refused_with_the_near_miss() -> None:
    with pytest.raises(ConfigError, match=r'config: key "audio.mel": unknown mel preset "laoin"; did you mean "laion"'):
        parse("laoin", "gpt2")
    with pytest.raises(ConfigError, match='key "text": unknown text encoder "gpt3"; did you mean "gpt2"'):
        parse("laion", "gpt3")
    with pytest.raises(ConfigError, match=r'unknown key "text.max_token"; did you mean "max_tokens"'):
        parse("laion", {"preset": "minilm", "max_token": 64})
