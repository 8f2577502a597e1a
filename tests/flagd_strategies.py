"""Flags that flagd can decide as we do, and contexts that it can be asked with."""

import functools
from dataclasses import fields, is_dataclass, replace

from hypothesis import strategies as st
from strategies import ATTRIBUTES, contexts, flags, json_values, segments, targeting_keys

from downhaul import Context
from downhaul.flag import (
    USER,
    Bucketing,
    Clause,
    Dialect,
    Flag,
    FlagSet,
    Gate,
    Keys,
    Missing,
    NoKey,
    Operator,
    Scheme,
    Segment,
    Target,
)

BEYOND = {
    Operator.MATCHES: Operator.CONTAINS,
    Operator.IN_CIDR: Operator.STARTS_WITH,
    Operator.SERVES: Operator.IN,
    Operator.SAME_TIME: Operator.IN,
    Operator.BEFORE: Operator.ENDS_WITH,
    Operator.AFTER: Operator.HAS_ANY,
    Operator.AT_OR_BEFORE: Operator.SUBSET_OF,
    Operator.AT_OR_AFTER: Operator.SET_EQUALS,
}
"""What flagd can't ask, and something that it can, which takes the same values."""


@functools.singledispatch
def expressible(one):
    """Return the same as flags that flagd can decide: without kinds, patterns and other hashes."""
    if isinstance(one, tuple):
        return tuple(map(expressible, one))
    if is_dataclass(one):
        changed = {each.name: expressible(getattr(one, each.name)) for each in fields(one)}
        return replace(one, **changed)
    return one


@expressible.register
def _(one: dict):
    return {key: expressible(value) for key, value in one.items()}


@expressible.register
def _(one: Bucketing):
    no_key = NoKey.FIRST if one.no_key is NoKey.RANDOM else one.no_key
    return Bucketing(Scheme.DOWNHAUL, no_key=no_key, total=one.total)


@expressible.register
def _(one: Clause):
    named = one.attribute in ATTRIBUTES or one.operator is Operator.IN_SEGMENT
    operator = BEYOND.get(one.operator, one.operator)
    if operator.value.startswith("semver_"):
        operator = Operator.IN
    return replace(
        one,
        attribute=one.attribute if named else "extra",
        operator=operator,
        values=tuple(value for value in one.values if value is not None) or ("x",)
        if operator is not Operator.PRESENT
        else (),
        ignore_case=False,
        context_kind=USER,
        missing=Missing.FALSE if one.missing is Missing.NOW else one.missing,
        dialect=Dialect.NATIVE,
    )


@expressible.register
def _(one: Keys):
    return Keys(one.keys)


@expressible.register
def _(one: Target):
    return Target(one.variant, one.keys)


@expressible.register
def _(one: Flag):
    kept = {"targets", "rules", "default"}
    changed = {name: expressible(getattr(one, name)) for name in kept}
    return replace(one, prerequisites=(), **changed)


@expressible.register
def _(one: Segment):
    # A gate of a segment hashes with the segment's key, which flagd can't.
    rules = tuple(
        replace(rule, clauses=expressible(rule.clauses), gate=_whole(rule.gate))
        for rule in one.rules
    )
    return replace(
        one, included=expressible(one.included), excluded=expressible(one.excluded), rules=rules
    )


def _whole(gate):
    if gate is None:
        return None
    share = gate.bucketing.total if gate.share * 2 > gate.bucketing.total else 0
    return Gate(share, Bucketing(total=gate.bucketing.total))


@st.composite
def _worlds(draw):
    """Sets of one flag, with segments of which one may name the other; the flag is mostly on."""
    made = []
    for key in draw(st.sampled_from([(), ("beta",), ("beta", "staff")])):
        made.append(draw(segments(key=st.just(key), known=[one.key for one in made])))
    flag = draw(flags(segments=[one.key for one in made]))
    on = draw(st.sampled_from([True, True, True, True, flag.on]))
    return FlagSet.of([replace(flag, on=on)], made)


worlds = _worlds().map(expressible)

_odd = st.dictionaries(
    st.sampled_from(["plan", "age", "version", "roles", "address", "extra"]), json_values
)


@st.composite
def asked(draw):
    """Contexts of one user, of any JSON values."""
    one = draw(contexts())
    odd = draw(st.just({}) | _odd)
    key = draw(st.just(one.targeting_key) | targeting_keys)
    return Context(key, {**one.attributes, **odd})


# --- documents as people write them for flagd

WORDS = ("pro", "free", "Pro", "", "10", "5", "1", "true", "@x.com", "ann@x.com", "1.2.0")
LITERALS = (*WORDS, 0, 1, 5, 2.5, -1, True, False, None)
FULL_VERSIONS = ("1.0.0", "1.2.3", "1.2.3-rc.1", "2.0.0", "2.1.0+build", "10.0.0")
VARIANTS = {"a": "A", "b": "B", "true": "yes", "false": "no"}

