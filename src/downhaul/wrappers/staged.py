"""Two backends between which each flag moves on its own, stage by stage, and back.

Reads, writes and comparisons go by :class:`downhaul.staging.Stage`. Where a flag stands is asked at
each evaluation, by one call that does no I/O, so that a move holds at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Annotated, Any, Final, Unpack

from pydantic import AfterValidator, Field

from downhaul.config import Settings
from downhaul.context import Context
from downhaul.evaluator.outcome import fresh
from downhaul.flag import WHOLE, Flag, FlagKind, FlagSet, weight_of
from downhaul.provider import (
    Capability,
    ChangeRecords,
    FlagProvider,
    ProviderSnapshot,
    ProviderStatus,
    State,
)
from downhaul.result import ErrorCode, Reason, Result
from downhaul.staging import Side, Stage, Standing, StandingOf
from downhaul.wrappers.asked import Asked
from downhaul.wrappers.beside import around_both, told
from downhaul.wrappers.comparing import Options
from downhaul.wrappers.divergences import Diverged, Divergences
from downhaul.wrappers.pair import deciding, worst
from downhaul.wrappers.shadow import Compares, ComparingSettings, options_of
from downhaul.wrappers.tallying import tally_for
from downhaul.wrappers.wrapper import stack_of
from downhaul.wrappers.writing import WritesBoth, lacks

_BOTH: Final = frozenset(stage for stage in Stage if len(stage.writes) > 1)
"""The stages in which both sides are written, so that what either says counts (rule M4)."""

_NO_ANSWER: Final = frozenset(
    {
        ErrorCode.PROVIDER_NOT_READY,
        ErrorCode.PROVIDER_FATAL,
        ErrorCode.FLAG_NOT_FOUND,
        ErrorCode.PARSE_ERROR,
        ErrorCode.GENERAL,
    }
)
"""Errors of a backend, and not of who asks it."""

_TYPES: Final[Mapping[FlagKind | None, tuple[type, ...]]] = {
    FlagKind.BOOLEAN: (bool,),
    FlagKind.STRING: (str,),
    FlagKind.NUMBER: (int, float),
    FlagKind.OBJECT: (dict, list),
    None: (object,),
}
_SERVING: Final = frozenset({State.READY, State.STALE})


class StagedSettings(ComparingSettings):
    """``[provider.staged]``: where all flags stand, unless something else tells of each.

    ``share`` is the percentage of targeting keys that are at ``stage``; the others are at the one
    before it. ``follow`` says whether the control store tells where each flag stands; unsaid, it
    does where there is one.
    """

    stage: Stage | None = None
    share: Annotated[float, Field(ge=0, le=100), AfterValidator(weight_of)] = WHOLE
    in_step: bool = False
    follow: bool | None = None


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a stage means for somebody who asks: who is asked, and who else there is."""

    mine: Asked
    other: Asked
    compares: bool


