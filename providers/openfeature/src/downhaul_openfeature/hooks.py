"""OpenFeature's hooks around one question, in the order of its specification (section 4).

Those of the API and those of the provider run; Downhaul's clients and calls have none of their own.
Before: API, provider. After, error, finally: the other way round. What a before-hook returns lies
over the context, and later hooks see it (requirement 4.3.4). The caller's default is not known
here, so hooks see the neutral value of the flag's kind in its place.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from openfeature.client import ClientMetadata
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode, OpenFeatureError
from openfeature.flag_evaluation import FlagEvaluationDetails, FlagType, Reason
from openfeature.hook import Hook, HookContext
from openfeature.provider import Metadata

from downhaul.flag import FlagKind
from downhaul_openfeature.asking import Answer

_log: Final = logging.getLogger("downhaul")
_NO_HINTS: Final[Mapping[str, Any]] = MappingProxyType({})
_CLIENT: Final = ClientMetadata(name="downhaul", domain="downhaul")
_TYPES: Final[Mapping[FlagKind, tuple[FlagType, Any]]] = {
    FlagKind.BOOLEAN: (FlagType.BOOLEAN, False),
    FlagKind.STRING: (FlagType.STRING, ""),
    FlagKind.NUMBER: (FlagType.FLOAT, 0.0),
    FlagKind.OBJECT: (FlagType.OBJECT, MappingProxyType({})),
}

Resolve = Callable[[EvaluationContext], Answer]


def hooked(
    hooks: Sequence[Hook],
    key: str,
    kind: FlagKind,
    context: EvaluationContext,
    provider: Metadata,
    resolve: Resolve,
) -> Answer:
    """Return what ``resolve`` answers, with the hooks run around it.

    A before- or after-hook that raises makes the answer an error, as the specification has it; what
    an error- or finally-hook raises is logged.
    """
    flag_type, neutral = _TYPES[kind]
    stack = [
        (hook, HookContext(key, flag_type, neutral, context, _CLIENT, provider, {}))
        for hook in hooks
        if hook.supports_flag_value_type(flag_type)
    ]
    answer = Answer(kind, code=ErrorCode.GENERAL, message="a hook ended the evaluation")
    try:
        merged = _before(stack, context)
        answer = resolve(merged)
        if answer.code is None:
            details = _details(key, neutral, answer)
            for hook, about in reversed(stack):
                hook.after(about, details, _NO_HINTS)
    except Exception as error:  # noqa: BLE001  (hooks are anybody's code)
        code = error.error_code if isinstance(error, OpenFeatureError) else ErrorCode.GENERAL
        answer = Answer(kind, code=code, message=f"a hook raised {type(error).__name__}: {error}")
        _checked(stack, "error", error)
    else:
        if answer.code is not None:
            _checked(stack, "error", ErrorCode.to_exception(answer.code, answer.message))
    _checked(stack, "finally_after", _details(key, neutral, answer))
    return answer


def _before(
    stack: Sequence[tuple[Hook, HookContext]], context: EvaluationContext
) -> EvaluationContext:
    for hook, about in stack:
        about.evaluation_context = context
        more = hook.before(about, _NO_HINTS)
        if more is not None:
            context = context.merge(more)
    for _, about in stack:
        about.evaluation_context = context
    return context


def _checked(stack: Sequence[tuple[Hook, HookContext]], stage: str, told: Any) -> None:
    for hook, about in reversed(stack):
        try:
            getattr(hook, stage)(about, told, _NO_HINTS)
        except Exception:  # noqa: BLE001  (must not stop the other hooks: requirement 4.4.4)
            _log.exception("an OpenFeature hook failed in %s", stage)


def _details(key: str, neutral: Any, answer: Answer) -> FlagEvaluationDetails[Any]:
    if answer.details is None or answer.code is not None:
        return FlagEvaluationDetails(
            key,
            neutral,
            reason=Reason.ERROR,
            error_code=answer.code,
            error_message=answer.message,
        )
    details = answer.details.to_flag_evaluation_details(key)
    return replace(details, value=neutral) if answer.left else details
