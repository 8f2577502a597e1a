"""The flags that the suite asks about, and how it makes others."""

from __future__ import annotations

from typing import Any, Final

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

ON: Final = Flag.boolean("contract-on")
OFF: Final = Flag.boolean("contract-off", on=False)
USERS: Final = tuple(f"user-{number}" for number in range(1_000))


def text(key: str = "contract-text", **fields: Any) -> Flag:
    """Return a string flag that serves ``new``, and ``old`` when it is off."""
    variants = {"new": "new", "old": "old"}
    return of_kind(key, FlagKind.STRING, variants, **{"off_variant": "old", **fields})


def of_kind(key: str, kind: FlagKind, variants: dict[str, Any], **fields: Any) -> Flag:
    """Return a flag that is on and serves its first variant; off it serves the last."""
    first, *_, last = variants
    made: dict[str, Any] = {"default": first, "off_variant": last, "on": True, **fields}
    return Flag(key=key, kind=kind, variants=variants, **made)


def ruled(key: str, *rules: Rule, **fields: Any) -> Flag:
    """Return a boolean flag that is off for whoever no rule matches."""
    return Flag.boolean(key, **{"default": "off", "rules": rules, **fields})


def when(attribute: str, operator: Operator, *values: Any, **more: Any) -> Rule:
    """Return the rule that serves ``on`` where an attribute is so."""
    return Rule("on", (Clause(attribute, operator, values, **more),))


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
