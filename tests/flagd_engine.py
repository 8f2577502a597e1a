"""flagd's own engine, in process: the oracle of what is written for it and read from it."""

import contextlib
import json
import logging

from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import OpenFeatureError

from downhaul.flag import FlagKind

logging.getLogger("openfeature.contrib").setLevel(logging.CRITICAL)  # it logs each odd value

MISSING = object()
"""What the caller's default is, where a test must see it."""


class Engine:
    """The engine on one document, which it gets as text."""

    def __init__(self, document):
        self._core = FlagdCore()
        self._core.set_flags(json.dumps(document))

    def decide(self, key, kind, context):
        """Return variant and value; None and MISSING are the caller's default.

        flagd's errors are the caller's default too: an application sees no difference.
        """
        resolve = {
            FlagKind.BOOLEAN: self._core.resolve_boolean_value,
            FlagKind.STRING: self._core.resolve_string_value,
            FlagKind.NUMBER: self._core.resolve_float_value,
            FlagKind.OBJECT: self._core.resolve_object_value,
        }[kind]
        asked = EvaluationContext(context.targeting_key, dict(context.attributes))
        with contextlib.suppress(OpenFeatureError):
            found = resolve(key, MISSING, asked)
            return found.variant, found.value
        return None, MISSING


def ours(flags, key, context):
    """Return the same of our own decision: variant and value."""
    result = flags.evaluate(key, context)
    return result.variant, MISSING if result.variant is None else result.value
