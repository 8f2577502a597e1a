"""Clauses, splits, targets and segments of ours in LaunchDarkly's words.

What LaunchDarkly cannot say is refused, and named. Nothing is left out in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Any, Final

from downhaul.errors import Refused
from downhaul.flag import (
    CONTEXT_KIND,
    TARGETING_KEY,
    USER,
    Bucketing,
    Clause,
    Dialect,
    Flag,
    Gate,
    Keys,
    Missing,
    Operator,
    Scheme,
    Segment,
    SegmentRule,
    Serve,
    Split,
)
from downhaul_launchdarkly.rules import ANONYMOUS, OPERATORS, is_reference
from downhaul_launchdarkly.spelling import seed_of, spelled_segment

SAID: Final[Mapping[Operator, str]] = {
    **{ours: theirs for theirs, ours in OPERATORS.items()},
    Operator.EQUAL: "in",  # typed there too: 5 is 5.0, and neither "5" nor True
}
"""LaunchDarkly's operators, by ours."""

_SPECIAL: Final = {TARGETING_KEY: "key", CONTEXT_KIND: "kind"}
_UNSENT: Final = frozenset({"key", "kind", "_meta"})
_DIALECTS: Final = frozenset({Dialect.NATIVE, Dialect.LAUNCHDARKLY})


