"""What the tables could not answer in one step: the caller's default, and why (rules E1 to E4)."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from downhaul.client.engine import Engine
from downhaul.client.fitting import fitted
from downhaul.context import ContextLike, as_context
from downhaul.errors import InvalidContext
from downhaul.provider import ProviderStatus, State
from downhaul.result import ErrorCode, Reason, Result

if TYPE_CHECKING:
    from downhaul.evaluator.explain import Explanation

_log: Final = logging.getLogger("downhaul")

_ERRORS: Final[Mapping[State, tuple[ErrorCode, str]]] = {
    State.NOT_READY: (ErrorCode.PROVIDER_NOT_READY, "no flags have come from the backend yet"),
    State.ERROR: (ErrorCode.PROVIDER_NOT_READY, "the backend could not be read yet"),
    State.FATAL: (ErrorCode.PROVIDER_FATAL, "the backend refuses for good"),
}


def settle(engine: Engine, flag: str, context: ContextLike, default: Any) -> Result:
    """Evaluate with all that can go wrong. Never raises: a defect is the caller's default, too."""
    name = engine.view.world.provider
    try:
        decide = engine.view.results.get(flag)
        result = None if decide is None else decide(context)
        if result is None:
            result = _unknown(engine, flag, context)
        return fitted(result, default)
    except (InvalidContext, UnicodeEncodeError) as error:
        return _error(ErrorCode.INVALID_CONTEXT, _told(error), default, name)
    except Exception as error:  # noqa: BLE001  (rule E1; whose defect it is, the log will tell)
        return failed(flag, error, default, name)


def enabled_slowly(engine: Engine, flag: str, context: ContextLike, default: bool) -> bool:
    """Answer ``is_enabled`` where its table has no answer."""
    result = settle(engine, flag, context, None)
    if result.reason is Reason.KILLED and result.variant is None:
        return False
    if not result.authoritative:
        return default
    return result.value is not False and result.value is not None


def failed(flag: str, error: Exception, default: Any, provider: str) -> Result:
    """Turn a defect (ours, or a hostile context's) into the caller's default, and log it."""
    told = _told(error)
    _log.error("evaluating flag %s failed: %s", _shown(flag), told, exc_info=error)
    return _error(ErrorCode.GENERAL, told, default, provider)


def explained(engine: Engine, result: Result, flag: str, context: ContextLike) -> Explanation:
    """Return the story of a result, with as much of it as can be told."""
    from downhaul.evaluator.explain import Explanation, Step, story  # noqa: PLC0415  (few ask)

    try:
        asked = as_context(context)
        if result.metadata.get("override"):
            steps: tuple[Step, ...] = (
                Step("override", matched=True, why="a test overrides this flag here"),
            )
        else:
            steps = story(engine.view.world, flag, asked, result)
        return Explanation(flag, result, steps, asked.as_mapping())
    except Exception as error:  # noqa: BLE001  (as in settle)
        what = "context" if isinstance(error, InvalidContext) else "explanation"
        return Explanation(flag, result, (Step(what, matched=True, why=_told(error)),))


def _unknown(engine: Engine, flag: str, context: ContextLike) -> Result:
    """Answer for a flag that is not in the tables."""
    world = engine.view.world
    name, everything = world.provider, world.overlay.everything
    if everything is not None:
        return engine.view.killed(flag, everything)
    if world.ask is not None:
        resolved = world.ask(flag, as_context(context), None)
        return resolved if resolved.flag else replace(resolved, flag=flag)
    as_context(context)  # what can't be a context is told, whatever the flag
    status: ProviderStatus = engine.provider.status()
    code, message = ErrorCode.FLAG_NOT_FOUND, f"there is no flag {_shown(flag)}"
    if not engine.loaded and status.state in _ERRORS:
        code, message = _ERRORS[status.state]
        message = f"{message}: {status.message}" if status.message else message
    return _error(code, message, None, name)


def _error(code: ErrorCode, message: str, default: Any, provider: str) -> Result:
    return Result(
        default,
        reason=Reason.ERROR,
        error_code=code,
        error_message=message,
        provider=provider,
        authoritative=False,
    )


def _told(error: Exception) -> str:
    if isinstance(error, (InvalidContext, UnicodeEncodeError)):
        return str(error)
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001  (an exception of a hostile context can't say what it is)
        return type(error).__name__


def _shown(flag: object) -> str:
    return f'"{flag}"' if type(flag) is str else f"of type {type(flag).__name__}"
