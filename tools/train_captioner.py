"""Train the bridge of the bundled captioner: vectors of libre-base to a prefix of SmolLM2, which stays frozen.

    aural corpus build libre --out CORPUS
    python tools/train_captioner.py clips CORPUS OUT      # lists of clips and their vectors
    python tools/train_captioner.py prepare CORPUS OUT    # texts, questions and their vectors
    python tools/train_captioner.py pack OUT              # the decoder in three files
    python tools/train_captioner.py train OUT --result R  # on a GPU; the decoder is read from three files
    python tools/train_captioner.py write OUT --result R --device cpu   # candidate captions, if a run ended before
    python tools/train_captioner.py choose OUT --result R # the arm and the ranking that are best on the clips of dev
    python tools/train_captioner.py written OUT --result R --arms text-hard   # scores on the test clips
    python tools/train_captioner.py compare CORPUS OUT    # questions about the test clips, without language model
    python tools/train_captioner.py sentences OUT         # the sentences that are picked where nothing is written
    python tools/train_captioner.py picked OUT            # scores of the captions that libre-base picks
    python tools/train_captioner.py bundle R/text-hard.safetensors --result R # write src/aural/weights/libre-captions

`prepare` needs the corpus, MiniLM and the package of SmolLM2. No clip of the lists `dev` and `test` is used in
training; everything is chosen by `dev`, never by `test`. `train` writes bridges and the tokens of candidate captions;
`choose` and `written` need the package to read them as words. The bundled sentences are part of the prompts, so that a
bridge has to be trained again after `sentences`.
"""

from __future__ import annotations

import argparse

from captioner_arms import ARMS
from captioner_choice import bundle, choose, written
from captioner_clips import clips
from captioner_data import prepare
from captioner_decoder import pack
from captioner_scores import compare, picked, sentences
from captioner_training import train
from captioner_writing import write


def main() -> None:
    commands = (clips, prepare, pack, train, write, choose, written, compare, picked, sentences, bundle)
    work = {one.__name__: one for one in commands}
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("what", choices=list(work))
    parser.add_argument("paths", nargs="+")
    for name, value in {"result": "result", "device": "cuda", "arms": ",".join(ARMS), "lists": "dev,test"}.items():
        parser.add_argument(f"--{name}", default=value)
    for name, number in {"steps": 4000, "batch": 128, "seed": 0, "most": 0, "limit-s": 0}.items():
        parser.add_argument(f"--{name}", type=int, default=number)
    parser.add_argument("--start", help="a trained bridge to start from")
    parser.add_argument("--questions", type=float, default=0.0, help="share of questions, the rest is captions")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--weight-decay", type=float, default=0.05)
    args = parser.parse_args()
    args.out = args.paths[-1]
    args.corpus = args.paths[0]
    work[args.what](args)


if __name__ == "__main__":
    main()
