"""Write a model as a transformers ClapModel folder that gives equal outputs, where the architecture allows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aural.audio.mel import mel_filters
from aural.core.errors import ConfigError, MissingDependencyError
from aural.core.files import atomic_write, check_folder, write_text
from aural.encoders.convert.base import htsat_constants
from aural.encoders.convert.transformers import clapmodel_name, qkv_names
from aural.encoders.htsat import HtsatConfig
from aural.models.clap import ClapConfig
from aural.models.pipeline import Model

ALLOWED = "ClapModel is HTSAT and RoBERTa with two-layer ReLU projections"


def export_transformers(
    source: str, target: str | Path, *, tokenizer: str | Path | None = None, offline: bool = False
) -> Path:
    """Write config.json, preprocessor_config.json, model.safetensors and the tokenizer as `ClapModel` reads them.

    Raises ConfigError when the architecture has no place in ClapModel, and MissingDependencyError when the tokenizer is
    not on this machine; the other files are then written.
    """
    from safetensors.torch import save_file

    model = Model.from_pretrained(source, device="cpu", tokenizer=tokenizer, offline=offline)
    config, tensors = model.config, dict(model.checkpoint.tensors)
    check_fits(config, tensors, model.source)
    htsat = HtsatConfig.parse(config.audio.encoder_options, model.source)
    folder = check_folder(target, ConfigError)
    with atomic_write(folder / "model.safetensors", ConfigError, parents=True) as part:
        save_file(clapmodel_tensors(tensors, htsat, config), part, metadata={"format": "pt"})
    files = {"config.json": clap_config(config, htsat), "preprocessor_config.json": extractor_config(config, htsat)}
    for name, values in files.items():
        write_text(folder / name, json.dumps(values, indent=2) + "\n", ConfigError)
    try:
        write_text(folder / "tokenizer.json", model.tokenizer.backend.to_str(), ConfigError)
        settings = {"tokenizer_class": "RobertaTokenizerFast", "model_max_length": config.text.max_tokens}
        special = {f"{name}_token": f"<{name}>" for name in ("pad", "unk", "mask")}
        special |= {"bos_token": "<s>", "eos_token": "</s>"}
        write_text(folder / "tokenizer_config.json", json.dumps(settings | special, indent=2) + "\n", ConfigError)
    except MissingDependencyError as error:
        raise MissingDependencyError(f"{folder}: written without its tokenizer ({error})") from None
    return folder


def check_fits(config: ClapConfig, tensors: dict[str, Tensor], source: str) -> None:
    """Raise ConfigError with the reason when ClapModel cannot represent a model."""
    mel, text = config.audio.mel, config.text
    reasons = {
        f"its audio encoder is {config.audio.encoder}": config.audio.encoder != "htsat",
        f"its text tower is {text.architecture}": text.architecture != "roberta" or text.pooling != "pooler",
        f"its projections are {config.audio.projection}": {config.audio.projection, config.text_projection} != {"mlp"},
        "its loss has a bias": config.logit_bias,
        f"its window is {config.audio.window_s:g} s, not whole seconds,": config.audio.window_s % 1 != 0,
        "its mel has another sample rate than its sounds": mel.sample_rate_hz != config.audio.sample_rate_hz,
        "its mel scale is not the one that ClapFeatureExtractor uses with its kind of truncation": (mel.scale, mel.norm)
        != (("htk", None) if config.audio.encoder_options.get("fusion") else ("slaney", "slaney")),
        "its mel is not in dB": mel.log != "db" or mel.peak_normalize or mel.divide != 1.0 or mel.pad != "reflect",
    }
    for reason, holds in reasons.items():
        if holds:
            raise ConfigError(f"{source}: cannot be written for transformers, because {reason} and {ALLOWED}")
    window = torch.hann_window(mel.n_fft)
    filters = torch.from_numpy(mel_filters(mel)).float()
    stored = (tensors["audio.front_end.window"], tensors["audio.front_end.filters"])
    if not all(torch.allclose(a, b, atol=1e-6) for a, b in zip(stored, (window, filters), strict=True)):
        raise ConfigError(f"{source}: its mel filters differ from those that ClapFeatureExtractor computes")


def clapmodel_tensors(tensors: dict[str, Tensor], htsat: HtsatConfig, config: ClapConfig) -> dict[str, Tensor]:
    """Return the tensors under the names of ClapModel, with the constants that it stores."""
    audio = "audio_model.audio_encoder."
    renamed: dict[str, Tensor] = {"logit_scale_t": tensors["logit_scale"].clone()}
    renamed |= htsat_constants(audio, htsat.depths, htsat.window, htsat.image_side // htsat.patch, masks=False)
    positions = torch.arange(config.text.positions)[None]
    renamed["text_model.embeddings.position_ids"] = positions
    renamed["text_model.embeddings.token_type_ids"] = torch.zeros_like(positions)
    for name, tensor in tensors.items():
        if name.startswith("audio.front_end."):
            continue
        if "attn.qkv." in name:
            renamed |= dict(zip(qkv_names(name), tensor.chunk(3), strict=True))
        else:
            renamed[clapmodel_name(name)] = tensor
    return {name: tensor.clone().contiguous() for name, tensor in renamed.items()}


def clap_config(config: ClapConfig, htsat: HtsatConfig) -> dict[str, Any]:
    """Return the content of config.json: the keys of transformers' ClapConfig."""
    text, last = config.text, htsat.embed_dim * 2 ** (len(htsat.depths) - 1)
    return {
        "architectures": ["ClapModel"],
        "model_type": "clap",
        "projection_dim": config.embed_dim,
        "projection_hidden_act": "relu",
        "audio_config": {
            "model_type": "clap_audio_model",
            "patch_embeds_hidden_size": htsat.embed_dim,
            "hidden_size": last,
            "depths": list(htsat.depths),
            "num_attention_heads": list(htsat.heads),
            "window_size": htsat.window,
            "mlp_ratio": htsat.mlp_ratio,
            "spec_size": htsat.image_side,
            "num_mel_bins": htsat.n_mels,
            "patch_size": htsat.patch,
            "patch_stride": [htsat.patch, htsat.patch],
            "enable_fusion": htsat.fusion,
            "fusion_type": "aff_2d" if htsat.fusion else None,
            "projection_dim": config.embed_dim,
        },
        "text_config": {
            "model_type": "clap_text_model",
            "hidden_size": text.dim,
            "num_hidden_layers": text.depth,
            "num_attention_heads": text.heads,
            "intermediate_size": text.hidden_dim,
            "vocab_size": text.vocab_size,
            "max_position_embeddings": text.positions,
            "type_vocab_size": text.token_types,
            "layer_norm_eps": text.layer_norm_eps,
            "pad_token_id": text.pad_id,
            "projection_dim": config.embed_dim,
        },
    }


def extractor_config(config: ClapConfig, htsat: HtsatConfig) -> dict[str, Any]:
    """Return the content of preprocessor_config.json: the keys of ClapFeatureExtractor."""
    mel, window_s = config.audio.mel, config.audio.window_s
    return {
        "feature_extractor_type": "ClapFeatureExtractor",
        "processor_class": "ClapProcessor",
        "feature_size": mel.n_mels,
        "sampling_rate": config.audio.sample_rate_hz,
        "hop_length": mel.hop,
        "fft_window_size": mel.n_fft,
        "max_length_s": int(window_s),
        "frequency_min": mel.fmin_hz,
        "frequency_max": mel.fmax_hz,
        "padding": config.audio.shorter.replace("-", ""),
        "truncation": "fusion" if htsat.fusion else "rand_trunc",
        "top_db": None,
        "padding_value": 0.0,
        "return_attention_mask": False,
    }
