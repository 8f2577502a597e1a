"""What a document is refused for, and what the refusal says: one example for each rule."""

import json
from dataclasses import replace

import pytest

from downhaul.documents import check_flag, check_segment, parse_document
from downhaul.errors import DocumentError
from downhaul.flag import (
    Clause,
    Flag,
    FlagKind,
    FlagSet,
    Operator,
    Prerequisite,
    Rule,
    Segment,
    SegmentRule,
)


def found(*flags, segments=()):
    """Return path, message and hint of each problem of a document of these flags."""
    document = {"downhaul": 1, "flags": list(flags), "segments": list(segments)}
    with pytest.raises(DocumentError) as caught:
        parse_document(json.dumps(document), "json")
    return [(one.path, one.message, one.hint) for one in caught.value.problems]


def flag(**fields):
    return {"key": "a", "default": "on", **fields}


def clause(**fields):
    return flag(rules=[{"when": [{"attribute": "x", **fields}], "serve": "on"}])


def split(*parts, **fields):
    return flag(default={"split": list(parts), **fields})


ON, OFF = {"variant": "on", "percent": 25}, {"variant": "off", "percent": 75}


@pytest.mark.parametrize(
    "document, path, message, hint",
    [
        # fields
        (flag(ownr="x"), "flags[0].ownr", "no such field", 'did you mean "owner"?'),
        (flag(on="yes"), "flags[0].on", 'should be true or false, not "yes"', None),
        (flag(on=1), "flags[0].on", "should be true or false, not 1", None),
        (flag(tags="x"), "flags[0].tags", "should be a list", None),
        (flag(type="relase"), "flags[0].type", "is no type", 'did you mean "release"?'),
        (flag(kind="bool"), "flags[0].kind", "is no kind", 'did you mean "boolean"?'),
        ({"key": "a"}, "flags[0].default", "is missing", None),
        ({"default": "on"}, "flags[0].key", "is missing", None),
        (flag(default=True), "flags[0].default", "should be the name of a variant", None),
        (flag(owner=None), "flags[0].owner", "should be text", None),
        (flag(owner="x" * 500, on="x" * 500), "flags[0].on", "...", None),
        # keys
        (flag(key=""), "flags[0].key", "is no key", "1 to 200 characters"),
        (flag(key="a b"), "flags[0].key", "is no key", None),
        (flag(key="*"), "flags[0].key", "is no key", None),
        (flag(key="a\n"), "flags[0].key", "is no key", None),
        (flag(key="a" * 201), "flags[0].key", "is no key", None),
        (flag(tags=["a,b"]), "flags[0].tags[0]", "is no tag", None),
        # variants
        (flag(variants={}), "flags[0].variants", "at least 1", None),
        (flag(kind="string", off_variant="x"), "flags[0].variants", "is missing", None),
        (
            flag(variants={"on": 1, "off": False}),
            "flags[0].variants.on",
            "a boolean flag serves true or false, not 1",
            None,
        ),
        (
            flag(kind="number", variants={"on": True}, off_variant="on"),
            "flags[0].variants.on",
            "a number flag serves numbers, not True",
            None,
        ),
        (
            flag(kind="object", variants={"on": "x"}, off_variant="on"),
            "flags[0].variants.on",
            "serves objects or lists",
            None,
        ),
        # the off variant
        (
            flag(kind="string", variants={"on": "x", "off": "y"}),
            "flags[0].off_variant",
            "is missing",
            "safe while the flag is off",
        ),
        (flag(variants={"on": True, "no": False}), "flags[0].off_variant", "is missing", None),
        (flag(off_variant="of"), "flags[0].off_variant", "no variant", 'did you mean "off"?'),
        # splits
        (flag(default="onn"), "flags[0].default", "no variant", 'did you mean "on"?'),
        (split(ON), "flags[0].default.split", "25000 of 100000 (25 %)", "100 %"),
        (split(ON, OFF, OFF), "flags[0].default.split", "(175 %)", None),
        (split(), "flags[0].default.split", "at least 1", None),
        (split({"variant": "on"}), "flags[0].default.split[0]", '"weight" or a "percent"', None),
        (split({**ON, "weight": 1}), "flags[0].default.split[0]", "either", None),
        (split({"percent": 100}), "flags[0].default.split[0]", "fall_through", None),
        (split({**ON, "percent": 101}), "flags[0].default.split[0].percent", "100", None),
        (split({**ON, "percent": -1}), "flags[0].default.split[0].percent", "0", None),
        (
            split({"variant": "on", "percent": 1.2345}, OFF),
            "flags[0].default.split[0].percent",
            "finer than 0.001 %",
            None,
        ),
        (
            split({"variant": "on", "percent": 0.5}, OFF, bucketing={"total": 100}),
            "flags[0].default.split[0].percent",
            "finer than 1 %",
            None,
        ),
        (
            split({"fall_through": True, "percent": 100}),
            "flags[0].default.split[0].fall_through",
            "nothing follows",
            None,
        ),
        (
            split(ON, OFF, bucketing={"salty": "x"}),
            "flags[0].default.bucketing.salty",
            "no such",
            "salt",
        ),
        (split(ON, OFF, bucketing={"seed": 1}), "flags[0].default.bucketing.seed", "no seed", None),
        (
            split(ON, OFF, bucketing={"scheme": "flipper", "seed": 1}),
            "flags[0].default.bucketing.seed",
            "no seed",
            None,
        ),
        (split(ON, OFF, bucketing={"by": []}), "flags[0].default.bucketing.by", "at least 1", None),
        # targets
        (
            flag(targets=[{"variant": "onn", "keys": ["u"]}]),
            "flags[0].targets[0].variant",
            "no variant",
            None,
        ),
        (
            flag(targets=[{"variant": "on", "keys": ["u"]}, {"variant": "off", "keys": ["u"]}]),
            "flags[0].targets[1].keys",
            '"u" is a target of "on" too',
            None,
        ),
        (
            flag(targets=[{"variant": "on", "keys": [""]}]),
            "flags[0].targets[0].keys",
            "empty",
            None,
        ),
        (
            flag(targets=[{"variant": "on", "keys": [1]}]),
            "flags[0].targets[0].keys[0]",
            "text",
            None,
        ),
        # rules and gates
        (
            flag(rules=[{"id": "r", "serve": "on"}, {"id": "r", "serve": "on"}]),
            "flags[0].rules[1].id",
            "several",
            None,
        ),
        (
            flag(rules=[{"serve": "on", "gate": {"percent": 5, "share": 3}}]),
            "flags[0].rules[0].gate",
            "either",
            None,
        ),
        (
            flag(rules=[{"serve": "on", "gate": {"share": 100_001}}]),
            "flags[0].rules[0].gate.share",
            "more than",
            None,
        ),
        (
            flag(rules=[{"serve": "on", "gate": {"share": 1, "outside": "x"}}]),
            "flags[0].rules[0].gate.outside",
            "no variant",
            None,
        ),
        # clauses
        (clause(operator="equals", values=[1]), "flags[0].rules[0].when[0].operator", "", "equal"),
        (clause(operator="in"), "flags[0].rules[0].when[0].values", "at least one", None),
        (
            clause(operator="present", values=[1]),
            "flags[0].rules[0].when[0].values",
            "takes no values",
            None,
        ),
        (
            clause(operator="in", values=["a"], attribute=""),
            "flags[0].rules[0].when[0].attribute",
            "is missing",
            None,
        ),
        (
            clause(operator="in", values=[None]),
            "flags[0].rules[0].when[0].values[0]",
            "should be text, a number, true or false",
            None,
        ),
        (
            clause(operator="less", values=["1"]),
            "flags[0].rules[0].when[0].values[0]",
            "number",
            None,
        ),
        (
            clause(operator="less", values=[True]),
            "flags[0].rules[0].when[0].values[0]",
            "number",
            None,
        ),
        (
            clause(operator="contains", values=[5]),
            "flags[0].rules[0].when[0].values[0]",
            "should be text",
            None,
        ),
        (
            clause(operator="before", values=["2026-01-31T09:00:00"]),
            "flags[0].rules[0].when[0].values[0]",
            "with an offset",
            "2026-01-31T09:00:00Z",
        ),
        (
            clause(operator="before", values=["2026-02-30T09:00:00Z"]),
            "flags[0].rules[0].when[0].values[0]",
            "RFC 3339",
            None,
        ),
        (
            clause(operator="semver_less", values=["1.0"]),
            "flags[0].rules[0].when[0].values[0]",
            "Semantic Version",
            None,
        ),
        (
            clause(operator="in_cidr", values=["10.0.0.0/33"]),
            "flags[0].rules[0].when[0].values[0]",
            "network",
            None,
        ),
        (
            clause(operator="in", values=["x"], missing="now"),
            "flags[0].rules[0].when[0].missing",
            "dates only",
            None,
        ),
        (
            clause(operator="less", values=[1], ignore_case=True),
            "flags[0].rules[0].when[0].ignore_case",
            "no letters",
            None,
        ),
        (
            clause(operator="in", values=["x"], context_kind="multi"),
            "flags[0].rules[0].when[0].context_kind",
            "no context kind",
            None,
        ),
    ],
)
def test_a_wrong_document_names_the_place_the_fault_and_the_fix(document, path, message, hint):
    problems = {where: (said, fix) for where, said, fix in found(document)}
    assert path in problems
    said, fix = problems[path]
    assert message in said
    assert hint is None or hint in (fix or "")


