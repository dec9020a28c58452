"""Loading: names, paths, formats and damaged checkpoints; every refusal names the file and the mend."""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from aural.core.errors import AuralError, CheckpointError, ConfigError
from aural.models.clap import Clap, layout
from aural.models.device import pick_device
from aural.models.format import save_own
from aural.models.load import load
from aural.models.open import open_checkpoint
from aural.models.pipeline import Model
from aural.models.publish import push_to_hub
from tiny import tiny_config, tiny_state


class Shell:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, ("touch pwned",))


def config_json(folder: Path, values: object) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(values))
    return folder


OWN = {"aural": 1, "clap": tiny_config().model_dump(mode="json")}
CLAP = {"model_type": "clap", "audio_config": {}, "text_config": {}}


def changed(section: str, **values: object) -> dict[str, Any]:
    made = json.loads(json.dumps(OWN))
    made["clap"][section] |= values
    return made


BAD_MODELS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "empty file": (lambda at: write(at / "w.pt", b""), "w.pt: cannot be read as torch weights"),
    "a text": (lambda at: write(at / "w.pt", b"hello\n" * 30), "w.pt: cannot be read as torch weights"),
    "a pickle with code": (lambda at: write(at / "w.pt", pickle.dumps(Shell())), "holds more than tensors"),
    "a list": (lambda at: saved(at, [1, 2]), "holds a list, not a checkpoint"),
    "numbers as keys": (lambda at: saved(at, {1: torch.zeros(1)}), 'holds no state dict under "model" or "state_dict"'),
    "no tensors": (lambda at: saved(at, {"a": 1}), 'holds no state dict under "model" or "state_dict"'),
    "nothing": (lambda at: saved(at, {}), "is not a checkpoint that aural knows (its first keys: none)"),
    "msclap in part": (
        lambda at: saved(at, {"model": {"audio_encoder.base.htsat.bn0.weight": torch.zeros(64)}}),
        "miss",
    ),
    "laion in part": (
        lambda at: saved(at, {"state_dict": {"module.audio_branch.bn0.weight": torch.zeros(64)}}),
        "miss",
    ),
    "no config": (lambda at: at, "holds no config.json; give a weight file or the folder of a model"),
    "config a list": (lambda at: config_json(at, [1]), "config.json: holds a list, not a model's configuration"),
    "format 2": (lambda at: config_json(at, OWN | {"aural": 2}), "has format 2, this version reads 1; update aural"),
    "no weights": (lambda at: config_json(at, OWN), "model.safetensors is missing; copy the whole folder again"),
    "encoder": (lambda at: config_json(at, changed("audio", encoder="cnn15")), "is not an audio encoder (known: cnn14"),
    "rate a word": (lambda at: config_json(at, changed("audio", sample_rate_hz="fast")), '"clap.audio.sample_rate_hz"'),
    "near miss": (lambda at: config_json(at, changed("text", poolin="cls")), 'did you mean "pooling"?'),
    "clap without audio": (
        lambda at: config_json(at, {"model_type": "clap"}),
        "audio_config and text_config are missing",
    ),
    "clap depths": (lambda at: config_json(at, CLAP | {"audio_config": {"depths": "x"}}), 'config.json: key "depths'),
    "clap activation": (
        lambda at: config_json(at, CLAP | {"projection_hidden_act": "tanh"}),
        '"tanh" is not supported',
    ),
    "clap fusion": (lambda at: config_json(at, CLAP | {"audio_config": {"fusion_type": "iaff"}}), 'fusion_type "iaff"'),
    "clap no weights": (lambda at: config_json(at, CLAP), "holds neither model.safetensors nor pytorch_model.bin"),
}


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def saved(at: Path, content: object) -> Path:
    torch.save(content, at / "w.pt")
    return at / "w.pt"


