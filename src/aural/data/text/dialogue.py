"""Dialogues between a visitor and the keeper of a sound archive: an intent, acts, and one sound."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from aural.data.text import lexicon as lx
from aural.data.text.dice import Dice
from aural.data.text.grammar import DOMAINS, Event, Pen, draw_event, other, tidy

INTENTS: Final = ("find", "play", "buy", "record", "delete", "compare")
ACTS: Final = (
    "greet",
    "request",
    "ask place",
    "say place",
    "ask manner",
    "say manner",
    "offer",
    "accept",
    "refuse",
    "thank",
)
WISHES: Final = {
    "find": ("i am looking for", "i want to find", "can you search for"),
    "play": ("please play", "let me listen to", "i would like to hear"),
    "buy": ("i want to buy", "how much costs", "i would pay for"),
    "record": ("please record", "can you tape", "i need a new take of"),
    "delete": ("please delete", "remove from the list", "throw away"),
    "compare": ("please compare", "what differs between all takes of", "is there another version of"),
}  # fmt: skip
DONE: Final = {
    "find": ("here is the place where it is stored", "i found it on the shelf"),
    "play": ("it is on the speaker now", "you can listen to it now"),
    "buy": ("the price is on the invoice", "you can pay at the desk"),
    "record": ("the microphone is on", "i taped it for you"),
    "delete": ("it is erased for good", "it is off the list"),
    "compare": ("the second version is longer", "both versions are nearly equal"),
}
SAID: Final = {
    "greet": ("hello", "good day", "welcome to the archive"),
    "ask place": ("where was it", "at which place", "do you know the location"),
    "ask manner": ("how does it sound", "in which way", "what is it like"),
    "accept": ("yes that is right", "exactly that one", "perfect"),
    "refuse": ("no that is wrong", "not that one", "i mean another"),
    "thank": ("thank you", "many thanks", "that was kind"),
}


@dataclass(frozen=True)
class Dialogue:
    """Turns in order, the act of each (a number of `ACTS`), and the intent (a number of `INTENTS`)."""

    turns: tuple[str, ...]
    acts: tuple[int, ...]
    intent: int
    topic: int


def dialogue(rng: Dice, domain: str = "street") -> Dialogue:
    """Return a random dialogue of 7 to 12 turns. The last offer depends on the intent, the sound, place and manner."""
    pen, event = Pen(rng, frozenset()), draw_event(rng, DOMAINS[domain])
    intent = rng.below(len(INTENTS))
    place, manner = rng.below(len(lx.PLACES)), rng.below(len(lx.MANNERS))
    wish = WISHES[INTENTS[intent]]
    lines = [("greet", pen.one(SAID["greet"]))] if rng.random() < 0.7 else []
    lines.append(("request", f"{pen.one(wish)} {sound(pen, event)}"))
    lines += [("ask place", pen.one(SAID["ask place"])), ("say place", f"it was {pen.one(lx.PLACES[place])}")]
    lines += [("ask manner", pen.one(SAID["ask manner"])), ("say manner", f"rather {pen.one(lx.MANNERS[manner])}")]
    if rng.random() < 0.3:
        wrong = Event(event.topic, other(rng, len(lx.THINGS[event.topic]), event.thing), event.action)
        lines += [("offer", offer(pen, wrong, place, manner)), ("refuse", pen.one(SAID["refuse"]))]
    lines += [("offer", offer(pen, event, place, manner)), ("accept", pen.one(SAID["accept"]))]
    lines += [("offer", pen.one(DONE[INTENTS[intent]])), ("thank", pen.one(SAID["thank"]))]
    turns = tuple(tidy(text) for _, text in lines)
    return Dialogue(turns, tuple(ACTS.index(act) for act, _ in lines), intent, event.topic)


def sound(pen: Pen, event: Event) -> str:
    return f"{pen.noun(event)} {pen.verb(event, 'ing')}"


def offer(pen: Pen, event: Event, place: int, manner: int) -> str:
    return f"i have {sound(pen, event)} {pen.one(lx.MANNERS[manner])} {pen.one(lx.PLACES[place])}"
