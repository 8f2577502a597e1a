"""Manage flags in LaunchDarkly: each verb is one atomic patch, read back before it returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from downhaul.encoding import flag_to_data
from downhaul.errors import FlagNotFound, ProviderError, Refused, VersionConflict
from downhaul.flag import USER, WHOLE, Flag, FlagSet
from downhaul.provider import Change, ProviderSnapshot, portable_attribute, utc_now
from downhaul_launchdarkly.api import NAME, Api, Asking
from downhaul_launchdarkly.known import known_of
from downhaul_launchdarkly.rules import NotCarried, flag_of
from downhaul_launchdarkly.stored import PORTABLE, Instruction, Stored
from downhaul_launchdarkly.translate import as_sent, flags_from

if TYPE_CHECKING:
    from downhaul.config import Declaration

_PAGE: Final = 100
_KEPT: Final = ("on", "offVariation", "fallthrough", "targets", "rules")
"""What a snapshot brings back; a rule gets another id, and with it nothing else."""


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

    def get(self, key: str) -> Flag | None:
        """Return the flag as it is now, or None."""
        asking = self._api.begin()
        try:
            state = self._read(asking, key)
            needed = {one["key"] for one in state.sent["prerequisites"] or []} - {key}
            others = {one: self._read(asking, one).sent for one in sorted(needed)}
        except FlagNotFound as error:
            if error.flag != key:
                raise
            return None
        try:
            return state.as_percentage(flag_of(state.sent, {**others, key: state.sent}))
        except NotCarried as error:
            message = f'flag "{key}" has no like here: {error}'
            hint = "see it in LaunchDarkly; it can be switched from here all the same"
            raise ProviderError(message, flag=key, provider=NAME, hint=hint) from None

    def everything(self) -> FlagSet:
        """Return every flag of the project that has a like here, page by page to the end."""
        asking = self._api.begin()
        items: list[Any] = []
        while page := asking.page(self._environment, len(items), _PAGE)["items"]:
            items += page
        sent = {one["key"]: as_sent(one, self._environment) for one in items}
        return flags_from({"flags": sent}).flag_set()

    def switch(self, key: str, change: Change, *, on: bool) -> Flag:
        """Turn a flag on or off; off sets the safe off variation in the same patch."""
        asking = self._api.begin()
        before = self._read(asking, key)
        wanted = {**before.kept, "on": on}
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
        if key not in self._portable:
            weights = {before.ids[index]: weight, before.ids[off]: WHOLE - weight}
            serve: Instruction = {"rolloutWeights": weights, "rolloutContextKind": USER}
            rules: list[Instruction] = []
        else:
            serve = {"variationId": before.ids[off]}
            clause = {
                "contextKind": USER,
                "attribute": portable_attribute(key),
                "op": "lessThan",
                "values": [weight],
                "negate": False,
            }
            rules = [
                {
                    "description": PORTABLE,
                    "clauses": [clause],
                    "variationId": before.ids[index],
                }
            ]
        instructions: list[Instruction] = [
            {"kind": "replaceRules", "rules": rules},
            {"kind": "updateFallthroughVariationOrRollout", **serve},
        ]
        wanted = {
            **before.kept,
            "fallthrough": before.served(serve),
            "rules": [before.rule(one) for one in rules],
        }
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
        instructions = before.moves(after)
        return self._write(asking, before, instructions, {**before.kept, "targets": after}, change)

    def snapshot(self, key: str) -> ProviderSnapshot:
        """Return what can be brought back of a flag.

        The document is the flag in our words, as rollouts read it, with LaunchDarkly's own state
        beside it, which is what is restored.
        """
        state = self._read(self._api.begin(), key)
        targets = {str(place): values for place, values in state.kept["targets"].items()}
        own = {**state.kept, "targets": targets, "ids": state.ids, "beside": state.beside}
        document = {**flag_to_data(_told(state)), NAME: own}
        return ProviderSnapshot(key, NAME, state.version, document, utc_now())

    def restore(self, snapshot: ProviderSnapshot, change: Change, expected: str | None) -> Flag:
        """Bring a snapshot back, in one patch and as a new version."""
        asking = self._api.begin()
        before = self._read(asking, snapshot.flag)
        if expected is not None and expected != before.version:
            message = f'flag "{snapshot.flag}" changed since it was read'
            raise VersionConflict(
                message, expected=expected, found=before.version, flag=snapshot.flag, provider=NAME
            )
        old = snapshot.document[NAME]
        if list(old["ids"]) != before.ids:
            message = f'flag "{snapshot.flag}" has other variations than the snapshot'
            raise Refused(message, flag=snapshot.flag, hint="bring its variations back first")
        if old["beside"] != before.beside:
            message = f'flag "{snapshot.flag}" has other prerequisites, or targets of other kinds'
            raise Refused(message, flag=snapshot.flag, hint="bring them back in LaunchDarkly first")
        wanted = {name: old[name] for name in _KEPT}
        wanted["targets"] = {int(place): values for place, values in old["targets"].items()}
        if wanted["offVariation"] is None and before.kept["offVariation"] is not None:
            message = "LaunchDarkly's patch cannot take an off variation away"
            raise Refused(message, flag=snapshot.flag, hint="take it away in LaunchDarkly")
        instructions: list[Instruction] = [
            {"kind": "replaceRules", "rules": [before.asked(one) for one in wanted["rules"]]},
            {
                "kind": "updateFallthroughVariationOrRollout",
                **before.asked_serve(wanted["fallthrough"]),
            },
            *before.moves(wanted["targets"]),
            {"kind": "turnFlagOn" if wanted["on"] else "turnFlagOff"},
        ]
        if wanted["offVariation"] is not None:
            chosen = before.ids[wanted["offVariation"]]
            instructions.insert(0, {"kind": "updateOffVariation", "variationId": chosen})
        return self._write(asking, before, instructions, wanted, change)

    def _read(self, asking: Asking, key: str) -> Stored:
        return Stored(asking.get(key, self._environment), self._environment)

    def _write(
        self,
        asking: Asking,
        before: Stored,
        instructions: list[Instruction],
        wanted: Mapping[str, Any],
        change: Change,
    ) -> Flag:
        comment = f"{change.actor}: {change.reason}" if change.reason else change.actor
        body = {
            "environmentKey": self._environment,
            "comment": comment,
            "instructions": instructions,
        }
        if instructions:
            asking.patch(before.key, body)
        now = self._read(asking, before.key)
        if now.kept != wanted:
            differ = ", ".join(name for name in _KEPT if now.kept[name] != wanted[name])
            message = f'LaunchDarkly took the change of flag "{before.key}", but {differ} is not so'
            hint = "look at the flag in LaunchDarkly, then repeat it on what is there now"
            raise ProviderError(message, hint=hint, flag=before.key, provider=NAME)
        return _told(now)


def _told(now: Stored) -> Flag:
    """Return a flag that was written: what is known of it, where it has no like here.

    The write is done by then, so that nothing about its rules may make it look like a failure.
    """
    try:
        return now.as_percentage(flag_of(now.sent, {}))
    except NotCarried:
        return replace(known_of(now.sent).flag, tags=tuple(now.sent["tags"]))
