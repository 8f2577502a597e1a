"""What a plan says of its gates. Frozen, as the plan is, and a part of its digest (rule R1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from downhaul.config.urls import redacted
from downhaul.rollout.gates.times import Window, moment_of, moment_text, weekly_of

HOOK_TIMEOUT: Final = 5.0
LONGEST_HOOK_TIMEOUT: Final = 10.0
"""Seconds. Below a controller's lease, so that nobody else asks meanwhile."""


class When(StrEnum):
    """When an item of a checklist is to be ticked."""

    BEFORE = "before"
    """Once, before the first step."""
    DURING = "during"
    """At each step, before the next one."""
    AFTER = "after"
    """Once it is completed. Nothing waits for it."""


class Auto(StrEnum):
    """What an item that ticks itself looks at. See :mod:`downhaul.rollout.gates.checks`."""

    GUARDRAILS = "guardrails"
    """A guardrail decides."""
    METRICS = "metrics"
    """The metric source answers."""
    ALERTS = "alerts"
    """Somebody hears of it: there is a sink beside the log."""
    REHEARSAL = "rehearsal"
    """The way back was rehearsed, and held, no longer ago than the limit."""
    KILL_SWITCH = "kill_switch"
    """The kill switch of the flag was used, no longer ago than the limit."""
    SMALL_START = "small_start"
    """The first step exposes 5 % at most."""
    GRADUAL = "gradual"
    """There are several steps."""
    LOOKS = "looks"
    """Two looks are no further apart than the limit."""
    BAKES = "bakes"
    """Each step lasts at least as long as the limit."""
    EVERYBODY = "everybody"
    """It is completed, and everybody gets the variant."""
    WATCHED = "watched"
    """It was completed at least as long ago as the limit."""


DEFAULT_LIMITS: Final[Mapping[Auto, float]] = {
    Auto.REHEARSAL: 30 * 86_400.0,
    Auto.KILL_SWITCH: 90 * 86_400.0,
    Auto.LOOKS: 15 * 60.0,
    Auto.BAKES: 86_400.0,
    Auto.WATCHED: 2 * 86_400.0,
}
"""Seconds, for what is told by a time. All others have no limit."""


@dataclass(frozen=True, slots=True)
class Item:
    """One line of a checklist. ``limit`` is seconds, where ``auto`` looks at a time.

    One that is not ``required`` is shown, and nothing waits for it.
    """

    id: str
    text: str
    when: When = When.BEFORE
    auto: Auto | None = None
    limit: float | None = None
    required: bool = True

    @property
    def time(self) -> float:
        """The limit in seconds, or its default."""
        default = 0.0 if self.auto is None else DEFAULT_LIMITS.get(self.auto, 0.0)
        return default if self.limit is None else self.limit


@dataclass(frozen=True, slots=True)
class Approval:
    """Who has to approve before a step is entered.

    ``steps`` are numbers as people count them, from 1; ``at_least`` is a weight in thousandths of a
    percent; with neither, all steps. ``by`` are actors and names of groups, ``count`` how many
    different people, ``not_author`` whether who started it may not be one of them.
    """

    by: tuple[str, ...]
    steps: tuple[int, ...] = ()
    at_least: int | None = None
    count: int = 1
    not_author: bool = False

    def covers(self, number: int, weight: int) -> bool:
        """Return whether a step, by its number and weight, needs it."""
        if not self.steps and self.at_least is None:
            return True
        return number in self.steps or (self.at_least is not None and weight >= self.at_least)


class HookWhen(StrEnum):
    """When a service is asked."""

    START = "start"
    """Before the first step."""
    STEP = "step"
    """Before each step that follows."""
    COMPLETE = "complete"
    """Before it is completed."""


@dataclass(frozen=True, slots=True)
class TextAt:
    """A text, or where the controller finds it: ``kind`` is ``text``, ``env`` or ``file``."""

    kind: str
    text: str

    def as_data(self) -> str | dict[str, str]:
        """Return it as a plan writes it."""
        return self.text if self.kind == "text" else {self.kind: self.text}

    @classmethod
    def from_data(cls, data: Any) -> TextAt:
        """Return what :meth:`as_data` wrote."""
        if isinstance(data, Mapping):
            ((kind, text),) = data.items()
            return cls(str(kind), str(text))
        return cls("text", str(data))

    def __str__(self) -> str:
        return redacted(self.text) if self.kind == "text" else f"{self.kind} {self.text}"


