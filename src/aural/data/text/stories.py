"""Stories of six sentences: one thing arrives, is heard doing things at one place, and leaves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aural.data.text import lexicon as lx
from aural.data.text.dice import Dice
from aural.data.text.grammar import DOMAINS, Event, Meaning, Pen, draw_event, other, tidy, write

OPENING, MIDDLE, ENDING = range(3)
ARRIVALS: Final = (("arrives", "appears", "comes"), ("is brought", "is carried here", "is delivered"))
NOTICES: Final = (
    ("nobody notices it", "no one sees it", "it goes unseen"),
    ("everybody looks up", "all turn around", "people stare"),
)
DEPARTURES: Final = (("disappears", "is gone", "is away"), ("falls silent", "is still", "makes no sound"))
CLOSINGS: Final = (
    ("the place is calm", "all is peaceful", "it is quiet everywhere"),
    ("the sound lingers", "an echo remains", "one still hears it"),
)


@dataclass(frozen=True)
class Story:
    """Sentences in order, the section of each, and the topic of the thing that the story is about."""

    sentences: tuple[str, ...]
    sections: tuple[int, ...]
    topic: int


def story(rng: Dice, domain: str = "street") -> Story:
    """Return a random story: arrival, notice, two or three events, departure, closing."""
    event = draw_event(rng, DOMAINS[domain])
    place, pen = rng.below(len(lx.PLACES)), Pen(rng, frozenset())
    actions = [event.action, other(rng, len(lx.ACTIONS[event.topic]), event.action)]
    lines = [
        (OPENING, f"{pen.noun(event)} {pick(pen, ARRIVALS)} {pen.one(lx.PLACES[place])}"),
        (OPENING, pick(pen, NOTICES)),
    ]
    for action in actions[: 1 + (1 + rng.below(2))]:
        meaning = Meaning(Event(event.topic, event.thing, action), place=place if rng.random() < 0.5 else -1,
                          manner=rng.below(len(lx.MANNERS)))  # fmt: skip
        lines.append((MIDDLE, write(meaning, rng)))
    lines.append((ENDING, f"{pen.noun(event)} {pick(pen, DEPARTURES)}"))
    lines.append((ENDING, pick(pen, CLOSINGS)))
    sentences = tuple(tidy(text.rstrip(".")) for _, text in lines)
    return Story(sentences, tuple(section for section, _ in lines), event.topic)


def pick(pen: Pen, choices: tuple[lx.Words, ...]) -> str:
    """Return one wording of one of the choices."""
    return pen.one(choices[pen.rng.below(len(choices))])
