"""Our clauses and segments as conditions of flagd.

What is written decides as the clause does, for every context of JSON values. What flagd can't ask
raises :class:`Inexpressible`; what it asks almost alike is remarked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from downhaul.documents.faults import Place, quoted
from downhaul.documents.flagd.choices import Choice
from downhaul.documents.flagd.logic import (
    ELEMENT,
    KEY,
    Inexpressible,
    Logic,
    all_of,
    any_of,
    each,
    is_list,
    is_missing,
    is_no_boolean,
    is_no_digit,
    is_number,
    is_text,
    is_there,
    none_of,
    on,
    variable_of,
)
from downhaul.evaluator.operators import LIST_OPERATORS
from downhaul.flag import USER, Clause, Dialect, Keys, Missing, Operator, Segment, SegmentRule

WIDE: Final = "in most languages flagd's numbers are exact up to 2^53 only"
_EXACT: Final = 1 << 53

_ORDER: Final[Mapping[Operator, str]] = {
    Operator.LESS: "<",
    Operator.LESS_OR_EQUAL: "<=",
    Operator.GREATER: ">",
    Operator.GREATER_OR_EQUAL: ">=",
}
_VERSIONS: Final[Mapping[Operator, str]] = {
    Operator.SEMVER_EQUAL: "=",
    Operator.SEMVER_LESS: "<",
    Operator.SEMVER_LESS_OR_EQUAL: "<=",
    Operator.SEMVER_GREATER: ">",
    Operator.SEMVER_GREATER_OR_EQUAL: ">=",
}
_TEXT: Final = (Operator.STARTS_WITH, Operator.ENDS_WITH, Operator.CONTAINS)
_OWN: Final = (Operator.STARTS_WITH, Operator.ENDS_WITH, *_VERSIONS)
"""Operators of flagd's own, which its engine for JavaScript does not take within lists."""
_NUMBERS: Final = (Operator.EQUAL, *_ORDER)
_UNKNOWN: Final[Mapping[Operator, str]] = {
    Operator.MATCHES: "flagd has no regular expressions",
    Operator.IN_CIDR: "flagd knows no networks",
    Operator.SERVES: "flagd's flags can't ask for one another",
    **dict.fromkeys(
        (
            Operator.SAME_TIME,
            Operator.BEFORE,
            Operator.AFTER,
            Operator.AT_OR_BEFORE,
            Operator.AT_OR_AFTER,
        ),
        "flagd reads no dates",
    ),
}


class Conditions:
    """Writes the conditions of one flag. ``remark`` is told what is only almost alike."""

    def __init__(
        self,
        flag_key: str,
        segments: Mapping[str, Segment],
        remark: Callable[[Place, str], None],
    ) -> None:
        self._flag_key = flag_key
        self._segments = segments
        self._remark = remark
        self._within: list[str] = []

    def all(self, clauses: Sequence[Clause], place: Place = ()) -> Logic:
        """Return what is true where every clause matches."""
        return all_of(
            self.clause(clause, (*place, "when", index)) for index, clause in enumerate(clauses)
        )

    def clause(self, clause: Clause, place: Place) -> Logic:
        """Return what is true where the clause matches. Raises Inexpressible."""
        try:
            if clause.operator is Operator.IN_SEGMENT:
                members = any_of(self._member(key, place) for key in clause.values)
                return none_of(members) if clause.negate else members
            return self._attribute(clause, place)
        except Inexpressible as error:
            raise Inexpressible(error.reason, error.place or place) from None

    # Attributes

    def _attribute(self, clause: Clause, place: Place) -> Logic:
        _refuse(clause)
        x = variable_of(clause.attribute)
        if x is None:
            raise Inexpressible(f"flagd can't read the attribute {quoted(clause.attribute)}")
        if clause.operator is Operator.PRESENT:
            return is_missing(x) if clause.negate else is_there(x)
        matched = self._matched(clause, x, place)
        if not clause.negate:
            return matched
        if clause.missing is Missing.FALSE:
            return none_of(matched)
        return all_of([is_there(x), none_of(matched)])

    def _matched(self, clause: Clause, x: Logic, place: Place) -> Logic:
        operator, values = clause.operator, clause.values
        if x == KEY:
            return self._key_matched(clause, place)
        if operator in LIST_OPERATORS:
            return self._list(operator, values, x, place)
        test = self._test(operator, values, ELEMENT, place)
        if isinstance(test, bool):
            return test
        if operator in _OWN:
            return any_of([on(x, test), all_of([is_list(x), {"some": [x, test]}])])
        return {"some": [each(x), test]}

    def _key_matched(self, clause: Clause, place: Place) -> Logic:
        """Return the test of the targeting key: text, never a list, and missing where empty."""
        if clause.operator in LIST_OPERATORS or clause.operator in _NUMBERS:
            return False
        values = clause.values
        if clause.operator is Operator.IN:
            return _among([one for one in values if isinstance(one, str) and one], KEY)
        return all_of([is_there(KEY), self._test(clause.operator, values, KEY, place)])

    def _test(self, operator: Operator, values: Sequence[Any], x: Logic, place: Place) -> Logic:
        if operator is Operator.IN or operator is Operator.EQUAL:
            numbers = operator is Operator.EQUAL
            usable = [one for one in values if not numbers or _is_number(one)]
            self._note_wide(usable, place)
            return _among(usable, x)
        if operator in _TEXT:
            return _text_test(operator, [one for one in values if isinstance(one, str)], x)
        if operator in _ORDER:
            usable = [one for one in values if _is_number(one)]
            self._note_wide(usable, place)
            tests = [{_ORDER[operator]: [x, one]} for one in usable]
            return all_of([*is_number(x), any_of(tests)])
        self._remark(place, 'flagd takes "1.2" and "v1.2.3" for versions too')
        tests = [{"sem_ver": [x, _VERSIONS[operator], one]} for one in values]
        return all_of([is_text(x), any_of(tests)])

    def _list(self, operator: Operator, values: Sequence[Any], x: Logic, place: Place) -> Logic:
        usable = [one for one in values if isinstance(one, (str, bool)) or _is_number(one)]
        self._note_wide(usable, place)
        strict = operator in (Operator.HAS_ALL, Operator.SET_EQUALS)
        if strict and len(usable) < len(values):
            return False
        parts: list[Logic] = []
        if operator is Operator.HAS_ANY:
            parts.append(_quantified("some", x, usable))
        if strict:
            parts += [_quantified("some", x, [one]) for one in usable]
        if operator in (Operator.SET_EQUALS, Operator.SUBSET_OF):
            parts.append(_quantified("all", x, usable))
        return all_of(parts)

    def _note_wide(self, values: Iterable[Any], place: Place) -> None:
        if any(map(is_wide, values)):
            self._remark(place, WIDE)

    # Segments

    def _member(self, key: Any, place: Place) -> Logic:
        segment = self._segments.get(key) if isinstance(key, str) else None
        if segment is None:
            return False
        if key in self._within:
            raise Inexpressible(f"segment {quoted(key)} depends on itself")
        self._within.append(key)
        try:
            return self._segment(segment, place)
        except Inexpressible as error:
            raise Inexpressible(f"segment {quoted(key)}: {error.reason}", place) from None
        finally:
            self._within.pop()

    def _segment(self, segment: Segment, place: Place) -> Logic:
        included, excluded = _listed(segment.included), _listed(segment.excluded)
        rules = any_of(self._segment_rule(segment, rule, place) for rule in segment.rules)
        return any_of([included, all_of([none_of(excluded), rules])])

    def _segment_rule(self, segment: Segment, rule: SegmentRule, place: Place) -> Logic:
        clauses = all_of(self.clause(clause, place) for clause in rule.clauses)
        if rule.gate is None:
            return clauses
        return all_of([clauses, Choice.of_gate(rule.gate, self._flag_key, segment.key).inside()])


