"""What every contract stands on: the fixture to override, and flags to write."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from downhaul.flag import (
    Clause,
    Flag,
    FlagKind,
    FlagType,
    Operator,
    Prerequisite,
    Rule,
    Segment,
    SegmentRule,
    Split,
    Target,
    Weight,
)
from downhaul.provider import Change, FlagProvider

MakeProvider = Callable[[], FlagProvider]

CHANGE = Change("contract", "to see whether it holds")


class Contract:
    """A base for contracts, with the one fixture that a binding overrides."""

    @pytest.fixture
    def make_provider(self) -> MakeProvider:
        """Return what makes providers on one and the same, still empty, store."""
        raise NotImplementedError

    @pytest.fixture
    def provider(self, make_provider: MakeProvider) -> Iterator[FlagProvider]:
        """A provider, closed at the end."""
        made = make_provider()
        yield made
        made.close()


def rich_flag(key: str = "checkout") -> Flag:
    """Return a flag that has something in every field that needs no other flag."""
    return Flag(
        key=key,
        kind=FlagKind.OBJECT,
        variants={
            "new": {"steps": 10.0, "retries": 10},
            "old": {},
            "wild": {"steps": -1, "é": "ü"},
        },
        off_variant="old",
        on=True,
        targets=(
            Target("new", frozenset({"ada", "grace"})),
            Target("wild", frozenset({"acme"}), context_kind="organisation"),
        ),
        rules=(
            Rule(
                serve="wild",
                clauses=(Clause("plan", Operator.IN, ("gold", 5, 5.5)),),
                id="gold",
            ),
        ),
        default=Split((Weight("new", 25_000), Weight("old", 75_000))),
        tags=("checkout", "payments"),
        owner="team-checkout",
        description='with "quotes", 漢字 and a \u2028 line separator',
        type=FlagType.EXPERIMENT,
    )


def needing(key: str, *others: str) -> Flag:
    """Return a flag with these flags as prerequisites."""
    return Flag.boolean(key, prerequisites=tuple(Prerequisite(other) for other in others))


def in_segment(key: str, segment: str) -> Flag:
    """Return a flag that serves ``on`` to a segment."""
    clause = Clause("", Operator.IN_SEGMENT, (segment,))
    return Flag.boolean(key, percent=0, rules=(Rule("on", (clause,)),))


def nested(key: str, *others: str) -> Segment:
    """Return a segment that holds other segments."""
    return Segment(key, rules=(SegmentRule((Clause("", Operator.IN_SEGMENT, others),)),))
