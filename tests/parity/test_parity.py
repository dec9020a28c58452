"""`aural.load(..., compat="peer")` gives what the publishers' own code gives, from the file to the vector.

The stored goldens (tests/golden/parity) are compared by default; AURAL_GOLDENS names a folder of freshly made ones
(`make parity`), which are then also compared with the stored ones.
"""

import gc
import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from golden_tokenizers import write_tokenizer
from inputs import AUDIO, TEXTS, write_audio
from layouts import HERE, LAYOUTS
from random_weights import fingerprint, random_state_dict, write_checkpoint

STORED = HERE / "parity"
GOLDENS = Path(os.environ.get("AURAL_GOLDENS", STORED))
LARGEST_DIFFERENCE = 1e-5
LEAST_COSINE = 0.99999
LARGEST_MEL_DIFFERENCE = 1e-5
"""Of the frame's loudest bin, in power. Processors round a transform in float32 differently: up to 3.0e-6 was measured
between float32 and float64, which is up to 0.44 dB in bins 70 dB and more below the frame's loudest one."""


def read(folder: Path, layout: str) -> dict[str, np.ndarray]:
    with np.load(folder / f"{layout}.npz") as stored:
        return dict(stored)


def unit(vectors: np.ndarray) -> np.ndarray:
    wide = np.asarray(vectors, dtype=np.float64)
    return wide / np.linalg.norm(wide, axis=-1, keepdims=True)


def mel_difference(fresh: np.ndarray, stored: np.ndarray) -> np.ndarray:
    """The difference of two log-mels in dB (N, F), as power relative to the loudest bin of each frame."""
    power, golden = (10 ** (np.asarray(mel, np.float64) / 10) for mel in (fresh, stored))
    return np.abs(power - golden) / golden.max(axis=-1, keepdims=True)


def differences(found: np.ndarray, golden: np.ndarray, names: list[str]) -> list[str]:
    """One line for each row that is not the golden one; the worst of all is printed (seen with -s)."""
    assert found.shape == golden.shape
    found, golden = unit(found), unit(golden)
    largest = np.abs(found - golden).max(axis=-1)
    cosine = (found * golden).sum(axis=-1)
    print(f"  max difference {largest.max():.2e} ({names[largest.argmax()]}), least cosine {cosine.min():.9f}")
    return [
        f"{name}: max difference {far:.2e}, cosine {near:.7f}"
        for name, far, near in zip(names, largest, cosine, strict=True)
        if not (far <= LARGEST_DIFFERENCE and near >= LEAST_COSINE)
    ]


def text_calls(token_ids: np.ndarray) -> list[list[int]]:
    """The peer's own batches: all texts at once, but a text wider than the others' padding alone."""
    widths = (token_ids >= 0).sum(axis=-1)
    together = [i for i, width in enumerate(widths) if width == widths.min()]
    return [together, *([i] for i in range(len(widths)) if i not in together)]


@pytest.fixture(scope="module")
def audio_paths(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return write_audio(tmp_path_factory.mktemp("inputs"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_embeddings_equal_the_peers(layout: str, tmp_path: Path, audio_paths: dict[str, Path]) -> None:
    import aural

    load = aural.load
    golden = read(GOLDENS, layout)
    assert golden["audio_names"].tolist() == list(AUDIO)
    assert golden["texts"].tolist() == list(TEXTS.values())
    path = write_checkpoint(layout, tmp_path / "checkpoint")
    tokenizer = write_tokenizer(LAYOUTS[layout].tokenizer, tmp_path)
    model = load(path, compat="peer", tokenizer=tokenizer)
    try:
        print(f"\n{layout}")
        # One file a call, as the peer ran: each call's generator starts anew from the seed.
        audio = np.concatenate([model.embed_audio([audio_paths[name]]) for name in AUDIO])
        wrong = differences(audio, golden["audio"], list(AUDIO))
        batch = golden["batch_names"].tolist()
        together = model.embed_audio([audio_paths[name] for name in batch])
        wrong += differences(together, golden["audio_batch"], [f"{name} in a batch" for name in batch])
        texts = list(TEXTS.values())
        text = np.empty_like(golden["text"])
        for call in text_calls(golden["token_ids"]):
            text[call] = model.embed_text([texts[i] for i in call])
        wrong += differences(text, golden["text"], list(TEXTS))
    finally:
        del model
        gc.collect()
        shutil.rmtree(tmp_path / "checkpoint")
    assert not wrong, f"{layout} differs from its peer:\n" + "\n".join(wrong)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_weights_are_those_the_peer_ran_with(layout: str) -> None:
    origin = json.loads(str(read(GOLDENS, layout)["origin"]))
    assert fingerprint(layout, random_state_dict(layout)) == origin["weights_crc32"]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_goldens_tell_inputs_apart(layout: str) -> None:
    golden = read(GOLDENS, layout)
    for name in ("audio", "text"):
        vectors = golden[name]
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1, atol=1e-6)
        apart = np.abs(vectors[:, None] - vectors[None]).max(axis=-1) + np.eye(len(vectors))
        assert apart.min() > 100 * LARGEST_DIFFERENCE


@pytest.mark.skipif(GOLDENS == STORED, reason="AURAL_GOLDENS names no folder of freshly made goldens")
@pytest.mark.parametrize("layout", LAYOUTS)
def test_fresh_goldens_equal_the_stored_ones(layout: str) -> None:
    fresh, stored = read(GOLDENS, layout), read(STORED, layout)
    assert fresh.keys() == stored.keys()
    for name in fresh.keys() - {"origin"}:
        if name == "log_mel":
            assert mel_difference(fresh[name], stored[name]).max() <= LARGEST_MEL_DIFFERENCE
        elif fresh[name].dtype.kind == "f":
            np.testing.assert_allclose(fresh[name], stored[name], rtol=0, atol=LARGEST_DIFFERENCE, err_msg=name)
        else:
            assert fresh[name].tolist() == stored[name].tolist()


@pytest.mark.parametrize("layout", ["hf_fused", "laion_htsat_tiny_fusion"])
def test_log_mels_are_compared_where_sound_is(layout: str) -> None:
    stored = read(STORED, layout)["log_mel"].astype(np.float64)
    loudest = stored.max(axis=-1, keepdims=True)
    sounding = np.flatnonzero(loudest[:, 0] > -40)
    # Another processor: each amplitude is off by what float32 loses of the frame's largest one.
    draw = np.random.default_rng(0).uniform(-1.5e-7, 1.5e-7, stored.shape)
    rounded = 20 * np.log10(np.maximum(np.abs(10 ** (stored / 20) + 10 ** (loudest / 20) * draw), 1e-5))
    assert np.abs(rounded - stored).max() > 0.01
    assert mel_difference(rounded, stored).max() <= LARGEST_MEL_DIFFERENCE
    # Real errors: 0.02 dB in a loud bin, 1 dB in one that is 40 dB down, two bins in the wrong order, a frame too late.
    frame = sounding[len(sounding) // 2]
    order = stored[frame].argsort()
    quiet = int(np.abs(stored[frame] - stored[frame].max() + 40).argmin())
    wrong = [stored.copy() for _ in range(4)]
    wrong[0][frame, order[-1]] += 0.02
    wrong[1][frame, quiet] += 1.0
    wrong[2][frame, [order[-1], order[-2]]] = stored[frame, [order[-2], order[-1]]]
    wrong[3] = np.roll(stored, 1, axis=0)
    for mel in wrong:
        assert mel_difference(mel, stored).max() > LARGEST_MEL_DIFFERENCE
