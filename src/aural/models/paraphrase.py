"""Sample other wordings of noun phrases from the packaged language model SmolLM2.

The model continues a list of examples, `phrase = other wording`. Its raw continuations contain many that name another
sound; `aural.data.libre.additions` checks them.

Legend: P phrases, S samples per phrase, L tokens, V tokens in the vocabulary.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from aural.core.config import Config
from aural.models.gguf_files import dtype_option, gguf_options
from aural.models.packaged import SMOLLM2

EXAMPLES: Final = (
    ("a dog barking", "the bark of a dog"),
    ("footsteps on gravel", "someone walking over gravel"),
    ("a heavy stone sliding", "a big rock being dragged"),
    ("a man laughing", "the laughter of a man"),
    ("glass breaking", "a pane of glass shattering"),
    ("an engine running", "the hum of a motor"),
    ("a blow on a metal door", "a steel door being struck"),
    ("a short trumpet signal", "a brief call of a trumpet"),
)
PROMPT: Final = "The same sound, said in two ways. Nothing is added.\n\n" + "".join(f"{a} = {b}\n" for a, b in EXAMPLES)
PHRASES_A_BATCH, PHRASES_A_GROUP = 16, 224


class Sampling(Config):
    """The sampling of continuations."""

    samples: int = 5
    """Samples per phrase."""
    temperature: float = 0.8
    top_p: float = 0.9
    """Only the most probable tokens with this total probability are sampled."""
    max_tokens: int = 14
    seed: int = 0


class Paraphraser:
    """SmolLM2 with the examples already read, so that each phrase costs only its own tokens."""

    def __init__(self, model: Any, tokenizer: Any, sampling: Sampling | None = None) -> None:
        self.model, self.tokenizer, self.sampling = model, tokenizer, sampling or Sampling()
        with torch.inference_mode():
            self.read = model(input_ids=self._ids(PROMPT), use_cache=True, logits_to_keep=1).past_key_values

    def write(self, phrases: Sequence[str], file: Path) -> Iterator[tuple[str, list[str]]]:
        """Yield (phrase, S continuations) and append each to a file that `read_samples` reads.

        `PHRASES_A_GROUP` phrases at a time are sampled in their order; within them phrases of the same number of tokens
        share a batch. The random numbers of a phrase depend on the seed and the phrase only, not on other phrases.
        """
        unique = list(dict.fromkeys(phrases))
        with file.open("a", encoding="utf-8") as out:
            for first in range(0, len(unique), PHRASES_A_GROUP):
                for phrase, texts in self._group(unique[first : first + PHRASES_A_GROUP]):
                    record = {"key": sampling_key(self.sampling), "phrase": phrase, "texts": texts}
                    out.write(json.dumps(record) + "\n")
                    out.flush()
                    yield phrase, texts

    def _group(self, phrases: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
        by_length: dict[int, list[tuple[str, Tensor]]] = defaultdict(list)
        for phrase in phrases:
            ids = self._ids(f"{phrase} =")
            by_length[ids.shape[1]].append((phrase, ids))
        for _, some in sorted(by_length.items()):
            for first in range(0, len(some), PHRASES_A_BATCH):
                batch = some[first : first + PHRASES_A_BATCH]
                texts = self._continue([phrase for phrase, _ in batch], torch.cat([ids for _, ids in batch]))
                yield from zip([phrase for phrase, _ in batch], texts, strict=True)

    def _ids(self, text: str) -> Tensor:
        ids: Tensor = self.tokenizer(text, return_tensors="pt").input_ids
        return ids

    @torch.inference_mode()
    def _continue(self, phrases: Sequence[str], ids: Tensor) -> list[list[str]]:
        """Return S continuations per phrase, from tokens (P, L)."""
        sampling = self.sampling
        uniform = np.stack([_uniform(phrase, sampling) for phrase in phrases])  # (P, S, max_tokens)
        uniform = uniform.reshape(-1, sampling.max_tokens)
        cache = copy.deepcopy(self.read)
        cache.batch_repeat_interleave(len(phrases))
        logits = self.model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, -1]
        cache.batch_repeat_interleave(sampling.samples)
        logits = logits.repeat_interleave(sampling.samples, dim=0)  # (P S, V)
        tokens: list[Tensor] = []
        for step in range(sampling.max_tokens):
            tokens.append(draw(logits.float(), torch.from_numpy(uniform[:, step]), sampling))
            if step + 1 < sampling.max_tokens:
                inputs = tokens[-1][:, None]
                logits = self.model(input_ids=inputs, past_key_values=cache, use_cache=True).logits[:, -1]
        texts = [self.tokenizer.decode(row).split("\n")[0].strip() for row in torch.stack(tokens, dim=1)]
        return [texts[i : i + sampling.samples] for i in range(0, len(texts), sampling.samples)]


def draw(logits: Tensor, uniform: Tensor, sampling: Sampling) -> Tensor:
    """Return one token per row of logits (N, V) by inverting the distribution function at numbers (N,) in [0, 1).

    >>> logits = torch.tensor([[0.0, 2.0, 1.0]]).repeat(3, 1)
    >>> draw(logits, torch.tensor([0.1, 0.7, 0.95]), Sampling(temperature=1.0, top_p=1.0)).tolist()
    [1, 2, 0]
    >>> draw(logits, torch.tensor([0.1, 0.7, 0.95]), Sampling(temperature=1.0, top_p=0.5)).tolist()
    [1, 1, 1]
    """
    share, order = torch.softmax(logits / sampling.temperature, dim=-1).sort(dim=-1, descending=True, stable=True)
    total = share.cumsum(dim=-1)
    share = share.masked_fill(total - share >= sampling.top_p, 0.0)
    total = share.cumsum(dim=-1)
    place = torch.searchsorted(total, (uniform.to(total) * total[:, -1])[:, None], right=True)
    return order.gather(1, place.clamp(max=logits.shape[-1] - 1))[:, 0]


def sampling_key(sampling: Sampling) -> str:
    """Return a key of all that determines the samples: the model, the examples and the options."""
    text = f"{SMOLLM2.sha256}\n{PROMPT}\n{sampling.model_dump_json()}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_samples(file: Path, sampling: Sampling) -> dict[str, list[str]]:
    """Return phrase -> samples of a file that `Paraphraser.write` wrote with the same options; {} if there is none.

    A last line that was cut off is ignored.
    """
    samples: dict[str, list[str]] = {}
    for line in file.read_text(encoding="utf-8").splitlines() if file.is_file() else []:
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if record["key"] == sampling_key(sampling):
            samples[record["phrase"]] = record["texts"]
    return samples


def _uniform(phrase: str, sampling: Sampling) -> np.ndarray:
    """Return the random numbers of a phrase (S, max_tokens)."""
    digest = hashlib.sha256(f"{sampling.seed}\n{phrase}".encode()).digest()
    return np.random.default_rng(list(digest)).random((sampling.samples, sampling.max_tokens))


def paraphraser(sampling: Sampling | None = None) -> Paraphraser:
    """Load SmolLM2 with its table of words, in bfloat16, and return a paraphraser.

    Raises:
        MissingDependencyError: the package with the weights, gguf or accelerate is not installed.
    """
    file = gguf_options(SMOLLM2.path())
    from transformers import AutoModelForCausalLM, AutoTokenizer

    load: Callable[..., Any] = AutoModelForCausalLM.from_pretrained
    model = load(**file, **dtype_option(torch.bfloat16)).eval()
    tokenizer = AutoTokenizer.from_pretrained(**file)
    return Paraphraser(model, tokenizer, sampling)
