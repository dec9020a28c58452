"""The batch field of text examples."""

from __future__ import annotations

from collections.abc import Sequence

from aural.data.text.example import Example
from aural.train.fields import FIELDS, Field, Sample, Tensors


@FIELDS.register("examples")
class ExamplesField(Field):
    """Text examples: "examples", a list of `Example`, and "draws", a random integer per item. Both are lists.

    An item without the record of the text world becomes a sentence: its first caption, with the others as paraphrases.
    """

    @property
    def gives(self) -> frozenset[str]:
        return frozenset()

    def collate(self, samples: Sequence[Sample]) -> Tensors:
        examples = []
        for sample in samples:
            item = sample.item
            if "kind" in item.facts:
                examples.append(Example.from_facts(item.facts))
            else:
                examples.append(Example("sentence", item.captions[0], paraphrases=tuple(item.captions[1:])))
        return {"examples": examples, "draws": [int(sample.random.integers(1 << 31)) for sample in samples]}
