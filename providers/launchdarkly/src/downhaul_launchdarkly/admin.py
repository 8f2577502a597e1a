"""Manage flags in LaunchDarkly: each verb is one atomic patch, read back before it returns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from downhaul.errors import ProviderError, Refused
from downhaul.flag import Flag, FlagSet, Segment
from downhaul.provider import Change, ProviderSnapshot
from downhaul_launchdarkly import flags, segments, snapshots
from downhaul_launchdarkly.api import NAME, Api
from downhaul_launchdarkly.desk import Desk
from downhaul_launchdarkly.ramps import ramp
from downhaul_launchdarkly.rules import NotCarried
from downhaul_launchdarkly.stored import Instruction, Stored
from downhaul_launchdarkly.writing import comment_of

if TYPE_CHECKING:
    from downhaul.config import Declaration


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
        with self._begin() as desk:
            state = desk.find(key)
            if state is None or state.archived:
                return None
            try:
                return desk.flag(state)
            except NotCarried as error:
                message = f'flag "{key}" has no like here: {error}'
                hint = "see it in LaunchDarkly; it can be switched from here all the same"
                raise ProviderError(message, flag=key, provider=NAME, hint=hint) from None

    def everything(self) -> FlagSet:
        """Return every flag and segment that has a like here; the log tells of the others."""
        with self._begin() as desk:
            return desk.everything()

    # Narrow verbs

    def switch(self, key: str, change: Change, *, on: bool) -> Flag:
        """Turn a flag on or off; off sets the safe off variation in the same patch."""
        with self._begin() as desk:
            before = desk.read(key)
            wanted: dict[str, Any] = {"on": on}
            instructions: list[Instruction] = [{"kind": "turnFlagOn" if on else "turnFlagOff"}]
            safe = None if on else before.safe(self._off.get(key))
            if safe is not None and safe != before.kept["offVariation"]:
                wanted["offVariation"] = safe
                instructions.insert(
                    0, {"kind": "updateOffVariation", "variationId": before.ids[safe]}
                )
            return self._write(desk, before, instructions, wanted, change)

    def rollout(self, key: str, variant: str, weight: int, change: Change) -> Flag:
        """Serve a variant to a share of users, and the off variant to the rest."""
        with self._begin() as desk:
            before = desk.read(key)
            asked, wanted = ramp(before, variant, weight, portable=key in self._portable)
            return self._write(desk, before, asked, wanted, change)

    def check_rollout(self, key: str, variant: str, weights: Iterable[int]) -> None:
        """Raise Refused for what a rollout would be refused as the flag is. Writes nothing."""
        with self._begin() as desk:
            before = desk.read(key)
            for weight in weights:
                ramp(before, variant, weight, portable=key in self._portable)

    def targets(self, key: str, variant: str, keys: Iterable[str], change: Change) -> Flag:
        """Make users the targets of one variant: they leave the others in the same patch."""
        if isinstance(keys, str):
            message = "targeting keys are a collection of strings, not one string"
            raise Refused(message, flag=key, hint=f"pass [{keys!r}]")
        asked = set(keys)
        for one in asked:
            if type(one) is not str or not one:
                message = f"a targeting key is a text that is not empty, not {one!r}"
                raise Refused(message, flag=key, hint="an empty key is a missing one")
        with self._begin() as desk:
            before = desk.read(key)
            wanted = {place: set(values) for place, values in before.kept["targets"].items()}
            wanted = {place: values - asked for place, values in wanted.items()}
            wanted[before.index(variant)] = asked
            after = {place: sorted(values) for place, values in wanted.items() if values}
            return self._write(desk, before, before.moves(after), {"targets": after}, change)

    # Whole flags

    def put(self, flag: Flag, change: Change, expected: str | None) -> Flag:
        """Write a whole flag. Raises DocumentError, Refused, VersionConflict."""
        portable = flag.key in self._portable
        with self._begin() as desk:
            return flags.put(desk, flag, change, expected, portable=portable)

    def delete(self, key: str, change: Change, expected: str | None) -> None:
        """Archive a flag that no other requires. Raises FlagNotFound, Refused, VersionConflict."""
        with self._begin() as desk:
            flags.put_away(desk, key, change, expected)

    # Segments

    def put_segment(self, segment: Segment, change: Change, expected: str | None) -> Segment:
        """Write a whole segment. Raises DocumentError, Refused, VersionConflict."""
        with self._begin() as desk:
            around = desk.everything()
            return segments.put(desk.asking, self._environment, segment, change, expected, around)

    def delete_segment(self, key: str, expected: str | None) -> None:
        """Remove a segment that nothing names. Raises FlagNotFound, Refused, VersionConflict."""
        with self._begin() as desk:
            segments.delete(desk.asking, self._environment, key, expected, desk.everything())

    # Snapshots

    def snapshot(self, key: str) -> ProviderSnapshot:
        """Return what can be brought back of a flag."""
        with self._begin() as desk:
            state = desk.read(key)
            return snapshots.taken(desk.asking, state, desk.told(state))

    def restore(self, snapshot: ProviderSnapshot, change: Change, expected: str | None) -> Flag:
        """Bring a snapshot back as a new version. Raises Refused, VersionConflict."""
        snapshots.refuse_others(snapshot)
        with self._begin() as desk:
            return flags.restore(desk, snapshot, change, expected)

    # Inside

    @contextmanager
    def _begin(self) -> Iterator[Desk]:
        """Give what one verb reads and writes through, until its deadline."""
        with self._api.begin() as asking:
            yield Desk(asking, self._environment)

    def _write(
        self,
        desk: Desk,
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
            desk.asking.patch(before.key, body)
        now = desk.read(before.key)
        differ = [name for name, value in wanted.items() if now.kept[name] != value]
        if differ:
            message = (
                f'LaunchDarkly took the change of flag "{before.key}", but '
                f"{', '.join(differ)} is not so"
            )
            hint = "look at the flag in LaunchDarkly, then repeat it on what is there now"
            raise ProviderError(message, hint=hint, flag=before.key, provider=NAME)
        return desk.told(now)
