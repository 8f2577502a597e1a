"""Bring a flag's strategies from one state to another, request by request.

Unleash takes one strategy at a time and has no transactions. So the order matters: on the way, a
user is served only by strategies that were there before or will be there at the end. What switches
off goes first, what switches on goes last.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from downhaul.errors import ProviderError, Refused
from downhaul.vendors.rest import Asking
from downhaul_unleash.api import NAME, quoted
from downhaul_unleash.listing import segments_for
from downhaul_unleash.needing import in_order
from downhaul_unleash.shape import MOST_STRATEGIES, Strategy, named, rollout_of, same, sent_of
from downhaul_unleash.shapes import Feature
from downhaul_unleash.state import State, state_of

_MOST_BYTES: Final = 100 * 1024
"""The server's limit for the body of one request."""
_LOOK: Final = "look at the flag in Unleash, then repeat it on what is there now"


class Writing:
    """The requests that change one flag in one environment."""

    def __init__(self, asking: Asking, project: str, environment: str, key: str) -> None:
        self._asking = asking
        self._environment = environment
        self._key = key
        self._flag = f"/admin/projects/{quoted(project)}/features/{quoted(key)}"
        self._here = f"{self._flag}/environments/{quoted(environment)}"

    def read(self) -> State:
        """Return the flag as it is now. Raises FlagNotFound."""
        state = self.read_bare()
        return state.with_segments(segments_for(self._asking, [state]))

    def read_bare(self) -> State:
        """Return the flag as it is now, without its segments: one request less that may fail."""
        document = self._asking.get(self._flag, shape=Feature, flag=self._key)
        return state_of(document, self._environment)

    def apply(self, before: State, wanted: Sequence[Strategy], *, on: bool | None) -> State:
        """Make the flag have these strategies and be on or off; return it as read back.

        None leaves the switch to others: who switches it off meanwhile is not overruled. Raises
        Refused, before anything is written, for more, or larger, strategies than Unleash takes.
        """
        wanted = list(wanted)
        if len(wanted) > MOST_STRATEGIES:
            raise Refused(
                f'flag "{self._key}" would need {len(wanted)} strategies, and Unleash takes '
                f"{MOST_STRATEGIES}",
                flag=self._key,
                hint="give fewer targets, or keep them in a segment in Unleash",
            )
        for one in wanted:
            size = len(json.dumps(sent_of(one)))  # ASCII, as it is sent
            if size > _MOST_BYTES:
                raise Refused(
                    f'the strategy "{named(one)}" of flag "{self._key}" would take '
                    f"{size // 1024} kB, and Unleash takes {_MOST_BYTES // 1024}",
                    flag=self._key,
                    hint="give fewer or shorter targets, or keep them in a segment in Unleash",
                )
        stays_on = before.enabled if on is None else on
        if stays_on and all(one["disabled"] for one in wanted):
            # Where no strategy is active, Unleash's /on adds one that serves everybody.
            wanted.append(rollout_of(self._key, 0, portable=False))
        if before.enabled and on is False:
            self.switch(on=False)
        self._strategies(before, wanted)
        now = self.read_bare()
        if on and not now.enabled:
            self.switch(on=True)
            now = self.read_bare()
        self._verify(now, wanted, on)
        return now.with_segments(segments_for(self._asking, [now]))

    def switch(self, *, on: bool) -> None:
        """Switch the flag in this environment."""
        self._asking.post(f"{self._here}/{'on' if on else 'off'}", {}, self._key, again=True)

    def order(self, places: Sequence[tuple[str, int]]) -> None:
        """Give strategies, by id, their places in the order."""
        body = [{"id": each, "sortOrder": place} for each, place in places]
        self._asking.post(f"{self._here}/strategies/set-sort-order", body, self._key, again=True)

    def reordered(self, after: State, wanted: Sequence[Strategy]) -> State:
        """Give the strategies the places that they are wanted at; return the flag as read back."""
        left = list(wanted)
        places: list[tuple[str, int]] = []
        moved = False
        for one in after.strategies:
            was = next((each for each in left if same(each, one)), None)
            if was is None:
                continue  # one at 0 %, which `apply` added to keep Unleash from serving everybody
            left.remove(was)
            places.append((one["id"], was["sortOrder"]))
            moved = moved or was["sortOrder"] != one["sortOrder"]
        if not moved:
            return after
        self.order(places)
        return self.read()

    def need(self, before: State, wanted: Sequence[Mapping[str, Any]]) -> State:
        """Make the flag depend on these others, and no more; return it as read back."""
        path = f"{self._flag}/dependencies"
        names = {one["feature"] for one in wanted}
        for one in before.dependencies:
            if one["feature"] not in names:
                self._asking.delete(f"{path}/{quoted(one['feature'])}", self._key)
        kept = in_order(before.dependencies)
        for one in wanted:
            if one not in kept:
                body = {name: one[name] for name in ("feature", "enabled")}
                body |= {"variants": one["variants"]} if one["variants"] else {}
                self._asking.post(path, body, self._key, again=True)
        now = self.read()
        if in_order(now.dependencies) != list(wanted):
            raise self._mismatch("it depends on other flags than was written")
        return now

    def _strategies(self, before: State, wanted: Sequence[Strategy]) -> None:
        old = {one["id"]: one for one in before.strategies}
        kept = [one for one in wanted if one.get("id") in old]
        new = [one for one in wanted if one.get("id") not in old]
        staying = {one["id"] for one in kept}
        for one in kept:
            if not same(one, old[one["id"]]):
                path = f"{self._here}/strategies/{one['id']}"
                self._asking.put(path, sent_of(one), self._key)
        gone = [each for each in old if each not in staying]
        # Without any active strategy Unleash switches the flag off by itself.
        first = new if all(one["disabled"] for one in kept) else []
        for one in first:
            self._asking.post(f"{self._here}/strategies", sent_of(one), self._key)
        for each in gone:
            self._asking.delete(f"{self._here}/strategies/{each}", self._key)
        for one in new if not first else ():
            self._asking.post(f"{self._here}/strategies", sent_of(one), self._key)

    def _verify(self, now: State, wanted: Sequence[Strategy], on: bool | None) -> None:
        """Compare what is there with what was written: the server takes much that it ignores."""
        left = list(now.strategies)
        for one in wanted:
            found = next((each for each in left if same(each, one)), None)
            if found is None:
                raise self._mismatch(f'the strategy "{named(one)}" is not as it was written')
            left.remove(found)
        if left:
            if now.enabled and on is not False:
                self.switch(on=False)
                message = f'"{named(left[0])}" appeared beside them, so the flag was switched off'
                raise self._mismatch(message)
            raise self._mismatch(f'"{named(left[0])}" appeared beside them')
        if on is not None and now.enabled is not on:
            raise self._mismatch(f"the flag is {'on' if now.enabled else 'off'}")

    def _mismatch(self, what: str) -> ProviderError:
        message = f'Unleash took the strategies of flag "{self._key}", but {what}'
        return ProviderError(message, hint=_LOOK, flag=self._key, provider=NAME)
