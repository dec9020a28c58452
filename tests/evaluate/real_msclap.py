"""The msclap wrapper around the msclap package itself; run by test_real_msclap.py in the peers' environment.

    .peers/bin/python tests/evaluate/real_msclap.py LAYOUT OUT.npz

msclap's own object with made-up weights (tests/golden) is asked for sounds of exactly its window, for shorter ones and
for texts; so is our wrapper around the same object, and twice for a long sound.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve()
sys.path.append(str(HERE.parents[1] / "golden"))
sys.path += [str(HERE.parents[2] / "src"), *sys.argv[3:]]  # ours, then what of ours the peers lack, behind theirs


def main(layout: str, out: str) -> None:
    import numpy as np
    import peers
    import soundfile

    module = sys.modules[__import__("msclap").CLAP.__module__]
    loaded, load = [], module.CLAPWrapper.load_clap
    module.CLAPWrapper.load_clap = lambda self: (loaded.append(self), load(self))[1]  # the peer's object itself
    with tempfile.TemporaryDirectory() as folder:
        from aural.evaluate.adapters.embedders import from_msclap

        peer = peers.BUILDERS["msclap"](layout, Path(folder), lambda module: None)
        clap = loaded[-1]

        ours = from_msclap(clap)
        rate, window = ours.sample_rate_hz, ours.window_s
        generator = np.random.default_rng(0)
        files = []
        for n, seconds in enumerate((window, 0.6 * window, 1.0, 2.3 * window)):
            path = Path(folder) / f"{n}.wav"
            t = np.arange(round(seconds * rate)) / rate
            wave = 0.3 * np.sin(2 * np.pi * 300 * t * (1 + t / 5)) + 0.05 * generator.standard_normal(t.size)
            soundfile.write(path, wave.astype(np.float32), rate, subtype="FLOAT")
            files.append(str(path))
        texts = ["a dog barks", "rain falls on a roof while a bell rings"]
        theirs = {"audio": peer.embed_audio(files[:3]), "text": peer.embed_text(texts)}
        mine = {"audio": ours.embed_audio(files[:3]), "text": ours.embed_text(texts)}
        long = np.stack([ours.embed_audio(files[3:])[0] for _ in range(2)])
        random_crops = np.stack([clap.get_audio_embeddings(files[3:]).numpy()[0] for _ in range(2)])
        frames, times = ours.embed_frames(files[3])
    np.savez(
        out,
        their_audio=theirs["audio"],
        their_text=theirs["text"],
        our_audio=mine["audio"],
        our_text=mine["text"],
        long=long,
        random_crops=random_crops,
        frames=frames,
        times=np.array(times),
        window_s=window,
    )


if __name__ == "__main__":
    main(*sys.argv[1:3])
