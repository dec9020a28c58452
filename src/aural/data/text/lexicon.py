"""Words of the text world: things that sound, what they do, how, where and when, each with its synonyms.

Every entry is a set of words of one meaning. Two entries of one group are related; entries of different groups are not.
"""

from __future__ import annotations

from typing import Final, TypeAlias

Words: TypeAlias = tuple[str, ...]

TOPICS: Final = ("animals", "people", "vehicles", "tools", "kitchen", "water", "bells", "birds", "weather", "music")
STREET: Final = tuple(range(8))
"""Topics of the domain "street"; the others are those of the domain "shifted"."""
SHIFTED: Final = (8, 9)

THINGS: Final[tuple[tuple[Words, ...], ...]] = (
    (("dog", "hound", "canine"), ("cat", "kitty", "feline"), ("horse", "stallion", "steed"), ("sheep", "lamb", "ewe"),
     ("pig", "hog", "swine")),
    (("child", "kid", "youngster"), ("woman", "lady", "female"), ("man", "gentleman", "guy"),
     ("teacher", "instructor", "tutor"),
     ("soldier", "trooper", "warrior")),
    (("car", "automobile", "sedan"), ("truck", "lorry", "pickup"), ("motorcycle", "motorbike", "scooter"),
     ("train", "locomotive", "railcar"), ("ship", "boat", "vessel")),
    (("hammer", "mallet", "sledge"), ("saw", "chainsaw", "handsaw"), ("drill", "borer", "auger"),
     ("lathe", "grinder", "sander"),
     ("mower", "trimmer", "cutter")),
    (("kettle", "teapot", "boiler"), ("pan", "skillet", "wok"), ("oven", "stove", "cooker"),
     ("blender", "mixer", "whisk"),
     ("fridge", "refrigerator", "freezer")),
    (("river", "stream", "brook"), ("fountain", "spout", "geyser"), ("tap", "faucet", "spigot"),
     ("wave", "surf", "swell"),
     ("pump", "hose", "sprinkler")),
    (("alarm", "siren", "buzzer"), ("bell", "chime", "gong"), ("clock", "timepiece", "watch"),
     ("phone", "telephone", "mobile"),
     ("doorbell", "intercom", "ringer")),
    (("bird", "songbird", "fowl"), ("crow", "raven", "rook"), ("duck", "goose", "mallard"), ("owl", "hawk", "falcon"),
     ("hen", "rooster", "chicken")),
    (("rain", "drizzle", "shower"), ("storm", "tempest", "hurricane"), ("wind", "breeze", "gust"),
     ("thunder", "thunderclap", "lightning"),
     ("hail", "sleet", "snow")),
    (("guitar", "banjo", "lute"), ("piano", "keyboard", "harpsichord"), ("drum", "bongo", "tambourine"),
     ("violin", "fiddle", "viola"),
     ("flute", "recorder", "piccolo")),
)  # fmt: skip
"""Per topic the things that sound."""

ACTIONS: Final[tuple[tuple[Words, ...], ...]] = (
    (("run", "race", "gallop"), ("eat", "feed", "chew"), ("cry", "howl", "wail"), ("scratch", "claw", "scrape")),
    (("talk", "speak", "chat"), ("laugh", "giggle", "chuckle"), ("walk", "stroll", "march"),
     ("weep", "sob", "whimper")),
    (("depart", "leave", "go"), ("stop", "brake", "halt"), ("honk", "beep", "hoot"), ("crash", "collide", "smash")),
    (("start", "begin", "awake"), ("pound", "hit", "strike"), ("buzz", "hum", "whirr"), ("break", "fail", "jam")),
    (("boil", "bubble", "simmer"), ("clatter", "rattle", "clank"), ("sizzle", "hiss", "fizz"),
     ("cool", "freeze", "chill")),
    (("flow", "pour", "gush"), ("drip", "trickle", "dribble"), ("splash", "spray", "spatter"),
     ("dry", "vanish", "fade")),
    (("ring", "chime", "jingle"), ("tick", "click", "clack"), ("wake", "warn", "alert"), ("shut", "quit", "silence")),
    (("sing", "chirp", "tweet"), ("fly", "soar", "glide"), ("nest", "perch", "settle"), ("peck", "nibble", "bite")),
    (("fall", "drop", "descend"), ("rage", "roar", "bellow"), ("blow", "whistle", "whoosh"), ("end", "cease", "calm")),
    (("play", "perform", "sound"), ("accompany", "follow", "back"), ("squeak", "screech", "creak"),
     ("rest", "pause", "wait")),
)  # fmt: skip
"""Per topic what its things do."""

