"""Every flag in killed state, on our own evaluator: the path of a kill as code that is tested.

A kill that meets a flag nobody ever killed should not be the first to run its code. Each flag is
killed by its own name, by each tag and with everything, and asked as applications would ask; so is
each flag that depends on it. No store is asked and none is written.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from downhaul.context import Context
from downhaul.evaluator.compile import World
from downhaul.evaluator.outcome import CallersDefault
from downhaul.evaluator.view import View
from downhaul.flag import Flag, FlagKind, FlagSet
from downhaul.overlay import EVERYTHING, NO_KILLS, KillRecord, Overlay, Scope, ScopeKind
from downhaul.result import ErrorCode, Reason, Result

_WHO: Final[tuple[Context | None, ...]] = (
    None,
    Context(targeting_key="user-1"),
    Context(targeting_key="user-2", attributes={"plan": "pro", "country": "DE", "age": 30}),
)


@dataclass(frozen=True, slots=True)
class Killed:
    """What a flag answers while it is killed.

    ``variant`` None is each caller's own default. ``problem`` says what is wrong with that, and
    ``advice`` what is unwise; both may be empty.
    """

    key: str
    kind: str
    variant: str | None
    value: Any
    problem: str = ""
    advice: str = ""

    def as_mapping(self) -> dict[str, Any]:
        """Return it as JSON data."""
        return {
            "key": self.key,
            "kind": self.kind,
            "variant": self.variant,
            "value": self.value,
            "problem": self.problem,
            "advice": self.advice,
        }


def rehearse_kills(flag_set: FlagSet, only: Iterable[str] = ()) -> list[Killed]:
    """Kill each flag of a set in each way that covers it, and return what it answers, by key."""
    view = View(World(flags=flag_set.flags, segments=flag_set.segments, provider="rehearsal"))
    wanted = set(only) or set(flag_set.flags)
    return [_killed(view, flag) for key, flag in sorted(flag_set.flags.items()) if key in wanted]


def _killed(view: View, flag: Flag) -> Killed:
    problems: list[str] = []
    answers: list[Result] = []
    for overlay in _ways(flag):
        touched = view.overlay(overlay)
        for who in _WHO:
            answer = _asked(view, flag.key, who, problems)
            if answer is not None:
                answers.append(answer)
        for other in sorted(touched - {flag.key}):
            for who in _WHO:
                _asked(view, other, who, problems)
        view.overlay(NO_KILLS)
    problems += _wrong(flag, answers)
    last = answers[-1] if answers else None
    variant = None if last is None else last.variant
    return Killed(
        flag.key,
        flag.kind.value,
        variant,
        None if variant is None or last is None else last.value,
        "; ".join(dict.fromkeys(problems)),
        _advice(flag),
    )


def _ways(flag: Flag) -> Iterator[Overlay]:
    """Yield every kill that covers a flag, one at a time."""
    yield Overlay(flags={flag.key: _kill(Scope(ScopeKind.FLAG, flag.key))})
    for tag in flag.tags:
        yield Overlay(tags={tag: _kill(Scope(ScopeKind.TAG, tag))})
    yield Overlay(everything=_kill(EVERYTHING))


def _kill(scope: Scope) -> KillRecord:
    return KillRecord(scope, 1, killed=True, actor="rehearsal", reason="a rehearsal")


def _asked(view: View, key: str, who: Context | None, problems: list[str]) -> Result | None:
    """Ask in both ways; note what breaks. None where there is no answer."""
    try:
        answer: Result = view.results[key](who)
        with suppress(CallersDefault):  # which `is_enabled` then answers
            view.enabled[key](who)
    except Exception as error:  # noqa: BLE001  (whatever it is, it is what this looks for)
        problems.append(f'"{key}" breaks: {type(error).__name__}: {error}')
        return None
    if answer.error_code is ErrorCode.PARSE_ERROR:
        problems.append(f'"{key}" can\'t be understood: {answer.error_message}')
    return answer


def _wrong(flag: Flag, answers: list[Result]) -> Iterator[str]:
    if any(one.reason is not Reason.KILLED for one in answers):
        yield "not every kill that covers it takes it down"
    if any(one.variant != flag.off_variant for one in answers):
        yield "it serves another variant than its off variant"
    if flag.kind is FlagKind.BOOLEAN and any(one.value is True for one in answers):
        yield "a kill leaves it on: its off variant is true"


def _advice(flag: Flag) -> str:
    if flag.off_variant is not None:
        return ""
    if flag.kind is FlagKind.BOOLEAN:
        return "it has no off variant: killed it is false"
    return "it has no off variant: killed, each caller gets its own default"
