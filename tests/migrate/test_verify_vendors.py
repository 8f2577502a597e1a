"""A vendor's own SDK and what its translator makes of the same flags, asked the same."""

import datetime as dt

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
translate = pytest.importorskip("downhaul_launchdarkly.translate")


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

# LaunchDarkly's SDK takes no context without a key, and our provider says so (rule E8); what was
# translated serves bucket zero, as LaunchDarkly's service does to a context that it takes.
KEYLESS = [
    Expectation("*", "no key", dt.date.max, about)
    for about in ("*nothing to bucket by", "nobody: *")
]


@pytest.mark.rule("M3")
def test_launchdarklys_sdk_and_the_flags_translated_from_it_give_everybody_the_same():
    with emulators.LaunchDarklyEmulator(sdk_key="sdk-5ecret") as service:
        made = [service.put(flag) for flag in flags()]
        segment = service.put_segment(SEGMENT)
        translated = translate.flags_from({
            "flags": {one["key"]: one for one in made}, "segments": {"staff": segment},
        })  # fmt: skip
        assert not translated.ledger.lossy
        ours = translated.flag_set()
        questions = questions_in(ours.flags, ours.segments)
        assert all(not one.coverage.unreached for one in questions)
        url = f"launchdarkly+{service.url}"
        theirs = build_provider(resolve(provider={"url": url, "sdk_key": "sdk-5ecret"}))
        kinds = {key: flag.kind for key, flag in ours.flags.items()}
        with asked_of(theirs, kinds) as old, asked_of(MemoryProvider(ours)) as new:
            report = verify(
                old, new, of_flags(questions), flags=ours.flags, kinds=kinds,
                options=Options(expected=tuple(KEYLESS)),
            )  # fmt: skip
    assert report.failures == ()
    assert report.cases > 200
    assert sum(one.expected for one in report.flags) >= 2
    assert (report.only_old, report.only_new) == ((), ())
