"""Split's documents in our words decide as its SDK for Python decides."""

import datetime as dt
import json
import logging
from decimal import Decimal

import pytest
from downhaul_split.contexts import their_attributes
from downhaul_split.translate import context_from, flags_from
from hypothesis import assume, given
from hypothesis import strategies as st
from sdk_oracle import Oracle

from downhaul import Context, Flags
from downhaul.errors import DocumentError
from downhaul.flag import Scheme, Split
from downhaul.ledger import Fidelity

logging.getLogger("splitio").setLevel(logging.CRITICAL)

ALL = {"keySelector": None, "matcherType": "ALL_KEYS", "negate": False}
NAMES = ("plan", "age", "since", "version", "tags", "vip")
KEYS = ("ada", "eve", "bob", "user-1", "user-2", "Zoë", "5", "true")
WORDS = ("gold", "go", "old", "5", "true", "a", "[", "")
NUMBERS = (0, 5, 10, -3, 59, 60, 86_399, 86_400, 86_460)
VERSIONS = ("1.2.3", "1.2.3-rc.1", "1.2.3-rc.10", "1.2.3+a", "01.2.3", "1.2", "2.0.0", "x")
VALUES = st.one_of(
    st.sampled_from(WORDS + VERSIONS),
    st.sampled_from(NUMBERS),
    st.booleans(),
    st.sampled_from([1.5, 5.0]),
    st.sampled_from([float(number) for number in NUMBERS] + [float("nan"), float("inf")]),
    st.lists(st.sampled_from(WORDS), max_size=3),
    st.lists(st.sampled_from((*WORDS, None, 5, 5.0, True)), max_size=3),
    st.lists(st.dictionaries(st.sampled_from(WORDS), st.sampled_from(WORDS)), max_size=1),
    st.sets(st.sampled_from(WORDS), max_size=3),
    st.frozensets(st.sampled_from(WORDS), max_size=3).map(tuple),
    st.dictionaries(st.sampled_from(WORDS), st.sampled_from((*WORDS, None, 5)), max_size=2),
    st.sampled_from([Decimal(5), b"gold", dt.date(1970, 1, 2)]),
    st.none(),
)
TIMES = st.sampled_from(
    [
        dt.datetime(1970, 1, 1, 0, 0, 59, 999_999, tzinfo=dt.UTC),
        dt.datetime(1970, 1, 2, tzinfo=dt.timezone(dt.timedelta(hours=1))),
        dt.datetime(1970, 1, 2, 0, 1),  # noqa: DTZ001  (no offset: no time)
    ]
)


def condition(matchers, partitions, kind="ROLLOUT", label="in segment all"):
    return {
        "conditionType": kind,
        "matcherGroup": {"combiner": "AND", "matchers": matchers},
        "partitions": [{"treatment": name, "size": size} for name, size in partitions],
        "label": label,
    }


def split(name="agent", conditions=(), **fields):
    return {
        "name": name,
        "seed": 467569525,
        "trafficAllocation": 100,
        "trafficAllocationSeed": -285565213,
        "trafficTypeName": "user",
        "status": "ACTIVE",
        "killed": False,
        "defaultTreatment": "off",
        "changeNumber": 7,
        "algo": 2,
        "configurations": {},
        "conditions": list(conditions) or [condition([ALL], [("on", 50), ("off", 50)])],
        **fields,
    }


def document(*flags, rules=(), **segments):
    return {"ff": {"d": list(flags)}, "rbs": {"d": list(rules)}, "segments": segments}


words = st.lists(st.sampled_from(WORDS[:-1]), min_size=1, max_size=3)
names = st.sampled_from((*NAMES, None))
kinds = st.sampled_from(("NUMBER", "DATETIME"))


