"""Flags behind any OpenFeature provider: asked one by one, and never written."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final, Self

from openfeature.api import get_evaluation_context, get_hooks, get_transaction_context
from openfeature.evaluation_context import EvaluationContext
from openfeature.provider import FeatureProvider

from downhaul.context import Context
from downhaul.errors import ConfigError
from downhaul.flag import FlagKind
from downhaul.integrations.openfeature_contexts import context_parts
from downhaul.provider import (
    Capability,
    FlagProvider,
    Listener,
    ProviderStatus,
    State,
)
from downhaul.result import ErrorCode, Result
from downhaul_openfeature.asking import Answer, ask
from downhaul_openfeature.hooks import hooked
from downhaul_openfeature.names import Make, called, named
from downhaul_openfeature.results import error_of, result_of
from downhaul_openfeature.session import Session

if TYPE_CHECKING:
    from downhaul.config import Settings

NAME: Final = "openfeature"
_READING: Final = frozenset({Capability.RESOLVE})
_ANY: Final = "*"
_FORKED_WITHIN: Final = 1.0  # seconds that a forked child waits for a provider of its own
_NOT_STARTED: Final = ProviderStatus(State.NOT_READY, "not started")
_UNABLE: Final[Mapping[State, ErrorCode]] = {
    State.NOT_READY: ErrorCode.PROVIDER_NOT_READY,
    State.FATAL: ErrorCode.PROVIDER_FATAL,
}
"""Where OpenFeature's own client does not ask the provider either (requirement 1.7.6)."""


class OpenFeatureProvider(FlagProvider):
    """Asks the OpenFeature provider that ``make`` makes: at the start, and in each forked child.

    ``watch`` says that it tells of changes. ``kinds`` are those of declared flags, None where a
    declaration leaves the kind open. ``redact`` takes secrets out of what the provider says.
    """

    name: str = NAME
    capabilities: frozenset[Capability] = _READING | {Capability.WATCH}

    def __init__(
        self,
        make: Make,
        *,
        watch: bool = False,
        kinds: Mapping[str, FlagKind | None] | None = None,
        redact: Callable[[str], str] = str,
    ) -> None:
        if not watch:
            self.capabilities = _READING
        self._make = make
        self._kinds = kinds or {}
        self._redact = redact
        self._learned: dict[str, FlagKind] = {}
        self._listener: Listener | None = None
        self._session: Session | None = None
        self._closed = False

    @classmethod
    def over(cls, provider: FeatureProvider, *, watch: bool = False) -> Self:
        """Return a backend over a provider that you made: for tests and tools."""
        return cls(lambda: provider, watch=watch)

    # Life

    def start(self, listener: Listener) -> None:
        """Make and initialize the provider, in a thread."""
        self._listener = listener
        self._begin(listener)

    def wait_ready(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds until the provider serves; return whether it does."""
        session = self._session
        return session is not None and session.wait(timeout)

    def status(self) -> ProviderStatus:
        """Return how the provider stands, by its events."""
        session = self._session
        return _NOT_STARTED if session is None else session.status()

    def close(self, timeout: float = 2.0) -> None:
        """Shut the provider down within ``timeout`` seconds."""
        self._closed = True
        if self._session is not None:
            self._session.close(timeout)

    def after_fork(self) -> None:
        """Make the provider anew: the parent's threads and connections are none of the child's.

        The parent's is left as it is, and asked nothing: it may hold locks of threads that do not
        live here. So the child waits for its own, a second at most, to begin with no answer less
        than its parent had. After that, until it serves, the answer is PROVIDER_NOT_READY.
        """
        if self._listener is not None and not self._closed:
            self._begin(self._listener).wait(_FORKED_WITHIN)

    def _begin(self, listener: Listener) -> Session:
        self._session = session = Session(self._make, listener, self._changed, self._redact)
        session.start()
        return session

    def _changed(self, keys: list[str] | None) -> None:
        """Tell of changes; a flag that changed may be of another kind now."""
        if keys is None:
            self._learned.clear()
        for key in keys or ():
            self._learned.pop(key, None)
        if self._listener is not None:
            self._listener.keys_changed([_ANY] if keys is None else keys)

    # Evaluating

    def resolve(self, key: str, context: Context, kind: FlagKind | None) -> Result:
        """Ask the provider for one flag. Raises nothing, and never passes on another's default."""
        session = self._session
        status = _NOT_STARTED if session is None else session.status()
        provider = None if session is None else session.provider
        if provider is None or status.state in _UNABLE:
            code = _UNABLE.get(status.state, ErrorCode.PROVIDER_NOT_READY)
            return error_of(key, NAME, code, status.message or f"the provider is {status.state}")
        kind = self._kinds.get(key, kind)
        try:
            answer = self._asked(provider, key, context, kind)
        except Exception as error:  # noqa: BLE001  (a provider's hooks, a hostile context: rule E1)
            message = self._redact(f"{type(error).__name__}: {error}")
            return error_of(key, NAME, ErrorCode.GENERAL, message)
        result = result_of(key, NAME, answer, self._redact)
        if result.error_code is ErrorCode.FLAG_NOT_FOUND and status.age is None:
            message = status.message or "the provider has not been ready yet"
            return error_of(key, NAME, ErrorCode.PROVIDER_NOT_READY, message)
        return result

    def _asked(
        self, provider: FeatureProvider, key: str, context: Context, kind: FlagKind | None
    ) -> Answer:
        """Ask in a context merged as OpenFeature does: API, then transaction, then ours."""
        merged = get_evaluation_context().merge(get_transaction_context())
        merged = merged.merge(EvaluationContext(*context_parts(context)))
        learned = self._learned.get(key)

        def resolve(context: EvaluationContext) -> Answer:
            return ask(provider, key, context, kind, learned)

        own = provider.get_provider_hooks() if hasattr(provider, "get_provider_hooks") else []
        hooks = [*get_hooks(), *own]
        if not hooks:
            answer = resolve(merged)
        else:
            about = kind or learned or FlagKind.BOOLEAN
            answer = hooked(hooks, key, about, merged, provider.get_metadata(), resolve)
        if kind is None and answer.found:
            self._learned[key] = answer.kind
        return answer


def create(settings: Settings) -> OpenFeatureProvider:
    """Return the provider for an ``openfeature:`` URL. Imports its package, makes nothing yet.

    Raises ConfigError, and ProviderError where a package is not installed.
    """
    url, options = settings.provider.url, settings.provider.options
    target, given = options.get("provider"), options.get("options", {})
    name = settings.provider.scheme.partition("+")[2]
    if url.partition(":")[2]:
        raise ConfigError(
            f'"{settings.provider.safe_url}" says more than a name',
            hint=f"write openfeature+{name or 'NAME'}: and set the rest in [provider.options]",
            origin=settings.origins.get("provider.url"),
        )
    if target is None and not name:
        raise ConfigError(
            "no OpenFeature provider is named",
            hint='write openfeature+NAME:, or set `provider = "package.module:callable"`',
            origin=settings.origins.get("provider.url"),
        )
    if target is not None:
        make, watches = called(target, given), False
    else:
        make, watches = named(name, given, settings.provider.directory)
    return OpenFeatureProvider(
        make,
        watch=options.get("watch", watches),
        kinds={key: one.kind for key, one in settings.flags.items()},
        redact=settings.redact,
    )
