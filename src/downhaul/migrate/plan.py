"""What a migration would do, as a document: written, reviewed, and carried out as it stands."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from downhaul._version import __version__
from downhaul.errors import DocumentError, Problem
from downhaul.ledger import Fidelity, LedgerEntry
from downhaul.store.diskfile import replace_file

SCHEMA_VERSION: Final = 1
FORMAT: Final = "downhaul-migration-plan"
ABSENT: Final = ""
"""As the digest of what is not there."""


class Action(StrEnum):
    """What is to be done with one flag or segment at the target."""

    CREATE = "create"
    UPDATE = "update"
    SAME = "same"
    MANUAL = "manual"
    """Nothing can be written: somebody has to decide what stands in for it."""
    SKIP = "skip"
    """Nothing is to be written, and the reason says why."""


@dataclass(frozen=True, slots=True)
class SideRef:
    """Which backend a side is: the name it was asked by, the provider's, and its URL unsecretly."""

    name: str
    provider: str
    url: str


@dataclass(frozen=True, slots=True)
class Item:
    """One flag or segment of a plan.

    ``source`` and ``target`` are digests of what was read on both sides, ``""`` where nothing was.
    ``wanted`` is the document to be written, ``origin`` the source's and ``before`` the target's.
    ``losses`` are the parts that are not carried in full. ``change`` is the share of users, 0..1,
    to whom a percentage gives another variant than before; where it is 0, nobody flips.
    """

    entity: str
    key: str
    action: Action
    kind: str = ""
    fidelity: Fidelity = Fidelity.FULL
    losses: tuple[LedgerEntry, ...] = ()
    change: float = 0.0
    reason: str = ""
    source: str = ABSENT
    target: str = ABSENT
    target_version: str = ""
    wanted: Mapping[str, Any] | None = None
    origin: Mapping[str, Any] | None = None
    before: Mapping[str, Any] | None = None

    @property
    def writes(self) -> bool:
        """Whether anything is to be written."""
        return self.action in (Action.CREATE, Action.UPDATE)

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of what is lost, by which it can be accepted."""
        return tuple(sorted({loss_class(one) for one in self.losses}))

    @property
    def name(self) -> tuple[str, str]:
        """What tells an item from all others."""
        return self.entity, self.key


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole plan. ``created_at`` is RFC 3339 in UTC."""

    source: SideRef
    target: SideRef
    environment: str
    created_at: str
    bucketing: str = "keep"
    items: tuple[Item, ...] = ()
    tool_version: str = field(default=__version__)

    def count(self, action: Action) -> int:
        """Return how many items have an action."""
        return sum(one.action is action for one in self.items)

    @property
    def changes(self) -> bool:
        """Whether anything is to be written."""
        return any(one.writes for one in self.items)

    def item(self, key: str, entity: str = "flag") -> Item | None:
        """Return the item of one flag, or segment."""
        return next((one for one in self.items if one.name == (entity, key)), None)

    def blocking(self, classes: Iterable[str] = (), flags: Iterable[str] = ()) -> tuple[Item, ...]:
        """Return the items whose losses nobody accepted, by class or by flag."""
        accepted, named = set(classes), set(flags)
        return tuple(
            one
            for one in self.items
            if one.key not in named and not accepted.issuperset(one.classes)
        )


def loss_class(entry: LedgerEntry) -> str:
    """Return the class of a loss, by which it can be accepted.

    That is the word that its translator has for it; else ``manual`` for what is not carried at all,
    and for what is carried otherwise the part of the flag: ``rules``, ``targets``, ``tags``.
    """
    if entry.loss or entry.fidelity is Fidelity.MANUAL:
        return entry.loss or entry.fidelity.value
    part = entry.path.removeprefix(f"flags.{entry.flag}.")
    word = re.match(r"[a-z_]+", part) if part != entry.path else None
    return word[0] if word else entry.fidelity.value


# --- as a file


def plan_to_data(plan: Plan) -> dict[str, Any]:
    """Return a plan as JSON data."""
    return {
        "format": FORMAT,
        "schema_version": SCHEMA_VERSION,
        "tool_version": plan.tool_version,
        "created_at": plan.created_at,
        "environment": plan.environment,
        "source": _side_to_data(plan.source),
        "target": _side_to_data(plan.target),
        "bucketing": plan.bucketing,
        "items": [item_to_data(one) for one in plan.items],
    }


def item_to_data(item: Item) -> dict[str, Any]:
    """Return one item as JSON data."""
    return {
        "entity": item.entity,
        "key": item.key,
        "action": item.action.value,
        "kind": item.kind,
        "fidelity": item.fidelity.value,
        "change": round(item.change, 6),
        "reason": item.reason,
        "losses": [one.as_mapping() for one in item.losses],
        "source": item.source,
        "target": item.target,
        "target_version": item.target_version,
        "wanted": item.wanted,
        "origin": item.origin,
        "before": item.before,
    }


def plan_from_data(data: Any, origin: str = "") -> Plan:
    """Return the plan that JSON data is. Raises DocumentError, with the place of what is wrong."""
    if not isinstance(data, Mapping) or data.get("format") != FORMAT:
        message = "it is no plan of a migration"
        raise DocumentError(message, hint="make one with: downhaul migrate plan", origin=origin)
    version = data.get("schema_version")
    if version != SCHEMA_VERSION:
        message = f"it is a plan of schema version {version!r}, and this reads {SCHEMA_VERSION}"
        raise DocumentError(message, hint="make the plan anew", origin=origin)
    path = "$"
    try:
        items = []
        for place, one in enumerate(data["items"]):
            path = f"items[{place}]"
            items.append(_item_from_data(one))
        path = "$"
        return Plan(
            source=SideRef(**data["source"]),
            target=SideRef(**data["target"]),
            environment=data["environment"],
            created_at=data["created_at"],
            bucketing=data["bucketing"],
            items=tuple(items),
            tool_version=data["tool_version"],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        problem = Problem(path, f"{type(error).__name__}: {error}", hint="make the plan anew")
        message = "the plan can't be read"
        raise DocumentError(message, [problem], origin=origin) from None


def read_plan(path: Path) -> Plan:
    """Read a plan. Raises DocumentError, and OSError for a file that can't be read."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        message = f"it is no JSON: {error}"
        raise DocumentError(message, origin=str(path)) from None
    return plan_from_data(data, str(path))


def write_plan(plan: Plan, path: Path) -> None:
    """Write a plan in one step: a full disk, or a kill in the middle, leaves what was there."""
    text = json.dumps(plan_to_data(plan), indent=2, ensure_ascii=False) + "\n"
    replace_file(path, text.encode("utf-8", "surrogatepass"))


def _side_to_data(side: SideRef) -> dict[str, str]:
    return {"name": side.name, "provider": side.provider, "url": side.url}


def _item_from_data(data: Mapping[str, Any]) -> Item:
    losses = tuple(
        LedgerEntry(
            one["flag"],
            one["path"],
            Fidelity(one["fidelity"]),
            one["reason"],
            one["fragment"],
            one["loss"],
        )
        for one in data["losses"]
    )
    return Item(
        entity=data["entity"],
        key=data["key"],
        action=Action(data["action"]),
        kind=data["kind"],
        fidelity=Fidelity(data["fidelity"]),
        losses=losses,
        change=float(data["change"]),
        reason=data["reason"],
        source=data["source"],
        target=data["target"],
        target_version=data["target_version"],
        wanted=data["wanted"],
        origin=data["origin"],
        before=data["before"],
    )