@st.composite
def matchers(draw):
    kind = draw(
        st.sampled_from(
            [
                "ALL_KEYS",
                "WHITELIST",
                "STARTS_WITH",
                "ENDS_WITH",
                "CONTAINS_STRING",
                "EQUAL_TO_SET",
                "PART_OF_SET",
                "CONTAINS_ALL_OF_SET",
                "CONTAINS_ANY_OF_SET",
                "EQUAL_TO",
                "GREATER_THAN_OR_EQUAL_TO",
                "LESS_THAN_OR_EQUAL_TO",
                "BETWEEN",
                "MATCHES_STRING",
                "EQUAL_TO_BOOLEAN",
                "EQUAL_TO_SEMVER",
                "GREATER_THAN_OR_EQUAL_TO_SEMVER",
                "LESS_THAN_OR_EQUAL_TO_SEMVER",
                "BETWEEN_SEMVER",
                "IN_LIST_SEMVER",
                "IN_SEGMENT",
                "IN_RULE_BASED_SEGMENT",
                "IN_SPLIT_TREATMENT",
            ]
        )
    )
    name = draw(names)
    made = {
        "matcherType": kind,
        "negate": draw(st.booleans()),
        "keySelector": None if name is None else {"trafficType": "user", "attribute": name},
    }
    low, high = sorted(draw(st.lists(st.sampled_from(NUMBERS), min_size=2, max_size=2)))
    data = draw(kinds)
    scale = 1000 if data == "DATETIME" else 1
    versions = draw(st.lists(st.sampled_from(VERSIONS), min_size=2, max_size=3))
    given_to = {
        "EQUAL_TO_BOOLEAN": {"booleanMatcherData": draw(st.booleans())},
        "MATCHES_STRING": {
            "stringMatcherData": draw(st.sampled_from(["^go", "d$", "[0-9]+", "."]))
        },
        "BETWEEN": {
            "betweenMatcherData": {"dataType": data, "start": low * scale, "end": high * scale}
        },
        "BETWEEN_SEMVER": {"betweenStringMatcherData": {"start": versions[0], "end": versions[1]}},
        "IN_LIST_SEMVER": {"whitelistMatcherData": {"whitelist": versions}},
        "IN_SEGMENT": {"userDefinedSegmentMatcherData": {"segmentName": "staff"}},
        "IN_RULE_BASED_SEGMENT": {"userDefinedSegmentMatcherData": {"segmentName": "ruled"}},
        "IN_SPLIT_TREATMENT": {
            "dependencyMatcherData": {"split": "other", "treatments": [draw(treatments)]}
        },
    }
    if kind in given_to:
        made |= given_to[kind]
    elif kind.endswith("SEMVER"):
        made["stringMatcherData"] = versions[0]
    elif "EQUAL_TO" in kind and "SET" not in kind:
        made["unaryNumericMatcherData"] = {"dataType": data, "value": low * scale}
    elif kind != "ALL_KEYS":
        made["whitelistMatcherData"] = {
            "whitelist": draw(st.lists(st.sampled_from(KEYS), max_size=3))
            if name is None
            else draw(words)
        }
    return made


treatments = st.sampled_from(("on", "off", "v2"))


@st.composite
def partitions(draw):
    first = draw(st.sampled_from((0, 1, 30, 50, 99, 100)))
    return [(draw(treatments), first), ("off", 100 - first)]


@st.composite
def conditions(draw):
    lists = draw(
        st.lists(st.tuples(st.lists(st.sampled_from(KEYS), min_size=1), treatments), max_size=2)
    )
    made = []
    for keys, treatment in lists:
        listed = {**ALL, "matcherType": "WHITELIST", "whitelistMatcherData": {"whitelist": keys}}
        made.append(condition([listed], [(treatment, 100)], "WHITELIST", "whitelisted"))
    for _ in range(draw(st.integers(0, 2))):
        each = draw(st.lists(matchers(), min_size=1, max_size=2))
        made.append(condition(each, draw(partitions()), label="rule"))
    if draw(st.booleans()):
        made.append(condition([ALL], draw(partitions()), label="default rule"))
    return made or [condition([ALL], draw(partitions()))]


def named_segment(kind, name):
    return {
        **ALL,
        "matcherType": kind,
        "userDefinedSegmentMatcherData": {"segmentName": name},
    }


@st.composite
def ruled_segments(draw):
    """Two rule-based segments: the second leaves out the first, and keys, in any order."""
    made = []
    for name in ("early", "ruled"):
        before = [one["name"] for one in made]
        outside = [{"type": "standard", "name": "staff"}]
        outside += [{"type": "rule-based", "name": one} for one in before]
        asked = [draw(matchers()) for _ in range(draw(st.integers(0, 2)))]
        nested = [named_segment("IN_RULE_BASED_SEGMENT", one) for one in before]
        asked = [one for one in asked if "RULE_BASED" not in one["matcherType"]] + nested
        made.append(
            {
                "changeNumber": 5,
                "name": name,
                "status": "ACTIVE",
                "trafficTypeName": "user",
                "excluded": {
                    "keys": draw(st.lists(st.sampled_from(KEYS), max_size=2)),
                    "segments": draw(st.lists(st.sampled_from(outside), max_size=3)),
                },
                "conditions": [
                    condition([one], []) for one in draw(st.permutations([*asked, GOLD]))
                ],
            }
        )
    return made


GOLD = {
    **ALL,
    "matcherType": "WHITELIST",
    "keySelector": {"attribute": "plan"},
    "whitelistMatcherData": {"whitelist": ["gold"]},
}


