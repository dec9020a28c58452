"""Run OpenFLAM on random weights and write what it gives: layouts/flam.txt and parity_flam.npz.

    .peers/bin/python tests/golden/make_flam.py [--out FOLDER]

The network is the peer's class with HTSAT-tiny and a RoBERTa of two layers, a smaller file of the published layout
(HTSAT-base, twelve layers). lightning is stubbed: only its type names are used. An .npz holds

    audio_names (A,), audio (A, 512)          global vectors, one file per call; sounds are padded to 10 s with zeros
    frames (A, 32, 512)                       local vectors
    texts (T,), text (T, 512)
    scores (A, T, 32)                         unbiased frame scores
"""

import argparse
import sys
import types
from pathlib import Path

import numpy as np
import soundfile
import torch
import transformers
from golden_tokenizers import write_tokenizer
from inputs import TEXTS
from layouts import HERE, format_tensors
from make_flam_weights import SECONDS, flam_state, wave

DEPTH = 2


def build(folder: Path) -> torch.nn.Module:
    """Return the peer's own object around its class, built without a network."""
    for name in ("lightning", "matplotlib", "matplotlib.pyplot"):
        sys.modules.setdefault(name, types.ModuleType(name))
    sys.modules["lightning"].Fabric = object
    tokenizer = transformers.RobertaTokenizer.from_pretrained(write_tokenizer("roberta", folder))
    sizes = {"vocab_size": 50265, "max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
    config = transformers.RobertaConfig(num_hidden_layers=DEPTH, **sizes)
    transformers.RobertaModel.from_pretrained = staticmethod(lambda *_, **__: transformers.RobertaModel(config))
    transformers.RobertaTokenizer.from_pretrained = classmethod(lambda *_, **__: tokenizer)
    import openflam
    from module.model import FLAM, CLAPAudioCfg, CLAPTextCfg

    peer = openflam.OpenFLAM.__new__(openflam.OpenFLAM)
    torch.nn.Module.__init__(peer)
    fabric = types.SimpleNamespace(global_rank=0, world_size=1, device="cpu")
    peer.model = FLAM(audio_cfg=CLAPAudioCfg(model_name="tiny"), text_cfg=CLAPTextCfg(), fabric=fabric)
    return peer


def main() -> None:
    import tempfile

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=HERE)
    out = parser.parse_args().out
    (out / "layouts").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        peer = build(folder)
        kinds = {torch.float32: "f32", torch.int64: "i64"}
        built = [(key, tuple(value.shape), kinds[value.dtype]) for key, value in peer.model.state_dict().items()]
        (out / "layouts" / "flam.txt").write_text(format_tensors(built))
        torch.save(flam_state(built), folder / "flam.pth")
        peer.load_ckpt(str(folder / "flam.pth"))
        arrays = {"audio_names": np.array(list(SECONDS)), "texts": np.array(list(TEXTS.values()))}
        texts = list(TEXTS.values())
        audio, frames, scores = [], [], []
        for sound in SECONDS:
            soundfile.write(folder / "sound.wav", wave(sound), 48000, subtype="FLOAT")
            samples = torch.zeros(1, 480000)
            read = torch.from_numpy(soundfile.read(folder / "sound.wav", dtype="float32")[0])
            samples[0, : len(read)] = read
            audio.append(peer.get_global_audio_features(samples)[0].numpy())
            frames.append(peer.get_local_audio_features(samples)[0].numpy())
            scores.append(peer.get_local_similarity(samples, texts, cross_product=True)[0].numpy())
        arrays |= {"audio": np.stack(audio), "frames": np.stack(frames), "scores": np.stack(scores)}
        arrays["text"] = peer.get_text_features(texts).numpy()
    np.savez_compressed(out / "parity_flam.npz", **arrays)
    print({name: value.shape for name, value in arrays.items()}, arrays["scores"].std())


if __name__ == "__main__":
    main()
