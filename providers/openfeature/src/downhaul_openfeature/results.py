"""What an OpenFeature provider answers, as Downhaul's results."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from downhaul.result import ErrorCode, Reason, Result
from downhaul_openfeature.asking import Answer

_REASONS: Final = frozenset(Reason) - {Reason.KILLED, Reason.ERROR}


def result_of(key: str, provider: str, answer: Answer, redact: Callable[[str], str]) -> Result:
    """Return an answer as a result (rules E1, E3, E4).

    Of a flag that is there and leaves the value to the caller, as a disabled one does, the result
    is the caller's default without an error.
    """
    details = answer.details
    if answer.found and details is not None:
        reason, metadata = _told(details.reason, details.flag_metadata)
        return Result(
            details.value,
            details.variant,
            reason,
            flag_version=str(metadata.get("version", "")),
            provider=provider,
            metadata=metadata,
            flag=key,
        )
    if answer.left and details is not None:
        reason, metadata = _told(details.reason, details.flag_metadata)
        return Result(
            None,
            reason=reason,
            provider=provider,
            authoritative=False,
            metadata=metadata,
            flag=key,
        )
    code = ErrorCode.GENERAL if answer.code is None else ErrorCode(answer.code.value)
    return error_of(key, provider, code, redact(answer.message) or f"the provider says {code}")


def error_of(key: str, provider: str, code: ErrorCode, message: str) -> Result:
    """Return the result of an evaluation that came to nothing."""
    return Result(
        None,
        reason=Reason.ERROR,
        error_code=code,
        error_message=message,
        provider=provider,
        authoritative=False,
        flag=key,
    )


def _told(reason: Any, metadata: Any) -> tuple[Reason, dict[str, Any]]:
    """Return a reason of the closed set; any other goes into the metadata, as it was said."""
    told = dict(metadata) if isinstance(metadata, Mapping) else {}
    if reason is None:
        return Reason.UNKNOWN, told
    said = str(getattr(reason, "value", reason))
    known = said.upper()
    if known in _REASONS:
        return Reason(known), told
    return Reason.UNKNOWN, {**told, "vendor_reason": said}