class Staged(WritesBoth, Compares):
    """Serves, compares and writes each flag as its stage says, between ``inner`` and ``second``.

    ``standing_of`` says where a flag stands, by its key, and by the empty text where those stand of
    which nothing is known; without it all stand at ``standing``. Who moves a flag calls
    :meth:`moved`. ``diverged`` is told of each write that one side lacks, and ``comparing`` is how
    much is compared: see :class:`downhaul.wrappers.comparing.Options`.

    Once a flag is in step, and as long as both sides are written, it is off for everybody if either
    side has it off (rule M4), and where the side that is read can't answer the other one does.
    """

    label = "staged"

    def __init__(
        self,
        inner: FlagProvider,
        second: FlagProvider,
        standing_of: StandingOf | None = None,
        *,
        standing: Standing = Standing(),  # noqa: B008  (frozen)
        diverged: Diverged | None = None,
        **comparing: Unpack[Options],
    ) -> None:
        super().__init__(inner, second, **comparing)
        self._standing_of = standing_of or (lambda _key: standing)
        self._divergences = Divergences(diverged)
        self._offer = self._comparing.offer
        self._plans = {
            stage: _Plan(self._sides[stage.reads], self._sides[stage.reads.other], stage.compares)
            for stage in Stage
        }
        self._charge: frozenset[Side] = frozenset()  # the sides that some flag is read on
        self._take_charge()

    @property
    def is_one_store(self) -> bool:
        """Whether all flags are where the old side's kills are, so that a kill is whole there."""
        return self._charge == {Side.OLD}

    # Evaluating

    def resolve(self, key: str, context: Context, kind: FlagKind | None) -> Result:
        """Ask the side that is read of this flag for this targeting key."""
        standing = self._standing_of(key)
        stage = standing.stage
        counts = standing.in_step and stage in _BOTH
        if standing.share < WHOLE:
            stage = standing.of(key, context.targeting_key)
        plan = self._plans[stage]
        # Though the side that is read may have it off too: it may be on again, and not yet say so.
        if counts and key in plan.other.off:
            return self._off(key, kind, plan, plan.other)
        result = plan.mine.ask(key, context, kind)
        if plan.compares:
            self._offer(key, context, kind, result, plan.mine.side)
        if counts and result.error_code in _NO_ANSWER:
            return self._instead(key, context, kind, plan, result)
        return result

    def _off(self, key: str, kind: FlagKind | None, plan: _Plan, by: Asked) -> Result:
        """Answer for a flag that one side has off: with the off variant."""
        result = _off_result(self._said.get(key), key, kind, plan.mine.provider.name)
        return _with(result, "off_at", f"{by.side} {by.provider.name}")

    def _instead(
        self, key: str, context: Context, kind: FlagKind | None, plan: _Plan, failed: Result
    ) -> Result:
        """Answer with the other side, which is in step, where the one that is read can't."""
        mine = plan.mine
        if key in mine.off:
            return self._off(key, kind, plan, mine)
        result = plan.other.ask(key, context, kind)
        if result.error_code is not None:
            return failed
        said = f"{mine.side} {mine.provider.name}: {failed.error_code}"
        return _with(result, "instead_of", said)

    def moved(self, keys: Iterable[str] | None = None) -> None:
        """Hear that these flags, or all, stand elsewhere now, and tell whoever listens."""
        with self._moved:
            self._take_charge()
            self._say(self._keys() if keys is None else tuple(keys))
            stands = self._stands(self._stood)
            self._tell(lambda listener: listener.status_changed(stands))
            self._moved.notify_all()
        self._delivery.run()

    def after_fork(self) -> None:
        """Follow both again in a forked child, and compare what is asked there."""
        self._divergences.after_fork()
        super().after_fork()

    # Managing, beside what is written

    def get(self, key: str) -> Flag | None:
        """Return the flag as the side that is read keeps it."""
        return self._authority(Capability.READ, key).get(key)

    def list(self) -> FlagSet:
        """Return each flag as the side that is read keeps it."""
        self._order(Capability.READ, "")
        segments = self._segment_order()[0]
        wanted = {one.stage.reads for one in self._standings()}
        listed: dict[Side, FlagSet] = {}
        while missing := wanted - listed.keys():
            listed |= {side: self._at(side).list() for side in missing}
            wanted |= {self._reads(key) for kept in listed.values() for key in kept.flags}
        flags = {
            key: flag
            for side, kept in sorted(listed.items())
            for key, flag in kept.flags.items()
            if self._reads(key) is side
        }
        revision = "+".join(kept.revision for _, kept in sorted(listed.items()))
        return FlagSet(flags, listed[segments].segments, revision)

    def snapshot(self, key: str) -> ProviderSnapshot:
        """Return the snapshot of the side that is read."""
        return self._authority(Capability.SNAPSHOT, key).snapshot(key)

    def history(
        self, key: str | None = None, *, limit: int = 100, before: int | None = None
    ) -> ChangeRecords:
        """Return the history of the side that is read."""
        self._order(Capability.HISTORY, "")  # which two of them at once don't have
        (side,) = self._charge
        return self._at(side).history(key, limit=limit, before=before)

    # Where flags stand

    def _standings(self) -> set[Standing]:
        return {self._standing_of(key) for key in self._keys()} or {self._standing_of("")}

    def _reads(self, key: str) -> Side:
        return self._standing_of(key).stage.reads

    def _counts(self, key: str) -> bool:
        return _both_count(self._standing_of(key))

    def _needed(self) -> Iterable[Side]:
        return frozenset(side for one in self._standings() for side in _answering(one))

    def _order(self, needs: Capability, key: str) -> tuple[Side, ...]:
        if needs not in self.capabilities:
            raise self._unsupported(needs)
        if needs is Capability.SEGMENTS:
            return self._segment_order()
        return self._standing_of(key).stage.writes

    def _segment_order(self) -> tuple[Side, ...]:
        """Return the order for segments, which flags of all stages name."""
        stages = [one.stage for one in self._standings()]
        first = Side.OLD if any(stage.reads is Side.OLD for stage in stages) else Side.NEW
        if any(first.other in stage.writes for stage in stages):
            return first, first.other
        return (first,)

    def _take_charge(self) -> None:
        """Take up which sides flags are read on, and so what can be done with all of them."""
        sides = self._charge = frozenset(one.stage.reads for one in self._standings())
        can = [deciding(self._at(side)) for side in sides]
        # The pages of two histories can't be told as one.
        apart = {Capability.HISTORY} if len(sides) > 1 else set()
        self.capabilities = frozenset.intersection(*can) - apart

    def _say_all(self, told: frozenset[str], touched: Collection[str] = ()) -> None:
        self._take_charge()
        super()._say_all(told, touched)

    def _say(self, keys: Collection[str]) -> None:
        if not self._charge.issuperset(map(self._reads, keys)):
            self._take_charge()
        super()._say(keys)

    def _stands(self, stands: Mapping[Side, ProviderStatus]) -> ProviderStatus:
        states = {side: status.state for side, status in stands.items()}
        state = worst(_state_of(one, states) for one in self._standings())
        ages = [stands[side].age for side in self._needed()]
        known = [age for age in ages if age is not None]
        said = [
            *(f"{side} {stack_of(self._at(side))} is {told(stands[side])}" for side in Side),
            lacks(self.divergences()),
        ]
        age = max(known) if len(known) == len(ages) else None
        return ProviderStatus(state, "; ".join(filter(None, said)), age)