@st.composite
def leading(draw):
    """First rules that are prerequisites, or nearly."""
    made = []
    for _ in range(draw(st.integers(0, 2))):
        depends = {
            **ALL,
            "matcherType": "IN_SPLIT_TREATMENT",
            "negate": draw(st.sampled_from([True, True, False])),
            "dependencyMatcherData": {
                "split": draw(st.sampled_from(["other", "none"])),
                "treatments": draw(st.lists(treatments, min_size=1, max_size=2)),
            },
        }
        made.append(condition([depends], [(draw(treatments), 100)], label="depends"))
    return made


@st.composite
def worlds(draw):
    plain = condition([ALL], draw(partitions()))
    needed = draw(
        st.lists(
            st.fixed_dictionaries({"n": st.just("other"), "ts": st.lists(treatments, min_size=1)}),
            max_size=1,
        )
    )
    ruled = draw(ruled_segments())
    return document(
        split(
            conditions=draw(leading()) + draw(conditions()),
            killed=draw(st.sampled_from([False, False, False, True])),
            defaultTreatment=draw(treatments),
            trafficAllocation=draw(st.sampled_from([100, 100, 60, 0, None, 120])),
            algo=draw(st.sampled_from([1, 2, 2, None, 3])),
            seed=draw(st.integers(-(2**31), 2**31 - 1)),
            prerequisites=needed,
        ),
        split(
            "other",
            [condition([named_segment("IN_SEGMENT", "staff")], draw(partitions())), plain],
            killed=draw(st.booleans()),
            defaultTreatment=draw(treatments),
        ),
        rules=ruled,
        staff=["bob", "user-2"],
    )


@pytest.mark.rule("E9", "M1")
@given(
    worlds(),
    st.lists(
        st.tuples(
            st.sampled_from(KEYS), st.dictionaries(st.sampled_from(NAMES), st.one_of(VALUES, TIMES))
        ),
        min_size=1,
        max_size=8,
    ),
)
def test_what_was_read_from_split_decides_as_its_sdk_does_with_what_the_provider_sends(
    world, users
):
    translation = flags_from(world)
    left = [one for one in translation.ledger if one.fidelity is not Fidelity.FULL]
    assert all("leaves out" in one.reason for one in left)
    oracle = Oracle(world)
    with Flags.in_memory(translation.flags, segments=translation.segments) as flags:
        for key, attributes in users:
            context = context_from({"key": key, "attributes": attributes})
            for name in [one.key for one in translation.flags]:
                told = flags.evaluate(name, context)
                sent = their_attributes(context, context)
                assert told.variant == oracle.treatment(name, key, sent), told
                if not any(isinstance(one, dt.datetime) for one in attributes.values()):
                    assert told.variant == oracle.treatment(name, key, attributes), told


@pytest.mark.rule("E9")
@given(ruled_segments(), st.sampled_from([False, True]))
def test_who_is_in_a_rule_based_segment_is_who_the_sdk_takes_for_one(segments, negate):
    asks = {**named_segment("IN_RULE_BASED_SEGMENT", "ruled"), "negate": negate}
    flag = split("agent", [condition([asks], [("on", 100)])])
    world = document(flag, rules=segments, staff=["bob", "user-2"])
    translation = flags_from(world)
    assume(translation.flags)
    oracle = Oracle(world)
    with Flags.in_memory(translation.flags, segments=translation.segments) as flags:
        for key in KEYS:
            for attributes in ({}, {"plan": "gold"}):
                told = flags.evaluate("agent", Context(key, attributes)).variant
                assert told == oracle.treatment("agent", key, attributes), key


def ruled(name, *outside, keys=()):
    excluded = {"keys": list(keys), "segments": [dict(one) for one in outside]}
    conditions = [condition([GOLD], [])]
    return {"name": name, "status": "ACTIVE", "excluded": excluded, "conditions": conditions}


STAFF = {"type": "standard", "name": "staff"}
EARLY = {"type": "rule-based", "name": "early"}


@pytest.mark.parametrize(
    "segments, told",
    [
        ([ruled("early", STAFF), ruled("late", EARLY)], "which leaves out segments itself"),
        ([ruled("early", keys=["ada"]), ruled("late", EARLY, STAFF)], "which leaves out keys"),
    ],
)
def test_segments_that_the_sdk_leaves_out_in_ways_of_its_own_are_told(segments, told):
    asks = condition([named_segment("IN_RULE_BASED_SEGMENT", "late")], [("on", 100)])
    translation = carried(split("agent", [asks]), rules=segments, staff=["bob"])
    assert translation.flags == ()
    assert told in why(translation)
    turned = [{**one, "excluded": {**one["excluded"]}} for one in segments]
    turned[1]["excluded"]["segments"] = [STAFF]
    assert carried(split("agent", [asks]), rules=turned, staff=["bob"]).flags


