"""A GGUF file is converted once: equal weights and tokens, a folder per version, the file itself without a cache."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest
import torch

from aural.core.errors import CheckpointError
from aural.models import gguf_files
from aural.models.causal import open_decoder, stop_tokens
from aural.models.gguf_files import dtype_option, gguf_options

WORDS = ["<unk>", "<s>", "</s>", "a", "b", "c", "ab", "Ġ", "Ġa", "Ġb"]
LAYERS = {
    "attn_q": (8, 8), "attn_k": (4, 8), "attn_v": (4, 8), "attn_output": (8, 8), "ffn_gate": (16, 8),
    "ffn_up": (16, 8), "ffn_down": (8, 16), "attn_norm": (8,), "ffn_norm": (8,),
}  # fmt: skip


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model of the kind of SmolLM2, written by the gguf package."""
    gguf = pytest.importorskip("gguf")
    pytest.importorskip("accelerate")
    path = tmp_path_factory.mktemp("gguf") / "small.gguf"
    writer, rng = gguf.GGUFWriter(path, "llama"), np.random.default_rng(0)
    writer.add_name("small")
    writer.add_context_length(32)
    writer.add_embedding_length(8)
    writer.add_block_count(1)
    writer.add_feed_forward_length(16)
    writer.add_head_count(2)
    writer.add_head_count_kv(1)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(4)
    writer.add_vocab_size(len(WORDS))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(WORDS)
    writer.add_token_types([3, 3, 3] + [1] * 7)
    writer.add_token_merges(["a b", "Ġ a", "Ġ b"])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    tensors = {f"blk.0.{name}.weight": shape for name, shape in LAYERS.items()}
    tensors |= {"token_embd.weight": (10, 8), "output_norm.weight": (8,), "output.weight": (10, 8)}
    for name, shape in tensors.items():
        writer.add_tensor(name, rng.standard_normal(shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "aural" / "gguf"


def test_the_folder_has_the_weights_and_the_tokens_of_the_file(file: Path, cache: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    direct = {"pretrained_model_name_or_path": str(file.parent), "gguf_file": file.name}
    model, tokenizer = (
        AutoModelForCausalLM.from_pretrained(**direct, **dtype_option(torch.float32)),
        AutoTokenizer.from_pretrained(**direct),
    )
    golden = model.state_dict()
    opened = open_decoder(file, device="cpu")
    state = opened.model.state_dict()
    assert state.keys() == golden.keys()
    assert all(torch.equal(state[name], golden[name]) for name in golden)
    assert opened.ids("ab a") == tokenizer("ab a", add_special_tokens=False).input_ids
    assert opened.stop_ids == tuple(stop_tokens(model, tokenizer))


def test_the_second_opening_converts_nothing_and_says_nothing(
    file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "aural"):
        first = gguf_options(file)
        assert [record.getMessage()[:31] for record in caplog.records] == ["small.gguf: converting it once "]
        monkeypatch.setattr(gguf_files, "_convert", None)
        assert gguf_options(file) == first
    assert len(caplog.records) == 1
    assert Path(first["pretrained_model_name_or_path"]).parent == cache


def test_another_version_of_transformers_converts_anew(
    file: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import transformers

    first = gguf_options(file)["pretrained_model_name_or_path"]
    monkeypatch.setattr(transformers, "__version__", "0.0.0")
    second = gguf_options(file)["pretrained_model_name_or_path"]
    assert first != second
    assert [str(path) for path in cache.iterdir() if path.is_dir()] == [second]


def test_without_room_in_the_cache_the_file_itself_is_read(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "full").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "full"))
    assert gguf_options(file)["gguf_file"] == "small.gguf"
    assert open_decoder(file, device="cpu").dim == 8


def test_what_is_no_gguf_file_is_named_and_leaves_nothing(tmp_path: Path, cache: Path) -> None:
    pytest.importorskip("gguf")
    pytest.importorskip("accelerate")
    (tmp_path / "text.gguf").write_text("no model")
    with pytest.raises(CheckpointError, match=r"text\.gguf: is not a causal language model"):
        open_decoder(tmp_path / "text.gguf")
    assert not [path for path in cache.glob("*") if path.is_dir()]