def is_wide(value: Any) -> bool:
    """Return whether a value is a number that most languages don't hold exactly."""
    return _is_number(value) and abs(value) > _EXACT


def keys_among(keys: Iterable[str]) -> Logic:
    """Return what is true for these targeting keys; the empty one is nobody's."""
    return _among(sorted(key for key in keys if key), KEY)


def _refuse(clause: Clause) -> None:
    if clause.context_kind != USER:
        raise Inexpressible(f"flagd's contexts have no kind {quoted(clause.context_kind)}")
    if clause.operator in _UNKNOWN:
        raise Inexpressible(_UNKNOWN[clause.operator])
    if clause.missing is Missing.NOW:
        raise Inexpressible("flagd's clock does not stand in for an attribute")
    if clause.ignore_case:
        raise Inexpressible("flagd always minds the case of letters")
    of_launchdarkly = clause.dialect is Dialect.LAUNCHDARKLY and clause.operator not in _VERSIONS
    if clause.dialect is not Dialect.NATIVE and not of_launchdarkly:
        raise Inexpressible(f"it reads values as {clause.dialect.value} does, which flagd doesn't")


def _among(values: Sequence[Any], x: Logic) -> Logic:
    """Return what is true for a value that equals one of these, in type too."""
    others = [one for one in values if isinstance(one, str) or _is_number(one)]
    plain = [one for one in others if one not in (0, 1)]
    digits = [one for one in values if _is_number(one) and one in (0, 1)]
    booleans = [one for one in values if isinstance(one, bool)]
    parts: list[Logic] = []
    if plain:
        parts.append({"in": [x, plain]})
    if digits:
        parts.append(all_of([{"in": [x, digits]}, is_no_boolean(x)]))
    if booleans:
        parts.append(all_of([{"in": [x, booleans]}, is_no_digit(x)]))
    return any_of(parts)


def _text_test(operator: Operator, needles: Sequence[str], x: Logic) -> Logic:
    if operator is Operator.CONTAINS:
        # Every text contains the empty one, but not in every engine.
        found = any_of(not one or {"in": [one, x]} for one in needles)
        return False if found is False else all_of([is_text(x), found])
    return any_of({operator.value: [x, one]} for one in needles)


def _quantified(word: str, x: Logic, values: Sequence[Any]) -> Logic:
    test = _among(values, ELEMENT)
    return test if isinstance(test, bool) else all_of([is_list(x), {word: [x, test]}])


def _listed(lists: Iterable[Keys]) -> Logic:
    found: set[str] = set()
    for one in lists:
        if one.keys and one.context_kind != USER:
            raise Inexpressible(f"flagd's contexts have no kind {quoted(one.context_kind)}")
        found |= one.keys
    return keys_among(found)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
