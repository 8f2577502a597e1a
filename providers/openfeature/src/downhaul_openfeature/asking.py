"""One question to an OpenFeature provider, and what its answer is worth.

OpenFeature has five resolvers and no way to ask what type a flag has, whether it exists, or whether
an answer is the default that came with the question. So:

- The default is a value that no flag has: whoever answers it has nothing of his own to say. Only of
  booleans there is no third value: a False is asked for once more with the other default.
- A value of another type than was asked for is a mismatch, whatever the provider calls it.
- Numbers are asked for as floats first, because some providers cut 0.5 down to the integer 0.
- Without a kind, the kinds are tried in the order of :data:`ORDER`.

Arguments go by position: there are providers that name them otherwise than the specification.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode, OpenFeatureError
from openfeature.flag_evaluation import FlagResolutionDetails
from openfeature.provider import FeatureProvider

from downhaul.flag import FlagKind

ORDER: Final = (FlagKind.BOOLEAN, FlagKind.STRING, FlagKind.NUMBER, FlagKind.OBJECT)

_NUMBER: Final = uuid.uuid4().int % 2**40 + 2**40  # exact as a float, with a half added too
_INTEGER: Final = -_NUMBER
_FLOAT: Final = _NUMBER + 0.5
_STRING: Final = f"downhaul-{uuid.uuid4().hex}"
_OBJECT: Final[Mapping[str, str]] = {"downhaul": _STRING}
_LIST: Final[Sequence[str]] = [_STRING]

_ECHO: Final = (
    "the provider answers the caller's default: it has no such flag, or no value of its own for it"
)
_OF_ANOTHER_TYPE: Final = frozenset({ErrorCode.TYPE_MISMATCH, ErrorCode.PARSE_ERROR})
"""What providers say of a value that is not of the type asked for."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a provider said of one flag.

    ``code`` is None where ``details`` hold a value of ``kind``. ``echoed`` says that the value is
    the default that was asked with, so it is nobody's.
    """

    kind: FlagKind
    details: FlagResolutionDetails[Any] | None = None
    code: ErrorCode | None = None
    message: str = ""
    echoed: bool = False

    @property
    def found(self) -> bool:
        """Whether the value is the flag's own."""
        return self.code is None and not self.echoed

    @property
    def mismatched(self) -> bool:
        """Whether another type may have an answer."""
        return self.code in _OF_ANOTHER_TYPE

    @property
    def left(self) -> bool:
        """Whether the flag is there, and leaves the value to the caller's default.

        A disabled flag does, and one of which a Downhaul at the other end says so.
        """
        if not self.echoed or self.details is None:
            return False
        told: Any = self.details.flag_metadata
        said = isinstance(told, Mapping) and told.get("authoritative") is False
        return said or self.details.reason == "DISABLED"


def ask(
    provider: FeatureProvider,
    key: str,
    context: EvaluationContext,
    kind: FlagKind | None,
    learned: FlagKind | None = None,
) -> Answer:
    """Ask for a flag of a kind, or of any. Raises nothing of the provider's.

    ``learned`` is the kind that the flag had before. Without a kind, the first that has an answer
    counts. A provider that answers the default where the type is wrong cannot be told from one that
    lacks the flag, so the other kinds are tried then, too.
    """
    if kind is not None:
        return _settled(_of_kind(provider, key, context, kind))
    kinds = ORDER if learned is None else (learned, *(one for one in ORDER if one is not learned))
    last: Answer | None = None
    for tried in kinds:
        answer = _of_kind(provider, key, context, tried)
        if answer.found or answer.left or not (answer.mismatched or answer.echoed):
            return _settled(answer)
        if last is None or answer.echoed:
            last = answer
    assert last is not None  # noqa: S101  (ORDER is not empty)
    return _settled(last)


def _settled(answer: Answer) -> Answer:
    """Return an answer that was only an echo as the error that it is."""
    if answer.echoed and not answer.left:
        return Answer(answer.kind, code=ErrorCode.FLAG_NOT_FOUND, message=_ECHO)
    return answer


def _of_kind(
    provider: FeatureProvider, key: str, context: EvaluationContext, kind: FlagKind
) -> Answer:
    match kind:
        case FlagKind.BOOLEAN:
            return _boolean(provider, key, context)
        case FlagKind.STRING:
            return _one(provider.resolve_string_details, key, _STRING, context, kind)
        case FlagKind.NUMBER:
            return _number(provider, key, context)
        case FlagKind.OBJECT:
            return _object(provider, key, context)


def _boolean(provider: FeatureProvider, key: str, context: EvaluationContext) -> Answer:
    resolver, kind = provider.resolve_boolean_details, FlagKind.BOOLEAN
    answer = _one(resolver, key, False, context, kind)
    if not answer.echoed:
        return answer
    again = _one(resolver, key, True, context, kind)
    if again.echoed and _variant(answer) == _variant(again):
        return answer
    # It stays False whatever the default, or it is a flag that is decided anew at every question.
    return replace(answer, echoed=False) if again.code is None else again


def _number(provider: FeatureProvider, key: str, context: EvaluationContext) -> Answer:
    kind = FlagKind.NUMBER
    answer = _one(provider.resolve_float_details, key, _FLOAT, context, kind)
    value = answer.details.value if answer.found and answer.details is not None else None
    if answer.found and not (isinstance(value, float) and value.is_integer()):
        return answer
    if not (answer.found or answer.mismatched or answer.echoed):
        return answer
    integer = _one(provider.resolve_integer_details, key, _INTEGER, context, kind)
    if not answer.found:
        return integer if integer.found or not answer.echoed else answer
    same = integer.found and integer.details is not None and integer.details.value == value
    return integer if same else answer


def _object(provider: FeatureProvider, key: str, context: EvaluationContext) -> Answer:
    """Ask with a mapping, then with a list: strict providers serve a list to none but a list."""
    resolver, kind = provider.resolve_object_details, FlagKind.OBJECT
    answer = _one(resolver, key, _OBJECT, context, kind)
    if not answer.mismatched:
        return answer
    again = _one(resolver, key, _LIST, context, kind)
    return again if again.found else answer


def _one(
    resolver: Callable[[str, Any, EvaluationContext], FlagResolutionDetails[Any]],
    key: str,
    default: Any,
    context: EvaluationContext,
    kind: FlagKind,
) -> Answer:
    try:
        details = resolver(key, default, context)
        code, value, reason = details.error_code, details.value, details.reason
        if code is not None:
            return Answer(kind, details, ErrorCode(code), details.error_message or "")
        if reason == "ERROR":
            message = details.error_message or "an error without a code"
            return Answer(kind, details, ErrorCode.GENERAL, message)
        if not _fits(value, kind):
            message = f"the provider answers {type(value).__name__} where {kind} is asked for"
            return Answer(kind, details, ErrorCode.TYPE_MISMATCH, message)
        return Answer(kind, details, echoed=type(value) is type(default) and value == default)
    except OpenFeatureError as error:
        return Answer(kind, code=error.error_code, message=error.error_message or "")
    except Exception as error:  # noqa: BLE001  (whatever a provider raises is an answer, rule E1)
        return Answer(kind, code=ErrorCode.GENERAL, message=f"{type(error).__name__}: {error}")


def _fits(value: Any, kind: FlagKind) -> bool:
    if kind is FlagKind.BOOLEAN:
        return isinstance(value, bool)
    if kind is FlagKind.NUMBER:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return isinstance(value, str if kind is FlagKind.STRING else (Mapping, list, tuple))


def _variant(answer: Answer) -> str | None:
    return None if answer.details is None else answer.details.variant
