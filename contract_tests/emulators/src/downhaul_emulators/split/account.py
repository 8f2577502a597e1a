"""What an account holds: one workspace, its environments, and everything in them."""

from __future__ import annotations

import copy
import time
import uuid
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from downhaul_emulators.split import wire
from downhaul_emulators.split.changes import ChangeLog, KeySet

_NAMESPACE: Final = uuid.UUID("8b2f8c7e-3a51-5d0e-9a44-6d3f7a0c1e55")

Notify = Callable[["Environment", Mapping[str, Any], Mapping[str, Any] | None], None]


def id_of(*words: str) -> str:
    """Return an id in the vendor's shape, the same for the same words."""
    return str(uuid.uuid5(_NAMESPACE, "/".join(words)))


ROLLOUT_STATUSES: Final = tuple(
    {"id": id_of("status", one), "name": one}
    for one in ("Pre-Production", "Internal Testing", "Ramping", "Killed", "100% Released")
)


@dataclass(slots=True, eq=False)
class Environment:
    """One environment: ``definitions`` as the admin API has them, ``splits`` as SDKs see them.

    ``past`` is each definition as it was before its last change.
    """

    id: str
    name: str
    sdk_key: str
    production: bool = False
    approvals: bool = False
    definitions: dict[str, dict[str, Any]] = field(default_factory=dict)
    splits: ChangeLog = field(default_factory=ChangeLog)
    segments: dict[str, KeySet] = field(default_factory=dict)
    past: dict[str, dict[str, Any]] = field(default_factory=dict)
    rule_definitions: dict[str, dict[str, Any]] = field(default_factory=dict)
    rule_segments: ChangeLog = field(default_factory=ChangeLog)

    def shown(self) -> dict[str, str]:
        """Return it as other documents name it."""
        return {"id": self.id, "name": self.name}


