"""Systems that recipes can train; importing this package registers them in `SYSTEMS`."""

from aural.train.systems.frames import Frames
from aural.train.systems.heads import Heads
from aural.train.systems.pair import Pair
from aural.train.systems.self_supervised import SelfSupervised
from aural.train.systems.sentences import Sentences

__all__ = ["Frames", "Heads", "Pair", "SelfSupervised", "Sentences"]