class Writer:
    """Writes parts of one flag or segment. ``salt`` is what LaunchDarkly hashes users with.

    ``index`` gives the place of a variant. Every method may raise Refused.
    """

    def __init__(
        self, one: Flag | Segment, salt: str = "", index: Callable[[str], int] | None = None
    ) -> None:
        self._sort = "flag" if isinstance(one, Flag) else "segment"
        self._key = one.key
        self._salt = salt
        self._salts = {None, f"{one.key}.{salt}"}
        self._index = index

    def refused(self, why: str, hint: str) -> Refused:
        """Return the error that says what LaunchDarkly cannot keep."""
        message = f'LaunchDarkly cannot keep {self._sort} "{self._key}" as it is: {why}'
        return Refused(message, flag=self._key, hint=hint)

    def clause(self, one: Clause) -> dict[str, Any]:
        """Return a clause."""
        if one.operator is Operator.IN_SEGMENT:
            return {
                "contextKind": USER,
                "attribute": "segmentMatch",
                "op": "segmentMatch",
                "values": list(one.values),
                "negate": one.negate,
            }
        operator = SAID.get(one.operator)
        if operator is None:
            hint = f"it has {', '.join(sorted(OPERATORS))}"
            raise self.refused(f'it has no operator "{one.operator}"', hint)
        if one.dialect not in _DIALECTS:
            hint = "write the clause in Downhaul's own dialect"
            raise self.refused(f"a clause reads values as {one.dialect} does", hint)
        if one.ignore_case:
            hint = "write the values in each case, or match a pattern that begins with (?i)"
            raise self.refused("a clause ignores case", hint)
        if (one.attribute, one.operator, one.values) == (ANONYMOUS, Operator.IN, (True,)):
            return self._anonymous(one)
        if one.missing is not Missing.NO_MATCH:
            hint = "a missing attribute matches no clause in LaunchDarkly, negated or not"
            raise self.refused(f'a clause takes a missing attribute as "{one.missing}"', hint)
        return {
            "contextKind": one.context_kind,
            "attribute": self._attribute(one.attribute),
            "op": operator,
            "values": list(one.values),
            "negate": one.negate,
        }

    def _anonymous(self, one: Clause) -> dict[str, Any]:
        """Return a clause on whether somebody is anonymous: nobody is to whom nobody said so."""
        if one.negate and one.missing is Missing.NO_MATCH:
            hint = "take a missing attribute for one that is False"
            raise self.refused('a clause asks for who is said not to be "anonymous"', hint)
        return {
            "contextKind": one.context_kind,
            "attribute": ANONYMOUS,
            "op": "in",
            "values": [not one.negate],
            "negate": False,
        }

    def serve(self, serve: Serve) -> dict[str, Any]:
        """Return what a spelled rule or flag serves: a variation, or a rollout by its own hash."""
        if not isinstance(serve, Split):
            return {"variation": self._place(serve)}
        return {
            "rollout": {
                **self._bucketing(serve.bucketing),
                "variations": [
                    {"variation": self._place(one.variant), "weight": one.weight}
                    for one in serve.weights
                ],
            }
        }

    def hashes_plainly(self, split: Split) -> bool:
        """Return whether a split is by the hash of the place where it is kept, and by the key."""
        how = split.bucketing
        own = how.scheme is Scheme.LAUNCHDARKLY and how.salt == f"{self._key}.{self._salt}"
        return (own and how.by == (TARGETING_KEY,)) or how == Bucketing()

    def targets(self, flag: Flag) -> dict[str, list[dict[str, Any]]]:
        """Return the targets of users, and those of all kinds, kind by kind."""
        lists: dict[str, dict[int, set[str]]] = {}
        for one in flag.targets:
            places = lists.setdefault(one.context_kind, {})
            places.setdefault(self._place(one.variant), set()).update(one.keys)
        made = {
            kind: [
                {"variation": place, "values": sorted(keys), "contextKind": kind}
                for place, keys in places.items()
            ]
            for kind, places in lists.items()
        }
        users = made.get(USER, [])
        kinds = [{**one, "values": []} if one in users else one for one in chain(*made.values())]
        return {"targets": users, "contextTargets": kinds if made.keys() - {USER} else []}

    def segment(self, segment: Segment) -> dict[str, Any]:
        """Return the fields of a segment that decide who belongs to it."""
        made: dict[str, Any] = {}
        for name, parts in (("included", segment.included), ("excluded", segment.excluded)):
            made |= _keys(name, parts)
        spelt = spelled_segment(segment, self._salt)
        return {**made, "rules": [self._segment_rule(one) for one in spelt.rules]}

    def _segment_rule(self, rule: SegmentRule) -> dict[str, Any]:
        made: dict[str, Any] = {"clauses": [self.clause(one) for one in rule.clauses]}
        return made if rule.gate is None else {**made, **self._gate(rule.gate)}

    def _gate(self, gate: Gate) -> dict[str, Any]:
        how = self._bucketing(gate.bucketing)
        kind = how.pop("contextKind")
        return {"weight": gate.share, "rolloutContextKind": kind, **how}

    def _bucketing(self, how: Bucketing) -> dict[str, Any]:
        """Return by what LaunchDarkly itself is to hash: its own salt where no seed is said."""
        made: dict[str, Any] = {"contextKind": how.context_kind}
        if how.salt not in self._salts:
            made["seed"] = seed_of(how.salt)
        if how.by != (TARGETING_KEY,):
            made["bucketBy"] = self._attribute(how.by[0])
        return made

    def _attribute(self, name: str) -> str:
        problem = problem_of(name)
        if problem is not None:
            raise self.refused(problem, "call the attribute something else")
        return _SPECIAL.get(name, name)

    def _place(self, variant: str | None) -> int:
        assert self._index is not None  # noqa: S101  (segments have no variants)
        assert variant is not None  # noqa: S101  (nothing spelled falls through)
        return self._index(variant)


def problem_of(attribute: str) -> str | None:
    """Return why LaunchDarkly can't ask for an attribute, or None."""
    if attribute in _SPECIAL:
        return None
    if not is_reference(attribute):
        return f'"{attribute}" is no attribute to LaunchDarkly'
    if attribute.removeprefix("/").partition("/")[0] in _UNSENT:
        return f'"{attribute}" is LaunchDarkly\'s own, and never sent'
    return None


def _keys(name: str, parts: Iterable[Keys]) -> dict[str, Any]:
    """Return keys as LaunchDarkly keeps them: users in one list, other kinds beside it."""
    kinds: dict[str, set[str]] = {}
    for one in parts:
        kinds.setdefault(one.context_kind, set()).update(one.keys)
    users: Sequence[str] = sorted(kinds.pop(USER, ()))
    others = [{"contextKind": kind, "values": sorted(keys)} for kind, keys in kinds.items()]
    return {name: list(users), f"{name}Contexts": others}
