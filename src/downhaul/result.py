"""What an evaluation answers with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

NO_METADATA: Final[Mapping[str, Any]] = MappingProxyType({})


class Reason(StrEnum):
    """Why a value was served: OpenFeature's reasons, closed, and KILLED (bridged as DISABLED)."""

    STATIC = "STATIC"
    """The flag has nothing to decide: everybody gets this."""
    DEFAULT = "DEFAULT"
    """No target and no rule matched: the flag's own default."""
    TARGETING_MATCH = "TARGETING_MATCH"
    SPLIT = "SPLIT"
    CACHED = "CACHED"
    DISABLED = "DISABLED"
    """The flag is off, or a prerequisite failed: its off variant."""
    UNKNOWN = "UNKNOWN"
    STALE = "STALE"
    ERROR = "ERROR"
    KILLED = "KILLED"
    """An operator killed it; ``metadata["kill"]`` says who and why."""


class ErrorCode(StrEnum):
    """Why the caller's default was served. OpenFeature's codes, closed."""

    PROVIDER_NOT_READY = "PROVIDER_NOT_READY"
    FLAG_NOT_FOUND = "FLAG_NOT_FOUND"
    PARSE_ERROR = "PARSE_ERROR"
    TYPE_MISMATCH = "TYPE_MISMATCH"
    TARGETING_KEY_MISSING = "TARGETING_KEY_MISSING"
    INVALID_CONTEXT = "INVALID_CONTEXT"
    PROVIDER_FATAL = "PROVIDER_FATAL"
    GENERAL = "GENERAL"


@dataclass(frozen=True, slots=True)
class Result:
    """The answer to one evaluation (rule E1).

    ``authoritative`` is False whenever ``value`` is the caller's default. ``flag_version`` is
    opaque and empty where the backend has none. ``flag`` is the flag's key, empty where nothing is
    known of it. ``metadata`` is shared between results: read it.
    """

    value: Any
    variant: str | None = None
    reason: Reason = Reason.UNKNOWN
    error_code: ErrorCode | None = None
    error_message: str | None = None
    flag_version: str = ""
    provider: str = ""
    authoritative: bool = True
    metadata: Mapping[str, Any] = field(default_factory=lambda: NO_METADATA)
    flag: str = ""