scalars_named = st.sampled_from(["plan", "age", "mail", "address.city", "targetingKey"])
_var = st.builds(lambda name: {"var": name}, scalars_named)
_number = st.sampled_from([0, 1, 5, 2.5, -1])
_fraction = st.builds(
    lambda label, weight: [label, weight], st.sampled_from("ab"), _number.map(int)
)


def _binary(words, left, right, *, turned=False):
    made = st.builds(
        lambda word, one, other: {word: [one, other]}, st.sampled_from(words), left, right
    )
    back = st.builds(
        lambda word, one, other: {word: [other, one]}, st.sampled_from(words), left, right
    )
    return made | back if turned else made


fractionals = st.lists(_fraction, min_size=1, max_size=3).map(lambda parts: {"fractional": parts})
_lists = st.lists(
    st.sampled_from([one for one in LITERALS if one is not None]), min_size=1, max_size=3
)
_elements = _binary(["in"], st.just({"var": ""}), _lists)
atoms = (
    _binary(["==", "!=", "===", "!=="], _var, st.sampled_from(LITERALS), turned=True)
    | _binary(["<", "<=", ">", ">="], st.just({"var": "age"}), _number, turned=True)
    | st.builds(lambda one, other: {"<": [one, {"var": "age"}, other]}, _number, _number)
    | _binary(["in"], _var, _lists)
    | _binary(["in"], st.sampled_from(WORDS), st.sampled_from([{"var": "roles"}, {"var": "plan"}]))
    | _binary(["starts_with", "ends_with"], _var, st.sampled_from(WORDS))
    | st.builds(
        lambda word, version: {"sem_ver": [{"var": "version"}, word, version]},
        st.sampled_from(["=", "!=", "<", "<=", ">", ">=", "^", "~", "?"]),
        st.sampled_from([*FULL_VERSIONS, "1.2", "v1.2.3", "x"]),
    )
    | _binary(["some", "all", "none"], st.just({"var": "roles"}), _elements)
    | st.builds(lambda test: {"some": [{"merge": [{"var": "roles"}]}, test]}, _elements)
    | _binary(
        [">", "<="], st.just({"var": "$flagd.timestamp"}), st.sampled_from([1, 4_000_000_000])
    )
    | st.builds(lambda split: {"===": [split, "a"]}, fractionals)
    | _var
    | fractionals
    | st.booleans()
)
conditions = st.recursive(
    atoms,
    lambda inner: (
        st.builds(lambda parts: {"and": parts}, st.lists(inner, min_size=1, max_size=3))
        | st.builds(lambda parts: {"or": parts}, st.lists(inner, min_size=1, max_size=3))
        | st.builds(lambda one: {"!": [one]}, inner)
        | st.builds(lambda one: {"!!": one}, inner)
        | st.builds(lambda one, then, other: {"if": [one, then, other]}, inner, inner, inner)
    ),
    max_leaves=4,
)
leaves = st.sampled_from(["a", "b", True, None]) | fractionals
targetings = st.recursive(
    leaves,
    lambda inner: st.builds(
        lambda pairs, last: {"if": [part for pair in pairs for part in pair] + last},
        st.lists(st.tuples(conditions, inner), min_size=1, max_size=3),
        st.lists(inner, max_size=1),
    ),
    max_leaves=4,
)


@st.composite
def flagd_flags(draw):
    """Definitions of one flag as flagd takes them, on and off, with and without targeting."""
    default = draw(st.sampled_from(["a", "b", True, None]))
    targeting = draw(targetings | atoms)
    made = {
        "state": draw(st.sampled_from(["ENABLED"] * 5 + ["DISABLED"])),
        "variants": VARIANTS,
        "targeting": targeting if isinstance(targeting, dict) else {},
    }
    return made if default is None and draw(st.booleans()) else {**made, "defaultVariant": default}


any_context = st.builds(
    Context,
    st.none() | targeting_keys | st.sampled_from(["pro", "free", "ann@x.com"]),
    st.dictionaries(
        st.sampled_from(["plan", "age", "mail", "version", "roles", "address"]),
        st.sampled_from([*LITERALS, *FULL_VERSIONS, "v1.2.3", "1.2"])
        | st.lists(st.sampled_from(LITERALS), max_size=3)
        | st.fixed_dictionaries({"city": st.sampled_from(LITERALS)}),
    ),
)
"""Contexts of whatever an application may pass, to flags that are carried in full."""

_words = st.sampled_from(["pro", "free", "Pro", "@x.com", "ann@x.com", "superpro", "x"])
plain_context = st.builds(
    Context,
    st.none() | targeting_keys | st.sampled_from(["pro", "free", "ann@x.com"]),
    st.fixed_dictionaries(
        {},
        optional={
            "plan": _words,
            "mail": _words,
            "address": st.fixed_dictionaries({"city": _words}),
            "age": _number | st.integers(-10, 10),
            "version": st.sampled_from([*FULL_VERSIONS, "x", "word"]),
            "roles": st.lists(_words, max_size=3),
        },
    ),
)
"""Contexts in which no attribute is what the ledger warns of: each is of one type."""