def test_a_first_rule_that_asks_for_another_flag_is_a_prerequisite_unless_a_list_precedes_it():
    depends = {
        **ALL,
        "matcherType": "IN_SPLIT_TREATMENT",
        "negate": True,
        "dependencyMatcherData": {"split": "other", "treatments": ["on"]},
    }
    listed = {**ALL, "matcherType": "WHITELIST", "whitelistMatcherData": {"whitelist": ["ada"]}}
    rules = [condition([depends], [("off", 100)]), condition([ALL], [("on", 100)])]
    for treatment, required in (("off", ["other"]), ("on", [])):
        first = condition([listed], [(treatment, 100)], "WHITELIST")
        flag, _other = carried(split("agent", [first, *rules]), split("other")).flags
        assert [one.flag for one in flag.prerequisites] == required
        assert len(flag.rules) == 1 - len(required)


def asking(kind, data=None, **more):
    """Return a matcher of ``plan`` with its data."""
    where = {"keySelector": {"attribute": "plan"}, "matcherType": kind}
    return {**ALL, **where, **({} if data is None else {DATA[kind]: data}), **more}


DATA = {
    "WHITELIST": "whitelistMatcherData",
    "CONTAINS_STRING": "whitelistMatcherData",
    "EQUAL_TO_SET": "whitelistMatcherData",
    "PART_OF_SET": "whitelistMatcherData",
    "CONTAINS_ALL_OF_SET": "whitelistMatcherData",
    "CONTAINS_ANY_OF_SET": "whitelistMatcherData",
    "EQUAL_TO": "unaryNumericMatcherData",
    "GREATER_THAN_OR_EQUAL_TO": "unaryNumericMatcherData",
    "EQUAL_TO_BOOLEAN": "booleanMatcherData",
    "MATCHES_STRING": "stringMatcherData",
}
EACH = (
    asking("WHITELIST", {"whitelist": ["gold", "5", "5.0", "true", '["gold"]', '{"gold": 5}']}),
    asking("CONTAINS_STRING", {"whitelist": ["gold"]}),
    asking("MATCHES_STRING", "null"),
    *(
        asking(kind, {"whitelist": ["gold", "g"]})
        for kind in ("EQUAL_TO_SET", "PART_OF_SET", "CONTAINS_ALL_OF_SET", "CONTAINS_ANY_OF_SET")
    ),
    asking("EQUAL_TO_SET", {"whitelist": ["gold"]}),
    *(
        asking(kind, {"dataType": data, "value": value})
        for kind in ("EQUAL_TO", "GREATER_THAN_OR_EQUAL_TO")
        for data, value in (("NUMBER", 5), ("DATETIME", 86_400_000))
    ),
    asking("EQUAL_TO_BOOLEAN", True),
)
WORTH = (
    *("gold", "5", "5.0", "true", "", 5, 5.0, 5.5, True, False, None, 86_401, 86_401.0),
    *(["gold"], ["gold", None], ["gold", {"g": 1}], [["gold"]], ["gold", 5.0], []),
    *(("gold",), {"gold"}, frozenset({"gold", "g"}), {"gold": 5}, {"gold": 5.0}, {"gold": None}),
    *({}, b"gold", Decimal(5), dt.date(1970, 1, 2), float("nan")),
    *(dt.datetime(1970, 1, 2, 1, tzinfo=dt.UTC), dt.datetime(1970, 1, 2)),  # noqa: DTZ001  (no offset: no time)
)


@pytest.mark.rule("E9")
@pytest.mark.parametrize("value", WORTH, ids=lambda value: type(value).__name__)
def test_each_value_is_read_alike_by_the_sdk_by_the_provider_and_after_leaving_split(value):
    world = document(
        *(
            split(
                f"{number}-{matcher['matcherType']}-{negate}",
                [condition([{**matcher, "negate": negate}], [("on", 100)])],
            )
            for number, matcher in enumerate(EACH)
            for negate in (False, True)
        )
    )
    translation = flags_from(world)
    oracle, context = Oracle(world), Context("ada", {"plan": value})
    sent = their_attributes(context, context)
    left = {one["name"] for one in world["ff"]["d"]} - {one.key for one in translation.flags}
    assert not left
    with Flags.in_memory(translation.flags) as flags:
        told = {one.key: flags.evaluate(one.key, context).variant for one in translation.flags}
    assert told == {key: oracle.treatment(key, "ada", sent) for key in told}
    if not isinstance(value, dt.datetime):  # of which the SDK by itself makes nothing
        assert told == {key: oracle.treatment(key, "ada", context.attributes) for key in told}


