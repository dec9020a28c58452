"""`aural corpus paraphrase` and `aural corpus captions`: other wordings of the captions of the free corpus."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from aural.core.files import write_text
from aural.core.printable import safe_print as print
from aural.core.vectors import unit_rows

FolderArgument = Annotated[Path, typer.Argument(help="Folder of a corpus, or its manifest.")]


def paraphrase(
    folder: FolderArgument,
    out: Annotated[Path, typer.Option("--out", help="File of the paraphrases (JSON).")],
    samples: Annotated[int, typer.Option("--samples", min=1, help="Samples per phrase.")] = 5,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the samples.")] = 0,
    most: Annotated[int, typer.Option("--most", min=0, help="Only the phrases of most clips; 0 = all.")] = 0,
) -> None:
    """Reword the phrases of the training captions with SmolLM2 and keep those that add nothing.

    Samples are appended to OUT.samples.jsonl, and a run that was stopped resumes. Phrases there are not sampled again.
    """
    from aural.data.libre.additions import Additions
    from aural.data.libre.cards import taxonomy
    from aural.data.libre.paraphrases import checked, phrases_to_reword, write_paraphrases
    from aural.data.manifest import read_manifest
    from aural.models.language import minilm
    from aural.models.packaged import SMOLLM2
    from aural.models.paraphrase import Sampling, paraphraser, read_samples

    sampling = Sampling(samples=samples, seed=seed)
    pairs = phrases_to_reword(read_manifest(folder))[: most or None]
    file = out.with_name(f"{out.name}.samples.jsonl")
    stored = read_samples(file, sampling)
    missing = [phrase for phrase in dict.fromkeys(phrase for _, phrase in pairs) if phrase not in stored]
    started = time.monotonic()
    if missing:
        for number, (phrase, texts) in enumerate(paraphraser(sampling).write(missing, file), 1):
            stored[phrase] = texts
            _say(f"{number} of {len(missing)} phrases, {time.monotonic() - started:.0f} s")
    encoder = minilm(None)
    check = Additions(taxonomy().phrases, lambda texts: unit_rows(encoder.embed(texts).numpy()))
    accepted, counts = checked(pairs, stored, check)
    total = sum(map(len, accepted.values()))
    about: dict[str, object] = {"model": SMOLLM2.install, "file_sha256": SMOLLM2.sha256, **sampling.model_dump()}
    about["phrases"] = len({phrase for _, phrase in pairs})
    write_paraphrases(out, about | {"accepted": total, "samples_by_result": counts}, accepted)
    print(f"{out}: {total} rewordings of {len(accepted)} phrases; samples: {json.dumps(counts)}")


def captions(
    folder: FolderArgument,
    out: Annotated[Path, typer.Option("--out", help="File of the captions (JSON).")],
    model: Annotated[bool, typer.Option("--model/--no-model", help="Use the rewordings by the language model.")] = True,
) -> None:
    """Write several captions per training clip at three levels of detail: label, short and detailed."""
    from aural.data.libre.paraphrases import stored_paraphrases
    from aural.data.libre.wordings import GRAINS, all_wordings
    from aural.data.manifest import read_manifest

    clips = all_wordings(read_manifest(folder), stored_paraphrases() if model else {})
    write_text(out, json.dumps({"clips": clips}, ensure_ascii=False, indent=0) + "\n")
    distinct = {text for texts in clips.values() for grain in GRAINS for text in texts[grain]}
    means = ", ".join(f"{sum(len(t[g]) for t in clips.values()) / max(1, len(clips)):.1f} {g}" for g in GRAINS)
    print(f"{out}: {len(clips):,} clips; mean captions per clip: {means}; {len(distinct):,} distinct captions")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
