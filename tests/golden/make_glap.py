"""Run GLAP on random weights and write what it gives: layouts/glap.txt and parity_glap.npz.

    .peers/bin/python tests/golden/make_glap.py [--full] [--out FOLDER]

The networks are the peer's classes with two layers and a text tower of width 64, a smaller file of the published layout
(twelve and 24 layers, width 1024), or with --full of that size (layouts/glap_full.txt, parity_glap_full.npz; needs
12 GB of memory). An .npz holds

    audio_names (A,), audio (A, 1024)         one file per call, at 16 kHz
    texts (T,), text (T, 1024)                one call
    ids (T, L), lengths (T,)                  the token ids of that call
"""

import argparse
import functools
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch
from glap_weights import RATE_HZ, SECONDS, glap_state, wave, write_sentencepiece
from inputs import TEXTS
from layouts import HERE, format_tensors

DEPTH, WIDTH = 2, 64


def build(folder: Path, full: bool) -> torch.nn.Module:
    """Return the peer's model, built without a network connection."""
    from dasheng.pretrained.pretrained import Dasheng
    from glap_model.models import GLAP, audioencoders
    from glap_model.models.audioencoders import dasheng_audioencoder
    from glap_model.models.textencoders import sonar_text_encoder

    def small(**options: object) -> torch.nn.Module:
        options |= {"model_dim": WIDTH, "num_layers": DEPTH, "ffn_inner_dim": 2 * WIDTH}
        return sonar(**options)

    sonar = sonar_text_encoder.SonarTextEncoder
    sizes = {"embed_dim": 768, "depth": 12, "num_heads": 12}
    if not full:
        sonar_text_encoder.SonarTextEncoder = small
        sizes |= {"embed_dim": 192, "depth": DEPTH}
    dasheng_audioencoder.dasheng_base = functools.partial(Dasheng, **sizes)
    assert audioencoders.DashengWrapper is dasheng_audioencoder.DashengWrapper
    tokenizer = write_sentencepiece(folder / "tokenizer.model")
    return GLAP(audio_encoder_args={}, text_encoder_args={"tokenizer_path": str(tokenizer)}).eval()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--full", action="store_true")
    arguments = parser.parse_args()
    out, layout = arguments.out, "glap_full" if arguments.full else "glap"
    (out / "layouts").mkdir(parents=True, exist_ok=True)
    texts = list(TEXTS.values())
    with tempfile.TemporaryDirectory() as name, torch.inference_mode():
        folder = Path(name)
        peer = build(folder, arguments.full)
        kinds = {torch.float32: "f32", torch.int64: "i64"}
        built = peer.state_dict()
        rows = [(key, tuple(value.shape), kinds[value.dtype]) for key, value in built.items()]
        (out / "layouts" / f"{layout}.txt").write_text(format_tensors(rows))
        state = glap_state(rows)
        for key in ("spectrogram.window", "mel_scale.fb"):  # the buffers that training never changed
            key = f"audio_encoder.model.front_end.0.{key}"
            torch.testing.assert_close(state[key], built[key], rtol=0, atol=1e-5)
        torch.save({"model": state, "config": {"outputpath": folder}}, folder / "glap.pt")
        peer.load_state_dict(torch.load(folder / "glap.pt", weights_only=False)["model"], strict=True)
        audio = []
        for sound in SECONDS:
            soundfile.write(folder / "sound.wav", wave(sound), RATE_HZ, subtype="FLOAT")
            samples = torch.from_numpy(soundfile.read(folder / "sound.wav", dtype="float32")[0])
            audio.append(peer.encode_audio(samples[None])[0].numpy())
        text = peer.encode_text(texts).numpy()
        encode = peer.text_encoder.tokenizer.create_encoder(lang="eng_Latn")
        ids = [encode(one) for one in texts]
    padded = np.zeros((len(ids), max(map(len, ids))), np.int64)
    for i, row in enumerate(ids):
        padded[i, : len(row)] = row
    arrays = {"audio_names": np.array(list(SECONDS)), "audio": np.stack(audio), "texts": np.array(texts), "text": text}
    np.savez_compressed(out / f"parity_{layout}.npz", **arrays, ids=padded, lengths=np.array([len(row) for row in ids]))
    print({name: value.shape for name, value in arrays.items()})


if __name__ == "__main__":
    main()
