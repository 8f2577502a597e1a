"""Every managing verb on two backends: first on the authoritative one, then on the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final, TypeVar

from downhaul.errors import FlagNotFound
from downhaul.flag import Flag, Segment
from downhaul.provider import Capability, Change, FlagProvider, ProviderSnapshot
from downhaul.staging import Side
from downhaul.wrappers.divergences import Divergence, Divergences, Write
from downhaul.wrappers.wrapper import Wrapper, stack_of

T = TypeVar("T")

_WHOLE: Final = frozenset({"put", "delete", "restore", "put_segment", "delete_segment"})
"""Verbs after which nothing is left of an earlier divergence."""


class WritesBoth(Wrapper):
    """Writes to ``inner``, the old backend, and to ``second``, the new one.

    A verb is what it is on the authoritative backend: its result, its versions, its error. What the
    other one fails at after that is a divergence and no error. ``switch_off`` reaches for both:
    where the authoritative one fails the other is tried all the same, and then the error is raised.

    A subclass says by :meth:`_order` who is written to, and in which order. Two processes that
    write one flag at the same moment may do so in another order on each side.
    """

    second: FlagProvider
    _divergences: Divergences

    def divergences(self) -> tuple[Divergence, ...]:
        """Return the writes of this process that one backend lacks, the oldest first.

        A whole write of the same flag or segment that reaches both settles those before it.
        """
        return self._divergences.all()

    def settle(self, key: str, entity: str = "flag") -> None:
        """Forget the divergences of a flag, or segment, that was brought in step."""
        self._divergences.settle(key, entity)

    def put(self, flag: Flag, change: Change, *, expected: str | None = None) -> Flag:
        """Write a whole flag; ``expected`` is the authoritative backend's version."""
        return self._both(
            Write("put", flag.key, change),
            lambda one: one.put(flag, change, expected=expected),
            lambda one, _: one.put(flag, change),
        )

    def delete(self, key: str, change: Change, *, expected: str | None = None) -> None:
        """Remove a flag; one that the other backend doesn't have is gone there already."""

        def remove(one: FlagProvider, _: None) -> None:
            with suppress(FlagNotFound):
                one.delete(key, change)

        self._both(
            Write("delete", key, change),
            lambda one: one.delete(key, change, expected=expected),
            remove,
        )

    def switch_on(self, key: str, change: Change) -> Flag:
        """Turn a flag on."""
        return self._alike(Write("switch_on", key, change), lambda one: one.switch_on(key, change))

    def switch_off(self, key: str, change: Change) -> Flag:
        """Turn a flag off on both, whichever of them fails."""
        write = Write("switch_off", key, change)
        first, *others = self._order(Capability.WRITE, key)

        def other(one: FlagProvider) -> Flag:
            return one.switch_off(key, change)

        try:
            flag = self._at(first).switch_off(key, change)
        except Exception as error:
            if self._others(write, others, other):
                self._divergences.note(write, self._name(first), error)
            raise
        self._others(write, others, other)
        return flag

    def set_rollout(self, key: str, variant: str, weight: int, change: Change) -> Flag:
        """Set a variant's part of the default split."""
        return self._alike(
            Write("set_rollout", key, change),
            lambda one: one.set_rollout(key, variant, weight, change),
        )

    def check_rollout(
        self, key: str, variant: str, weights: Iterable[int], targets: Iterable[str]
    ) -> None:
        """Ask the authoritative backend what it would refuse."""
        self._authority(Capability.WRITE, key).check_rollout(key, variant, weights, targets)

    def set_targets(self, key: str, variant: str, keys: Iterable[str], change: Change) -> Flag:
        """Set the targets of a variant."""
        given = tuple(keys)
        return self._alike(
            Write("set_targets", key, change),
            lambda one: one.set_targets(key, variant, given, change),
        )

    def put_segment(
        self, segment: Segment, change: Change, *, expected: str | None = None
    ) -> Segment:
        """Write a whole segment; ``expected`` is the authoritative backend's version."""
        return self._both(
            Write("put_segment", segment.key, change, "segment"),
            lambda one: one.put_segment(segment, change, expected=expected),
            lambda one, _: one.put_segment(segment, change),
            Capability.SEGMENTS,
        )

    def delete_segment(self, key: str, change: Change, *, expected: str | None = None) -> None:
        """Remove a segment; one that the other backend doesn't have is gone there already."""

        def remove(one: FlagProvider, _: None) -> None:
            with suppress(FlagNotFound):
                one.delete_segment(key, change)

        self._both(
            Write("delete_segment", key, change, "segment"),
            lambda one: one.delete_segment(key, change, expected=expected),
            remove,
            Capability.SEGMENTS,
        )

    def restore(
        self, snapshot: ProviderSnapshot, change: Change, *, expected: str | None = None
    ) -> Flag:
        """Bring a snapshot of the authoritative backend back; the other gets the flag whole."""
        return self._both(
            Write("restore", snapshot.flag, change),
            lambda one: one.restore(snapshot, change, expected=expected),
            lambda one, flag: one.put(flag, change),
            Capability.SNAPSHOT,
        )

    # Inside

    def _order(self, needs: Capability, key: str) -> tuple[Side, ...]:
        """Return who does what needs a capability, the authoritative side first: one or both.

        ``key`` is that of a segment where segments are needed, else of a flag.
        """
        raise NotImplementedError

    def _at(self, side: Side) -> FlagProvider:
        return self.inner if side is Side.OLD else self.second

    def _name(self, side: Side) -> str:
        return f"{side} {stack_of(self._at(side))}"

    def _authority(self, needs: Capability, key: str) -> FlagProvider:
        return self._at(self._order(needs, key)[0])

    def _alike(self, write: Write, do: Callable[[FlagProvider], T]) -> T:
        return self._both(write, do, lambda one, _: do(one))

    def _both(
        self,
        write: Write,
        do: Callable[[FlagProvider], T],
        follow: Callable[[FlagProvider, T], object],
        needs: Capability = Capability.WRITE,
    ) -> T:
        """Do it on the authoritative side; then let the other follow what came of it."""
        first, *others = self._order(needs, write.key)
        done = do(self._at(first))
        self._others(write, others, lambda one: follow(one, done))
        return done

    def _others(
        self, write: Write, others: Iterable[Side], do: Callable[[FlagProvider], object]
    ) -> bool:
        """Do it on the other sides; note where one fails. Return whether it was done on any."""
        reached = False
        for side in others:
            try:
                do(self._at(side))
            except Exception as error:  # noqa: BLE001  (refused, away or unable: the verb is done)
                self._divergences.note(write, self._name(side), error)
                continue
            reached = True
            if write.verb in _WHOLE:
                self._divergences.settle(write.key, write.entity)
        return reached


def lacks(divergences: tuple[Divergence, ...]) -> str:
    """Return what a status says of divergences: nothing where there are none."""
    if not divergences:
        return ""
    last = divergences[-1]
    return (
        f"writes on one side only: {len(divergences)}, the last one {last.verb} of {last.entity} "
        f'"{last.key}", which {last.lacking} lacks'
    )
