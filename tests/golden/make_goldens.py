"""Run every peer on the golden inputs and write what it gives: parity/<layout>.npz (and check layouts/<layout>.txt).

    .peers/bin/python tests/golden/make_goldens.py [--out FOLDER] [LAYOUT ...]

One process a layout: the peers change each other's imports. An .npz holds

    audio_names (A,), audio (A, E)            unit-normalized, one file a call, all generators reseeded with 0 before it
    batch_names (B,), audio_batch (B, E)      the same, but all these files in one call, so that their draws follow on
    audio_forced_short (A, E)                 fused layouts only: short clips kept out of the fusion (see README.md)
    texts (T,), text (T, E)                   unit-normalized
    token_ids (T, longest)                    what each text's call fed the text tower, -1 beyond its width
    mel_name (), log_mel (frames, 64)         one input's log-mel in dB, every 20th frame, for finding differences
    origin ()                                 JSON: versions, date, command, CRC-32 of the weights
"""

import argparse
import datetime
import importlib.metadata
import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
from layouts import HERE, LAYOUTS, format_tensors, tensors

BATCH = ["short", "long", "stereo", "barely_long", "long"]
MEL_INPUT = "speech"
MEL_STEP = 20
PACKAGES = ["torch", "numpy", "transformers", "tokenizers", "librosa", "soxr", "soundfile", "scipy"]
PACKAGES += ["torchaudio", "torchlibrosa", "msclap", "laion-clap"]


def unit(vectors: np.ndarray) -> np.ndarray:
    wide = vectors.astype(np.float64)
    return (wide / np.linalg.norm(wide, axis=-1, keepdims=True)).astype(np.float32)


def check_layout(layout: str, module) -> None:
    """The layout file is what the peer's module really has, in order; buffers of this repository's making agree."""
    import torch
    from true_buffers import true_buffer

    names = {torch.float32: "f32", torch.int64: "i64"}
    built = [(key, tuple(value.shape), names[value.dtype]) for key, value in module.state_dict().items()]
    if built != tensors(layout):
        (HERE / "layouts" / f"{layout}.txt").with_suffix(".built").write_text(format_tensors(built))
        raise SystemExit(f"{layout}: the peer's tensors differ from layouts/{layout}.txt (see the .built file)")
    worst: dict[str, float] = {}
    for key, shape, _ in built:
        mine = true_buffer(key, shape, LAYOUTS[layout].mel)
        name = key.rsplit(".", 1)[-1] if not key.endswith("weight") else key.rsplit(".", 2)[-2]
        if mine is not None and name != "num_batches_tracked":
            difference = (module.state_dict()[key].double() - mine.double()).abs().max().item()
            worst[name] = max(worst.get(name, 0.0), difference)
    print(f"{layout}: {len(built)} tensors as listed; buffers against the peer's own, max difference {worst}")
    if max(worst.values(), default=0) > 1e-7:
        raise SystemExit(f"{layout}: a buffer of true_buffers.py is not the peer's own")


def embed_texts(peer, texts: list[str]) -> tuple[np.ndarray, np.ndarray]:
    """All texts in one call; where the peer cannot stack a longer one, that one alone."""
    from peers import reseed

    alone = [peer.text_room is not None and peer.token_ids([text]).shape[1] > peer.text_room for text in texts]
    calls = [[i for i, lonely in enumerate(alone) if not lonely]] + [[i] for i, lonely in enumerate(alone) if lonely]
    vectors: dict[int, np.ndarray] = {}
    ids: dict[int, np.ndarray] = {}
    for call in calls:
        reseed()
        chosen = [texts[i] for i in call]
        vectors.update(zip(call, peer.embed_text(chosen), strict=True))
        ids.update(zip(call, peer.token_ids(chosen), strict=True))
    table = np.full((len(texts), max(len(row) for row in ids.values())), -1, dtype=np.int32)
    for i, row in ids.items():
        table[i, : len(row)] = row
    return np.stack([vectors[i] for i in range(len(texts))]), table


