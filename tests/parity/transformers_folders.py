"""Folders of tiny random models in the layout of transformers repositories that need transformers 5."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from aural.encoders.tokenize import load_backend


def disturbed(model: Any, seed: int) -> Any:
    """Return a model whose weights are all random: norms and biases start as 1 and 0, which would hide errors."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.1)
    return model.eval()


def write_pe_audio(folder: Path) -> Any:
    """Write a PeAudioModel folder with tokenizer and feature extractor; return its tokenizer."""
    from transformers import PeAudioConfig, PeAudioFeatureExtractor, PeAudioModel, PreTrainedTokenizerFast

    text = {
        "model_type": "modernbert", "vocab_size": 30522, "hidden_size": 64, "intermediate_size": 96,
        "num_hidden_layers": 3, "num_attention_heads": 4, "max_position_embeddings": 512, "local_attention": 8,
        "global_attn_every_n_layers": 2, "pad_token_id": 0, "cls_token_id": 101, "sep_token_id": 102,
        "bos_token_id": 101, "eos_token_id": 102,
    }  # fmt: skip
    codec = {
        "model_type": "dac", "encoder_hidden_size": 4, "downsampling_ratios": [2, 8, 10, 12], "codebook_dim": 8,
        "hidden_size": 64,
    }  # fmt: skip
    audio = {
        "hidden_size": 48, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 3, "head_dim": 16,
        "num_key_value_heads": 3, "dac_config": codec,
    }  # fmt: skip
    disturbed(PeAudioModel(PeAudioConfig(text_config=text, audio_config=audio)), seed=1).save_pretrained(folder)
    names = {"pad": "[PAD]", "cls": "[CLS]", "sep": "[SEP]", "unk": "[UNK]", "mask": "[MASK]"}
    special = {f"{name}_token": token for name, token in names.items()}
    backend = load_backend("bert-base-uncased")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, model_max_length=512, **special)
    tokenizer.save_pretrained(folder)
    PeAudioFeatureExtractor().save_pretrained(folder)
    return tokenizer


GEMMA_TOKENS = ("<pad>", "<eos>", "<bos>", "<boi>", "<eoi>", "<image>", "<video>", "<boa>", "<eoa>", "<audio>")


def gemma_tokenizer() -> Any:
    """Return GPT-2's byte-level BPE with the special tokens of Gemma, which opens with <bos> and closes with <eos>."""
    from tokenizers import processors
    from transformers import PreTrainedTokenizerFast

    backend = load_backend("gpt2")
    backend.add_special_tokens(list(GEMMA_TOKENS))
    ends = [(name, backend.token_to_id(name)) for name in ("<bos>", "<eos>")]
    backend.post_processor = processors.TemplateProcessing(single="<bos> $A <eos>", special_tokens=ends)
    kinds = {"image_token": "<image>", "boi_token": "<boi>", "eoi_token": "<eoi>"}
    kinds |= {"audio_token": "<audio>", "boa_token": "<boa>", "eoa_token": "<eoa>"}
    ends_of_text = {"pad_token": "<pad>", "bos_token": "<bos>", "eos_token": "<eos>"}
    return PreTrainedTokenizerFast(tokenizer_object=backend, extra_special_tokens=kinds, **ends_of_text)


def gemma_ids(tokenizer: Any) -> tuple[dict[str, int], dict[str, int]]:
    """Return the ids that EmbeddingGemma2Config names, and those of all special tokens."""
    number = {name: tokenizer.convert_tokens_to_ids(name) for name in GEMMA_TOKENS}
    ids = {f"{name}_token_id": number[f"<{name}>"] for name in ("boi", "eoi", "image", "video", "boa", "audio")}
    return ids | {"eoa_token_index": number["<eoa>"]}, number


def write_embedding_gemma2(folder: Path) -> Any:
    """Write an EmbeddingGemma2Model folder with tokenizer and feature extractor; return its tokenizer."""
    from transformers import EmbeddingGemma2Config, EmbeddingGemma2Model, Gemma4AudioFeatureExtractor

    tokenizer = gemma_tokenizer()
    ids, number = gemma_ids(tokenizer)
    text = {
        "vocab_size": len(tokenizer), "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 4,
        "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "global_head_dim": 32,
        "num_global_key_value_heads": 1, "sliding_window_pattern": 2, "sliding_window": 6,
        "hidden_size_per_layer_input": 8, "embedding_dim": 24, "max_position_embeddings": 512,
        "pad_token_id": number["<pad>"], "bos_token_id": number["<bos>"], "eos_token_id": number["<eos>"],
    }  # fmt: skip
    audio = {
        "model_type": "gemma4_audio", "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4,
        "subsampling_conv_channels": [128, 4], "output_proj_dims": 40,
    }  # fmt: skip
    config = EmbeddingGemma2Config(text_config=text, audio_config=audio, vision_config=None, **ids)
    disturbed(EmbeddingGemma2Model(config), seed=2).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    Gemma4AudioFeatureExtractor().save_pretrained(folder)
    return tokenizer
