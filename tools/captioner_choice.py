"""Choose the arm and the ranking of candidate captions by the clips of `dev`, score them on `test`, bundle the bridge.

A ranking is the set of candidates and the weight of the cosine in `hybrid_order`. `choose` compares them on `dev` and
writes choice.json; `written` scores that choice, greedy and beam captions on `test`, each also for the sound of another
clip. CIDEr-D is the score, with the document frequencies of the scored clips.

Legend: N clips, E dimensions.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from aural.core.types import FloatArray
from aural.generate.rerank import hybrid_order
from aural.models.bridge import BridgeConfig, caption_text, plain_text
from aural.models.known_sentences import class_penalties
from aural.models.rounding import in_steps
from aural.nn.bridges.mapper import MapperConfig

RANKINGS = {"greedy": ("greedy", 0, 0.0), "beam": ("beam", 0, 0.0)} | {
    f"{near} near, {weight}": ("beam", near, weight)
    for near in (0, 5, 10, 20)
    for weight in (0.0, 0.25, 0.5, 0.7, 0.8, 0.9)
}
"""Name -> how candidates are written, how many known sentences compete, and the weight of the cosine."""
CHOICE = "choice.json"
DECODER_DIM = 576


class Candidates:
    """The candidates of one arm for one list of clips, as words, with their cosines."""

    def __init__(self, folder: Path, result: Path, arm: str, part: str, read: Any, embed: Any) -> None:
        self.lists = json.loads((result / f"{arm}-{part}.json").read_text())
        self.rows = json.loads((folder / f"{part}.json").read_text())[: len(self.lists)]
        sounds = np.load(folder / f"{part}.npy").astype(np.float32)[: len(self.lists)]
        known = json.loads((folder / "texts.json").read_text())["known"]
        self.penalties = class_penalties(known)
        for some, sound in zip(self.lists, sounds, strict=True):
            for one in some:
                one["text"] = caption_text(known[one["known"]]).strip() if "known" in one else read(one["ids"])
                one["fit"] = float(embed(plain_text(one["text"])) @ sound)

    def chosen(self, ranking: str) -> list[str]:
        """Return the caption of each clip."""
        how, near, weight = RANKINGS[ranking]
        captions = []
        for some in self.lists:
            written = [one for one in some if one["how"] == how]
            said = {plain_text(one["text"]) for one in written}
            close = [one for one in some if one["how"] == "near"][:near]
            both = written + [one for one in close if plain_text(one["text"]) not in said]
            order = hybrid_order([one["score"] for one in both], [one["fit"] for one in both], weight=weight)
            captions.append(both[int(order[0]) if near or weight else 0]["text"])
        return captions

    def picked(self) -> list[str]:
        """Return the known sentence that is picked for each clip."""
        near = ([one for one in some if one["how"] == "near"] for some in self.lists)
        return [max(some, key=lambda one: one["fit"] - self.penalties[one["known"]])["text"] for some in near]


def scores_of(captions: Sequence[str], rows: Sequence[Any]) -> tuple[float, float]:
    """Return CIDEr-D and ROUGE-L."""
    from aural.evaluate.metrics.captions import cider_d, rouge_l, tokenize

    references = [[tokenize(text) for text in row["texts"]] for row in rows]
    words = [tokenize(text) for text in captions]
    return float(cider_d(words, references).mean()), float(rouge_l(words, references).mean())


def _tools() -> tuple[Any, Any]:
    """Return what reads token ids as words, and what embeds a text by libre-base; texts are embedded once."""
    import aural
    from aural.models.causal import open_decoder

    decoder, model = open_decoder("smollm2", device="cpu"), aural.load("libre-base", engine="onnx")
    kept: dict[str, FloatArray] = {}

    def embed(text: str) -> FloatArray:
        if text not in kept:
            kept[text] = model.embed_text([text])[0]
        return kept[text]

    return lambda ids: decoder.text(tuple(ids)) or "No words.", embed


def choose(args: argparse.Namespace) -> None:
    """Print the scores on `dev` of every arm and ranking, and write the best one to choice.json."""
    folder, result = Path(args.out), Path(args.result)
    tools = _tools()
    best: dict[str, Any] = {"CIDEr-D": -1.0}
    for arm in args.arms.split(","):
        if not (result / f"{arm}-dev.json").is_file():
            continue
        candidates = Candidates(folder, result, arm, "dev", *tools)
        cider, rouge = scores_of(candidates.picked(), candidates.rows)
        print(f"{arm}, picked: CIDEr-D {cider:.3f}, ROUGE-L {rouge:.3f}")
        for ranking in RANKINGS:
            cider, rouge = scores_of(candidates.chosen(ranking), candidates.rows)
            print(f"{arm}, {ranking}: CIDEr-D {cider:.3f}, ROUGE-L {rouge:.3f}", flush=True)
            if cider > best["CIDEr-D"]:
                best = {"arm": arm, "ranking": ranking, "CIDEr-D": cider}
    (result / CHOICE).write_text(json.dumps(best))
    print(best)


def written(args: argparse.Namespace) -> None:
    """Print the scores of the captions of the test clips, also for the sound of another clip, and ten of each."""
    folder, result = Path(args.out), Path(args.result)
    tools, choice = _tools(), json.loads((result / CHOICE).read_text())
    for arm in args.arms.split(","):
        candidates = Candidates(folder, result, arm, "test", *tools)
        rankings = dict.fromkeys(["greedy", "beam", choice["ranking"]])
        texts = {"picked": candidates.picked()} | {one: candidates.chosen(one) for one in rankings}
        for name, captions in texts.items():
            own, other = (scores_of(some, candidates.rows) for some in (captions, [*captions[1:], *captions[:1]]))
            print(
                f"{arm}, {name}: CIDEr-D {own[0]:.3f}, ROUGE-L {own[1]:.3f}; another clip's sound {other[0]:.3f}, "
                f"{other[1]:.3f}"
            )
            for n in random.Random(0).sample(range(len(captions)), 10):
                row = candidates.rows[n]
                print(f"| {row['path'].removeprefix('clips/')} | {row['texts'][0]} | {captions[n]} |")


def bundle(args: argparse.Namespace) -> None:
    """Write the folder of the bundled captioner from a trained bridge, with matrices in 8 bits, and choice.json."""
    from aural.models.known_sentences import captions_folder
    from aural.models.packaged import SMOLLM2
    from captioner_arms import ARMS

    tensors, folder = load_file(args.out), captions_folder()
    choice = json.loads((Path(args.result) / CHOICE).read_text())
    arm, (how, near, weight) = ARMS[Path(args.out).stem], RANKINGS[choice["ranking"]]
    hidden, wide = tensors["hidden.weight"], tensors["out.weight"]
    length = len(wide) // DECODER_DIM
    sizes = MapperConfig(d_in=hidden.shape[1], d_out=DECODER_DIM, kind="mlp", length=length, hidden=len(hidden))
    config = BridgeConfig(
        embedder="libre-base",
        decoder="smollm2",
        mapper=sizes,
        decoder_sha256=SMOLLM2.sha256,
        source=f"tools/train_captioner.py, {Path(args.out).name}, {how} search",
        prompts=arm.prompts,
        candidates=near,
        similarity=weight,
    )
    folder.mkdir(parents=True, exist_ok=True)
    save_file(in_steps(tensors), folder / "model.safetensors")
    (folder / "config.json").write_text(config.model_dump_json(indent=2) + "\n")
