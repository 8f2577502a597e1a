"""A vendor's own SDK and what its translator makes of the same flags, asked the same."""

import datetime as dt
import json
import logging

import pytest

from downhaul.backends.memory import MemoryProvider
from downhaul.config import resolve
from downhaul.migrate.verify import (
    Expectation,
    Options,
    asked_of,
    of_flags,
    questions_in,
    verify,
)
from downhaul.plugins import build_provider

emulators = pytest.importorskip("downhaul_emulators")
launchdarkly = pytest.importorskip("downhaul_launchdarkly.translate")
split = pytest.importorskip("downhaul_split.translate")


def clause(attribute, op, *values, negate=False, kind="user"):
    return {
        "attribute": attribute, "op": op, "values": list(values), "negate": negate,
        "contextKind": kind,
    }  # fmt: skip


def rollout(*weights):
    variations = [{"variation": number, "weight": one} for number, one in enumerate(weights)]
    return {"rollout": {"kind": "rollout", "contextKind": "user", "variations": variations}}


def flags():
    from downhaul_emulators.launchdarkly import boolean, flag_of

    adult = clause("age", "greaterThanOrEqual", 18)
    rules = [
        {"id": "1", "clauses": [adult, clause("plan", "in", "pro", 5, True)], "variation": 1},
        {"id": "2", "clauses": [clause("app", "semVerLessThan", "2.1")], **rollout(25000, 75000)},
        {"id": "3", "clauses": [clause("since", "before", "2026-01-31T09:00:00Z")], "variation": 2},
        {"id": "4", "clauses": [clause("login", "matches", "^a.*z$", negate=True),
                                clause("size", "lessThan", 5, kind="org")], "variation": 2},
        {"id": "5", "clauses": [clause("", "segmentMatch", "staff")], "variation": 2},
        {"id": "6", "clauses": [clause("kind", "in", "device")], "variation": 1},
    ]  # fmt: skip
    targets = [{"values": ["anna", "ben"], "variation": 2}]
    return [
        boolean("plain", percent=30, on=True),
        flag_of("rich", ["a", "b", "c"], on=True, salt="s", rules=rules, targets=targets),
        boolean("needs", on=True, prerequisites=[{"key": "rich", "variation": 1}]),
    ]


SEGMENT = {
    "key": "staff", "version": 1, "salt": "q", "included": ["carl"], "excluded": ["dora"],
    "rules": [{"clauses": [clause("mail", "endsWith", "@x.org")], "weight": 50000}],
}  # fmt: skip

# A vendor's backend says what is missing where a split has no key (rule E8); what was translated
# from it serves bucket zero or nobody, as the vendor does.
KEYLESS = (
    Expectation("*", "no key", dt.date.max, keyless=True),
    Expectation("*", "no key for a segment's share", dt.date.max, "*gate: nothing to bucket by"),
)


def compare(theirs, translated):
    """Return how a vendor's backend and the flags translated from it compare, and the coverage."""
    assert not translated.ledger.lossy
    ours = translated.flag_set()
    questions = questions_in(ours.flags, ours.segments)
    assert all(not one.coverage.unreached for one in questions)
    kinds = {key: flag.kind for key, flag in ours.flags.items()}
    with asked_of(theirs, kinds) as old, asked_of(MemoryProvider(ours)) as new:
        return verify(
            old, new, of_flags(questions), flags=ours.flags, kinds=kinds,
            options=Options(expected=KEYLESS),
        )  # fmt: skip


@pytest.mark.rule("M3")
def test_launchdarklys_sdk_and_the_flags_translated_from_it_give_everybody_the_same():
    with emulators.LaunchDarklyEmulator(sdk_key="sdk-5ecret") as service:
        made = {one["key"]: one for one in map(service.put, flags())}
        segment = service.put_segment(SEGMENT)
        url = f"launchdarkly+{service.url}"
        theirs = build_provider(resolve(provider={"url": url, "sdk_key": "sdk-5ecret"}))
        report = compare(
            theirs, launchdarkly.flags_from({"flags": made, "segments": {"staff": segment}})
        )
    assert report.failures == ()
    assert report.cases > 200
    assert 2 <= sum(one.expected for one in report.flags) < 10
    assert (report.only_old, report.only_new) == ((), ())


def matcher(kind, attribute=None, *, negate=False, **data):
    selector = {"trafficType": "user", "attribute": attribute} if attribute else None
    return {"matcherType": kind, "negate": negate, "keySelector": selector, **data}


def condition(*matchers, **shares):
    return {
        "conditionType": "ROLLOUT", "label": "x", "partitions": emulators.split.buckets(**shares),
        "matcherGroup": {"combiner": "AND", "matchers": list(matchers)},
    }  # fmt: skip


def split_flag(name, *conditions, allocation=100):
    return {
        "name": name, "trafficTypeName": "user", "status": "ACTIVE", "killed": False, "seed": 77,
        "algo": 2, "changeNumber": 5, "defaultTreatment": "off", "trafficAllocation": allocation,
        "trafficAllocationSeed": 3,
        "conditions": [*conditions, condition(matcher("ALL_KEYS"), on=30, off=70)],
    }  # fmt: skip


def number(value, kind="NUMBER"):
    return {"unaryNumericMatcherData": {"dataType": kind, "value": value}}


def words(*some):
    return {"whitelistMatcherData": {"whitelist": list(some)}}


SPLITS = [
    split_flag("plain"),
    split_flag("partly", allocation=40),
    split_flag("rich",
        condition(matcher("WHITELIST", **words("anna", "ben")), v1=100),
        condition(
            matcher("EQUAL_TO", "age", **number(18)),
            matcher("STARTS_WITH", "mail", **words("ab", "cd")),
            v2=100,
        ),
        condition(
            matcher("GREATER_THAN_OR_EQUAL_TO", "since", **number(1769850000000, "DATETIME")),
            v3=20, v2=80,
        ),
        condition(matcher("EQUAL_TO_BOOLEAN", "beta", booleanMatcherData=True), v1=100),
        condition(matcher("CONTAINS_ALL_OF_SET", "roles", **words("a", "b")), v2=100),
    ),
    split_flag("needs", condition(
        matcher("IN_SPLIT_TREATMENT",
                dependencyMatcherData={"split": "plain", "treatments": ["on"]}),
        on=100,
    )),
]  # fmt: skip


@pytest.mark.rule("M3")
def test_splits_sdk_and_the_flags_translated_from_it_give_everybody_the_same(tmp_path):
    document = {
        "ff": {"d": SPLITS, "s": -1, "t": 5}, "rbs": {"d": [], "s": -1, "t": -1},
    }  # fmt: skip
    path = tmp_path / "flags.json"
    path.write_text(json.dumps(document))
    logging.getLogger("splitio").setLevel(logging.CRITICAL)  # it shouts of keys that are none
    theirs = build_provider(resolve(provider={"url": f"split+file://{path}"}))
    report = compare(theirs, split.flags_from(document))
    assert report.failures == ()
    assert report.cases > 150
