"""Strict config: unknown keys are refused with the near miss, files of every kind give the same."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from aural.core.config import Config, read_mapping
from aural.core.errors import ConfigError, near_miss


class Inner(Config):
    width: int = 4
    kind: str = "avg"


class Outer(Config):
    sample_rate_hz: int
    inner: Inner = Inner()
    names: tuple[str, ...] = ()


def test_values_and_defaults() -> None:
    config = Outer.parse({"sample_rate_hz": 48000, "inner": {"width": 8}}, "here")
    assert (config.sample_rate_hz, config.inner.width, config.inner.kind) == (48000, 8, "avg")


def test_is_frozen() -> None:
    config = Inner()
    with pytest.raises(Exception, match="frozen"):
        config.width = 5  # type: ignore[misc]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"sample_rate": 1, "sample_rate_hz": 1}, 'unknown key "sample_rate"; did you mean "sample_rate_hz"?'),
        ({"sample_rate_hz": 1, "inner": {"widht": 2}}, 'unknown key "inner.widht"; did you mean "width"?'),
        ({"sample_rate_hz": 1, "zzz": 2}, 'unknown key "zzz"; known: inner, names, sample_rate_hz'),
        ({}, 'key "sample_rate_hz" is missing'),
        ({"sample_rate_hz": "fast"}, "key \"sample_rate_hz\": must be a whole number, got 'fast'"),
        (
            {"sample_rate_hz": 1, "inner": {"width": "x", "kind": 3}},
            'key "inner.width": must be a whole number, got \'x\'; key "inner.kind": must be text, got 3',
        ),
    ],
)
def test_refusals_name_the_key(values: dict[str, object], sentence: str) -> None:
    with pytest.raises(ConfigError) as error:
        Outer.parse(values, "model.yaml")
    assert str(error.value).startswith("model.yaml: ")
    assert sentence in str(error.value)


@given(st.sampled_from(sorted(Outer.model_fields)), st.data())
def test_near_miss_of_any_one_letter_slip(name: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(name) - 1))
    slip = name[:at] + data.draw(st.sampled_from("abcxyz_")) + name[at + 1 :]
    told = near_miss(slip, Outer.model_fields)
    assert told == f'did you mean "{name}"?'


@given(st.text(max_size=20), st.lists(st.text(max_size=8), max_size=20))
def test_near_miss_never_fails_and_never_invents(name: str, known: list[str]) -> None:
    told = near_miss(name, known)
    if told.startswith("did you mean"):
        assert told.removeprefix('did you mean "').removesuffix('"?') in known
    else:
        assert told.startswith(("known: ", "nothing is known"))


@pytest.mark.parametrize("suffix", [".json", ".yaml", ".yml", ".toml"])
def test_files_of_every_kind_give_the_same(suffix: str, tmp_path: Path) -> None:
    file = tmp_path / f"model{suffix}"
    values = {"sample_rate_hz": 16000, "inner": {"width": 8}}
    texts = {".json": json.dumps(values), ".toml": "sample_rate_hz = 16000\n[inner]\nwidth = 8\n"}
    file.write_text(texts.get(suffix, yaml.safe_dump(values)), encoding="utf-8")
    assert read_mapping(file) == values
    assert Outer.read(file).inner.width == 8


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("model.ini", b"", "a config file ends in .json, .toml, .yaml, .yml"),
        ("missing.json", None, "no such file"),
        ("model.json", b"{", "cannot be read as json"),
        ("model.toml", b"= 3", "cannot be read as toml"),
        ("model.yaml", b"a: [", "cannot be read as yaml"),
        ("model.json", b"\xff\xfe\x00", "cannot be read as json"),
        ("model.yaml", b"- a\n- b\n", "must hold a mapping of keys to values, not list"),
        ("model.yaml", b"", "must hold a mapping of keys to values, not NoneType"),
    ],
)
def test_bad_files_are_named(name: str, content: bytes | None, sentence: str, tmp_path: Path) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(ConfigError) as error:
        read_mapping(file)
    assert str(file) in str(error.value)
    assert sentence in str(error.value)