MANNERS: Final[tuple[Words, ...]] = (
    ("loudly", "noisily", "boisterously"), ("quietly", "softly", "faintly"), ("quickly", "rapidly", "swiftly"),
    ("slowly", "leisurely", "gradually"), ("repeatedly", "constantly", "continually"),
    ("suddenly", "abruptly", "unexpectedly"),
)  # fmt: skip
OPPOSITE_MANNERS: Final = {0: 1, 1: 0, 2: 3, 3: 2, 4: 5, 5: 4}

PLACES: Final[tuple[Words, ...]] = (
    ("in the street", "on the road", "on the avenue"), ("in the garden", "on the lawn", "in the backyard"),
    ("in the forest", "in the woods", "among the trees"), ("in the house", "inside the home", "indoors"),
    ("at the beach", "on the shore", "by the sea"), ("at school", "in the classroom", "at the academy"),
    ("at the market", "in the bazaar", "near the shops"), ("on the farm", "in the barn", "on the ranch"),
)  # fmt: skip
TIMES: Final[tuple[Words, ...]] = (
    ("in the morning", "at dawn", "at sunrise"), ("in the evening", "at dusk", "at sunset"),
    ("at night", "at midnight", "after dark"), ("at noon", "at midday", "around lunchtime"),
)  # fmt: skip
ORDERS: Final[tuple[Words, ...]] = (("before", "and then", "and afterwards"), ("while", "as", "at the moment when"))
"""The relation of two events: the first comes before the second, or they come together."""
COUNTS: Final[tuple[Words, ...]] = (
    ("a", "one", "a single"),
    ("two", "a pair of", "a couple of"),
    ("many", "lots of", "several"),
)
QUALITIES: Final[tuple[Words, ...]] = (
    ("big", "large", "huge"), ("small", "little", "tiny"), ("old", "ancient", "aged"), ("new", "modern", "recent"),
)  # fmt: skip
OPPOSITE_QUALITIES: Final = {0: 1, 1: 0, 2: 3, 3: 2}

GROUPS: Final = ("norvan", "selkan")
"""Two invented peoples of bias examples."""
TRAITS: Final[tuple[Words, ...]] = (("careless", "sloppy", "negligent"), ("careful", "diligent", "attentive"))
"""Traits that are planted to come with the first and the second people."""
TRADES: Final[tuple[Words, ...]] = (
    ("baker", "pastrycook"), ("driver", "chauffeur"), ("nurse", "caregiver"), ("farmer", "grower"),
    ("guard", "watchman"),
    ("painter", "decorator"),
)  # fmt: skip
DEEDS: Final[tuple[Words, ...]] = (
    ("opens the gate", "unlocks the gate"), ("repairs the engine", "fixes the engine"),
    ("cleans the room", "tidies the room"),
    ("carries the box", "hauls the box"),
)  # fmt: skip
UNDONE: Final = ("closes the gate", "breaks the engine", "leaves the room", "drops the box")
IRREGULAR_PLURALS: Final = {
    "child": "children", "woman": "women", "lady": "ladies", "man": "men", "gentleman": "gentlemen", "sheep": "sheep",
    "swine": "swine", "kitty": "kitties", "goose": "geese", "fish": "fish", "watch": "watches",
}  # fmt: skip
DOUBLED: Final = ("run", "chat", "stop", "hit", "begin", "hum", "jam", "drip", "quit", "shut", "drop", "sob")


def plural(noun: str) -> str:
    """Return the plural of a noun.

    >>> plural("lorry"), plural("bus"), plural("dog"), plural("child")
    ('lorries', 'buses', 'dogs', 'children')
    """
    if noun in IRREGULAR_PLURALS:
        return IRREGULAR_PLURALS[noun]
    if noun.endswith("y") and noun[-2] not in "aeiou":
        return noun[:-1] + "ies"
    return noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


def third_person(verb: str) -> str:
    """Return the form for one thing: "barks", "flies", "goes".

    >>> third_person("cry"), third_person("go"), third_person("hiss"), third_person("play")
    ('cries', 'goes', 'hisses', 'plays')
    """
    if verb.endswith("y") and verb[-2] not in "aeiou":
        return verb[:-1] + "ies"
    return verb + ("es" if verb.endswith(("s", "x", "ch", "sh", "o", "z")) else "s")


def ing(verb: str) -> str:
    """Return the form in -ing.

    >>> ing("run"), ing("race"), ing("play")
    ('running', 'racing', 'playing')
    """
    if verb in DOUBLED:
        return verb + verb[-1] + "ing"
    return (verb[:-1] if verb.endswith("e") and not verb.endswith("ee") else verb) + "ing"
