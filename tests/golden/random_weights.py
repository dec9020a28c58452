"""Checkpoints of every published layout with made-up weights: the same bits on every machine.

Each tensor is drawn from its own counter-based generator (Philox, keyed by the CRC-32 of the layout and the key), taken
raw and turned into uniform numbers by exact arithmetic, so no library's sampling code has a say in the values.
"""

import math
import re
import shutil
import zlib
from pathlib import Path

import golden_tokenizers
import numpy as np
import torch
from layouts import HERE, LAYOUTS, tensors
from true_buffers import true_buffer


def uniform(name: str, shape: tuple[int, ...], mean: float = 0.0, std: float = 1.0) -> torch.Tensor:
    """Uniform numbers of a mean and standard deviation: 16 random bits each, the same for the same name."""
    count = math.prod(shape)
    raw = np.random.Philox(key=zlib.crc32(name.encode())).random_raw(-(-count // 4))
    bits = np.atleast_1d(raw).astype("<u8", copy=False).view("<u2")[:count]
    values = bits.astype(np.float32)
    values -= np.float32(32767.5)
    values *= np.float32(std * math.sqrt(3) / 32768)
    if mean:
        values += np.float32(mean)
    return torch.from_numpy(values.reshape(shape))


# How large each kind of tensor is: (pattern on the key, mean, std, gain); a std of None means gain / sqrt(fan-in).
# The order counts: the first pattern that is found in the key holds.
_SCALES: list[tuple[str, float, float | None, float]] = [
    (r"logit_scale", math.log(1 / 0.07), 0.05, 1),
    # Statistics of a log-mel spectrogram in dB, for the normalization of the network's input.
    (r"(bn0|batch_norm)\.running_mean$", -30.0, 5.0, 1),
    (r"(bn0|batch_norm)\.running_var$", 400.0, 100.0, 1),
    (r"running_mean$", 0.3, 0.3, 1),
    (r"running_var$", 1.0, 0.25, 1),
    (r"relative_position_bias_table$", 0.0, 0.7, 1),
    (r"(word_embeddings|wte)\.weight$", 0.0, 0.7, 1),
    (r"(position_embeddings|token_type_embeddings|wpe)\.weight$", 0.0, 0.2, 1),
    (r"(conv_block\d\.conv\d|fc1|mel_conv2d(\.0)?|intermediate\.dense|mlp\.c_fc)\.weight$", 0.0, None, math.sqrt(2)),
]
_TRANSPOSED = re.compile(r"\.h\.\d+\.(attn|mlp)\.c_\w+\.weight$")  # GPT-2 keeps its linear maps as (in, out)


def _scale(key: str, dimensions: int) -> tuple[float, float | None, float]:
    for pattern, mean, std, gain in _SCALES:
        if re.search(pattern, key) and not (std is None and dimensions < 2):
            return mean, std, gain
    if key.endswith("bias"):
        return 0.0, 0.1, 1
    if dimensions == 1:  # the scale of a LayerNorm or BatchNorm
        return 1.0, 0.2, 1
    return 0.0, None, 1


def random_tensor(name: str, key: str, shape: tuple[int, ...]) -> torch.Tensor:
    mean, std, gain = _scale(key, len(shape))
    if std is None:
        fan_in = shape[0] if _TRANSPOSED.search(key) else math.prod(shape[1:])
        std = gain / math.sqrt(fan_in)
    return uniform(name, shape, mean, std)


def random_state_dict(layout: str) -> dict[str, torch.Tensor]:
    """Every tensor of a layout, keyed as the peer's own module names it."""
    weights: dict[str, torch.Tensor] = {}
    for key, shape, dtype in tensors(layout):
        value = true_buffer(key, shape, LAYOUTS[layout].mel)
        if value is None:
            value = random_tensor(f"{layout}/{key}", key, shape)
        if tuple(value.shape) != shape or value.dtype != {"f32": torch.float32, "i64": torch.int64}[dtype]:
            raise AssertionError(f"{layout}: {key} came out as {tuple(value.shape)} {value.dtype}")
        weights[key] = value
    return weights


def leftovers(layout: str) -> dict[str, torch.Tensor]:
    """Buffers that files of the time also hold and that later code no longer has: a reader has to pass over them."""
    if layout == "msclap_2022":
        return {"caption_encoder.base.embeddings.position_ids": torch.arange(512)[None]}
    if layout == "msclap_2023":
        causal = torch.ones(1024, 1024, dtype=torch.uint8).tril()[None, None]
        found: dict[str, torch.Tensor] = {}
        for block in range(12):
            found[f"caption_encoder.base.h.{block}.attn.bias"] = causal
            found[f"caption_encoder.base.h.{block}.attn.masked_bias"] = torch.tensor(-1e4)
        return found
    if layout.startswith("laion"):
        return {"text_branch.embeddings.position_ids": torch.arange(514)[None]}
    return {}


def write_checkpoint(layout: str, folder: str | Path) -> Path:
    """Write a layout as its publisher does: the file, or for transformers the repository folder. Returns its path."""
    kind = LAYOUTS[layout]
    path = Path(folder) / kind.file_name
    path.parent.mkdir(parents=True, exist_ok=True)
    weights = random_state_dict(layout) | leftovers(layout)
    if kind.peer == "msclap":
        torch.save({"model": weights}, path)
    elif kind.peer == "laion":
        torch.save({"epoch": 45, "state_dict": {f"module.{key}": value for key, value in weights.items()}}, path)
    else:
        from safetensors.torch import save_file

        path.mkdir(exist_ok=True)
        save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
        for name in ("config.json", "preprocessor_config.json"):
            shutil.copyfile(HERE / "hf" / layout / name, path / name)
        golden_tokenizers.write_roberta(path)
    return path


def fingerprint(layout: str, weights: dict[str, torch.Tensor]) -> str:
    """CRC-32 of the random tensors' bits, as 8 hex digits: says whether two machines drew the same weights."""
    crc = 0
    for key, shape, _ in tensors(layout):
        if true_buffer(key, shape, LAYOUTS[layout].mel) is None:
            crc = zlib.crc32(weights[key].numpy().astype("<f4", copy=False).data.cast("B"), crc)
    return f"{crc:08x}"
