"""Caption sounds with msclap 1.3.4 on random weights: layouts/clapcap_2023.txt and parity_clapcap.npz.

    .peers/bin/python tests/golden/make_clapcap.py [--out FOLDER]

An .npz holds, for each sound and beam width (1 is greedy), the token ids of the caption as
CLAPWrapper.generate_caption decodes them, with the stop token, -1 after the end:

    audio_names (A,), widths (W,), ids (A, W, 12)
"""

import argparse
import sys
import tempfile
import types
from pathlib import Path

import numpy as np
import torch
from clapcap_weights import LAYOUT, write_clapcap
from golden_tokenizers import write_tokenizer
from inputs import write_audio
from layouts import HERE, format_tensors
from peers import _replaced, _soundfile_load, reseed

WIDTHS = (1, 5)
LONGEST = 12
SOUNDS = ("short", "stereo", "rate_8k")


def main() -> None:
    import msclap
    import transformers

    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=HERE)
    out = parser.parse_args().out
    (out / "layouts").mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp())
    tokenizer = write_tokenizer("gpt2", folder)
    module = sys.modules[msclap.CLAP.__module__]
    mapper = sys.modules["msclap.models.mapper"]
    nothing = folder / "nothing.pth"
    torch.save({"model": {}}, nothing)
    local = types.SimpleNamespace(from_pretrained=lambda _: transformers.AutoTokenizer.from_pretrained(tokenizer))
    decoder = types.SimpleNamespace(from_pretrained=lambda _: transformers.GPT2LMHeadModel(transformers.GPT2Config()))
    with (
        _replaced(
            transformers.AutoModel,
            "from_pretrained",
            staticmethod(lambda *_, **__: transformers.GPT2Model(transformers.GPT2Config())),
        ),
        _replaced(mapper, "GPT2LMHeadModel", decoder),
        _replaced(module, "AutoTokenizer", local),
    ):
        peer = module.CLAPWrapper(model_fp=str(nothing), version="clapcap", use_cuda=False)
        state = peer.clapcap.state_dict()
        rows = [
            (key, tuple(value.shape), "i64" if value.dtype == torch.int64 else "f32") for key, value in state.items()
        ]
        (out / "layouts" / f"{LAYOUT}.txt").write_text(format_tensors(rows))
        peer.model_fp = str(write_clapcap(folder))
        peer.clapcap, peer.tokenizer, peer.args = peer.load_clapcap()
    wanted = torch.load(peer.model_fp)["model"]
    for key, value in peer.clapcap.state_dict().items():
        assert torch.equal(value, wanted[key]), key
    module.torchaudio.load = _soundfile_load
    decode, seen = peer.tokenizer.decode, []

    def recorded(ids: np.ndarray) -> str:
        text = decode(ids)
        seen.append((text.capitalize(), ids))
        return text

    peer.tokenizer.decode = recorded
    files = write_audio(folder / "sounds")
    paths = {name: files[name] for name in SOUNDS}
    ids = np.full((len(paths), len(WIDTHS), LONGEST), -1)
    for i, path in enumerate(paths.values()):
        for j, width in enumerate(WIDTHS):
            seen.clear()
            reseed()
            (caption,) = peer.generate_caption([str(path)], beam_size=width, entry_length=LONGEST)
            row = dict(seen)[caption]
            ids[i, j, : len(row)] = row
            print(list(paths)[i], width, len(row), caption[:70], flush=True)
    np.savez_compressed(out / "parity_clapcap.npz", audio_names=np.array(list(paths)), widths=np.array(WIDTHS), ids=ids)


if __name__ == "__main__":
    main()
