"""The one object that an application asks."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self, TypeVar

from downhaul.client.answers import enabled_slowly, explained, settle
from downhaul.client.assembly import connected, in_memory, over_provider
from downhaul.client.engine import ChangeCallback, Engine, FlagsStatus
from downhaul.client.fitting import fitted
from downhaul.client.guard import guarding
from downhaul.client.observing import Observation
from downhaul.context import Context, ContextLike, as_context
from downhaul.evaluator.batch import results_of
from downhaul.evaluator.outcome import CallersDefault
from downhaul.flag import Flag, Segment
from downhaul.provider import ControlStore, FlagProvider, FlagSet
from downhaul.result import Result

if TYPE_CHECKING:
    from downhaul.config import Declaration
    from downhaul.control.operator import Operator
    from downhaul.evaluator.explain import Explanation

T = TypeVar("T")
_log: Final = logging.getLogger("downhaul")


class Flags:
    """Evaluates flags of one environment, on whichever backend the configuration names.

    Make one per process, with :meth:`connect`, and share it between threads and tasks: an
    evaluation reads memory only, locks nothing and never raises (rule E1). Asynchronous
    applications use the same object. Close it, or use it as a context manager.

    A context is a targeting key, a :class:`~downhaul.context.Context`, or a mapping; see
    :func:`downhaul.context.as_context`.
    """

    __slots__ = ("__weakref__", "_enabled", "_engine", "_owns", "_results")

    def __init__(self, engine: Engine, *, owns: bool = True) -> None:
        """Use :meth:`connect` or :meth:`in_memory`."""
        self._engine = engine
        self._owns = owns
        self._enabled = engine.view.enabled
        self._results = engine.view.results

    @classmethod
    def connect(
        cls,
        url_or_settings: Any = None,
        *,
        ready_within: float = 2.0,
        context: ContextLike = None,
        **settings: Any,
    ) -> Flags:
        """Connect to the backend that a URL, settings, environment or ``downhaul.toml`` name.

        Waits at most ``ready_within`` seconds for the first flags, and goes on without them: until
        they come, callers get their defaults. ``context`` is what every call's context lies over.
        Raises ConfigError for a configuration that can't be read, ProviderNotFound for a scheme
        that nothing installed answers to; never because a backend is away.
        """
        engine = connected(url_or_settings, settings)
        engine.start(ready_within)
        return _client(engine, context)

    @classmethod
    async def aconnect(
        cls,
        url_or_settings: Any = None,
        *,
        ready_within: float = 2.0,
        context: ContextLike = None,
        **settings: Any,
    ) -> Flags:
        """Connect as :meth:`connect` does, without blocking the event loop."""
        from asyncio import to_thread  # noqa: PLC0415  (asyncio costs whoever doesn't use it 30 ms)

        return await to_thread(
            cls.connect, url_or_settings, ready_within=ready_within, context=context, **settings
        )

    @classmethod
    def in_memory(
        cls,
        flags: Iterable[Flag] = (),
        segments: Iterable[Segment] = (),
        *,
        context: ContextLike = None,
    ) -> Flags:
        """Return a client over flags of this process alone, for tests and tools."""
        engine = in_memory(FlagSet.of(flags, segments))
        engine.start(1.0)
        return _client(engine, context)

    @classmethod
    def over(
        cls,
        provider: FlagProvider,
        *,
        control: ControlStore | None = None,
        declarations: Mapping[str, Declaration] | None = None,
        ready_within: float = 2.0,
        context: ContextLike = None,
    ) -> Flags:
        """Return a client over a provider that you made: for tests of providers, and tools.

        Kills are read from ``control``, or from the provider's own control store, or else live in
        this process alone; no copy of them is kept on disk. Applications use :meth:`connect`.
        """
        engine = over_provider(provider, control, declarations)
        engine.start(ready_within)
        return _client(engine, context)

    def with_context(self, context: ContextLike) -> Flags:
        """Return a client on the same flags whose calls all lie over this context."""
        return _client(self._engine, context, owns=False)

    # Evaluating

    def is_enabled(self, flag: str, context: ContextLike = None, default: bool = False) -> bool:
        """Return whether a flag is on for a context.

        For a boolean flag that is its value; for any other whether it serves another variant than
        its off variant. ``default`` is returned where nothing can be decided.
        """
        try:
            return self._enabled[flag](context)
        except CallersDefault:
            return default
        except Exception:  # noqa: BLE001  (settled, and told, by the slow path)
            return enabled_slowly(self._engine, flag, context, default)

    def value(self, flag: str, context: ContextLike, default: T) -> T:
        """Return the flag's value for a context, if it has the type of ``default``; or that."""
        return self.evaluate(flag, context, default).value  # type: ignore[no-any-return]

    def evaluate(self, flag: str, context: ContextLike = None, default: Any = None) -> Result:
        """Return the flag's value for a context with variant, reason and all the rest.

        ``default`` is the value where nothing can be decided, and says by its type which type is
        wanted; None asks for any.
        """
        try:
            result = self._results[flag](context)
            if default is None or type(result.value) is type(default):
                return result
            return fitted(result, default)  # a backend that resolves is not asked twice
        except Exception:  # noqa: BLE001  (settled, and told, by the slow path)
            return settle(self._engine, flag, context, default)

    def evaluate_all(self, context: ContextLike = None) -> dict[str, Result]:
        """Return the results of all flags, all from one moment. Never raises.

        Of a backend that doesn't show its flags it returns those that are killed or overridden.
        """
        engine = self._engine
        with suppress(Exception):  # read a mapping once for all flags; each tells what is wrong
            context = as_context(context)
        decisions = engine.view.snapshot(unknown=not engine.supplies_rules())
        results = {}
        for key, decide in decisions.items():
            try:
                result = decide(context)
            except Exception:  # noqa: BLE001  (settled, and told, by the slow path)
                result = settle(engine, key, context, None)
            if result is not None:
                results[key] = result
        return results

    def evaluate_many(
        self, flag: str, contexts: Iterable[ContextLike], default: Any = None
    ) -> list[Result]:
        """Return the results of one flag for many contexts, in their order.

        The same results as from :meth:`evaluate`, faster for a million.
        """
        asked: Sequence[ContextLike] = contexts if isinstance(contexts, list) else list(contexts)
        try:
            known, decide = self._engine.view.decision(flag)
            if default is None:
                return results_of(known, decide, asked)
            return results_of(known, lambda one: fitted(decide(one), default), asked)
        except Exception:  # noqa: BLE001  (one of them is no context, or nobody knows the flag)
            return [self.evaluate(flag, context, default) for context in asked]

    def choose(
        self,
        flag: str,
        context: ContextLike,
        branches: Mapping[str, T],
        *,
        otherwise: str | None = None,
    ) -> T:
        """Return the branch of the variant that the flag serves.

        ``otherwise`` names the branch for when nothing can be decided, or the variant has none:
        ``off`` unless said, else the last one. Raises ValueError if there are no branches.
        """
        if not branches:
            message = f'no branches to choose from for flag "{flag}"'
            raise ValueError(message)
        variant = self.evaluate(flag, context).variant
        if variant is not None and variant in branches:
            return branches[variant]
        if variant is not None:
            _log.warning(
                'flag "%s" serves variant "%s", for which there is no branch', flag, variant
            )
        fallback = otherwise or ("off" if "off" in branches else tuple(branches)[-1])
        return branches[fallback]

    def explain(self, flag: str, context: ContextLike = None, default: Any = None) -> Explanation:
        """Return the result and everything that was looked at on the way. Slow, for people."""
        return explained(self._engine, self.evaluate(flag, context, default), flag, context)

    # Outcomes

    def observe(self, result: Result, context: ContextLike = None) -> Observation:
        """Log the outcome of the request that this result was served to, for rollouts to judge.

        A context manager, plain or asynchronous, around what is done with the result: an exception
        that leaves the block is an error, and goes on its way. The identity in ``context`` is kept
        as a hash only. Never waits for the store; see :mod:`downhaul.client.observing`.
        """
        return Observation(self._engine.journal, result, context)

    def record(
        self,
        result: Result,
        context: ContextLike = None,
        *,
        success: bool = True,
        error: bool = False,
        latency_ms: float | None = None,
    ) -> None:
        """Log an outcome that is known already, as :meth:`observe` does around a block."""
        self._engine.journal.note(
            result, context, success=success and not error, error=error, latency_ms=latency_ms
        )

    # Kills and changes

    def is_up(self, switch: str) -> bool:
        """Return whether a named switch is up. One that nobody ever set is."""
        return self._engine.switch_is_up(switch)

    def guarded_by(
        self, switch: str, *, otherwise: Any = None
    ) -> Callable[[Callable[..., T]], Callable[..., T]]:
        """Guard a function, plain or async, by a named switch (rule K7).

        While the switch is down the function is not called: the caller gets ``otherwise``, or what
        ``otherwise`` returns for the same arguments if it can be called.
        """
        return guarding(self._engine.switch_is_up, switch, otherwise)

    def on_change(self, callback: ChangeCallback) -> Callable[[], None]:
        """Call back with the keys of flags whose decisions may have changed, kills included.

        Switches come as ``switch:NAME``, everything as ``*``. The callback runs on the watcher's
        thread: be quick. The function returned ends it.
        """
        return self._engine.subscribe(callback)

    def status(self) -> FlagsStatus:
        """Return how provider and control store stand, and how old the flags are. Does no I/O."""
        return self._engine.status()

    def override(
        self, values: Mapping[str, Any] | None = None, /, **more: Any
    ) -> AbstractContextManager[None]:
        """Answer these values for these flags inside a ``with`` block: for tests.

        ``flags.override(new_checkout=True)``, or a mapping for keys that are no Python names. A
        value is one of the flag's values or the name of a variant; ``switch:NAME`` is True for up
        and False for down. Overrides win over kills, end with the block, and hold for this thread
        or task and those it starts.
        """
        return self._engine.overrides({**(values or {}), **more})

    def operator(self, actor: str, **options: Any) -> Operator:
        """Return what changes these flags: see :class:`downhaul.control.operator.Operator`.

        Unless ``alerts`` are given, the configured ones are told of kills.
        """
        from downhaul.control.operator import Operator  # noqa: PLC0415  (not for those who only ask)

        engine = self._engine
        options.setdefault("control", engine.control)
        options.setdefault("policy", engine.policy)
        if "alerts" not in options:
            options["alerts"] = engine.make_alerts()
        return Operator(engine.provider, actor=actor, **options)

    # Life

    def wait_ready(self, timeout: float = 2.0) -> bool:
        """Wait up to ``timeout`` seconds for the backend's first flags; return if they came."""
        return self._engine.provider.wait_ready(timeout)

    async def await_ready(self, timeout: float = 2.0) -> bool:  # noqa: ASYNC109  (as wait_ready)
        """Wait as :meth:`wait_ready` does, without blocking the event loop."""
        from asyncio import to_thread  # noqa: PLC0415  (as above)

        return await to_thread(self.wait_ready, timeout)

    def close(self, timeout: float = 2.0) -> None:
        """Stop following the backend, within ``timeout`` seconds; what is known goes on serving."""
        if self._owns:
            self._engine.close(timeout)

    async def aclose(self, timeout: float = 2.0) -> None:  # noqa: ASYNC109  (as close)
        """Close as :meth:`close` does, without blocking the event loop."""
        from asyncio import to_thread  # noqa: PLC0415  (as above)

        await to_thread(self.close, timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        status = self._engine.provider.status()
        return f"<Flags on {self._engine.provider.name}: {status.state}>"


class _FlagsOver(Flags):
    """A client whose calls lie over a default context. Of its own, to cost the others nothing."""

    __slots__ = ("_base",)

    def __init__(self, engine: Engine, base: Context, *, owns: bool) -> None:
        super().__init__(engine, owns=owns)
        self._base = base

    def with_context(self, context: ContextLike) -> Flags:
        base = as_context(context).over(self._base)
        return _FlagsOver(self._engine, base, owns=False)

    def is_enabled(self, flag: str, context: ContextLike = None, default: bool = False) -> bool:
        return super().is_enabled(flag, self._merged(context), default)

    def evaluate(self, flag: str, context: ContextLike = None, default: Any = None) -> Result:
        return super().evaluate(flag, self._merged(context), default)

    def evaluate_all(self, context: ContextLike = None) -> dict[str, Result]:
        return super().evaluate_all(self._merged(context))

    def evaluate_many(
        self, flag: str, contexts: Iterable[ContextLike], default: Any = None
    ) -> list[Result]:
        return super().evaluate_many(flag, [self._merged(one) for one in contexts], default)

    def explain(self, flag: str, context: ContextLike = None, default: Any = None) -> Explanation:
        return super().explain(flag, self._merged(context), default)

    def observe(self, result: Result, context: ContextLike = None) -> Observation:
        return super().observe(result, self._merged(context))

    def record(
        self,
        result: Result,
        context: ContextLike = None,
        *,
        success: bool = True,
        error: bool = False,
        latency_ms: float | None = None,
    ) -> None:
        super().record(
            result, self._merged(context), success=success, error=error, latency_ms=latency_ms
        )

    def _merged(self, context: ContextLike) -> ContextLike:
        try:
            return as_context(context).over(self._base)
        except Exception:  # noqa: BLE001  (evaluation will tell; what is killed is so for this too)
            return context


def _client(engine: Engine, context: ContextLike, *, owns: bool = True) -> Flags:
    if context is None:
        return Flags(engine, owns=owns)
    return _FlagsOver(engine, as_context(context), owns=owns)
