"""Time the sound side of every model family at full size with random weights: clips of 10 s per second.

From an array at the model's rate to a vector, windows included (a model with windows of 5 or 7 s computes two per
clip). On the CPU one clip at a time on one thread, each family in a separate process; on a GPU in batches.

    python bench/families.py --device cpu [NAME ...]
    python bench/families.py --device cuda --batch 32 [--precision bf16] [NAME ...]

Prints one JSON line per family, with clips per second and per second of processor time, and the load of the machine
(its average over a minute): on a shared machine only processor time compares families. A family that the installed
transformers lacks is reported and skipped. Weights are drawn here, so nothing is downloaded; the sizes are those of the
published networks, or, where the family states none, of transformers' configuration classes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 10.0
Build = Callable[[Path, Any], Any]


def drawn(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Return random tensors; a matrix keeps the variance of its input, a vector is close to 1, a count is 1."""
    generator = torch.Generator().manual_seed(0)
    tensors = {}
    for name, shape in shapes.items():
        if name.endswith("num_batches_tracked"):
            tensors[name] = torch.ones(shape, dtype=torch.int64)
            continue
        width = int(np.prod(shape[1:])) or 1
        spread = 0.1 if len(shape) < 2 else width**-0.5
        mean = 1.0 if len(shape) == 1 and name.endswith(("weight", "var")) else 0.0
        tensors[name] = torch.randn(shape, generator=generator).mul_(spread).add_(mean)
    return tensors


def published(part: nn.Module, piece: Callable[[str, tuple[int, ...]], Any]) -> dict[str, Tensor]:
    """Return random tensors for the file that `piece` describes, of a module on the meta device."""
    names: dict[str, tuple[int, ...]] = {}
    for name, tensor in part.state_dict().items():
        names |= piece(name, tuple(tensor.shape)).parts
    return drawn(names)


