"""The two backends that are asked: whatever answers for a flag and a context."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from downhaul.backends.memory_control import MemoryControl
from downhaul.client.flags import Flags
from downhaul.config import Declaration
from downhaul.context import Context
from downhaul.errors import Refused
from downhaul.flag import FlagKind
from downhaul.provider import Capability, FlagProvider, ProviderStatus, State
from downhaul.result import ErrorCode, Reason, Result

Asker = Callable[[str, Context, FlagKind | None], Result]
"""Answers for a flag and a context; the kind is what the flag holds, where that is known."""

AskerOfMany = Callable[[str, Sequence[Context]], Sequence[Result]]
"""Answers for one flag and many contexts, in their order."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A backend as verification asks it.

    ``keys`` are the flags that it says it has, None where it can't say. ``status`` tells whether it
    may be asked at all. ``many`` is used where it is there; it answers as ``ask`` does.
    """

    name: str
    ask: Asker
    status: Callable[[], ProviderStatus]
    keys: frozenset[str] | None = None
    many: AskerOfMany | None = None

    def require_ready(self) -> None:
        """Raise Refused unless the backend is ready: old answers and no answers prove nothing."""
        status = self.status()
        if status.state is not State.READY:
            told = f": {status.message}" if status.message else ""
            raise Refused(
                f'backend "{self.name}" is {status.state}{told}, so that its answers prove nothing',
                provider=self.name,
                hint="verify again when it is READY",
            )

    def answers(
        self, flag: str, contexts: Sequence[Context], kind: FlagKind | None
    ) -> Sequence[Result]:
        """Return the answers for one flag. An exception is an answer too: an error."""
        if self.many is not None:
            try:
                found = self.many(flag, contexts)
            except Exception:  # noqa: BLE001  (one of them; each is asked by itself, and tells)
                found = ()
            if len(found) == len(contexts):
                return found
        return [self._one(flag, context, kind) for context in contexts]

    def _one(self, flag: str, context: Context, kind: FlagKind | None) -> Result:
        try:
            return self.ask(flag, context, kind)
        except Exception as error:  # noqa: BLE001  (whatever a side raises is that side's error)
            return Result(
                None,
                reason=Reason.ERROR,
                error_code=ErrorCode.GENERAL,
                error_message=f"{type(error).__name__}: {error}",
                provider=self.name,
                authoritative=False,
                flag=flag,
            )


def asked_through(flags: Flags, name: str = "", keys: frozenset[str] | None = None) -> Asked:
    """Return what asks a client, with all that lies over it: kills, overrides, a default context.

    ``keys`` are the flags that its backend has; unless said, those it evaluates for nobody.
    """

    def ask(flag: str, context: Context, _kind: FlagKind | None) -> Result:
        return flags.evaluate(flag, context)

    def many(flag: str, contexts: Sequence[Context]) -> Sequence[Result]:
        return flags.evaluate_many(flag, contexts)

    known = keys
    if known is None:  # what is only declared is evaluated too, and not found
        known = frozenset(
            key
            for key, result in flags.evaluate_all().items()
            if result.error_code is not ErrorCode.FLAG_NOT_FOUND
        )
    return Asked(
        name or flags.status().name, ask, lambda: flags.status().provider, known or None, many
    )


@contextmanager
def asked_of(
    provider: FlagProvider,
    kinds: Mapping[str, FlagKind] | None = None,
    declarations: Mapping[str, Declaration] | None = None,
    *,
    ready_within: float = 10.0,
) -> Iterator[Asked]:
    """Start a provider of either sort, and give what asks it; it is closed at the end.

    No kills lie over it: what is compared is what the backends themselves decide. ``kinds`` say
    what flags hold for a backend that keeps text only; ``declarations`` say more where there is
    more to say. Waits up to ``ready_within`` seconds for the first flags.
    """
    known: dict[str, Any] = {key: Declaration(kind=kind) for key, kind in (kinds or {}).items()}
    known |= declarations or {}
    with Flags.over(
        provider, control=MemoryControl(), declarations=known, ready_within=ready_within
    ) as flags:
        keys: frozenset[str] | None = None
        if Capability.READ in provider.capabilities:
            keys = frozenset(provider.list().flags)
        yield asked_through(flags, keys=keys)