class Account:
    """Everything that is kept. ``notify`` hears of each change, after it is there.

    Nothing is checked here: what comes in was. The caller holds the emulator's lock.
    """

    def __init__(self, environments: list[Environment], notify: Notify) -> None:
        self.workspace = {"id": id_of("workspace"), "name": "Default", "type": "workspace"}
        self.traffic_types = [{"id": id_of("user"), "name": "user"}]
        self.environments = environments
        self.flags: dict[str, dict[str, Any]] = {}
        self.segments: dict[str, dict[str, Any]] = {}
        self.rule_segments: dict[str, dict[str, Any]] = {}
        self.flag_sets: dict[str, dict[str, Any]] = {}
        self.change_requests: dict[str, dict[str, Any]] = {}
        self._notify = notify
        self._number = 0
        self._made: dict[str, int] = {}

    def next_number(self) -> int:
        """Return the next change number: milliseconds, and higher than all before."""
        self._number = max(self._number + 1, time.time_ns() // 1_000_000)
        return self._number

    def environment(self, name: str) -> Environment | None:
        """Return the environment with this id, or this name."""
        return next((one for one in self.environments if name in (one.id, one.name)), None)

    def create_flag(self, name: str, traffic_type: Mapping[str, str], **about: Any) -> None:
        """Create a flag that no environment knows yet."""
        self._made[name] = self._made.get(name, 0) + 1
        self.flags[name] = {
            "id": id_of("flag", name, str(self._made[name])),
            "name": name,
            "description": "",
            "trafficType": dict(traffic_type),
            "creationTime": (number := self.next_number()),
            "rolloutStatus": dict(ROLLOUT_STATUSES[0]),
            "rolloutStatusTimestamp": number,
            "tags": None,
            **about,
        }

    def delete_flag(self, name: str) -> None:
        """Delete a flag, and its definition from every environment."""
        for environment in self.environments:
            if name in environment.definitions:
                self.remove_definition(environment, name)
        del self.flags[name]

    def write_definition(
        self, environment: Environment, name: str, body: Mapping[str, Any], *, kill: bool = False
    ) -> None:
        """Write a definition whole; ``kill`` tells SDKs of it as the kill endpoint does."""
        before = environment.definitions.get(name)
        number = self.next_number()
        made = _whole(body, before)
        made["creationTime"] = before["creationTime"] if before else number
        made["lastUpdateTime"] = number
        if before:
            environment.past[name] = before
        environment.definitions[name] = made
        split = wire.split_of(
            name,
            made,
            traffic_type=self.flags[name]["trafficType"]["name"],
            seeds=self._seeds(environment, name),
            sets=[self.flag_sets[one["id"]]["name"] for one in made["flagSets"]],
            change_number=number,
        )
        previous = environment.splits.till
        environment.splits.add(split)
        if kill:
            treatment = made["defaultTreatment"]
            message = {"splitName": name, "defaultTreatment": treatment, "changeNumber": number}
            self._notify(environment, {"type": "SPLIT_KILL", **message}, None)
        else:
            message = {"type": "SPLIT_UPDATE", "changeNumber": number, "pcn": previous}
            self._notify(environment, message, split)

    def remove_definition(self, environment: Environment, name: str) -> None:
        """Remove a definition: SDKs are told that the flag is archived."""
        del environment.definitions[name]
        environment.past.pop(name, None)
        number, previous = self.next_number(), environment.splits.till
        split = wire.archived(environment.splits.newest(name), number)
        environment.splits.add(split)
        message = {"type": "SPLIT_UPDATE", "changeNumber": number, "pcn": previous}
        self._notify(environment, message, split)

    def change_keys(self, environment: Environment, segment: str, **change: Any) -> None:
        """Add and remove keys of a segment in an environment."""
        number = self.next_number()
        environment.segments[segment].change(number, **change)
        message = {"type": "SEGMENT_UPDATE", "segmentName": segment, "changeNumber": number}
        self._notify(environment, message, None)

    def write_rules(self, environment: Environment, name: str, body: Mapping[str, Any]) -> None:
        """Write what a rule-based segment is in an environment."""
        number, previous = self.next_number(), environment.rule_segments.till
        made = {
            "rules": copy.deepcopy(body.get("rules") or []),
            "excludedKeys": list(body.get("excludedKeys") or []),
            "excludedSegments": copy.deepcopy(body.get("excludedSegments") or []),
        }
        environment.rule_definitions[name] = made
        traffic_type = self.rule_segments[name]["trafficType"]["name"]
        segment = wire.rule_segment_of(name, made, traffic_type=traffic_type, change_number=number)
        environment.rule_segments.add(segment)
        message = {"type": "RB_SEGMENT_UPDATE", "changeNumber": number, "pcn": previous}
        self._notify(environment, message, segment)

    def remove_rules(self, environment: Environment, name: str) -> None:
        """Take a rule-based segment from an environment."""
        del environment.rule_definitions[name]
        number, previous = self.next_number(), environment.rule_segments.till
        segment = wire.archived(environment.rule_segments.newest(name), number)
        environment.rule_segments.add(segment)
        message = {"type": "RB_SEGMENT_UPDATE", "changeNumber": number, "pcn": previous}
        self._notify(environment, message, segment)

    def definition(
        self, environment: Environment, name: str, found: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """Return a definition as the admin API shows it; ``found`` is another state of it."""
        flag = self.flags[name]
        found = found or environment.definitions[name]
        return {
            "id": flag["id"],
            "name": name,
            "environment": environment.shown(),
            "trafficType": dict(flag["trafficType"]),
            **copy.deepcopy(dict(found)),
            "changeNumber": found["lastUpdateTime"],
        }

    def _seeds(self, environment: Environment, name: str) -> tuple[int, int]:
        words = f"{environment.id}/{name}/{self._made[name]}"
        return _signed(zlib.crc32(words.encode())), _signed(zlib.crc32(f"{words}/all".encode()))


def _signed(number: int) -> int:
    return number - (1 << 32) if number >= 1 << 31 else number


def _whole(body: Mapping[str, Any], before: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a definition with everything that was left out in it."""
    killed = before["killed"] if before else False
    rules = copy.deepcopy(body.get("rules") or [])
    for rule in rules:
        rule["condition"].setdefault("combiner", "AND")
    return {
        "killed": body.get("killed", killed),
        "treatments": [{"description": "", **copy.deepcopy(one)} for one in body["treatments"]],
        "defaultTreatment": body["defaultTreatment"],
        "baselineTreatment": body.get("baselineTreatment") or body["defaultTreatment"],
        "trafficAllocation": body.get("trafficAllocation", 100),
        "rules": rules,
        "defaultRule": copy.deepcopy(body["defaultRule"]),
        "flagSets": copy.deepcopy(body.get("flagSets") or []),
        "impressionsDisabled": body.get("impressionsDisabled", False),
    }