def below(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors under names below a prefix."""
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def msclap(year: int, folder: Path, options: Any) -> Any:
    from aural.models.external import MARKERS

    marker = {2022: "audio_encoder.base.conv_block1.conv1.weight", 2023: "audio_encoder.base.htsat.bn0.weight"}[year]
    return two_towers(MARKERS[marker]({}, "")[0], options)


def laion(network: str, fused: bool, folder: Path, options: Any) -> Any:
    return two_towers(laion_config(network, fused), options)


def laion_config(network: str, fused: bool) -> Any:
    """Return the configuration of a network of LAION's, as its file's names state it."""
    from aural.models.external import laion_layout

    if network == "pann":
        state = {"audio_branch.conv_block1.conv1.weight": torch.empty(1)}
        state |= {"audio_branch.mel_conv2d.0.weight": torch.empty(1)} if fused else {}
    else:
        width, depth = {"tiny": (96, 6), "base": (128, 12)}[network]
        state = {"audio_branch.patch_embed.proj.weight": torch.empty(width)}
        state |= {f"audio_branch.layers.2.blocks.{i}.norm1.weight": torch.empty(1) for i in range(depth)}
        state |= {"audio_branch.patch_embed.mel_conv2d.weight": torch.empty(1)} if fused else {}
    return laion_layout(state, "")[0]


def two_towers(config: Any, options: Any) -> Any:
    """Return a CLAP model with random weights, whose front end is exact."""
    from aural.models.pipeline import Model, ModelOptions

    settings = ModelOptions(precision=options.precision)
    return Model(checkpoint(config), name=options.name, device=options.device, options=settings)


def checkpoint(config: Any) -> Any:
    """Return random weights of a CLAP model; the window and the mel filters are exact."""
    from aural.audio.mel import LogMel
    from aural.models.checkpoint import Checkpoint
    from aural.models.clap import layout

    shapes = {name: shape for name, shape in layout(config).items() if not name.startswith("text.")}  # not built
    exact = below("audio.front_end.", LogMel(config.audio.mel).state_dict())
    if config.audio.branch is not None:
        exact |= below("audio.branch.front_end.", LogMel(config.audio.branch.mel).state_dict())
    return Checkpoint(config, drawn(shapes) | exact, "none", "")


def flam(folder: Path, options: Any) -> Any:
    from aural.models.families.flam import HEADS, SCALE, Flam

    config = laion_config("base", False)
    heads = {SCALE: torch.tensor(2.0)}
    for name in HEADS:
        shapes = {"0.weight": (768, 768), "0.bias": (768,), "2.weight": (1, 768), "2.bias": (1,)}
        heads |= below(name, drawn(shapes))
    return Flam(checkpoint(config), heads, options)


def glap(folder: Path, options: Any) -> Any:
    from aural.models.families import glap as family

    with torch.device("meta"):
        audio = family.Dasheng(768, 12, 252, (64, 4))
    state = below(family.AUDIO, published(audio, family._audio_piece))
    for name in ("audio_proj", "text_proj"):
        width = 768 if name == "audio_proj" else 1024
        shapes = {"0.weight": (1024, width), "0.bias": (1024,), "2.weight": (1024, 1024), "2.bias": (1024,)}
        state |= below(f"{name}.", drawn(shapes))
    return family.Glap(state, folder, options)  # the text tower is built on first use, so it needs no weights here


def m2d(folder: Path, options: Any) -> Any:
    from aural.encoders.convert.timm import timm_piece
    from aural.models.families.m2d import M2dClap, M2dEncoder, SemanticToken

    with torch.device("meta"):
        parts = (M2dEncoder(768, 12, (5, 62), (16, 16)), SemanticToken(768, 1, 1.0))
    state = published(parts[0], timm_piece) | below("audio_proj.", published(parts[1], timm_piece))
    return M2dClap(state, {}, folder, options)


def beats(folder: Path, options: Any) -> Any:
    from aural.models.families import beats as family

    sizes = {"dim": 768, "inner": 512, "patch": 16, "group": 48, "kernel": 128, "heads": 12, "buckets": 320}
    with torch.device("meta"):
        encoder = family.BeatsEncoder({**sizes, "depth": 12, "hidden": 3072})
    return family.Beats(published(encoder, family._piece), folder, options)


def saved(kind: str, extractor: str, config: Mapping[str, Any], folder: Path, options: Any) -> Any:
    """Return the model of a folder that transformers wrote with random weights."""
    import transformers

    import aural

    settings = getattr(transformers, f"{kind}Config")(**config)
    getattr(transformers, f"{kind}Model")(settings).save_pretrained(folder)
    getattr(transformers, extractor)().save_pretrained(folder)
    return aural.load(folder, device=options.device, precision=options.precision)


def pe_audio(folder: Path, options: Any) -> Any:
    from transformers import PeAudioConfig

    text = PeAudioConfig().text_config.to_dict() | {"num_hidden_layers": 1, "vocab_size": 51000}  # not built
    text.pop("layer_types", None)
    return saved("PeAudio", "PeAudioFeatureExtractor", {"text_config": text}, folder, options)


def embedding_gemma2(folder: Path, options: Any) -> Any:
    import transformers

    import aural

    sys.path.insert(0, str(ROOT / "tests" / "parity"))
    from transformers_folders import gemma_ids, gemma_tokenizer

    tokenizer = gemma_tokenizer()
    ids, _ = gemma_ids(tokenizer)
    config = transformers.EmbeddingGemma2Config(
        text_config={"vocab_size": len(tokenizer)},
        audio_config={"model_type": "gemma4_audio"},
        vision_config=None,
        **ids,
    )
    transformers.EmbeddingGemma2Model(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    transformers.Gemma4AudioFeatureExtractor().save_pretrained(folder)
    return aural.load(folder, device=options.device, precision=options.precision)


def bundled(name: str, folder: Path, options: Any) -> Any:
    """Return a bundled model; a CLAP model gets random weights, so that the package of its text tower is not needed."""
    import aural
    from aural.core.config import read_mapping
    from aural.models.format import Header

    file = Path(aural.__file__).parent / "weights" / name / "config.json"
    values = read_mapping(file)
    if values.get("system", "clap") == "clap":
        return two_towers(Header.parse(values, str(file)).clap, options)
    return aural.load(name, engine="torch", device=options.device, precision=options.precision)


WHISPER = {"d_model": 512, "encoder_layers": 6, "encoder_attention_heads": 8, "encoder_ffn_dim": 2048}
WHISPER |= {"decoder_layers": 1, "decoder_attention_heads": 8, "decoder_ffn_dim": 2048}
FAMILIES: dict[str, tuple[str, Build]] = {
    "libre-small": ("libre-small", lambda *a: bundled("libre-small", *a)),
    "libre-base": ("libre-base", lambda *a: bundled("libre-base", *a)),
    "yamnet": ("yamnet", lambda *a: bundled("yamnet", *a)),
    "msclap-2022": ("msclap 2022 (CNN14)", lambda *a: msclap(2022, *a)),
    "msclap-2023": ("msclap 2023 (HTSAT)", lambda *a: msclap(2023, *a)),
    "laion-tiny": ("LAION and ClapModel, HTSAT-tiny", lambda *a: laion("tiny", False, *a)),
    "laion-tiny-fused": ("LAION and ClapModel, HTSAT-tiny, fused", lambda *a: laion("tiny", True, *a)),
    "laion-base": ("LAION and larger_clap, HTSAT-base", lambda *a: laion("base", False, *a)),
    "laion-pann": ("LAION, PANN-14", lambda *a: laion("pann", False, *a)),
    "laion-pann-fused": ("LAION, PANN-14, fused", lambda *a: laion("pann", True, *a)),
    "openflam": ("OpenFLAM (HTSAT-base)", flam),
    "glap": ("GLAP (Dasheng base)", glap),
    "m2d-clap": ("M2D-CLAP 2025 (ViT base)", m2d),
    "beats": ("BEATs", beats),
    "ast": ("AST", lambda *a: saved("AST", "ASTFeatureExtractor", {}, *a)),
    "whisper": ("Whisper base, encoder", lambda *a: saved("Whisper", "WhisperFeatureExtractor", WHISPER, *a)),
    "pe-audio": ("PE-A-Frame (class defaults)", pe_audio),
    "embedding-gemma2": ("EmbeddingGemma 2 (class defaults)", embedding_gemma2),
}


def parameters(model: Any) -> float:
    """Return the millions of parameters of the parts that embedding a sound has built."""
    parts = [part for part in vars(model).values() if isinstance(part, nn.Module)]
    return sum(p.numel() for part in parts for p in part.parameters()) / 1e6


def row(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """Build one family, embed clips for about `options.seconds` and return its row."""
    from aural.models.families.base import OpenOptions

    title, build = FAMILIES[name]
    device = torch.device(options.device)
    with tempfile.TemporaryDirectory() as folder:
        model = build(Path(folder), OpenOptions(name, device, options.precision))
        noise = np.random.default_rng(0).uniform(-0.3, 0.3, round(SECONDS * model.sample_rate_hz)).astype(np.float32)
        clips = [(noise, model.sample_rate_hz)] * options.batch
        windows = options.batch * -(-SECONDS // model.window_s)
        once = lambda: model.embed_audio(clips, batch_size=int(windows))  # noqa: E731
        once()
        times, processor = [], []
        while sum(times) < options.seconds or len(times) < options.runs:
            start, worked = time.perf_counter(), time.process_time()
            vectors = once()  # on the CPU again, so the GPU has finished
            times.append(time.perf_counter() - start)
            processor.append(time.process_time() - worked)
    assert np.isfinite(vectors).all()
    place = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} thread"
    return {
        "family": name, "title": title, "device": place, "precision": options.precision, "batch": options.batch,
        "clips_per_s": round(options.batch / float(np.median(times)), 2),
        "clips_per_processor_s": round(options.batch / float(np.median(processor)), 2), "runs": len(times),
        "parameters_m": round(parameters(model), 1), "window_s": model.window_s, "dimensions": model.embed_dim,
        "load": round(os.getloadavg()[0], 1),
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("names", nargs="*", default=[], metavar="NAME", help=", ".join(FAMILIES))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=0, help="clips at once; default: 1 on the CPU, 32 elsewhere")
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--seconds", type=float, default=3.0, help="time spent per family after one warm-up")
    parser.add_argument("--runs", type=int, default=3, help="the fewest timed runs")
    parser.add_argument("--inside", action="store_true", help="compute in this process also on the CPU")
    options = parser.parse_args()
    options.batch = options.batch or (1 if options.device == "cpu" else 32)
    warnings.simplefilter("ignore")
    for name in options.names or list(FAMILIES):
        if options.device == "cpu" and not options.inside:
            command = [sys.executable, __file__, name, "--inside", "--batch", str(options.batch)]
            command += [
                "--precision",
                options.precision,
                "--seconds",
                str(options.seconds),
                "--runs",
                str(options.runs),
            ]
            subprocess.run(command, check=False, env=os.environ | {"OMP_NUM_THREADS": "1"})
            continue
        if options.device == "cpu":
            torch.set_num_threads(1)
        try:
            print(json.dumps(row(name, options)), flush=True)
        except Exception as error:  # the other families go on
            print(json.dumps({"family": name, "skipped": f"{type(error).__name__}: {str(error)[:200]}"}), flush=True)
        if options.device != "cpu":
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
