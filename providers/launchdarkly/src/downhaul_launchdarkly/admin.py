"""Manage flags in LaunchDarkly: each verb is one atomic patch, read back before it returns."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from downhaul.documents import check_flag
from downhaul.errors import DocumentError, FlagNotFound, ProviderError, Refused
from downhaul.flag import WHOLE, Flag, FlagSet, Segment
from downhaul.provider import Change, ProviderSnapshot
from downhaul_launchdarkly import segments, snapshots
from downhaul_launchdarkly.api import NAME, Api, Asking, Contested
from downhaul_launchdarkly.known import known_of
from downhaul_launchdarkly.rules import NotCarried, flag_of, segments_named
from downhaul_launchdarkly.stored import PORTABLE, Instruction, Stored, portable_clause
from downhaul_launchdarkly.translate import as_sent, flags_from
from downhaul_launchdarkly.whole import (
    check_names,
    new_flag,
    operations,
    refuse_other_variants,
    wanted_document,
)
from downhaul_launchdarkly.writing import Moved, amend_flag, comment_of, conflict, expect

if TYPE_CHECKING:
    from downhaul.config import Declaration

_log: Final = logging.getLogger("downhaul")


class Admin:
    """Flags of one project in one environment, through the REST API.

    ``portable`` are the keys whose rollout is by our own bucket; ``declared`` says off variants.
    """

    def __init__(
        self,
        api: Api,
        environment: str,
        *,
        portable: frozenset[str] = frozenset(),
        declared: Mapping[str, Declaration] | None = None,
    ) -> None:
        self._api = api
        self._environment = environment
        self._portable = portable
        self._off = {key: one.off for key, one in (declared or {}).items()}

    # Reading

    def get(self, key: str) -> Flag | None:
        """Return the flag as it is now, or None."""
        asking = self._api.begin()
        state = self._find(asking, key)
        if state is None or state.archived:
            return None
        try:
            return self._flag(asking, state)
        except NotCarried as error:
            message = f'flag "{key}" has no like here: {error}'
            hint = "see it in LaunchDarkly; it can be switched from here all the same"
            raise ProviderError(message, flag=key, provider=NAME, hint=hint) from None

    def everything(self) -> FlagSet:
        """Return every flag and segment that has a like here; the log tells of the others."""
        asking = self._api.begin()
        states = [Stored(one, self._environment) for one in asking.flags(self._environment)]
        kept = {one["key"]: one for one in asking.segments(self._environment)}
        sent = {one.key: one.sent for one in states}
        translation = flags_from({"flags": sent, "segments": kept})
        for entry in translation.ledger.lossy:
            _log.warning("%s in LaunchDarkly has no like here: %s", entry.path, entry.reason)
        by_key = {one.key: one for one in states}
        flags = [by_key[one.key].as_percentage(one) for one in translation.flags]
        return FlagSet.of(flags, translation.segments)

    # Narrow verbs

    def switch(self, key: str, change: Change, *, on: bool) -> Flag:
        """Turn a flag on or off; off sets the safe off variation in the same patch."""
        asking = self._api.begin()
        before = self._read(asking, key)
        wanted: dict[str, Any] = {"on": on}
        instructions: list[Instruction] = [{"kind": "turnFlagOn" if on else "turnFlagOff"}]
        safe = None if on else before.safe(self._off.get(key))
        if safe is not None and safe != before.kept["offVariation"]:
            wanted["offVariation"] = safe
            instructions.insert(0, {"kind": "updateOffVariation", "variationId": before.ids[safe]})
        return self._write(asking, before, instructions, wanted, change)

    def rollout(self, key: str, variant: str, weight: int, change: Change) -> Flag:
        """Serve a variant to a share of users, and the off variant to the rest."""
        asking = self._api.begin()
        before = self._read(asking, key)
        index, off = before.index(variant), before.kept["offVariation"]
        if not 0 <= weight <= WHOLE:
            message = f"a weight lies between 0 and {WHOLE}, not at {weight}"
            raise Refused(message, flag=key, hint="100 % are 100000")
        if off is None or off == index:
            message = f'"{variant}" has no other variant for the rest of the users'
            raise Refused(message, flag=key, hint="set another off variation in LaunchDarkly")
        before.refuse_foreign_rules()
        before.refuse_other_shares(index, off)
        rules: list[Instruction] = []
        if key not in self._portable:
            serve = before.rollout({before.ids[index]: weight, before.ids[off]: WHOLE - weight})
        else:
            serve = {"variationId": before.ids[off]}
            clauses = [portable_clause(key, weight)]
            rules = [
                {"description": PORTABLE, "clauses": clauses, "variationId": before.ids[index]}
            ]
        instructions: list[Instruction] = [{"kind": "updateFallthroughVariationOrRollout", **serve}]
        wanted: dict[str, Any] = {"fallthrough": before.served(serve)}
        if rules or before.kept["rules"]:
            instructions.insert(0, {"kind": "replaceRules", "rules": rules})
            wanted["rules"] = [before.rule(one) for one in rules]
        return self._write(asking, before, instructions, wanted, change)

    def targets(self, key: str, variant: str, keys: Iterable[str], change: Change) -> Flag:
        """Make users the targets of one variant: they leave the others in the same patch."""
        if isinstance(keys, str):
            message = "targeting keys are a collection of strings, not one string"
            raise Refused(message, flag=key, hint=f"pass [{keys!r}]")
        asking = self._api.begin()
        before = self._read(asking, key)
        wanted = {place: set(values) for place, values in before.kept["targets"].items()}
        asked = set(keys)
        wanted = {place: values - asked for place, values in wanted.items()}
        wanted[before.index(variant)] = asked
        after = {place: sorted(values) for place, values in wanted.items() if values}
        return self._write(asking, before, before.moves(after), {"targets": after}, change)

    # Whole flags

    def put(self, flag: Flag, change: Change, expected: str | None) -> Flag:
        """Write a whole flag: made where there is none, else changed where it differs."""
        asking = self._api.begin()
        while True:
            before = self._find(asking, flag.key)
            there = None if before is None or before.archived else before.version
            expect(flag.key, there, expected)
            try:
                return self._told(asking, self._put(asking, flag, before, change))
            except Moved as moved:
                if expected is not None:
                    raise conflict(flag.key, expected, moved) from None
                asking.pause()

    def delete(self, key: str, change: Change, expected: str | None) -> None:
        """Archive a flag that no other requires. Raises FlagNotFound, Refused, VersionConflict."""
        asking = self._api.begin()
        while True:
            before = self._read(asking, key)
            expect(key, before.version, expected)
            needed = [
                one["key"] for one in asking.flags(self._environment) if self._needs(one, key)
            ]
            if needed:
                message = f'flag "{key}" is required by {", ".join(sorted(needed))}'
                raise Refused(message, flag=key, hint="take it out of their prerequisites first")
            put_away = [{"op": "replace", "path": "/archived", "value": True}]
            try:
                amend_flag(asking, before, put_away, change, {"archived": True})
            except Moved as moved:
                if expected is not None:
                    raise conflict(key, expected, moved) from None
                asking.pause()
            else:
                return

    # Segments

    def put_segment(self, segment: Segment, change: Change, expected: str | None) -> Segment:
        """Write a whole segment. Raises DocumentError, Refused, VersionConflict."""
        asking, around = self._api.begin(), self.everything()
        return segments.put(asking, self._environment, segment, change, expected, around)

    def delete_segment(self, key: str, expected: str | None) -> None:
        """Remove a segment that nothing names. Raises FlagNotFound, Refused, VersionConflict."""
        asking, around = self._api.begin(), self.everything()
        segments.delete(asking, self._environment, key, expected, around)

    # Snapshots

    def snapshot(self, key: str) -> ProviderSnapshot:
        """Return what can be brought back of a flag."""
        asking = self._api.begin()
        state = self._read(asking, key)
        return snapshots.taken(asking, state, self._told(asking, state))

    def restore(self, snapshot: ProviderSnapshot, change: Change, expected: str | None) -> Flag:
        """Bring a snapshot back, in one patch and as a new version; out of the archive too."""
        snapshots.refuse_others(snapshot)
        asking, key = self._api.begin(), snapshot.flag
        while True:
            before = self._find(asking, key)
            there = None if before is None or before.archived else before.version
            expect(key, there, expected)
            if before is None:
                message = f'flag "{key}" was deleted in LaunchDarkly, with what chose its users'
                raise Refused(message, flag=key, hint="make it anew: it will have other users")
            try:
                return self._told(asking, snapshots.restored(asking, snapshot, before, change))
            except Moved as moved:
                if expected is not None:
                    raise conflict(key, expected, moved) from None
                asking.pause()

    # Inside

    def _find(self, asking: Asking, key: str) -> Stored | None:
        try:
            return Stored(asking.get(key, self._environment), self._environment)
        except FlagNotFound:
            return None

    def _read(self, asking: Asking, key: str) -> Stored:
        state = Stored(asking.get(key, self._environment), self._environment)
        if state.archived:
            message = f'flag "{key}" is in the archive of LaunchDarkly'
            raise FlagNotFound(message, flag=key, provider=NAME, hint="bring it back there first")
        return state

    def _flag(self, asking: Asking, state: Stored) -> Flag:
        """Return a flag in our words. Raises NotCarried."""
        found = {key: self._find(asking, key) for key in state.needs}
        others = {key: one.sent for key, one in found.items() if one is not None}
        return state.as_percentage(flag_of(state.sent, {**others, state.key: state.sent}))

    def _told(self, asking: Asking, now: Stored) -> Flag:
        """Return a flag that was written: what is known of it, where it has no like here.

        The write is done by then, so that nothing about its rules may make it look like a failure.
        """
        try:
            return self._flag(asking, now)
        except (NotCarried, ProviderError):
            return replace(known_of(now.sent).flag, tags=tuple(now.sent["tags"]))

    def _put(self, asking: Asking, flag: Flag, before: Stored | None, change: Change) -> Stored:
        others = self._required(asking, flag)
        around = self._around(asking, flag, others)
        problems = check_flag(flag, around)
        if problems:
            raise DocumentError(f'flag "{flag.key}" is refused', problems)
        check_names(flag, before)
        if before is None:
            before = self._made(asking, flag, others)
        refuse_other_variants(flag, before)
        try:
            old = self._flag(asking, before)
        except NotCarried as error:
            message = f'flag "{flag.key}" has something that would be lost: {error}'
            hint = "change it in LaunchDarkly, or remove that there first"
            raise Refused(message, flag=flag.key, hint=hint) from None
        portable = flag.key in self._portable or before.portable
        wanted = wanted_document(flag, before, old, others, portable=portable)
        patch = operations(flag, before, old, wanted)
        return amend_flag(asking, before, patch, change, wanted) if patch else before

    def _made(self, asking: Asking, flag: Flag, others: Mapping[str, Stored]) -> Stored:
        """Make a flag, off and without rules, once it is sure that all of it can be kept."""
        body = new_flag(flag)
        plan = Stored(_planned(body, self._environment), self._environment)
        portable = flag.key in self._portable
        wanted_document(flag, plan, known_of(plan.sent).flag, others, portable=portable)
        try:
            asking.make(flag.key, body)
        except Contested:
            raise Moved(self._read(asking, flag.key).version) from None
        return self._read(asking, flag.key)

    def _required(self, asking: Asking, flag: Flag) -> dict[str, Stored]:
        """Return the flags that a flag requires, itself or through others."""
        found: dict[str, Stored] = {}
        pending = [one.flag for one in flag.prerequisites]
        while pending:
            key = pending.pop()
            if key in found:
                continue
            state = self._find(asking, key)
            if state is not None and not state.archived:
                found[key] = state
                pending += state.needs
        return found

    def _around(self, asking: Asking, flag: Flag, others: Mapping[str, Stored]) -> FlagSet:
        """Return enough of the other flags and segments to check what a flag names."""
        kept = [
            Segment(key)
            for key in segments_named(flag)
            if segments.find(asking, self._environment, key) is not None
        ]
        return FlagSet.of((known_of(one.sent).flag for one in others.values()), kept)

    def _needs(self, document: Any, key: str) -> bool:
        sent = as_sent(document, self._environment)
        return any(one["key"] == key for one in sent["prerequisites"] or [])

    def _write(
        self,
        asking: Asking,
        before: Stored,
        instructions: list[Instruction],
        wanted: Mapping[str, Any],
        change: Change,
    ) -> Flag:
        body = {
            "environmentKey": self._environment,
            "comment": comment_of(change),
            "instructions": instructions,
        }
        if instructions:
            asking.patch(before.key, body)
        now = self._read(asking, before.key)
        differ = [name for name, value in wanted.items() if now.kept[name] != value]
        if differ:
            message = (
                f'LaunchDarkly took the change of flag "{before.key}", but '
                f"{', '.join(differ)} is not so"
            )
            hint = "look at the flag in LaunchDarkly, then repeat it on what is there now"
            raise ProviderError(message, hint=hint, flag=before.key, provider=NAME)
        return self._told(asking, now)


def _planned(body: Mapping[str, Any], environment: str) -> dict[str, Any]:
    """Return the document that LaunchDarkly will show of a flag that is about to be made."""
    here = {
        "on": False,
        "version": 0,
        "salt": "",
        "offVariation": body["defaults"]["offVariation"],
        "fallthrough": {"variation": body["defaults"]["onVariation"]},
        "targets": [],
        "contextTargets": [],
        "rules": [],
        "prerequisites": [],
    }
    variations = [{**one, "_id": str(place)} for place, one in enumerate(body["variations"])]
    return {**body, "variations": variations, "environments": {environment: here}}