def _both_count(standing: Standing) -> bool:
    """Return whether either side's word counts: its off, and its answer in place of the other's."""
    return standing.in_step and standing.stage in _BOTH


def _answering(standing: Standing) -> set[Side]:
    """Return the sides that somebody is answered by."""
    stage = standing.stage
    return {stage.reads} if standing.share >= WHOLE else {stage.reads, stage.before.reads}


def _state_of(standing: Standing, states: Mapping[Side, State]) -> State:
    """Return how flags are served that stand there.

    Where both sides count one of them is enough to answer, and an off on the other is not heard.
    """
    if _both_count(standing) and _SERVING.intersection(states.values()):
        return State.READY if set(states.values()) == {State.READY} else State.STALE
    return worst(states[side] for side in _answering(standing))


def _off_result(flag: Flag | None, key: str, kind: FlagKind | None, provider: str) -> Result:
    """Return what a flag answers that is off: its off variant, or else what a kill does (K2)."""
    kind = kind or (None if flag is None else flag.kind)
    off, version = None, ""
    if flag is not None:
        off, version = flag.off_variant, flag.version
    if flag is not None and off is not None and _fits(flag.variants.get(off), kind):
        made = Result(flag.variants[off], off, Reason.DISABLED)
    elif kind is FlagKind.BOOLEAN:
        made = Result(False, off, Reason.DISABLED)
    else:
        made = Result(None, None, Reason.DISABLED, authoritative=False)
    return fresh(replace(made, flag_version=version, provider=provider, flag=key))


def _fits(value: Any, kind: FlagKind | None) -> bool:
    if isinstance(value, bool):
        return kind in (FlagKind.BOOLEAN, None)
    return value is not None and isinstance(value, _TYPES[kind])


def _with(result: Result, name: str, said: str) -> Result:
    return replace(result, metadata=MappingProxyType({**result.metadata, name: said}))


def create(inner: FlagProvider, table: Mapping[str, Any], settings: Settings) -> FlagProvider:
    """Make the wrapper that ``wrap = ["staged"]`` asks for. Raises ConfigError."""
    from downhaul.wrappers.registered import Registered  # noqa: PLC0415  (which is one of these)
    from downhaul.wrappers.standings import (  # noqa: PLC0415  (the register's part)
        has_register,
        stage_provider,
    )

    stage: Stage | None = table.get("stage")
    standing = Standing(stage or Stage.OFF, table["share"], table["in_step"])
    follows = table.get("follow")
    if follows is None:
        follows = has_register(settings, inner)

    def staged(second: FlagProvider) -> FlagProvider:
        options = options_of(table)
        options["sink"] = tally_for(settings, inner, second)
        if not follows:
            return Staged(inner, second, standing=standing, **options)
        known = None if stage is None else standing
        return Registered(inner, second, stage_provider(settings), known, **options)

    return around_both(settings, Staged.label, staged)