def carried(*flags, **more):
    return flags_from(document(*flags, **more))


def why(translation, name="agent"):
    (entry,) = translation.ledger.of(name)
    assert entry.fidelity is Fidelity.MANUAL
    return entry.reason


def test_users_keep_their_bucket_and_the_split_its_seed():
    translation = carried(split())
    (flag,) = translation.flags
    assert isinstance(flag.default, Split)
    assert flag.default.bucketing.scheme is Scheme.SPLIT
    assert flag.default.bucketing.seed == 467569525


def test_a_segment_without_its_keys_and_what_asks_for_it_are_left_out_and_told():
    matcher = {
        **ALL,
        "matcherType": "IN_SEGMENT",
        "userDefinedSegmentMatcherData": {"segmentName": "staff"},
    }
    translation = carried(split(conditions=[condition([matcher], [("on", 100)])]))
    assert not translation.flags
    assert "does not tell its keys" in why(translation)


def test_what_the_sdk_cannot_decide_is_left_out_and_told():
    strange = {**ALL, "matcherType": "IN_THE_MOON"}
    short = condition([ALL], [("on", 40), ("off", 50)])
    assert "IN_THE_MOON" in why(carried(split(conditions=[condition([strange], [("on", 100)])])))
    assert "don't add up" in why(carried(split(conditions=[short])))
    assert "control" in why(carried(split(defaultTreatment="control")))
    pattern = {**ALL, "matcherType": "MATCHES_STRING", "stringMatcherData": r"(a)\1"}
    assert "linear time" in why(carried(split(conditions=[condition([pattern], [("on", 100)])])))
    assert "not as Split sends it" in why(carried({**split(), "conditions": None}))


def test_an_archived_flag_is_passed_over_and_told():
    translation = carried(split(status="ARCHIVED"))
    assert not translation.flags
    (entry,) = translation.ledger
    assert (entry.fidelity, entry.flag) == (Fidelity.SKIPPED, "agent")


def test_values_are_read_from_configurations():
    made = carried(
        split(
            "limits",
            [condition([ALL], [("low", 50), ("high", 50)])],
            configurations={"low": '{"n": 1}', "high": '{"n": 2}'},
            defaultTreatment="low",
        ),
        split("number", configurations={"on": '{"value": 5}', "off": '{"value": 2.5}'}),
        split("text", [condition([ALL], [("red", 50), ("blue", 50)])], defaultTreatment="blue"),
    )
    limits, number, text = made.flags
    assert (limits.kind, limits.variants["high"]) == ("object", {"n": 2})
    assert (number.kind, number.variants) == ("number", {"on": 5, "off": 2.5})
    assert (text.kind, text.variants) == ("string", {"red": "red", "blue": "blue"})


@pytest.mark.parametrize("text", ["[]", "{}", "nonsense", '{"ff": {"d": {}}}', '{"splits": [3]}'])
def test_what_is_no_such_document_is_refused_with_its_place(text):
    with pytest.raises(DocumentError, match="Split's document is refused"):
        flags_from(text)


def test_definitions_of_the_admin_api_are_read_but_for_what_needs_a_seed():
    definition = {
        "name": "agent",
        "trafficType": {"id": "1", "name": "user"},
        "killed": False,
        "treatments": [{"name": "on", "keys": ["ada"]}, {"name": "off"}],
        "defaultTreatment": "off",
        "trafficAllocation": 100,
        "rules": [
            {
                "condition": {
                    "combiner": "AND",
                    "matchers": [
                        {"type": "IN_LIST_STRING", "attribute": "plan", "strings": ["gold"]}
                    ],
                },
                "buckets": [{"treatment": "on", "size": 100}],
            }
        ],
        "defaultRule": [{"treatment": "off", "size": 100}],
    }
    shared = {
        **definition,
        "defaultRule": [{"treatment": "on", "size": 30}, {"treatment": "off", "size": 70}],
    }
    translation = flags_from(json.dumps({"objects": [definition]}))
    with Flags.in_memory(translation.flags) as flags:
        assert flags.is_enabled("agent", "ada")
        assert flags.is_enabled("agent", {"targetingKey": "bob", "plan": "gold"})
        assert not flags.is_enabled("agent", "bob")
    assert "a seed (seed) that the document does not tell" in why(flags_from(shared))
