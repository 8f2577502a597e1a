"""Manage flags in Split: each verb is one request on a definition, read back before it returns.

The admin API has no versions to compare with: what others write between our reading and our writing
is not seen by it. So verbs touch their own fields only, and what is there afterwards is compared
with what was meant.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from downhaul.backends.edits import with_rollout
from downhaul.encoding import flag_to_data
from downhaul.errors import FlagNotFound, ProviderError, Refused, VersionConflict
from downhaul.flag import WHOLE, Bucketing, Flag, FlagSet, Split
from downhaul.provider import ABSENT, Change, ProviderSnapshot, utc_now
from downhaul.vendors.rest import Denied
from downhaul_split.api import NAME, Place
from downhaul_split.matchers import NotCarried
from downhaul_split.native import Seeds, at_home, by_hash, names_seeds
from downhaul_split.stored import KEPT, Stored, kept_of, serves
from downhaul_split.writing import checked_keys, definition_of, nothing_of

if TYPE_CHECKING:
    from downhaul.config import Declaration
    from downhaul.ledger import Translation
    from downhaul.vendors.rest import Asking, RestApi

_log: Final = logging.getLogger("downhaul.split")
_LOOK: Final = "look at the flag in Split, then repeat it on what is there now"
_LONGEST_TITLE: Final = 255
Operation = dict[str, Any]


class Admin:
    """Flags of one environment, through the admin API.

    ``portable`` are the keys whose rollout is by our own bucket; ``declared`` says off variants.
    ``seeds`` gives those of a flag, from what SDKs are sent.
    """

    def __init__(
        self,
        api: RestApi,
        place: Place,
        *,
        portable: frozenset[str] = frozenset(),
        declared: Mapping[str, Declaration] | None = None,
        seeds: Callable[[str], Seeds] | None = None,
    ) -> None:
        self._api = api
        self._place = place
        self._portable = portable
        self._seeds = seeds
        self._off = {key: one.off for key, one in (declared or {}).items()}

    def get(self, key: str) -> Flag | None:
        """Return the flag as it is now, or None."""
        try:
            state = self._state(key)
        except FlagNotFound:
            return None
        try:
            return state.flag()
        except NotCarried as error:
            message = f'flag "{key}" has no like here: {error}'
            hint = "see it in Split; it can be switched from here all the same"
            raise ProviderError(message, flag=key, provider=NAME, hint=hint) from None

    def everything(self) -> FlagSet:
        """Return every flag of the environment that has a like here, to the last page."""
        with self._api.begin() as asking:
            abouts = self._place.abouts(asking)
            made: list[Flag] = []
            for one in self._place.definitions(asking):
                about = abouts.get(one["name"], {})  # it may have been made since those were listed
                try:
                    made.append(Stored(one, about).flag())
                except NotCarried as error:
                    _log.warning(
                        'flag "%s" has no like here, and is not listed: %s', one["name"], error
                    )
            return FlagSet.of(made)

    def described(self, found: Translation) -> Translation:
        """Return what SDKs are sent with the tags and descriptions that the console has of it.

        A flag set is a tag as well, for it is one that SDKs know of.
        """
        with self._api.begin() as asking:
            abouts = self._place.abouts(asking)
        flags = []
        for flag in found.flags:
            about = abouts.get(flag.key, {})
            tags = {*flag.tags, *(one["name"] for one in about.get("tags") or ())}
            description = about.get("description") or ""
            flags.append(replace(flag, tags=tuple(sorted(tags)), description=description))
        return replace(found, flags=tuple(flags))

    def switch(self, key: str, change: Change, *, on: bool) -> Flag:
        """Turn a flag on or off; off sets the safe default treatment in the same request.

        A second request says the kill again as SDKs hear it first: one that is stuck on a change
        hears no other.
        """
        with self._api.begin() as asking:
            before = self._read(asking, key)
            wanted = {**before.kept, "killed": not on}
            operations = [_replace("killed", not on)]
            safe = before.off(self._off.get(key))
            if not on and safe != before.kept["defaultTreatment"]:
                wanted["defaultTreatment"] = safe
                operations.insert(0, _replace("defaultTreatment", safe))
            try:
                now = self._patch(asking, before, operations, wanted, change)
            except Denied:
                # Where changes need an approval, kills may be let through by themselves.
                if on or safe != before.kept["defaultTreatment"]:
                    raise
            else:
                if on or before.kept == wanted:
                    return now
            self._place.kill(asking, key, _title(change), _comment(change))
            return self._read_back(asking, key, wanted)

    def rollout(self, key: str, variant: str, weight: int, change: Change) -> Flag:
        """Serve a variant to a share of users, and the off variant to the rest."""
        with self._api.begin() as asking:
            before = self._read(asking, key)
            served = self._served(before, variant, weight)
            operations = [_replace(name, value) for name, value in served.items()]
            wanted = {**before.kept, **_kept(before, **served)}
            return self._patch(asking, before, operations, wanted, change)

    def check(self, key: str, variant: str, weights: Iterable[int], targets: Iterable[str]) -> None:
        """Raise Refused for what a rollout would be refused."""
        with self._api.begin() as asking:
            before = self._read(asking, key)
        for weight in weights:
            self._served(before, variant, weight)
        checked_keys(key, targets)

    def _served(self, before: Stored, variant: str, weight: int) -> dict[str, Any]:
        """Return what serves a variant to a share of users. Raises Refused."""
        key = before.key
        before.treatment(variant)
        if not 0 <= weight <= WHOLE:
            message = f"a weight lies between 0 and {WHOLE}, not at {weight}"
            raise Refused(message, flag=key, hint="100 % are 100000")
        rest = before.off(self._off.get(key))
        if rest == variant:
            message = f'"{variant}" has no other variant for the rest of the users'
            raise Refused(message, flag=key, hint="set another default treatment in Split")
        before.refuse_foreign_rules()
        flag = before.plain()
        if flag is not None and before.carrier() is not None:
            made = definition_of(with_rollout(flag, variant, weight), portable=False)
            return {name: made[name] for name in ("rules", "defaultRule")}
        served = serves(key, variant, weight, rest, portable=key in self._portable)
        return {**served, "rules": [*before.requirements(), *served["rules"]]}

    def targets(self, key: str, variant: str, keys: Iterable[str], change: Change) -> Flag:
        """Make users the targets of one variant: they leave the others in the same request."""
        given = checked_keys(key, keys)
        with self._api.begin() as asking:
            before = self._read(asking, key)
            treatments = before.targeted(before.treatment(variant), given)
            wanted = {**before.kept, **_kept(before, treatments=treatments)}
            return self._patch(asking, before, [_replace("treatments", treatments)], wanted, change)

    def put(self, flag: Flag, change: Change, expected: str | None) -> Flag:
        """Write a flag whole, or make it."""
        with self._api.begin() as asking:
            try:
                before: Stored | None = self._read(asking, flag.key)
            except FlagNotFound:
                before = None
            self._compare(flag.key, before, expected)
            wanted = self._defined(flag, before, change, asking)
            about = self._place.about(asking, flag.key)
            tags = [one["name"] for one in about.get("tags") or ()]
            if tags != list(flag.tags) or (about.get("description") or "") != flag.description:
                self._place.describe(asking, flag.key, flag.description, list(flag.tags))
            return self._read_back(asking, flag.key, wanted)

    def _defined(
        self, flag: Flag, before: Stored | None, change: Change, asking: Asking
    ) -> Mapping[str, Any]:
        """Write what a flag decides by, where it is not so, and return what is kept then."""
        portable = flag.key in self._portable
        said = {"comment": _comment(change), "title": _title(change)}
        if before is None:
            definition = definition_of(flag, portable=portable)
            made = {**_nothing(None), **definition, **said}
            self._place.create(asking, flag.key, flag.description, {**nothing_of(made)})
            if flag.on:
                self._place.replace(asking, flag.key, {**made, "killed": True})
                on = [_replace("killed", False)]
                self._place.patch(asking, flag.key, on, _title(change), _comment(change))
            else:
                self._place.replace(asking, flag.key, made)
            return kept_of(made)
        how, default = before.carrier(), flag.default
        if how is not None and isinstance(default, Split) and default.bucketing == Bucketing():
            flag = by_hash(flag, how)  # names no salt at all, and keeps the hash that is there
        seeds = self._seeds(flag.key) if self._seeds and names_seeds(flag) else None
        same = flag if seeds is None else at_home(flag, seeds, first=False)
        if not portable and before.decides_as(same):
            return before.kept
        flag = flag if seeds is None else at_home(flag, seeds)
        definition = definition_of(flag, portable=portable, ruled=before.ruled())
        made = {**_nothing(before), **definition}
        wanted = kept_of(made)
        if before.kept != wanted:
            self._place.replace(asking, flag.key, {**made, **said})
        return wanted

    def delete(self, key: str, change: Change, expected: str | None) -> None:
        """Remove the definition from this environment; SDKs forget the flag."""
        with self._api.begin() as asking:
            self._compare(key, self._read(asking, key), expected)
            self._place.remove(asking, key)

    def snapshot(self, key: str) -> ProviderSnapshot:
        """Return what can be brought back of a flag.

        The document is the flag in our words, as rollouts read it, with Split's own state beside
        it, which is what is restored.
        """
        state = self._state(key)
        own = {name: state.definition[name] for name in KEPT if name in state.definition}
        document = {**flag_to_data(_told(state)), NAME: own}
        return ProviderSnapshot(key, NAME, state.version, document, utc_now())

    def restore(self, snapshot: ProviderSnapshot, change: Change, expected: str | None) -> Flag:
        """Bring a snapshot back whole, as a new version."""
        with self._api.begin() as asking:
            key = snapshot.flag
            own = snapshot.document.get(NAME)
            if snapshot.provider != NAME or own is None:
                message = f'the snapshot of flag "{key}" was taken at {snapshot.provider}'
                raise Refused(message, flag=key, hint="restore it there")
            before = self._read(asking, key)
            self._compare(key, before, expected)
            wanted = kept_of(own)
            if before.kept != wanted:
                said = {"comment": _comment(change), "title": _title(change)}
                self._place.replace(asking, key, {**own, **said})
            return self._read_back(asking, key, wanted)

    def _state(self, key: str) -> Stored:
        with self._api.begin() as asking:
            return self._read(asking, key)

    def _read(self, asking: Asking, key: str) -> Stored:
        definition = self._place.definition(asking, key)
        return Stored(definition, self._place.about(asking, key))

    def _patch(
        self,
        asking: Asking,
        before: Stored,
        operations: list[Operation],
        wanted: Mapping[str, Any],
        change: Change,
    ) -> Flag:
        if before.kept != wanted:
            title, comment = _title(change), _comment(change)
            self._place.patch(asking, before.key, operations, title, comment)
        return self._read_back(asking, before.key, wanted)

    def _read_back(self, asking: Asking, key: str, wanted: Mapping[str, Any]) -> Flag:
        now = self._read(asking, key)
        if now.kept != wanted:
            differ = ", ".join(name for name in KEPT if now.kept[name] != wanted[name])
            message = f'Split took the change of flag "{key}", but {differ} is not so'
            raise ProviderError(message, hint=_LOOK, flag=key, provider=NAME)
        return _told(now)

    def _compare(self, key: str, found: Stored | None, expected: str | None) -> None:
        """Raise VersionConflict where what is there is not what was expected."""
        there = ABSENT if found is None else found.version
        if expected is not None and expected != there:
            message = f'flag "{key}" changed since it was read'
            raise VersionConflict(message, expected=expected, found=there, flag=key, provider=NAME)


def _told(now: Stored) -> Flag:
    """Return a flag that was written: what is known of it, where it has no like here."""
    try:
        return now.flag()
    except NotCarried:
        off = now.off(None)
        return Flag(
            key=now.key,
            kind=now.kind,
            variants=now.values,
            off_variant=off,
            default=off,
            on=not now.kept["killed"],
            version=now.version,
        )


def _kept(before: Stored, **fields: Any) -> dict[str, Any]:
    """Return fields of a definition in the form that is compared."""
    made = kept_of({**before.definition, **fields})
    return {name: made[name] for name in fields}


def _nothing(before: Stored | None) -> dict[str, Any]:
    """Return what a new definition keeps of the one before: what we never write."""
    kept = {} if before is None else before.definition
    return {
        "flagSets": kept.get("flagSets") or [],
        "impressionsDisabled": bool(kept.get("impressionsDisabled")),
    }


def _replace(name: str, value: Any) -> Operation:
    return {"op": "replace", "path": f"/{name}", "value": value}


def _title(change: Change) -> str:
    return (change.reason or "Downhaul")[:_LONGEST_TITLE]


def _comment(change: Change) -> str:
    return f"{change.actor}: {change.reason}" if change.reason else change.actor
