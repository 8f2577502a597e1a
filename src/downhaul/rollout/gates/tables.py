"""The tables of a plan file that say its gates, as pydantic models, and the gates made of them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import PurePath
from typing import Annotated, Any, Final, Protocol

from pydantic import BaseModel, BeforeValidator, Field, WithJsonSchema

from downhaul.config.urls import secrets_of
from downhaul.documents.faults import Fault, Place, did_you_mean, quoted
from downhaul.rollout.gates.model import (
    DEFAULT_LIMITS,
    HOOK_TIMEOUT,
    Approval,
    Auto,
    Gates,
    Hook,
    HookWhen,
    Item,
    TextAt,
    When,
)
from downhaul.rollout.gates.times import (
    RFC3339_PATTERN,
    WEEKLY_PATTERN,
    Weekly,
    Window,
    moment_of,
    weekly_of,
    zone_of,
)
from downhaul.rollout.planfields import STRICT, Seconds, choice, reading, told
from downhaul.rollout.units import weight_from

_AT_LEAST: Final = re.compile(r"\s*>=\s*")
_REFERENCES: Final = ("env", "file")


def _moment(value: Any) -> int:
    if not isinstance(value, str):
        message = f"{quoted(value)} is no time"
        raise told(message, 'write it as text: "2026-09-01T06:00:00Z"')
    return moment_of(value)


def _weekly(value: Any) -> Weekly:
    found = weekly_of(value if isinstance(value, str) else repr(value))
    zone_of(found.zone)
    return found


def _at_least(value: Any) -> int:
    return weight_from(_AT_LEAST.sub("", value) if isinstance(value, str) else value)


def _kept(value: Any) -> TextAt:
    if isinstance(value, TextAt):
        return value
    if isinstance(value, str) and value:
        return TextAt("text", value)
    if isinstance(value, Mapping) and len(value) == 1:
        ((kind, name),) = value.items()
        if kind in _REFERENCES and isinstance(name, str) and name:
            return _reference(kind, name)
    hint = 'write { env = "NAME" } or { file = "/run/secrets/name" }'
    raise told(f"{quoted(value)} is no text, and names none", hint)


def _reference(kind: str, name: str) -> TextAt:
    if kind == "file" and not PurePath(name).is_absolute():
        message = f"the path {quoted(name)} is relative, and a controller runs elsewhere"
        raise told(message, "write the whole path, as it is on the controller's host")
    return TextAt(kind, name)


def _url(value: Any) -> TextAt:
    if isinstance(value, str) and secrets_of(value):  # not quoted, as below
        raise told("it holds a secret, and everybody reads a plan", 'write { env = "NAME" }')
    return _kept(value)


def _secret(value: Any) -> TextAt:
    if isinstance(value, str):  # not quoted: it is one
        hint = 'write { env = "NAME" } or { file = "/run/secrets/name" }'
        raise told("a secret is not written into a plan, which everybody reads", hint)
    return _kept(value)


def _one_or_many(value: Any) -> Any:
    return [value] if isinstance(value, Mapping) else value


_REFERENCE: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {name: {"type": "string", "minLength": 1} for name in _REFERENCES},
    "minProperties": 1,
    "maxProperties": 1,
    "additionalProperties": False,
}
_FROM: Final[dict[str, Any]] = {
    "anyOf": [
        {"type": "number", "minimum": 0, "maximum": 100},
        {"type": "string", "pattern": r"^\s*(>=)?\s*[0-9]+(\.[0-9]+)?\s*%?\s*$"},
    ]
}

Moment = Annotated[
    int,
    BeforeValidator(reading(_moment)),
    WithJsonSchema({"type": "string", "pattern": RFC3339_PATTERN}),
]
"""A time in RFC 3339, in microseconds since 1970."""

_Weekly = Annotated[
    Any,
    BeforeValidator(reading(_weekly)),
    WithJsonSchema({"type": "string", "pattern": WEEKLY_PATTERN}),
]
_When = Annotated[
    When,
    BeforeValidator(choice("time of a checklist", {one.value: one for one in When})),
    WithJsonSchema({"enum": [one.value for one in When]}),
]
_Auto = Annotated[
    Auto,
    BeforeValidator(choice("thing that is looked at", {one.value: one for one in Auto})),
    WithJsonSchema({"enum": [one.value for one in Auto]}),
]
_HookWhen = Annotated[
    HookWhen,
    BeforeValidator(choice("time of a hook", {one.value: one for one in HookWhen})),
    WithJsonSchema({"enum": [one.value for one in HookWhen]}),
]
_Url = Annotated[
    Any,
    BeforeValidator(_url),
    WithJsonSchema({"anyOf": [{"type": "string", "minLength": 1}, _REFERENCE]}),
]
_Secret = Annotated[Any, BeforeValidator(_secret), WithJsonSchema(_REFERENCE)]
_AtLeast = Annotated[int, BeforeValidator(reading(_at_least)), WithJsonSchema(_FROM)]
_Name = Annotated[str, Field(min_length=1)]
_Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]


class _Table(BaseModel):
    model_config = STRICT


class ItemTable(_Table):
    """One item of the checklist."""

    id: _Id
    """what it is called where it is ticked"""
    text: _Name
    """what is to be done"""
    when: _When = When.BEFORE
    """`before` the first step, `during` (at each step, before the next one), or `after`"""
    auto: _Auto | None = None
    """what it looks at, if it ticks itself"""
    limit: Seconds | None = None
    """the time that `auto` compares with"""
    required: bool = True
    """false: it is shown, and nothing waits for it"""


class ApprovalTable(_Table):
    """Who has to approve before a step is entered."""

    by: list[_Name] = []
    """actors, and names of groups"""
    steps: list[Annotated[int, Field(ge=1)]] = []
    """which steps, counted from 1; with neither this nor `percent`, all"""
    percent: _AtLeast | None = None
    """all steps from this percentage on: `">= 25"`"""
    count: Annotated[int, Field(ge=1)] = 1
    """how many different people"""
    not_author: bool = False
    """whether who started the rollout may not be one of them"""


class FreezeTable(_Table):
    """A time in which nothing starts and nothing rises."""

    begin: Annotated[Moment | None, Field(alias="from")] = None
    """when it begins; left out, it has begun"""
    until: Moment | None = None
    weekly: _Weekly | None = None
    """a window of each week: `Fri 16:00 - Mon 08:00 Europe/Berlin`"""
    reason: str = ""


class HookTable(_Table):
    """A service that confirms (2xx) or holds."""

    name: _Id
    url: _Url
    when: _HookWhen = HookWhen.STEP
    """`start`, `step` (each one after the first) or `complete`"""
    secret: _Secret | None = None
    """what signs the request"""
    timeout: Seconds = HOOK_TIMEOUT


Approvals = Annotated[list[ApprovalTable], BeforeValidator(_one_or_many)]
"""One table, or several."""

GATE_TABLES: Final[dict[str, type[BaseModel]]] = {
    "checklist": ItemTable,
    "approvals": ApprovalTable,
    "freeze": FreezeTable,
    "hooks": HookTable,
}


class HasGates(Protocol):
    """What a plan's table has of them."""

    checklist: list[ItemTable]
    approvals: Approvals
    freeze: list[FreezeTable]
    hooks: list[HookTable]
    starts_at: int | None