def make(layout: str, out: Path) -> None:
    import torch
    from inputs import TEXTS, write_audio
    from peers import build, reseed
    from random_weights import fingerprint, random_state_dict

    warnings.filterwarnings("ignore")
    torch.set_num_threads(2)
    arrays: dict[str, np.ndarray] = {}
    with tempfile.TemporaryDirectory() as folder:
        paths = write_audio(Path(folder) / "audio")
        peer = build(layout, Path(folder), check=lambda module: check_layout(layout, module))

        def embed_all() -> np.ndarray:
            found = []
            for path in paths.values():
                reseed()
                found.append(peer.embed_audio([str(path)])[0])
            return unit(np.stack(found))

        arrays["audio_names"] = np.array(list(paths))
        arrays["audio"] = embed_all()
        arrays["batch_names"] = np.array(BATCH)
        reseed()
        arrays["audio_batch"] = unit(peer.embed_audio([str(paths[name]) for name in BATCH]))
        if peer.never_longer is not None:
            with peer.never_longer():
                arrays["audio_forced_short"] = embed_all()
        arrays["texts"] = np.array(list(TEXTS.values()))
        vectors, arrays["token_ids"] = embed_texts(peer, list(TEXTS.values()))
        arrays["text"] = unit(vectors)
        reseed()
        arrays["mel_name"] = np.array(MEL_INPUT)
        arrays["log_mel"] = peer.log_mel(str(paths[MEL_INPUT]))[::MEL_STEP].astype(np.float32)
    versions = {name: importlib.metadata.version(name) for name in PACKAGES}
    origin = {
        "layout": layout,
        "peer": LAYOUTS[layout].peer,
        "versions": {"python": sys.version.split()[0], "torchvision": "0.28.0", **versions},
        "weights_crc32": fingerprint(layout, random_state_dict(layout)),
        "date": datetime.date.today().isoformat(),
        "command": f"python tests/golden/make_goldens.py {layout}",
    }
    arrays["origin"] = np.array(json.dumps(origin))
    out.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(out / f"{layout}.npz", **arrays)
    report(layout, arrays, out / f"{layout}.npz")


def report(layout: str, arrays: dict[str, np.ndarray], path: Path) -> None:
    """Size, and how far different inputs lie apart: weights that collapse them would prove nothing."""
    alone = dict(zip(arrays["audio_names"], arrays["audio"], strict=True))
    moved = [float(np.abs(row - alone[name]).max()) for name, row in zip(BATCH, arrays["audio_batch"], strict=True)]
    print(f"{layout}: a file in a batch against the same file alone, max difference {[round(far, 6) for far in moved]}")
    parts = [f"{layout}: {path.stat().st_size} bytes"]
    for name in ("audio", "audio_forced_short", "text"):
        if name in arrays:
            vectors = arrays[name]
            others = (vectors @ vectors.T)[np.triu_indices(len(vectors), 1)]
            parts.append(f"{name} {vectors.shape} cosines {others.min():.3f} to {others.max():.4f}")
            if not np.isfinite(vectors).all() or others.max() > 0.9999:
                raise SystemExit("; ".join(parts) + ": two different inputs have come out alike")
    print("; ".join(parts), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("layouts", nargs="*", default=list(LAYOUTS), metavar="LAYOUT")
    parser.add_argument("--out", type=Path, default=HERE / "parity")
    parser.add_argument("--here", action="store_true", help="run in this process (used for each single layout)")
    options = parser.parse_args()
    for layout in options.layouts:
        if layout not in LAYOUTS:
            parser.error(f"no such layout: {layout} (there are {', '.join(LAYOUTS)})")
        if options.here:
            make(layout, options.out)
        else:
            subprocess.run([sys.executable, __file__, "--here", "--out", str(options.out), layout], check=True)


if __name__ == "__main__":
    main()