@pytest.mark.parametrize(
    "pattern, construct",
    [
        ("(a)\\1", "a backreference"),
        ("a(?=b)", "a lookahead"),
        ("a(?!b)", "a negative lookahead"),
        ("(?<=a)b", "a lookbehind"),
        ("(?<!a)b", "a negative lookbehind"),
        ("(", "missing )"),
        ("((a{1,1000}){1,1000}){1,1000}", ""),
    ],
)
def test_a_regular_expression_that_re2_refuses_is_refused_by_its_construct(pattern, construct):
    ((path, message, hint),) = found(clause(operator="matches", values=[pattern]))
    assert path == "flags[0].rules[0].when[0].values[0]"
    assert construct in message
    assert ("lookaround" in (hint or "")) == construct.startswith("a ")


def test_in_a_vendors_dialect_values_that_never_match_are_kept():
    for dialect in ("launchdarkly", "split", "unleash"):
        for values in ([], ["no number"], [True]):
            document = clause(operator="less", values=values, dialect=dialect)
            parse_document(json.dumps({"downhaul": 1, "flags": [document]}), "json")


def test_every_problem_is_named_at_once():
    problems = found(
        flag(default="x", off_variant="y"),
        flag(key="b", kind="text"),
        flag(
            key="c", rules=[{"when": [{"operator": "in_segment", "values": ["s"]}], "serve": "z"}]
        ),
        segments=[{"key": "s s"}],
    )
    assert [path for path, _, _ in problems] == [
        "flags[1].kind",
        "flags[0].off_variant",
        "flags[0].default",
        "flags[2].rules[0].when[0].values[0]",
        "flags[2].rules[0].serve",
        "segments[0].key",
    ]


