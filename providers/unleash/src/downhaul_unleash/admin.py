"""Manage flags in Unleash: the verbs, each read back before it returns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from downhaul.encoding import flag_to_data
from downhaul.errors import FlagNotFound, ProviderError, Refused
from downhaul.flag import Flag, FlagKind, FlagSet
from downhaul.provider import Change, ProviderSnapshot, utc_now
from downhaul.vendors.rest import Asking
from downhaul_unleash.api import NAME, Api, quoted
from downhaul_unleash.listing import (
    all_segments,
    everything,
    features_of,
    segments_for,
    tags_of,
)
from downhaul_unleash.needing import Dependency, dependencies_of, in_order
from downhaul_unleash.ours import is_bare, rolled_out, strategies_for, targeted
from downhaul_unleash.refusing import (
    check_version,
    check_weight,
    no_variant,
    refuse_defeat,
    refuse_other_segments,
)
from downhaul_unleash.shape import (
    Strategy,
    normal,
    rollout_of,
    sent_of,
    shape_of,
)
from downhaul_unleash.state import State, flag_of, served_variant
from downhaul_unleash.targets import with_targets
from downhaul_unleash.whole import about_of, check_whole, checked_keys, variants_of, weight_of
from downhaul_unleash.why import CantSay
from downhaul_unleash.writing import Writing

if TYPE_CHECKING:
    from downhaul.config import Declaration


class Admin:
    """Flags of one project in one environment, through the admin API.

    ``portable`` are the keys whose rollout is by our own bucket; ``declared`` says off variants.
    Unleash keeps no reason of a change: what a verb is given of it is Downhaul's to record.
    """

    def __init__(
        self,
        api: Api,
        project: str,
        environment: str,
        *,
        portable: frozenset[str] = frozenset(),
        declared: Mapping[str, Declaration] | None = None,
    ) -> None:
        self._api = api
        self._project = project
        self._environment = environment
        self._portable = portable
        self._off = {key: one.off for key, one in (declared or {}).items()}
        self._features = features_of(project)

    def __repr__(self) -> str:
        return f"Admin({self._api!r}, {self._project!r}, {self._environment!r})"

    # Reading

    def get(self, key: str) -> Flag | None:
        """Return the flag as it is now, or None."""
        with self._api.begin() as asking:
            try:
                return self._flag(self._writing(asking, key).read())
            except FlagNotFound:
                return None

    def everything(self) -> FlagSet:
        """Return every flag of the project, page by page to the end."""
        with self._api.begin() as asking:
            states = everything(asking, self._project, self._environment)
            return FlagSet.of(map(self._flag, states))

    def tags_of(self, names: Iterable[str]) -> Mapping[str, tuple[str, ...]]:
        """Return the tags of flags, by name; Unleash tells its SDKs none."""
        with self._api.begin() as asking:
            return tags_of(asking, self._environment, list(names))

    # Writing

    def put(self, flag: Flag, change: Change, expected: str | None) -> Flag:
        """Write a flag's switch, default and targets; foreign strategies stay as they are."""
        with self._api.begin() as asking:
            writing = self._writing(asking, flag.key)
            before = self._found(writing, flag.key)
            check_version(flag.key, before, expected)
            about = about_of(flag)
            now = None if before is None else self._flag(before)
            for one in flag.targets:
                checked_keys(flag.key, one.keys)
            wanted = self._strategies(flag, before, now)
            needs = self._needs(asking, flag)
            if before is None:
                before = self._create(asking, writing, flag.key, about)
            elif any(before.about.get(name) != value for name, value in about.items()):
                body = {**before.about, **about, "name": flag.key}
                body.pop("project", None)
                asking.put(f"{self._features}/{quoted(flag.key)}", body, flag.key)
            if in_order(before.dependencies) != needs:
                before = writing.need(before, needs)
            after = writing.apply(before, wanted, on=flag.on)
            return self._flag(writing.reordered(after, wanted))

    def _strategies(self, flag: Flag, before: State | None, now: Flag | None) -> list[Strategy]:
        """Return the strategies of a whole flag. Raises Refused."""
        check_whole(flag)
        shape = shape_of(() if before is None else before.strategies)
        ours = before is not None and before.ours is not None
        by_hand = not ours and any(not one["disabled"] for one in shape.foreign)
        rules = () if now is None else now.rules
        if by_hand and flag.rules != rules:
            raise Refused(
                f'flag "{flag.key}" has strategies in Unleash that Downhaul did not write, so that '
                "it writes no rules beside them",
                flag=flag.key,
                hint="make the rules there as strategies, or remove those; leave `rules` as they "
                "are read",
            )
        portable = flag.key in self._portable
        if not (by_hand or (not ours and (portable or is_bare(flag, now)))):
            return strategies_for(flag, before)
        weight, serving = weight_of(flag)
        rollout = rollout_of(flag.key, weight, portable=portable, before=shape.rollout)
        rollout["variants"] = variants_of(flag, serving)
        allowed, denied = _keys_of(flag, serving), _keys_of(flag, flag.off_variant)
        return with_targets(flag.key, shape, rollout, allowed, denied)

    def _needs(self, asking: Asking, flag: Flag) -> list[Dependency]:
        """Return the dependencies of a flag. Raises Refused for prerequisites that are none."""

        def find(key: str) -> Flag | None:
            state = self._found(self._writing(asking, key), key)
            return None if state is None else self._flag(state)

        try:
            return dependencies_of(flag, find)
        except CantSay as refusal:
            message = f'flag "{flag.key}" cannot be written: {refusal}'
            hint = "see `downhaul migrate plan`, which tells what Unleash can keep of a flag"
            raise Refused(message, flag=flag.key, hint=hint) from None

    def delete(self, key: str, change: Change, expected: str | None) -> None:
        """Archive a flag. Raises FlagNotFound; Refused while another flag depends on it."""
        with self._api.begin() as asking:
            writing = self._writing(asking, key)
            before = writing.read()
            check_version(key, before, expected)
            if before.children:
                names = ", ".join(f'"{one}"' for one in before.children)
                raise Refused(
                    f'flag "{key}" can\'t be archived: others depend on it: {names}',
                    flag=key,
                    hint="remove the dependency in Unleash, or delete them first",
                )
            asking.delete(f"{self._features}/{quoted(key)}", key)
            if self._found(writing, key) is not None:
                raise Refused(
                    f'Unleash did not archive flag "{key}"', flag=key, hint="archive it in Unleash"
                )

    def switch(self, key: str, change: Change, *, on: bool) -> Flag:
        """Switch a flag, and let Unleash add no strategy to it."""
        with self._api.begin() as asking:
            writing = self._writing(asking, key)
            before = writing.read_bare()
            if on:
                return self._flag(writing.apply(before, before.strategies, on=True))
            writing.switch(on=False)
            after = writing.read_bare()
            if after.enabled:
                raise Refused(
                    f'flag "{key}" is on again already: somebody switched it on',
                    flag=key,
                    hint="a kill holds whatever Unleash says: `downhaul kill`",
                )
            with suppress(ProviderError):  # it is off: what can't be read must not look otherwise
                after = after.with_segments(segments_for(asking, [after]))
            return self._flag(after)

    def rollout(self, key: str, variant: str, weight: int, change: Change) -> Flag:
        """Set the percentage of our rollout strategy; made at 0 % where there is none."""
        with self._api.begin() as asking:
            writing = self._writing(asking, key)
            before = writing.read()
            ours = before.ours
            if ours is not None:
                check_weight(ours, weight)
                return self._rewritten(writing, before, rolled_out(ours, variant, weight))
            shape, rollout = before.shape, self._rollout(before, variant, weight)
            if shape.rollout is None:
                wanted = [*before.strategies, rollout]
            else:
                wanted = [
                    rollout if one["id"] == rollout["id"] else one for one in before.strategies
                ]
            return self._flag(writing.apply(before, wanted, on=None))

    def check(self, key: str, variant: str, weights: Iterable[int], targets: Iterable[str]) -> None:
        """Raise Refused for what a rollout would be refused."""
        with self._api.begin() as asking:
            before = self._writing(asking, key).read()
        ours = before.ours
        for weight in weights:
            if ours is None:
                self._rollout(before, variant, weight)
            else:
                check_weight(ours, weight)
                strategies_for(rolled_out(ours, variant, weight), before)
        checked_keys(key, targets)

    def _rollout(self, before: State, variant: str, weight: int) -> Strategy:
        """Return our rollout strategy with a percentage. Raises Refused."""
        key, shape, flag = before.key, before.shape, self._flag(before)
        check_weight(flag, weight)
        serving = "on" if flag.kind is FlagKind.BOOLEAN else served_variant(shape)
        if variant != serving or variant not in flag.variants:
            raise no_variant(flag, variant, serving)
        refuse_defeat(key, shape)
        return rollout_of(
            key, weight, portable=key in self._portable, before=shape.rollout, denies=shape.denies
        )

    def targets(self, key: str, variant: str, keys: Iterable[str], change: Change) -> Flag:
        """Set who always gets the flag (its variant), or never does (its off variant)."""
        with self._api.begin() as asking:
            writing = self._writing(asking, key)
            before = writing.read()
            users = checked_keys(key, keys)
            ours = before.ours
            if ours is not None:
                return self._rewritten(writing, before, targeted(ours, variant, users))
            shape, flag = before.shape, self._flag(before)
            serving = "on" if flag.kind is FlagKind.BOOLEAN else served_variant(shape)
            if variant == flag.off_variant:
                allowed, denied = shape.allowed - users, users
            elif variant == serving and variant in flag.variants:
                allowed, denied = users, shape.denied - users
            else:
                raise no_variant(flag, variant, serving)
            rollout = shape.rollout or rollout_of(key, 0, portable=False, denies=shape.denies)
            if shape.rollout is None and not (denied or shape.foreign):
                rollout = rollout_of(key, 0, portable=False)
            lifted = shape.in_part if variant == flag.off_variant else ()
            wanted = with_targets(key, shape, rollout, allowed, denied, lifted)
            return self._flag(writing.apply(before, wanted, on=None))

    # Snapshots

    def snapshot(self, key: str) -> ProviderSnapshot:
        """Return the flag's switch, strategies and variants in this environment, as they are.

        Beside Unleash's own words stand ours, for a rollout to see what the flag was.
        """
        with self._api.begin() as asking:
            state = self._writing(asking, key).read()
            own = {
                "environment": self._environment,
                "enabled": state.enabled,
                "strategies": [{**sent_of(one), "id": one["id"]} for one in state.strategies],
                "variants": [dict(one) for one in state.variants],
                "dependencies": [dict(one) for one in state.dependencies],
                "segments": [dict(one) for one in state.segments],
            }
            document = {**flag_to_data(self._flag(state)), NAME: own}
            return ProviderSnapshot(key, NAME, state.version, document, utc_now())

    def restore(self, snapshot: ProviderSnapshot, change: Change, expected: str | None) -> Flag:
        """Bring a snapshot back. Raises Refused for one of elsewhere, or what it can't undo."""
        key, document = snapshot.flag, snapshot.document.get(NAME, {})
        place = document.get("environment")
        if snapshot.provider != NAME or place != self._environment:
            raise Refused(
                f'the snapshot is of "{snapshot.provider}", environment "{place}"',
                flag=key,
                hint=f'restore it there; this is {NAME}, environment "{self._environment}"',
            )
        with self._api.begin() as asking:
            writing = self._writing(asking, key)
            before = writing.read()
            check_version(key, before, expected)
            for field in ("variants", "dependencies"):
                if [dict(one) for one in getattr(before, field)] != list(document[field]):
                    raise Refused(
                        f'the {field} of flag "{key}" itself changed since the snapshot',
                        flag=key,
                        hint=f"bring the {field} back in Unleash, then restore",
                    )
            wanted = [normal(one) for one in document["strategies"]]
            if document.get("segments"):
                refuse_other_segments(key, document["segments"], all_segments(asking))
            after = writing.apply(before, wanted, on=bool(document["enabled"]))
            return self._flag(writing.reordered(after, wanted))

    # --- parts

    def _writing(self, asking: Asking, key: str) -> Writing:
        return Writing(asking, self._project, self._environment, key)

    def _found(self, writing: Writing, key: str) -> State | None:
        try:
            return writing.read()
        except FlagNotFound:
            return None

    def _flag(self, state: State) -> Flag:
        return flag_of(state, self._off.get(state.key))

    def _rewritten(self, writing: Writing, before: State, flag: Flag) -> Flag:
        """Write a flag of ours anew, but for its switch."""
        wanted = strategies_for(flag, before)
        return self._flag(writing.reordered(writing.apply(before, wanted, on=None), wanted))

    def _create(
        self, asking: Asking, writing: Writing, key: str, about: Mapping[str, Any]
    ) -> State:
        """Make a flag, off and without strategies; one in the archive comes back for that."""
        body = {**about, "name": key}
        try:
            asking.post(self._features, body, key)
        except Refused as refusal:
            if "archived" not in refusal.message:
                raise
            asking.post(f"/admin/archive/revive/{quoted(key)}", {}, key, again=True)
            writing.switch(on=False)
            body["impressionData"] = False
            asking.put(f"{self._features}/{quoted(key)}", body, key)
        return writing.read()


def _keys_of(flag: Flag, variant: str | None) -> frozenset[str]:
    return frozenset(key for one in flag.targets if one.variant == variant for key in one.keys)
