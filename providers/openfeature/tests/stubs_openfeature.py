"""OpenFeature providers with the habits of real ones."""

import threading

from openfeature.event import ProviderEvent, ProviderEventDetails
from openfeature.exception import (
    ErrorCode,
    FlagNotFoundError,
    OpenFeatureError,
    ParseError,
    TypeMismatchError,
)
from openfeature.flag_evaluation import FlagResolutionDetails, Reason
from openfeature.provider import AbstractProvider, Metadata

VALUES = {
    "on": True,
    "off": False,
    "text": "hi",
    "blank": "",
    "digits": "10",
    "ten": 10,
    "zero": 0,
    "half": 0.5,
    "tenish": 10.0,
    "shape": {"a": 1},
    "list": [1, 2],
}
TYPES = {"boolean": bool, "string": str, "integer": int, "float": float, "object": (dict, list)}


class Stub(AbstractProvider):
    """Answers from ``values`` as ``answer`` says, and remembers what it was asked."""

    def __init__(self, values=None, **habits):
        super().__init__()
        self.values = dict(VALUES if values is None else values)
        self.asked = []
        self.contexts = []
        self.calls = []
        self.hooks = []
        self.ready = threading.Event()
        self.ready.set()
        for habit, value in habits.items():
            setattr(self, habit, value)

    def get_metadata(self):
        return Metadata("stub")

    def get_provider_hooks(self):
        return self.hooks

    def initialize(self, evaluation_context):
        self.calls.append("initialize")
        self.ready.wait(20)

    def shutdown(self):
        self.calls.append("shutdown")

    def tell(self, event, **details):
        self.emit(ProviderEvent(f"PROVIDER_{event}"), ProviderEventDetails(**details))

    def answer(self, kind, key, default):
        """Strict, and saying so by the book."""
        if key not in self.values:
            raise FlagNotFoundError(f"no {key} here")
        value = self.values[key]
        if not isinstance(value, TYPES[kind]) or (
            kind == "integer" and value in (True, False) and isinstance(value, bool)
        ):
            raise TypeMismatchError(f"{key} is no {kind}")
        return FlagResolutionDetails(value, reason=Reason.STATIC, variant="v")

    def _asked(self, kind, key, default, context):
        self.asked.append((kind, key))
        self.contexts.append(context)
        return self.answer(kind, key, default)

    # Other names than the specification's, as one provider on PyPI has them.
    def resolve_boolean_details(self, key, fallback, ctx=None):
        return self._asked("boolean", key, fallback, ctx)

    def resolve_string_details(self, key, fallback, ctx=None):
        return self._asked("string", key, fallback, ctx)

    def resolve_integer_details(self, key, fallback, ctx=None):
        return self._asked("integer", key, fallback, ctx)

    def resolve_float_details(self, key, fallback, ctx=None):
        return self._asked("float", key, fallback, ctx)

    def resolve_object_details(self, key, fallback, ctx=None):
        return self._asked("object", key, fallback, ctx)


class Passing(Stub):
    """Passes on whatever it has, of whatever type."""

    def answer(self, kind, key, default):
        if key not in self.values:
            return FlagResolutionDetails(
                default, reason=Reason.ERROR, error_code=ErrorCode.FLAG_NOT_FOUND
            )
        return FlagResolutionDetails(self.values[key], reason="FALLTHROUGH")


class Silent(Stub):
    """Answers the default, and no error, for whatever it has not or cannot convert."""

    def answer(self, kind, key, default):
        value = self.values.get(key)
        fits = isinstance(value, TYPES[kind]) and isinstance(value, bool) is (kind == "boolean")
        if not fits:
            return FlagResolutionDetails(default, reason=Reason.TARGETING_MATCH)
        return FlagResolutionDetails(value, reason=Reason.TARGETING_MATCH)


class Cutting(Stub):
    """Takes any number as any other, and cuts what is behind the point."""

    def answer(self, kind, key, default):
        value = self.values.get(key)
        if kind in ("integer", "float") and type(value) in (int, float):
            return FlagResolutionDetails(int(value) if kind == "integer" else float(value))
        return super().answer(kind, key, default)


class Parsing(Stub):
    """A store of strings, that says PARSE_ERROR where it cannot read one."""

    def answer(self, kind, key, default):
        text = self.values[key]
        read = {
            "boolean": {"true": True, "false": False}.__getitem__,
            "string": str,
            "integer": int,
            "float": float,
            "object": {}.__getitem__,
        }[kind]
        try:
            return FlagResolutionDetails(read(text), reason=Reason.TARGETING_MATCH, variant=text)
        except (KeyError, ValueError) as error:
            raise ParseError(f"cannot read {text}") from error


class Failing(Stub):
    """Raises whatever it was given."""

    error = OpenFeatureError(ErrorCode.GENERAL, "broken")

    def answer(self, kind, key, default):
        raise self.error


class Disabled(Stub):
    """Its flags are off and serve the caller's default, as flagd's do."""

    def answer(self, kind, key, default):
        return FlagResolutionDetails(default, reason=Reason.DISABLED)
