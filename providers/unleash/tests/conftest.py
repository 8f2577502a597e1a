import sys
from pathlib import Path

import pytest
from downhaul_unleash.translate import context_from, flags_from

from downhaul import Flags

sys.path.insert(0, str(Path(__file__).parent))  # for stubs_unleash, which several modules share


class Asked:
    """A document of Unleash, translated, and questions about its first feature or another."""

    def __init__(self, document):
        self.translation = flags_from(document)
        self.flags = Flags.in_memory(self.translation.flags, segments=self.translation.segments)

    def variant(self, feature="f", **context):
        return self.flags.evaluate(feature, context_from(context)).variant

    def value(self, feature="f", **context):
        return self.flags.evaluate(feature, context_from(context)).value

    def enabled(self, feature="f", **context):
        return self.flags.is_enabled(feature, context_from(context))

    def flag(self, feature="f"):
        return next(flag for flag in self.translation.flags if flag.key == feature)

    def told(self, fidelity, feature="f"):
        return [one for one in self.translation.ledger.of(feature) if one.fidelity == fidelity]


@pytest.fixture
def asked():
    """A function from a document to answers."""
    made = []

    def ask(document):
        made.append(Asked(document))
        return made[-1]

    yield ask
    for one in made:
        one.flags.close()


@pytest.fixture
def feature(asked):
    """A function from the fields of one feature ``f`` to answers."""

    def ask(*strategies, segments=(), others=(), **fields):
        one = {"name": "f", "enabled": True, "strategies": list(strategies), **fields}
        return asked({"features": [one, *others], "segments": list(segments)})

    return ask
