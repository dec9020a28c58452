"""Choose the arm and the ranking of candidate captions by the clips of `dev`, score them on `test`, bundle the bridge.

A ranking is the number of known sentences that compete with the five captions of a beam, the weight of the likelihood
next to the cosine, and the margin that a caption needs that is no known sentence
(`aural.generate.rerank.summed_order`). `choose` compares rankings on `dev` and writes choice.json; `written` scores
that choice, greedy and beam captions on `test`, each also for the sound of another clip, and the difference to picking
with its 95% interval over clips. CIDEr-D is the score, with the document frequencies of the scored clips.

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

from aural.core.config import Config
from aural.core.types import FloatArray
from aural.evaluate.stats import paired_mean_interval
from aural.generate.rerank import summed_order
from aural.models.bridge import BridgeConfig, caption_text, plain_text
from aural.models.known_sentences import class_penalties
from aural.models.rounding import in_steps
from aural.nn.bridges.mapper import MapperConfig

NEVER = 2.0
"""A margin that no caption has."""


class Ranking(Config):
    """How candidates are ordered; near 0: the order of the search."""

    how: str = "beam"
    near: int = 10
    likelihood: float = 0.0
    margin: float = 0.0


RANKINGS = [Ranking(how="greedy", near=0), Ranking(near=0)]
RANKINGS += [
    Ranking(likelihood=x, margin=y) for x in (0.03, 0.05, 0.08, 0.12, 0.2) for y in (0, 0.02, 0.04, 0.08, NEVER)
]
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
        self.listed = {plain_text(one) for one in known}
        for one in (one for some in self.lists for one in some):
            one["text"] = caption_text(known[one["known"]]).strip() if "known" in one else read(one["ids"])
        texts = sorted({plain_text(one["text"]) for some in self.lists for one in some})
        vectors = dict(zip(texts, embed(texts), strict=True))
        for some, sound in zip(self.lists, sounds, strict=True):
            for one in some:
                one["fit"] = float(vectors[plain_text(one["text"])] @ sound)

    def chosen(self, ranking: Ranking) -> list[str]:
        """Return the caption of each clip."""
        captions = []
        for some in self.lists:
            written = [one for one in some if one["how"] == ranking.how]
            near = [one for one in some if one["how"] == "near"][: ranking.near]
            close = {plain_text(one["text"]) for one in near}
            both = near + [one for one in written if plain_text(one["text"]) not in close]
            margins = [0.0 if plain_text(one["text"]) in self.listed else ranking.margin for one in both]
            values = [[one[name] for one in both] for name in ("score", "fit")]
            order = summed_order(*values, weight=ranking.likelihood, penalties=margins)
            captions.append(both[int(order[0])]["text"] if near else written[0]["text"])
        return captions

    def picked(self) -> list[str]:
        """Return the known sentence that is picked for each clip."""
        near = ([one for one in some if one["how"] == "near"] for some in self.lists)
        return [max(some, key=lambda one: one["fit"] - self.penalties[one["known"]])["text"] for some in near]


def scores_of(captions: Sequence[str], rows: Sequence[Any]) -> tuple[FloatArray, FloatArray]:
    """Return CIDEr-D and ROUGE-L of each caption (N,)."""
    from aural.evaluate.metrics.captions import cider_d, rouge_l, tokenize

    references = [[tokenize(text) for text in row["texts"]] for row in rows]
    words = [tokenize(text) for text in captions]
    return cider_d(words, references), rouge_l(words, references)


def _tools() -> tuple[Any, Any]:
    """Return what reads token ids as words, and what embeds texts by libre-base."""
    import aural
    from aural.models.causal import open_decoder

    decoder, model = open_decoder("smollm2", device="cpu"), aural.load("libre-base", engine="onnx")
    return lambda ids: decoder.text(tuple(ids)) or "No words.", model.embed_text


def choose(args: argparse.Namespace) -> None:
    """Print the scores on `dev` of every arm and ranking, and write the best one to choice.json."""
    folder, result = Path(args.out), Path(args.result)
    tools = _tools()
    best: dict[str, Any] = {"CIDEr-D": -1.0}
    for arm in args.arms.split(","):
        if not (result / f"{arm}-dev.json").is_file():
            continue
        candidates = Candidates(folder, result, arm, "dev", *tools)
        cider, rouge = (values.mean() for values in scores_of(candidates.picked(), candidates.rows))
        print(f"{arm}, picked: CIDEr-D {cider:.3f}, ROUGE-L {rouge:.3f}")
        for ranking in RANKINGS:
            cider, rouge = (values.mean() for values in scores_of(candidates.chosen(ranking), candidates.rows))
            print(f"{arm}, {ranking.model_dump_json()}: CIDEr-D {cider:.3f}, ROUGE-L {rouge:.3f}", flush=True)
            if cider > best["CIDEr-D"]:
                best = {"arm": arm, "ranking": ranking.model_dump(), "CIDEr-D": float(cider)}
    (result / CHOICE).write_text(json.dumps(best))
    print(best)


def written(args: argparse.Namespace) -> None:
    """Print the scores of the captions of the test clips, also for the sound of another clip, and ten of each."""
    folder, result = Path(args.out), Path(args.result)
    tools, choice = _tools(), json.loads((result / CHOICE).read_text())
    for arm in args.arms.split(","):
        candidates = Candidates(folder, result, arm, "test", *tools)
        best = Ranking.parse(choice["ranking"], CHOICE)
        rankings = {"greedy": RANKINGS[0], "beam": RANKINGS[1], "chosen": best}
        rankings["known sentences only"] = best.model_copy(update={"margin": NEVER})
        texts = {"picked": candidates.picked()} | {name: candidates.chosen(one) for name, one in rankings.items()}
        base = scores_of(texts["picked"], candidates.rows)[0]
        for name, captions in texts.items():
            own, other = (scores_of(some, candidates.rows) for some in (captions, [*captions[1:], *captions[:1]]))
            low, high = paired_mean_interval(own[0] - base, range(len(base)), np.random.default_rng(0))
            print(
                f"{arm}, {name}: CIDEr-D {own[0].mean():.3f}, ROUGE-L {own[1].mean():.3f}; another clip's sound "
                f"{other[0].mean():.3f}, {other[1].mean():.3f}; CIDEr-D above picking {(own[0] - base).mean():.3f} "
                f"[{low:.3f}, {high:.3f}]"
            )
            for n in random.Random(0).sample(range(len(captions)), 10):
                row = candidates.rows[n]
                print(f"| {row['path'].removeprefix('clips/')} | {row['texts'][0]} | {captions[n]} |")


def bundle(args: argparse.Namespace) -> None:
    """Write the folder of the bundled captioner from a trained bridge, with matrices in 8 bits, and choice.json."""
    from aural.models.known_sentences import captions_folder
    from aural.models.packaged import SMOLLM2
    from captioner_arms import ARMS
    from captioner_writing import LONGEST

    tensors, folder = load_file(args.out), captions_folder()
    choice = json.loads((Path(args.result) / CHOICE).read_text())
    arm, ranking = ARMS[Path(args.out).stem], Ranking.parse(choice["ranking"], CHOICE)
    hidden, wide = tensors["hidden.weight"], tensors["out.weight"]
    length = len(wide) // DECODER_DIM
    sizes = MapperConfig(d_in=hidden.shape[1], d_out=DECODER_DIM, kind="mlp", length=length, hidden=len(hidden))
    config = BridgeConfig(
        embedder="libre-base",
        decoder="smollm2",
        mapper=sizes,
        decoder_sha256=SMOLLM2.sha256,
        source=f"tools/train_captioner.py, {Path(args.out).name}",
        prompts=arm.prompts,
        candidates=ranking.near,
        likelihood=ranking.likelihood,
        margin=ranking.margin,
        longest=LONGEST,
    )
    folder.mkdir(parents=True, exist_ok=True)
    save_file(in_steps(tensors), folder / "model.safetensors")
    (folder / "config.json").write_text(config.model_dump_json(indent=2) + "\n")
