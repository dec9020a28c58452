"""Convert checkpoints of other packages: msclap, LAION CLAP and transformers' ClapModel.

A state dict is recognized by the presence of one exact key. The tensors of the resulting `Checkpoint` are named and
shaped as in the state dict of `Clap(config)`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aural.audio.length import Shorter
from aural.audio.mel import PRESETS, LogMel, MelConfig
from aural.core.config import read_mapping
from aural.core.errors import CheckpointError, one_line
from aural.encoders.convert import laion, msclap, transformers
from aural.encoders.convert.base import Publisher, translate
from aural.encoders.htsat import HtsatConfig
from aural.encoders.text import TEXT_TOWERS, TextConfig
from aural.models.checkpoint import Checkpoint, Peer
from aural.models.clap import AudioConfig, ClapConfig, layout
from aural.models.weight_files import read_pickle, read_safetensors


def open_published(state: Mapping[str, Tensor], where: str) -> Checkpoint | None:
    """Convert the state dict of a published weight file, or return None when its layout is unknown.

    Raises CheckpointError when the layout is known but tensors are missing, unexpected or misshaped.
    """
    for marker, reader in MARKERS.items():
        if marker in state:
            config, publisher, peer = reader(state, where)
            return Checkpoint(config, translate(state, layout(config), publisher, where), peer, where)
    return None


# One tensor of each layout that is stored as a folder: aural's own and ClapModel's.
IN_FOLDERS = frozenset(("audio.front_end.window", "audio_model.audio_encoder.batch_norm.weight"))

Reader = Callable[[Mapping[str, Tensor], str], tuple[ClapConfig, Publisher, Peer]]


def _msclap(year: int, _state: Mapping[str, Tensor], _where: str) -> tuple[ClapConfig, Publisher, Peer]:
    encoder, text, window_s = {2022: ("cnn14", "bert", 5.0), 2023: ("htsat", "gpt2", 7.0)}[year]
    audio = AudioConfig(
        sample_rate_hz=44100, window_s=window_s, shorter="repeat", mel=PRESETS[f"msclap-{year}"], encoder=encoder,
        projection="residual",
    )  # fmt: skip
    config = ClapConfig(embed_dim=1024, audio=audio, text=TEXT_TOWERS[text], text_projection="residual")
    return config, msclap.publisher(htsat=encoder == "htsat"), "msclap"


def laion_layout(state: Mapping[str, Tensor], where: str) -> tuple[ClapConfig, Publisher, Peer]:
    if "audio_branch.conv_block1.conv1.weight" in state:
        fused = "audio_branch.mel_conv2d.0.weight" in state
        encoder, options, htsat = "cnn14", {"fusion": fused}, None
    else:
        fused = "audio_branch.patch_embed.mel_conv2d.weight" in state
        depth = sum(f"audio_branch.layers.2.blocks.{i}.norm1.weight" in state for i in range(64))
        width = state.get("audio_branch.patch_embed.proj.weight", torch.empty(96)).shape[0]
        htsat = HtsatConfig(embed_dim=width, depths=(2, 2, depth, 2), fusion=fused)
        encoder, options = "htsat", htsat.model_dump(mode="json")
    audio = AudioConfig(
        sample_rate_hz=48000, window_s=10.0, shorter="repeat-pad", mel=PRESETS["laion-fused" if fused else "laion"],
        encoder=encoder, encoder_options=options, projection="mlp",
    )  # fmt: skip
    config = ClapConfig(embed_dim=512, audio=audio, text=TEXT_TOWERS["roberta"], text_projection="mlp")
    return config, laion.publisher(htsat, fused, embed_dim=512), "laion"


MARKERS: dict[str, Reader] = {
    "audio_encoder.base.htsat.bn0.weight": partial(_msclap, 2023),
    "audio_encoder.base.conv_block1.conv1.weight": partial(_msclap, 2022),
    "audio_branch.bn0.weight": laion_layout,
}


def open_transformers(folder: Path, values: Mapping[str, Any]) -> Checkpoint:
    """Open the folder of a ClapModel repository; `values` is the content of its config.json."""
    where = str(folder)
    processor = read_extractor_config(folder)
    if not isinstance(values.get("audio_config"), Mapping) or not isinstance(values.get("text_config"), Mapping):
        raise CheckpointError(f"{where}/config.json: audio_config and text_config are missing; download it again")
    fused = processor.get("truncation", "fusion" if values["audio_config"].get("enable_fusion") else "rand_trunc")
    try:
        config, htsat = transformers_config(values, processor, fused == "fusion", where)
    except (TypeError, ValueError) as error:  # raised by pydantic and by conversions to numbers
        raise CheckpointError(f"{where}: the configuration holds a wrong value ({one_line(error, 140)})") from None
    front_end = LogMel(config.audio.mel).state_dict()
    weights = folder / "model.safetensors"
    if weights.is_file():
        state = read_safetensors(weights)
    elif (folder / "pytorch_model.bin").is_file():
        state = read_pickle(folder / "pytorch_model.bin")
    else:
        raise CheckpointError(f"{where}: holds neither model.safetensors nor pytorch_model.bin")
    publisher = transformers.publisher(htsat, front_end.__getitem__)
    return Checkpoint(config, translate(state, layout(config), publisher, where), "transformers", where, folder)


def read_extractor_config(folder: Path) -> dict[str, Any]:
    """Return the settings of a folder's feature extractor, {} if it has none.

    transformers before 5 writes preprocessor_config.json, later versions "feature_extractor" in processor_config.json.
    """
    old, new = folder / "preprocessor_config.json", folder / "processor_config.json"
    if old.is_file():
        return read_mapping(old)
    settings = read_mapping(new).get("feature_extractor", {}) if new.is_file() else {}
    if not isinstance(settings, Mapping):
        raise CheckpointError(f'{new}: "feature_extractor" holds a {type(settings).__name__}; download it again')
    return dict(settings)


_SHORTER: dict[str, Shorter] = {"repeatpad": "repeat-pad", "repeat": "repeat", "pad": "pad"}


def transformers_config(
    values: Mapping[str, Any], processor: Mapping[str, Any], fused_mel: bool, where: str
) -> tuple[ClapConfig, HtsatConfig]:
    """Convert the files of ClapConfig and ClapFeatureExtractor; missing keys take the defaults of transformers."""
    a, t = dict(values.get("audio_config", {})), dict(values.get("text_config", {}))
    for key, given, only in (
        ("projection_hidden_act", values, "relu"),
        ("hidden_act", a, "gelu"),
        ("hidden_act", t, "gelu"),
        ("padding", processor, tuple(_SHORTER)),
    ):
        if given.get(key, only) not in (only, *(only if isinstance(only, tuple) else ())):
            raise CheckpointError(f'{where}: {key} "{given[key]}" is not supported; known: {only}')
    if a.get("fusion_type") not in (None, "aff_2d"):
        raise CheckpointError(f'{where}: fusion_type "{a["fusion_type"]}" is not supported; only aff_2d was published')
    htsat = HtsatConfig.parse(
        {
            "embed_dim": a.get("patch_embeds_hidden_size", 96),
            "depths": a.get("depths", (2, 2, 6, 2)),
            "heads": a.get("num_attention_heads", (4, 8, 16, 32)),
            "window": a.get("window_size", 8),
            "mlp_ratio": a.get("mlp_ratio", 4.0),
            "image_side": a.get("spec_size", 256),
            "patch": a.get("patch_size", 4),
            "n_mels": a.get("num_mel_bins", 64),
            "drop_path": a.get("drop_path_rate", 0.0),
            "fusion": bool(a.get("enable_fusion", False)),
        },
        f"{where}/config.json",
    )
    mel = MelConfig.parse(
        {
            "sample_rate_hz": processor.get("sampling_rate", 48000),
            "n_fft": processor.get("fft_window_size", 1024),
            "hop": processor.get("hop_length", 480),
            "n_mels": processor.get("feature_size", 64),
            "fmin_hz": processor.get("frequency_min", 0),
            "fmax_hz": processor.get("frequency_max", 14000),
            "scale": "htk" if fused_mel else "slaney",
            "norm": None if fused_mel else "slaney",
        },
        f"{where}/preprocessor_config.json",
    )
    text = TextConfig.parse(
        TEXT_TOWERS["roberta"].model_dump()
        | {
            "dim": t.get("hidden_size", 768),
            "depth": t.get("num_hidden_layers", 12),
            "heads": t.get("num_attention_heads", 12),
            "hidden_dim": t.get("intermediate_size", 3072),
            "vocab_size": t.get("vocab_size", 50265),
            "positions": t.get("max_position_embeddings", 514),
            "token_types": t.get("type_vocab_size", 1),
            "layer_norm_eps": t.get("layer_norm_eps", 1e-12),
            "pad_id": t.get("pad_token_id", 1),
            "max_tokens": t.get("max_position_embeddings", 514) - 2,
        },
        f"{where}/config.json",
    )
    audio = AudioConfig(
        sample_rate_hz=mel.sample_rate_hz,
        window_s=float(processor.get("max_length_s", 10)),
        shorter=_SHORTER[processor.get("padding", "repeatpad")],
        mel=mel,
        encoder="htsat",
        encoder_options=htsat.model_dump(mode="json"),
        projection="mlp",
    )
    return ClapConfig(embed_dim=values.get("projection_dim", 512), audio=audio, text=text), htsat
