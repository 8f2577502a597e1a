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
from downhaul_unleash.listing import all_segments, everything, features_of, segments_for
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
    same,
    sent_of,
    shape_of,
)
from downhaul_unleash.state import State, flag_of, served_variant
from downhaul_unleash.targets import with_targets
from downhaul_unleash.whole import about_of, checked_keys, variants_of, weight_of
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

    # Writing

    def put(self, flag: Flag, change: Change, expected: str | None) -> Flag:
        """Write a flag's switch, default and targets; foreign strategies stay as they are."""
        with self._api.begin() as asking:
            writing = self._writing(asking, flag.key)
            before = self._found(writing, flag.key)
            check_version(flag.key, before, expected)
            weight, serving = weight_of(flag)
            about = about_of(flag)
            rules = () if before is None else self._flag(before).rules
            if flag.rules != rules or (before is None and flag.prerequisites):
                raise Refused(
                    f'flag "{flag.key}" has other rules than in Unleash, where we write none',
                    flag=flag.key,
                    hint="make them as strategies in Unleash; leave `rules` as they are read",
                )
            for one in flag.targets:
                checked_keys(flag.key, one.keys)
            shape = shape_of(() if before is None else before.strategies)
            variants = variants_of(flag, serving)
            allowed = _keys_of(flag, serving)
            denied = _keys_of(flag, flag.off_variant)
            portable = flag.key in self._portable
            rollout = rollout_of(flag.key, weight, portable=portable, before=shape.rollout)
            rollout["variants"] = variants
            wanted = with_targets(flag.key, shape, rollout, allowed, denied)
            if before is None:
                before = self._create(asking, writing, flag.key, about)
            elif any(before.about.get(name) != value for name, value in about.items()):
                body = {**before.about, **about, "name": flag.key}
                body.pop("project", None)
                asking.put(f"{self._features}/{quoted(flag.key)}", body, flag.key)
            return self._flag(writing.apply(before, wanted, on=flag.on))

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
        for weight in weights:
            self._rollout(before, variant, weight)
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
            shape, flag = before.shape, self._flag(before)
            users = checked_keys(key, keys)
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
            return self._flag(self._reordered(writing, after, wanted))

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

    def _reordered(self, writing: Writing, after: State, wanted: list[Strategy]) -> State:
        """Give the strategies the places that they had."""
        left = list(wanted)
        places: list[tuple[str, int]] = []
        moved = False
        for one in after.strategies:
            was = next(each for each in left if same(each, one))
            left.remove(was)
            places.append((one["id"], was["sortOrder"]))
            moved = moved or was["sortOrder"] != one["sortOrder"]
        if not moved:
            return after
        writing.order(places)
        return writing.read()


def _keys_of(flag: Flag, variant: str | None) -> frozenset[str]:
    return frozenset(key for one in flag.targets if one.variant == variant for key in one.keys)