@dataclass(frozen=True, slots=True)
class Hook:
    """A service that confirms (2xx) or holds. ``timeout`` is seconds; ``secret`` signs the body."""

    name: str
    url: TextAt
    when: HookWhen = HookWhen.STEP
    secret: TextAt | None = None
    timeout: float = HOOK_TIMEOUT


@dataclass(frozen=True, slots=True)
class Gates:
    """All gates of a plan. ``starts_at`` is microseconds since 1970; 0 is at once."""

    checklist: tuple[Item, ...] = ()
    approvals: tuple[Approval, ...] = ()
    freezes: tuple[Window, ...] = ()
    hooks: tuple[Hook, ...] = ()
    starts_at: int = 0

    def __bool__(self) -> bool:
        return self != NO_GATES

    def items(self, when: When) -> tuple[Item, ...]:
        """Return the items for this time."""
        return tuple(one for one in self.checklist if one.when is when)

    def as_mapping(self) -> dict[str, Any]:
        """Return the fields that say something: a plan without gates is what it always was."""
        data: dict[str, Any] = {
            "checklist": [_item_data(one) for one in self.checklist],
            "approvals": [_approval_data(one) for one in self.approvals],
            "freeze": [_window_data(one) for one in self.freezes],
            "hooks": [_hook_data(one) for one in self.hooks],
            "starts_at": moment_text(self.starts_at) if self.starts_at else "",
        }
        return {name: value for name, value in data.items() if value}

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any]) -> Gates:
        """Return the gates that :meth:`as_mapping` wrote. Raises KeyError, ValueError."""
        return cls(
            checklist=tuple(_item(one) for one in data.get("checklist", ())),
            approvals=tuple(_approval(one) for one in data.get("approvals", ())),
            freezes=tuple(_window(one) for one in data.get("freeze", ())),
            hooks=tuple(_hook(one) for one in data.get("hooks", ())),
            starts_at=moment_of(data["starts_at"]) if data.get("starts_at") else 0,
        )


NO_GATES: Final = Gates()


def _item_data(one: Item) -> dict[str, Any]:
    return {
        "id": one.id,
        "text": one.text,
        "when": one.when.value,
        "auto": None if one.auto is None else one.auto.value,
        "limit": None if one.limit is None else float(one.limit),
        "required": one.required,
    }


def _item(data: Mapping[str, Any]) -> Item:
    return Item(
        id=str(data["id"]),
        text=str(data["text"]),
        when=When(data["when"]),
        auto=None if data.get("auto") is None else Auto(data["auto"]),
        limit=None if data.get("limit") is None else float(data["limit"]),
        required=bool(data.get("required", True)),
    )


def _approval_data(one: Approval) -> dict[str, Any]:
    return {
        "by": list(one.by),
        "steps": list(one.steps),
        "at_least": one.at_least,
        "count": one.count,
        "not_author": one.not_author,
    }


def _approval(data: Mapping[str, Any]) -> Approval:
    return Approval(
        by=tuple(data["by"]),
        steps=tuple(int(one) for one in data.get("steps", ())),
        at_least=None if data.get("at_least") is None else int(data["at_least"]),
        count=int(data.get("count", 1)),
        not_author=bool(data.get("not_author", False)),
    )


def _window_data(one: Window) -> dict[str, Any]:
    data = {
        "from": None if one.begin is None else moment_text(one.begin),
        "until": None if one.end is None else moment_text(one.end),
        "weekly": None if one.weekly is None else str(one.weekly),
        "reason": one.reason,
    }
    return {name: value for name, value in data.items() if value}


def _window(data: Mapping[str, Any]) -> Window:
    return Window(
        begin=moment_of(data["from"]) if data.get("from") else None,
        end=moment_of(data["until"]) if data.get("until") else None,
        weekly=weekly_of(data["weekly"]) if data.get("weekly") else None,
        reason=str(data.get("reason", "")),
    )


def _hook_data(one: Hook) -> dict[str, Any]:
    return {
        "name": one.name,
        "url": one.url.as_data(),
        "when": one.when.value,
        "secret": None if one.secret is None else one.secret.as_data(),
        "timeout": float(one.timeout),
    }


def _hook(data: Mapping[str, Any]) -> Hook:
    return Hook(
        name=str(data["name"]),
        url=TextAt.from_data(data["url"]),
        when=HookWhen(data["when"]),
        secret=None if data.get("secret") is None else TextAt.from_data(data["secret"]),
        timeout=float(data.get("timeout", HOOK_TIMEOUT)),
    )
