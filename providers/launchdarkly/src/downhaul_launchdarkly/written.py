"""Clauses, splits, targets and segments of ours in LaunchDarkly's words.

What LaunchDarkly cannot say is refused, and named. Nothing is left out in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from downhaul.errors import Refused
from downhaul.flag import (
    CONTEXT_KIND,
    TARGETING_KEY,
    USER,
    WHOLE,
    Bucketing,
    Clause,
    Dialect,
    Flag,
    Gate,
    Keys,
    Missing,
    NoKey,
    Operator,
    Scheme,
    Segment,
    SegmentRule,
    Serve,
    Split,
)
from downhaul_launchdarkly.rules import OPERATORS

_OPERATORS: Final[Mapping[Operator, str]] = {
    **{ours: theirs for theirs, ours in OPERATORS.items()},
    Operator.EQUAL: "in",  # typed there too: 5 is 5.0, and neither "5" nor True
}
_SPECIAL: Final = {TARGETING_KEY: "key", CONTEXT_KIND: "kind"}
_UNSENT: Final = frozenset({"key", "kind", "_meta"})
_DIALECTS: Final = frozenset({Dialect.NATIVE, Dialect.LAUNCHDARKLY})
_PLAIN: Final = frozenset({NoKey.ERROR, NoKey.FIRST})


class Writer:
    """Writes parts of one flag or segment. ``salt`` is what LaunchDarkly hashes users with.

    ``index`` gives the place of a variant. Every method may raise Refused.
    """

    def __init__(
        self, one: Flag | Segment, salt: str = "", index: Callable[[str], int] | None = None
    ) -> None:
        self._sort = "flag" if isinstance(one, Flag) else "segment"
        self._key = one.key
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
        operator = _OPERATORS.get(one.operator)
        if operator is None:
            hint = f"it has {', '.join(sorted(OPERATORS))}"
            raise self.refused(f'it has no operator "{one.operator}"', hint)
        if one.dialect not in _DIALECTS:
            hint = "write the clause in Downhaul's own dialect"
            raise self.refused(f"a clause reads values as {one.dialect} does", hint)
        if one.ignore_case:
            hint = "write the values in each case, or match a pattern that begins with (?i)"
            raise self.refused("a clause ignores case", hint)
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

    def serve(self, serve: Serve) -> dict[str, Any]:
        """Return what a rule or a flag serves: a variation, or a rollout by LaunchDarkly's hash."""
        if not isinstance(serve, Split):
            return {"variation": self._place(serve)}
        if serve.bucketing.total != WHOLE:
            hint = f"let the weights add up to {WHOLE}"
            raise self.refused(f"a split has {serve.bucketing.total} buckets", hint)
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
        own = how.scheme is Scheme.LAUNCHDARKLY and how.salt in self._salts
        return (own and how.by == (TARGETING_KEY,)) or how == Bucketing()

    def targets(self, flag: Flag) -> dict[str, list[dict[str, Any]]]:
        """Return the targets of users, and those of all kinds in their order."""
        lists: dict[tuple[str, int], set[str]] = {}
        for one in flag.targets:
            lists.setdefault((one.context_kind, self._place(one.variant)), set()).update(one.keys)
        users: list[dict[str, Any]] = []
        kinds: list[dict[str, Any]] = []
        for (kind, place), keys in lists.items():
            made = {"variation": place, "values": sorted(keys), "contextKind": kind}
            if kind == USER:
                users.append(made)
            kinds.append(made if kind != USER else {**made, "values": []})
        mixed = any(kind != USER for kind, _place in lists)
        return {"targets": users, "contextTargets": kinds if mixed else []}

    def segment(self, segment: Segment) -> dict[str, Any]:
        """Return the fields of a segment that decide who belongs to it."""
        made: dict[str, Any] = {}
        for name, parts in (("included", segment.included), ("excluded", segment.excluded)):
            made |= _keys(name, parts)
        return {**made, "rules": [self._segment_rule(one) for one in segment.rules]}

    def _segment_rule(self, rule: SegmentRule) -> dict[str, Any]:
        made: dict[str, Any] = {"clauses": [self.clause(one) for one in rule.clauses]}
        if not rule.clauses:
            hint = "give it a clause, such as a pattern that every key matches"
            raise self.refused("a rule has no clause", hint)
        return made if rule.gate is None else {**made, **self._gate(rule.gate)}

    def _gate(self, gate: Gate) -> dict[str, Any]:
        if gate.bucketing.total != WHOLE:
            hint = f"let its share be of {WHOLE}"
            raise self.refused(f"a gate has {gate.bucketing.total} buckets", hint)
        how = self._bucketing(gate.bucketing)
        made = {"weight": gate.share, "rolloutContextKind": how["contextKind"]}
        return {**made, "bucketBy": how["bucketBy"]} if "bucketBy" in how else made

    def _bucketing(self, how: Bucketing) -> dict[str, Any]:
        if how.scheme is Scheme.DOWNHAUL and how.salt is None and how.by == (TARGETING_KEY,):
            made: dict[str, Any] = {}  # a split as everywhere: whose hash, is the backend's affair
        elif how.scheme is not Scheme.LAUNCHDARKLY:
            why = f'a split chooses users by the hash of "{how.scheme}", or by a salt of its own'
            hint = "leave its bucketing out, or declare the rollout portable"
            raise self.refused(why, hint)
        else:
            made = self._theirs(how)
        if how.seed is not None or how.no_key not in _PLAIN:
            hint = "leave seed and no_key out"
            raise self.refused("a split has an answer of its own to who has no key", hint)
        return {"contextKind": how.context_kind, **made}

    def _theirs(self, how: Bucketing) -> dict[str, Any]:
        made: dict[str, Any] = {}
        if how.salt not in self._salts:
            if how.salt is None or not how.salt.isascii() or not how.salt.isdigit():
                hint = "a rollout has the salt of its flag in LaunchDarkly, or a seed: a number"
                raise self.refused(f'a split has the salt "{how.salt}"', hint)
            made["seed"] = int(how.salt)
        if how.by != (TARGETING_KEY,):
            if len(how.by) != 1:
                hint = "bucket by one attribute"
                raise self.refused("a split tries one attribute after the other", hint)
            made["bucketBy"] = self._attribute(how.by[0])
        return made

    def _attribute(self, name: str) -> str:
        if name in _SPECIAL:
            return _SPECIAL[name]
        if name in _UNSENT:
            hint = "call the attribute something else"
            raise self.refused(f'"{name}" is LaunchDarkly\'s own, and never sent', hint)
        return name

    def _place(self, variant: str | None) -> int:
        if variant is None:
            hint = "let each split serve a variant to everybody whom it matches"
            raise self.refused("a split falls through to the next rule", hint)
        assert self._index is not None  # noqa: S101  (segments have no variants)
        return self._index(variant)


def _keys(name: str, parts: Iterable[Keys]) -> dict[str, Any]:
    """Return keys as LaunchDarkly keeps them: users in one list, other kinds beside it."""
    kinds: dict[str, set[str]] = {}
    for one in parts:
        kinds.setdefault(one.context_kind, set()).update(one.keys)
    users: Sequence[str] = sorted(kinds.pop(USER, ()))
    others = [{"contextKind": kind, "values": sorted(keys)} for kind, keys in kinds.items()]
    return {name: list(users), f"{name}Contexts": others}
