"""Score captions and answers about held-out clips, and write the sentences that are picked."""

from __future__ import annotations

import argparse
import json
import random
import re
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

FRAMED = re.compile(r"\b(?:audio|recording|clip|sound of|sample)\b", re.IGNORECASE)
LANGUAGE = re.compile(r"\b(?:speaking|talking) \w|\b(?:speech|spoken|voice in|language)\b", re.IGNORECASE)
SILENCE = "the sound of silence"


def compare(args: argparse.Namespace) -> None:
    """Print how often libre-base answers questions about test clips as `aural ask`, also with another clip's sound."""
    import aural
    from aural.models.writers import answerer_of

    model = aural.load("libre-base", engine="onnx")
    answerer = answerer_of(model)[0]
    rows = json.loads((Path(args.out) / "test.json").read_text())
    files = [Path(args.corpus) / row["path"] for row in rows]
    for what, clips in (("the clip", files), ("another clip", [files[-1], *files[:-1]])):
        rng, presence, choice = random.Random(1), [], []
        for n, (row, clip) in enumerate(zip(rows, clips, strict=True)):
            text = row["texts"][0]
            others = rng.sample(
                [r["texts"][0] for r in rows if r["label"] != row["label"] and r["texts"][0] != text], 2
            )
            asked, answer = (text, "yes") if n % 2 == 0 else (others[0], "no")
            presence.append(answerer.answer_of(clip, f"is there {asked}?").text == answer)
            choice.append(answerer.answer_of(clip, "which sound is it?", (text, *others)).text == text)
        there, absent = np.mean(presence[::2]), np.mean(presence[1::2])
        print(f"{what}: is there ...? {np.mean(presence):.3f} (there {there:.3f}, not there {absent:.3f}),", end=" ")
        print(f"one of three {np.mean(choice):.3f}, {len(rows)} clips")


def picked(args: argparse.Namespace) -> None:
    """Print the scores of the captions that libre-base picks for the clips of dev and test, and ten of test."""
    from aural.evaluate.metrics.captions import cider_d, rouge_l, tokenize
    from aural.models.known_sentences import CLASS_MARGIN, class_penalties, known_sentences

    known, vectors = known_sentences("libre-base")
    assert vectors is not None
    penalties = class_penalties(known)
    names = np.where(penalties > 0, 0.0, 2.0)
    for part in ("dev", "test"):
        rows = json.loads((Path(args.out) / f"{part}.json").read_text())
        sounds = np.load(Path(args.out) / f"{part}.npy").astype(np.float32)
        references = [[tokenize(text) for text in row["texts"]] for row in rows]
        lines = []
        for what, without, clips in (
            ("as shipped", penalties, sounds),
            ("as shipped, sound of another clip", penalties, np.roll(sounds, 1, axis=0)),
            ("without margin", 0 * penalties, sounds),
            ("captions only", penalties / CLASS_MARGIN, sounds),
            ("names of classes only", names, sounds),
        ):
            captions = [known[k] for k in (clips @ vectors.T - without).argmax(1)]
            words = [tokenize(text) for text in captions]
            cider, rouge = cider_d(words, references).mean(), rouge_l(words, references).mean()
            print(f"{part}, {what}: CIDEr-D {cider:.3f}, ROUGE-L {rouge:.3f}")
            if not lines:
                lines = [f"| {rows[n]['path'].removeprefix('clips/')} | {rows[n]['texts'][0]} | {captions[n]} |"
                         for n in random.Random(0).sample(range(len(rows)), 10)]  # fmt: skip
        print("\n".join(lines))


def sentences(args: argparse.Namespace) -> None:
    """Write the bundled sentences and their rows from texts.json: captions of training clips, then classes."""
    import aural
    from aural.models.known_sentences import captions_folder, class_sentences, packed_rows

    stored, folder = json.loads((Path(args.out) / "texts.json").read_text()), captions_folder()
    captions = [text for text, kind in zip(stored["texts"], stored["kind"], strict=True) if kind == "single"]
    chosen = [text for text in captions if not FRAMED.search(text) and not LANGUAGE.search(text)]
    classes = [text for text in class_sentences() if text != SILENCE]  # else many faint sounds are called silence
    chosen = [*dict.fromkeys([*chosen, "a person speaking", *classes])]
    rows = aural.load("libre-base", engine="onnx").embed_text(chosen)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "sentences.txt").write_text("\n".join(chosen) + "\n", encoding="utf-8")
    save_file({"rows": torch.from_numpy(packed_rows(rows))}, folder / "rows.safetensors")
    print(f"{len(chosen)} sentences")