# --- between flags and segments


def test_what_a_flag_names_must_exist():
    ((path, message, hint),) = found(flag(prerequisites=[{"flag": "bb"}]), flag(key="b"))
    assert (path, message) == ("flags[0].prerequisites[0].flag", 'there is no flag "bb"')
    assert hint == 'did you mean "b"?'
    ((path, _, hint),) = found(
        flag(prerequisites=[{"flag": "b", "variants": ["onn"]}]), flag(key="b")
    )
    assert (path, hint) == ("flags[0].prerequisites[0].variants[0]", 'did you mean "on"?')
    ((path, _, hint),) = found(
        clause(operator="in_segment", values=["betta"]), segments=[{"key": "beta"}]
    )
    assert (path, hint) == ("flags[0].rules[0].when[0].values[0]", 'did you mean "beta"?')
    ((path, _, _),) = found(clause(operator="serves", attribute="b", values=["x"]), flag(key="b"))
    assert path == "flags[0].rules[0].when[0].values[0]"


def test_a_flag_that_is_wrong_itself_is_there_for_those_that_name_it():
    problems = found(
        flag(prerequisites=[{"flag": "b", "variants": ["x"]}]), flag(key="b", kind="x")
    )
    assert [path for path, _, _ in problems] == ["flags[1].kind"]