@pytest.mark.parametrize("name", BAD_MODELS)
def test_bad_models(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make, sentence = BAD_MODELS[name]
    with pytest.raises(AuralError) as error:
        open_checkpoint(make(tmp_path))
    assert sentence in str(error.value)
    assert str(tmp_path) in str(error.value)
    assert not (tmp_path / "pwned").exists()


@given(st.integers(0, 2**32 - 1), st.booleans())
@settings(max_examples=60, deadline=None)
def test_damaged_pickles_never_fail_otherwise(
    tmp_path_factory: pytest.TempPathFactory, seed: int, zipped: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.pt"
    torch.save({"a": torch.zeros(9), "b": [1, "x"]}, path, _use_new_zipfile_serialization=zipped)
    draw = np.random.default_rng(seed)
    content = bytearray(path.read_bytes())
    for at in draw.integers(0, len(content), 6):
        content[at] = draw.integers(256)
    path.write_bytes(content[: draw.integers(1, len(content) + 1)])
    with pytest.raises(CheckpointError):
        open_checkpoint(path)


@pytest.mark.parametrize("fault", ["missing", "surplus", "misshaped", "truncated"])
def test_own_format_is_checked_key_by_key(fault: str, tiny_folder: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes((tiny_folder / "config.json").read_bytes())
    tensors, key = load_file(tiny_folder / "model.safetensors"), "audio.projection.linear1.bias"
    if fault == "missing":
        del tensors[key]
    elif fault == "surplus":
        tensors[key + "es"] = torch.zeros(1)
    else:
        tensors[key] = torch.zeros(5)
    save_file(tensors, tmp_path / "model.safetensors")
    if fault == "truncated":
        write(tmp_path / "model.safetensors", (tmp_path / "model.safetensors").read_bytes()[:-100])
    sentences = {
        "missing": f'"{key}" is missing',
        "surplus": f'"{key}es" is not part of this architecture (did you mean "{key}"?)',
        "misshaped": f'"{key}" has shape (5,), expected (24,)',
        "truncated": "cannot be read as safetensors",
    }
    with pytest.raises(CheckpointError) as error:
        load(tmp_path)
    assert sentences[fault] in str(error.value)


def test_layout_is_what_is_built() -> None:
    for config in (tiny_config(), tiny_config(logit_bias=True)):
        assert layout(config) == {name: tuple(tensor.shape) for name, tensor in Clap(config).state_dict().items()}


def test_weight_file_of_a_folder_says_so(tiny_folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is the weight file of a model's folder; give the folder"):
        load(tiny_folder / "model.safetensors")


def test_own_format_gives_the_same_model(tiny: Model, tmp_path: Path) -> None:
    sound, text = [(np.sin(np.arange(30000) / 9), 16000)], ["rain"]
    again = load(tiny.save_pretrained(tmp_path / "again"), device="cpu")
    assert again.config == tiny.config
    np.testing.assert_array_equal(again.embed_audio(sound), tiny.embed_audio(sound))
    np.testing.assert_array_equal(again.embed_text(text), tiny.embed_text(text))
    half = load(tiny.save_pretrained(tmp_path / "half", half=True), device="cpu")
    assert (half.embed_audio(sound) * tiny.embed_audio(sound)).sum() > 0.9999
    assert (half.embed_text(text) * tiny.embed_text(text)).sum() > 0.9999
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("again", "half")]
    assert sizes[1] < 0.6 * sizes[0]
    assert sorted(file.name for file in (tmp_path / "again").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    assert "aural.load(" in (tmp_path / "again" / "README.md").read_text()


def test_unfinished_tensors_are_not_saved(tmp_path: Path) -> None:
    state = tiny_state(tiny_config())
    del state["logit_scale"]
    with pytest.raises(CheckpointError, match='"logit_scale" is missing'):
        save_own(tmp_path / "model", tiny_config(), state)
    assert not list((tmp_path / "model").glob("*.safetensors"))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"precision": "fp16"}, 'precision "fp16" is not known; use fp32 or bf16'),
        ({"compat": "msclap"}, 'compat "msclap" is not known; use "peer" or leave it out'),
        ({"compat": "peer"}, 'compat="peer" needs a published checkpoint of another package'),
        ({"device": "gpu"}, 'device "gpu" is not known'),
        ({"device": ""}, 'device "" is not known'),
        ({"device": "meta"}, 'device "meta" is not supported'),
    ],
)
def test_bad_options(tiny_folder: Path, options: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError) as error:
        load(tiny_folder, **options)
    assert sentence in str(error.value)


@pytest.mark.parametrize("name", [None, 5, ["a"], b"msclap-2023"])
def test_names_are_strings_or_paths(name: Any) -> None:
    with pytest.raises(ConfigError, match="a model is named by a string or path"):
        load(name)


def test_auto_device() -> None:
    assert pick_device(None) == pick_device("auto")
    assert pick_device("cpu").type == "cpu"


class FakeHub:
    """Stands for huggingface_hub.HfApi: keeps what is uploaded."""

    endpoint = "https://hub"
    fails: Exception | None = None

    def __init__(self, kept: Path) -> None:
        self.kept = kept

    def __call__(self, token: str | None = None) -> FakeHub:
        return self

    def create_repo(self, repository: str, private: bool, exist_ok: bool) -> None:
        if self.fails:
            raise self.fails

    def upload_folder(self, folder_path: str, repo_id: str) -> None:
        for file in Path(folder_path).iterdir():
            target = self.kept / repo_id / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(file.read_bytes())


def test_push_and_load_again(tiny: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = FakeHub(tmp_path)
    monkeypatch.setattr("huggingface_hub.HfApi", hub)
    monkeypatch.setattr("aural.models.publish.reachable", lambda address: True)
    assert push_to_hub(tiny, "me/tiny") == "https://hub/me/tiny"

    def cached(repository: str, name: str, revision: str | None = None) -> str | None:
        path = tmp_path / repository / name
        return str(path) if path.is_file() else None

    monkeypatch.setattr("huggingface_hub.try_to_load_from_cache", cached)
    monkeypatch.chdir("/")
    again = Model.from_pretrained("me/tiny", offline=True, device="cpu")
    np.testing.assert_array_equal(again.embed_text(["rain"]), tiny.embed_text(["rain"]))
    with pytest.raises(AuralError, match=r'"config.json" of the hub repository "me/tiny.v2" is not on this machine'):
        load("me/tiny.v2", offline=True)


def test_push_without_rights_is_one_sentence(tiny: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub = FakeHub(tmp_path)
    hub.fails = OSError("401 Unauthorized")
    monkeypatch.setattr("huggingface_hub.HfApi", hub)
    monkeypatch.setattr("aural.models.publish.reachable", lambda address: True)
    with pytest.raises(
        ConfigError, match=r'"me/tiny": could not be written to the hub \(401 Unauth.*log in or pass token'
    ):
        tiny.push_to_hub("me/tiny")


def test_push_without_network_is_one_sentence(tiny: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.HfApi", lambda **options: pytest.fail("was asked"))
    monkeypatch.setattr("aural.models.publish.reachable", lambda address: False)
    with pytest.raises(ConfigError, match=r'"me/tiny": \S+ cannot be reached, so nothing was uploaded; connect'):
        tiny.push_to_hub("me/tiny")