def gates_of(table: HasGates, faults: list[Fault]) -> Gates:
    """Return the gates that a plan's table says; what is wrong about them goes to the faults."""
    faults += [*_unfit_items(table.checklist), *_unfit_freezes(table.freeze)]
    return Gates(
        checklist=tuple(
            Item(one.id, one.text.strip(), one.when, one.auto, one.limit, one.required)
            for one in table.checklist
        ),
        approvals=tuple(
            Approval(
                by=tuple(dict.fromkeys(name for each in one.by if (name := each.strip()))),
                steps=tuple(sorted(set(one.steps))),
                at_least=one.percent,
                count=one.count,
                not_author=one.not_author,
            )
            for one in table.approvals
        ),
        freezes=tuple(
            Window(one.begin, one.until, one.weekly, one.reason.strip()) for one in table.freeze
        ),
        hooks=tuple(
            Hook(one.name, one.url, one.when, one.secret, one.timeout) for one in table.hooks
        ),
        starts_at=table.starts_at or 0,
    )


def _unfit_items(tables: list[ItemTable]) -> Iterator[Fault]:
    for index, one in enumerate(tables):
        place: Place = ("checklist", index, "limit")
        if one.limit is not None and one.auto is None:
            yield Fault(place, "a person ticks it, and no time is looked at", "leave it out")
        elif one.limit is not None and one.auto not in DEFAULT_LIMITS:
            timed = did_you_mean("", [each.value for each in DEFAULT_LIMITS], all_of="a time has")
            yield Fault(place, f"{one.auto} looks at no time", timed)


def _unfit_freezes(tables: list[FreezeTable]) -> Iterator[Fault]:
    for index, one in enumerate(tables):
        place: Place = ("freeze", index)
        dated = one.begin is not None or one.until is not None
        if one.weekly is not None and dated:
            message = "both a weekly window and dates are given"
            yield Fault(place, message, "make two of it")
        elif one.weekly is None and not dated:
            yield Fault(place, "it says no time", 'give it from and until, or weekly = "..."')
