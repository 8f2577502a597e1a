"""Any Downhaul client as an OpenFeature provider: ``api.set_provider(DownhaulProvider(flags))``.

The five typed resolvers, and the five asynchronous ones that OpenFeature's base class makes of
them, are one function: an evaluation waits for nothing, so there is nothing to await.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

try:
    from openfeature.evaluation_context import EvaluationContext
    from openfeature.event import ProviderEvent, ProviderEventDetails
    from openfeature.exception import ErrorCode, ProviderNotReadyError
    from openfeature.flag_evaluation import FlagResolutionDetails, Reason
    from openfeature.provider import AbstractProvider, Metadata
except ImportError as error:  # pragma: no cover  (tested in a process of its own)
    raise ImportError(
        "downhaul.integrations.openfeature needs the OpenFeature SDK: "
        "pip install 'downhaul[openfeature]'"
    ) from error

from downhaul.client import Flags
from downhaul.integrations.openfeature_contexts import context_from
from downhaul.integrations.openfeature_events import Herald
from downhaul.provider import State
from downhaul.result import Reason as OurReason
from downhaul.result import Result

__all__ = ["DownhaulMetadata", "DownhaulProvider"]

_log: Final = logging.getLogger("downhaul")
_LOOK_EVERY: Final = 0.5  # seconds between two looks at how the client stands
_STOP_WITHIN: Final = 2.0  # seconds that a shutdown may take
_SERVING: Final = (State.READY, State.STALE)

Structure = Sequence[Any] | Mapping[str, Any]


@dataclass
class DownhaulMetadata(Metadata):
    """The provider's name, ``downhaul``, and the backend that its client stands on."""

    name: str = "downhaul"
    backend: str = ""


class DownhaulProvider(AbstractProvider):
    """A Downhaul client for OpenFeature's API. It makes no client and, unless told, closes none.

    ``ready_within`` is the seconds that ``initialize`` waits for the client's first flags; after
    that the provider is in error, answers all the same, and tells when it is ready.
    ``close_flags`` makes ``shutdown`` close the client too. Kills hold, told as DISABLED.
    """

    def __init__(
        self, flags: Flags, *, ready_within: float = 2.0, close_flags: bool = False
    ) -> None:
        super().__init__()
        self._flags = flags
        self._ready_within = ready_within
        self._close_flags = close_flags
        self._metadata = DownhaulMetadata(backend=flags.status().name)
        self._herald = Herald(flags, self._tell, _LOOK_EVERY)

    # Life

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        """Wait for the client's first flags, and tell events from then on.

        Raises ProviderNotReadyError where none come in time, after which OpenFeature still asks.
        """
        self._flags.wait_ready(self._ready_within)
        status = self._flags.status().provider
        serving = status.state in _SERVING
        self._herald.start(State.READY if serving else State.NOT_READY)
        if not serving:
            message = status.message or f"no flags within {self._ready_within:g} s"
            raise ProviderNotReadyError(message)

    def shutdown(self) -> None:
        """Tell no more events, within two seconds; close the client if that was asked for."""
        self._herald.stop(_STOP_WITHIN)
        if self._close_flags:
            self._flags.close(_STOP_WITHIN)

    def get_metadata(self) -> Metadata:
        """Return :class:`DownhaulMetadata`."""
        return self._metadata

    def track(
        self,
        tracking_event_name: str,
        evaluation_context: EvaluationContext | None = None,
        tracking_event_details: Any = None,
    ) -> None:
        """Do nothing: outcomes are told to Downhaul with ``Flags.observe`` and ``record``."""

    # Resolving

    def resolve_boolean_details(
        self,
        flag_key: str,
        default_value: bool,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[bool]:
        """Return a boolean flag's value with its details."""
        return self._resolve(flag_key, False, default_value, evaluation_context)

    def resolve_string_details(
        self,
        flag_key: str,
        default_value: str,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[str]:
        """Return a string flag's value with its details."""
        return self._resolve(flag_key, "", default_value, evaluation_context)

    def resolve_integer_details(
        self,
        flag_key: str,
        default_value: int,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[int]:
        """Return a number flag's value, if it is an integer, with its details."""
        return self._resolve(flag_key, 0, default_value, evaluation_context)

    def resolve_float_details(
        self,
        flag_key: str,
        default_value: float,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[float]:
        """Return a number flag's value, as a float where nothing is lost, with its details."""
        return self._resolve(flag_key, 0.0, default_value, evaluation_context)

    def resolve_object_details(
        self,
        flag_key: str,
        default_value: Structure,
        evaluation_context: EvaluationContext | None = None,
    ) -> FlagResolutionDetails[Structure]:
        """Return an object flag's value, a copy of it, with its details.

        A mapping as the default asks for a mapping, a list for a list, anything else for either.
        """
        if isinstance(default_value, (list, tuple)):
            return self._resolve(flag_key, [], default_value, evaluation_context)
        found = self._resolve(flag_key, {}, default_value, evaluation_context)
        if found.error_code is ErrorCode.TYPE_MISMATCH and not isinstance(default_value, Mapping):
            return self._resolve(flag_key, [], default_value, evaluation_context)
        return found

    def _resolve(
        self, key: str, wanted: Any, default: Any, context: EvaluationContext | None
    ) -> FlagResolutionDetails[Any]:
        """Answer all five: ``wanted`` is a value of the type asked for (rule E2).

        Not the default itself is what says the type: many pass ``1`` where a float is asked for.
        """
        result = self._flags.evaluate(key, _read(context), wanted)
        value = _plain(result.value) if result.authoritative else default
        code = result.error_code
        return FlagResolutionDetails(
            value=value,
            variant=result.variant,
            reason=_reason(result),
            error_code=None if code is None else ErrorCode(code.value),
            error_message=result.error_message,
            flag_metadata=_metadata(result),
        )

    def _tell(self, event: ProviderEvent, details: ProviderEventDetails) -> None:
        """Emit an event, if anybody listens. ``detach`` may run at the same time."""
        emit = getattr(self, "_on_emit", None)
        if emit is None:
            return
        try:
            emit(self, event, details)
        except RuntimeError as refused:  # the SDK's threads take no work while Python exits
            _log.debug("the OpenFeature SDK took no %s: %s", event.value, refused)


def _read(context: EvaluationContext | None) -> Any:
    """Return the context as ours. One that cannot be read goes on as it is.

    The client then tells what is wrong with it; what is killed is so for this context too.
    """
    if context is None:
        return None
    try:
        return context_from(context)
    except Exception:  # noqa: BLE001  (attributes are anybody's objects; see above)
        return context


def _reason(result: Result) -> Reason:
    return Reason.DISABLED if result.reason is OurReason.KILLED else Reason(result.reason.value)


def _metadata(result: Result) -> Mapping[str, bool | int | float | str]:
    """Return what OpenFeature can carry of a result's metadata: scalars, tables flattened once."""
    told: dict[str, bool | int | float | str] = {"provider": result.provider}
    if result.flag_version:
        told["version"] = result.flag_version
    if not result.authoritative and result.error_code is None:
        told["authoritative"] = False  # the flag is there, and leaves the value to the caller
    for name, value in result.metadata.items():
        if isinstance(value, Mapping):
            told |= {f"{name}.{part}": one for part, one in value.items() if _is_scalar(one)}
        elif _is_scalar(value):
            told[name] = value
    return told


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (bool, int, float, str))


def _plain(value: Any) -> Any:
    """Return a value that its receiver may change: OpenFeature wants dictionaries and lists."""
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(one) for one in value]
    return value