def test_cycles_are_refused_through_prerequisites_segments_and_clauses():
    ((_, message, _),) = found(
        flag(prerequisites=[{"flag": "b"}]), flag(key="b", prerequisites=[{"flag": "a"}])
    )
    assert message == 'a cycle: flag "a" -> flag "b" -> flag "a"'
    inner = [{"when": [{"operator": "in_segment", "values": ["s"]}]}]
    ((_, message, _),) = found(segments=[{"key": "s", "rules": inner}])
    assert message == 'a cycle: segment "s" -> segment "s"'
    asks = [{"when": [{"operator": "serves", "attribute": "a", "values": ["on"]}]}]
    ((_, message, _),) = found(
        clause(operator="in_segment", values=["s"]), segments=[{"key": "s", "rules": asks}]
    )
    assert message == 'a cycle: flag "a" -> segment "s" -> flag "a"'


def test_a_long_chain_is_no_cycle_and_does_not_exhaust_the_stack():
    flags = [flag(key="f0")] + [
        flag(key=f"f{number}", prerequisites=[{"flag": f"f{number - 1}"}])
        for number in range(1, 3_000)
    ]
    parse_document(json.dumps({"downhaul": 1, "flags": flags}), "json")


def test_putting_a_flag_into_a_set_may_close_a_cycle():
    a, b = Flag(key="a", default="on"), Flag(key="b", default="on")
    b = replace(b, prerequisites=(Prerequisite("a"),))
    closing = replace(a, prerequisites=(Prerequisite("b"),))
    assert check_flag(closing) == []
    (problem,) = check_flag(closing, FlagSet.of([a, b]))
    assert "a cycle" in problem.message
    rule = SegmentRule((Clause("", Operator.IN_SEGMENT, ("s",)),))
    (problem,) = check_segment(Segment("s", rules=(rule,)), FlagSet())
    assert "a cycle" in problem.message


def test_a_variant_that_others_name_cannot_be_taken_away():
    old = Flag(
        key="a", default="x", kind=FlagKind.STRING, variants={"x": "", "y": ""}, off_variant="x"
    )
    user = Flag(key="b", default="on", prerequisites=(Prerequisite("a", ("y",)),))
    asks = Clause("a", Operator.SERVES, ("y",))
    segment = Segment("s", rules=(SegmentRule((asks,)),))
    without = replace(old, variants={"x": ""})
    problems = check_flag(without, FlagSet.of([old, user], [segment]))
    assert [one.message for one in problems] == [
        'flag "b" names variant "y"',
        'segment "s" names variant "y"',
    ]


def test_flags_made_in_python_are_held_to_the_same():
    for wrong in (
        Flag(key="a", default="x"),
        Flag(key="a", default=None),
        Flag(key=None, default="on"),
        Flag(key="a", default="on", kind="boolean"),
        Flag(key="a", default="on", variants=None),
        Flag(key="a", default="on", rules=(Rule("on", (Clause("x", "in", ("a",)),)),)),
        Flag(key="a", default="on", variants={"on": True, "off": False, "x": {1}}),
        Flag(key="a", default="on", variants={"on": True, "off": False, "x": float("nan")}),
        Flag(key="a", default="on", tags=3),
        Flag(key="a", default="on", owner="\ud800"),
    ):
        assert check_flag(wrong)
    assert check_segment(Segment("a b"))


def test_a_field_of_any_name_is_named_as_it_is():
    problems = found({"<": 1, **flag(default={"<variant>": 1, "split": [ON, OFF]})})
    assert [path for path, _, _ in problems] == [
        'flags[0].default["<variant>"]',
        'flags[0]["<"]',
    ]
