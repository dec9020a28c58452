"""Hub files without a network: the cache, offline mode, checksums, and sentences that say what to download."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

import aural
from aural.core import hub
from aural.core.errors import CheckpointError, MissingDependencyError
from aural.core.hub import hub_file, is_offline, verify


@pytest.mark.parametrize(("value", "off"), [("1", True), ("true", True), ("0", False), ("", False), ("No", False)])
@pytest.mark.parametrize("name", ["AURAL_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_variables(name: str, value: str, off: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AURAL_OFFLINE", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv(name, value)
    assert is_offline() is off


@pytest.fixture
def no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *args, **options: None)
    monkeypatch.setattr(hub, "reachable", lambda address: True)
    monkeypatch.delenv("AURAL_OFFLINE", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)


@pytest.mark.usefixtures("no_cache")
def test_offline_says_what_to_download_and_where() -> None:
    with pytest.raises(MissingDependencyError) as error:
        hub_file("microsoft/msclap", "weights.pth", offline=True)
    message = str(error.value)
    assert '"weights.pth" of the hub repository "microsoft/msclap" is not on this machine' in message
    assert huggingface_hub.constants.HF_HUB_CACHE in message
    address = f"{huggingface_hub.constants.ENDPOINT}/microsoft/msclap/resolve/main/weights.pth"
    assert f"download {address} elsewhere and pass the path of your copy" in message


@pytest.mark.usefixtures("no_cache")
@pytest.mark.parametrize("error", [OSError("no route to host"), LocalEntryNotFoundError("cannot reach the hub")])
def test_failed_download_is_one_sentence(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **options: object) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fail)
    with pytest.raises(MissingDependencyError, match=r'"w.pth" of the hub repository "a/b" could not be downloaded \('):
        hub_file("a/b", "w.pth")


def test_what_is_no_repository_name() -> None:
    with pytest.raises(MissingDependencyError, match='"a//b" is neither a local path nor the name of a hub repo'):
        hub_file("a//b", "config.json", offline=True)


@pytest.mark.usefixtures("no_cache")
def test_download_is_verified(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b"weights"
    digest = hashlib.sha256(content).hexdigest()
    good, bad, plain = tmp_path / digest, tmp_path / ("0" * 64), tmp_path / "plain"
    for path in (good, bad, plain):
        path.write_bytes(content)
    given = {"good": good, "bad": bad, "plain": plain}
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda repo, name, revision: str(given[name]))
    assert hub_file("a/b", "good") == good
    assert hub_file("a/b", "plain") == plain
    assert hub_file("a/b", "plain", sha256=digest) == plain
    with pytest.raises(CheckpointError, match=r"sha256 is .*expected 000000000000\.\.\.; delete the file"):
        hub_file("a/b", "bad")


def test_verify_checks_nothing_unstated(tmp_path: Path) -> None:
    verify(tmp_path / "not there", None)


def test_cached_file_is_taken_without_the_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cached = tmp_path / "config.json"
    cached.write_text("{}")
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *args, **options: str(cached))
    assert hub_file("a/b", "config.json", offline=True) == cached


def test_empty_cache_on_the_command_line(tmp_path: Path) -> None:
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    run = [sys.executable, "-m", "aural", "similarity", "a.wav", "--text", "rain", "--model", "msclap-2023"]
    done = subprocess.run(run, capture_output=True, text=True, env=env, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith('error: "CLAP_weights_2023.pth" of the hub repository "microsoft/msclap" is not on')
    assert str(tmp_path) in done.stderr
    assert "Traceback" not in done.stderr


def test_a_hub_that_cannot_be_reached_is_one_sentence_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The client of the hub would try for 23 s and end in the middle of a word."""
    monkeypatch.delenv("AURAL_OFFLINE", raising=False)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *args, **options: None)
    monkeypatch.setattr(hub, "reachable", lambda address: False)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *args, **options: pytest.fail("was asked"))
    with pytest.raises(
        MissingDependencyError, match=r"cannot be reached; download \S+/w\.pth elsewhere and pass .*\)$"
    ):
        hub_file("a/b", "w.pth")
    with pytest.raises(MissingDependencyError) as error:
        aural.load("msclap-2023")
    assert "CLAP_weights_2023.pth" in str(error.value)
    with pytest.raises(MissingDependencyError) as error:
        aural.load("owner/model")
    names = "config.json, model.safetensors, preprocessor_config.json, tokenizer.json"
    assert f"download {names} from {huggingface_hub.constants.ENDPOINT}/owner/model into a folder" in str(error.value)


def test_reachable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert hub.reachable(f"http://127.0.0.1:{port}")
        monkeypatch.setenv("no_proxy", "")
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
        assert hub.reachable("http://hub.invalid")  # through the proxy
    monkeypatch.delenv("http_proxy")
    assert not hub.reachable(f"http://127.0.0.1:{port}/closed", 0.5)
    stuck = threading.Event()

    def look_up(*_: object) -> None:  # a name server that does not answer
        stuck.wait(30)
        raise OSError

    monkeypatch.setattr(socket, "create_connection", look_up)
    assert not hub.reachable("http://127.0.0.2", 0.05)
    stuck.set()
