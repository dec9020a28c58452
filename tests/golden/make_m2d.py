"""Run M2D-CLAP on random weights and write what it gives: layouts/m2d_YEAR.txt and parity_m2d.npz.

    .peers/bin/python tests/golden/make_m2d.py FILE [--full] [--out FOLDER]

FILE is the publisher's portable_m2d.py, which is in no package registry and whose license allows evaluation only, so
it is not part of this repository. The networks are the peer's classes with two layers of width 192, smaller files of
the published layouts, or with --full of their size: twelve layers of width 768 (layouts/m2d_YEAR_full.txt,
layouts/m2d_gte_full.txt, parity_m2d_full.npz). For each YEAR (2024 and 2025) an .npz holds

    audio_names (A,), audio_YEAR (A, W)       one file per call, zeros up to 10 s, as in the publisher's examples
    texts (T,), text_YEAR (T, W)              one call, divided by their length
"""

import argparse
import functools
import importlib.util
import sys
import tempfile
import types
from pathlib import Path

import numpy as np
import soundfile
import torch
import transformers
from golden_tokenizers import write_tokenizer
from inputs import TEXTS
from layouts import HERE, format_tensors
from m2d_weights import BERT, FULL_BERT, RATE_HZ, SECONDS, YEARS, m2d_state, wave

NAMES = {2024: "m2d_clap_vit_base-80x608p16x16-240128", 2025: "m2d_clap_vit_base-80x1001p16x16p16kpBpTI-2025"}
SIZES = {False: {"embed_dim": 192, "depth": 2}, True: {"embed_dim": 768, "depth": 12}}
SAMPLES = 10 * RATE_HZ


def peer_module(file: Path, folder: Path, full: bool) -> types.ModuleType:
    """Import the publisher's file with networks of a size and without a network connection."""
    library = torch.library.Library("torchvision", "DEF")  # torchvision has no CPU build here; timm imports it
    for operator in ("nms", "qnms"):
        library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    transformers.utils.is_torchvision_available()
    transformers.BertModel  # noqa: B018 - imported before torchvision can be found
    sys.path.append(str(Path(sys.prefix) / "torchvision"))
    spec = importlib.util.spec_from_file_location("portable_m2d", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.kept_operators = library
    vit = module.LocalViT
    module.LocalViT = lambda **options: vit(**{**options, **SIZES[full], "num_classes": 1})
    config = transformers.BertConfig(vocab_size=30522, max_position_embeddings=512, **(FULL_BERT if full else BERT))
    tokenizer = transformers.BertTokenizerFast.from_pretrained(write_tokenizer("bert", folder))
    transformers.AutoModel.from_pretrained = staticmethod(lambda *_, **__: transformers.BertModel(config).eval())
    transformers.AutoTokenizer.from_pretrained = staticmethod(lambda *_, **__: tokenizer)
    return module


def layout(module: types.ModuleType, year: int, full: bool) -> list[tuple[str, tuple[int, ...], str]]:
    """Return the tensors of a file of the year, as the peer's modules name them."""
    vit = module.LocalViT(
        in_chans=1, img_size=[80, {2024: 608, 2025: 1001}[year]], patch_size=[16, 16], num_heads=12, mlp_ratio=4,
        norm_layer=functools.partial(torch.nn.LayerNorm, eps=1e-6),
    )  # fmt: skip
    width = SIZES[full]["embed_dim"]
    if year == 2024:
        vit.audio_proj = module.get_MLP_projector(width, width, width)
        parts = {name: value for name, value in vit.state_dict().items() if name != "norm_stats"}
    else:
        vit.audio_proj = module.add_semantic_audio_proj(1, width)
        parts = {f"backbone.{name}": value for name, value in vit.state_dict().items()}
        parts |= {f"text_encoder.{name}": value for name, value in module.BertXEncoder().state_dict().items()}
    return [(name, tuple(value.shape), "f32") for name, value in parts.items()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("file", type=Path)
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--full", action="store_true")
    arguments = parser.parse_args()
    suffix = "_full" if arguments.full else ""
    out = arguments.out
    (out / "layouts").mkdir(parents=True, exist_ok=True)
    texts = list(TEXTS.values())
    arrays = {"audio_names": np.array(list(SECONDS)), "texts": np.array(texts)}
    with tempfile.TemporaryDirectory() as name, torch.inference_mode():
        folder = Path(name)
        module = peer_module(arguments.file, folder, arguments.full)
        for year in YEARS:
            rows = layout(module, year, arguments.full)
            (out / "layouts" / f"m2d_{year}{suffix}.txt").write_text(format_tensors(rows))
            path = folder / NAMES[year] / "checkpoint.pth"
            path.parent.mkdir()
            torch.save({"model": m2d_state(year, rows), "args": argparse.Namespace(epochs=1)}, path)
            peer = module.PortableM2D(str(path), flat_features=True).eval()
            if year == 2024:
                peer.get_clap_text_encoder()
                text_rows = [(n, tuple(v.shape), "f32") for n, v in peer.text_encoder.model.state_dict().items()]
                (out / "layouts" / f"m2d_gte{suffix}.txt").write_text(format_tensors(text_rows))
                peer.text_encoder.model.load_state_dict(m2d_state(0, text_rows), strict=True)
            audio = []
            for sound in SECONDS:
                soundfile.write(folder / "sound.wav", wave(sound), RATE_HZ, subtype="FLOAT")
                samples = torch.zeros(1, SAMPLES)
                read = torch.from_numpy(soundfile.read(folder / "sound.wav", dtype="float32")[0])
                samples[0, : len(read)] = read
                audio.append(peer.encode_clap_audio(samples)[0].numpy())
            for key, value in (("audio", np.stack(audio)), ("text", peer.encode_clap_text(texts).numpy())):
                arrays[f"{key}_{year}"] = value / np.linalg.norm(value, axis=1, keepdims=True)
    np.savez_compressed(out / f"parity_m2d{suffix}.npz", **arrays)
    print({name: value.shape for name, value in arrays.items()})


if __name__ == "__main__":
    main()
