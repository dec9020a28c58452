"""`aural ask`: answer a question about sounds."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aural.cli.files import Batch, json_line, progress
from aural.cli.options import JsonOption, ModelOption, ModelOptions, StrictOption, with_model_options
from aural.core.errors import ConfigError
from aural.core.names import DEFAULT_MODEL
from aural.core.printable import printable
from aural.core.printable import safe_print as print

if TYPE_CHECKING:
    from aural.models.answerer import AnswerResult


@with_model_options
def ask(
    *,
    words: Annotated[
        list[str], typer.Argument(help="Sound files or directories, then the question.", metavar="SOUNDS... QUESTION")
    ],
    model: ModelOption = DEFAULT_MODEL,
    options: ModelOptions,
    choices: Annotated[
        str | None, typer.Option("--choices", help="The answers to choose from, separated by commas.")
    ] = None,
    yes_no: Annotated[bool, typer.Option("--yes-no", help="Answer yes or no.")] = False,
    as_json: JsonOption = False,
    strict: StrictOption = False,
) -> None:
    """Answer a question about each sound.

    "is there a dog?" is answered by yes or no with a model whose least cosine of a match was measured (the bundled
    ones), --choices by similarity, "what is heard?" by a caption. "how often is a bell heard?", "when is ...?", "how
    long is ... heard?", "how loud is ...?", "which comes first, ... or ...?", "is ... before ...?", "which is louder,
    ... or ...?" and "is ... louder than ...?" are answered from spans as `aural locate` finds them. Other free
    questions are refused.
    """
    from aural.models.answerer import YES_NO, check_question
    from aural.models.writers import answerer_of

    if len(words) < 2:
        raise ConfigError('give sound files and then a question, such as aural ask dog.wav "is there a dog?"')
    if choices is not None and yes_no:
        raise ConfigError("give --choices or --yes-no, not both")
    *sounds, question = words
    listed = [one.strip() for one in choices.split(",")] if choices is not None else None
    answers = list(YES_NO) if yes_no else listed
    check_question(question, answers)
    batch = Batch(strict)
    files = batch.find([Path(one) for one in sounds])
    if not files:
        raise typer.Exit(batch.close())
    answerer, reason = answerer_of(options.open(model))
    if reason:
        print(f"{reason}; answers come from similarities and spans", file=sys.stderr)
    stream = progress(answerer.stream_answers(files, question, answers), len(files), "asking")
    for row, sentence in _rows(stream, batch):
        print(json_line(row) if as_json else f"{printable(row['file'])}  {printable(sentence)}")
    raise typer.Exit(batch.close())


def _rows(results: Iterator[AnswerResult], batch: Batch) -> Iterator[tuple[dict[str, Any], str]]:
    """Yield the answers as JSON values and as sentences."""
    for result in results:
        if result.answer is None:
            assert result.error is not None
            batch.skip(result.error)
            continue
        batch.done += 1
        answer = result.answer
        values = {
            "file": result.source,
            "answer": answer.text,
            "remark": answer.remark,
            "score": round(answer.score, 6),
            "kind": answer.kind,
            "options": [{"answer": one.text, "score": round(one.score, 6)} for one in answer.options],
        }
        yield values, answer.sentence
