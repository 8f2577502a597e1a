"""The first backend answers, whatever the second one does; and how they agree is counted."""

import datetime as dt
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downhaul import Context, Flag, Flags
from downhaul.backends.memory import MemoryProvider
from downhaul.backends.sqlite import SqliteProvider
from downhaul.config import check
from downhaul.errors import Unreachable
from downhaul.flag import (
    Clause,
    FlagKind,
    FlagSet,
    Keys,
    Operator,
    Prerequisite,
    Rule,
    Segment,
)
from downhaul.provider import Capability, Change, State
from downhaul.result import ErrorCode, Reason, Result
from downhaul.vendors.aside import is_aside
from downhaul.wrappers.comparing import CAPACITY
from downhaul.wrappers.comparisons import Expectation, Outcome, compared
from downhaul.wrappers.failover import Failover
from downhaul.wrappers.shadow import Shadow
from downhaul.wrappers.wrapper import stack_of

sys.path.insert(0, str(Path(__file__).parent))
from two_sides import Deciding, error, in_child, wait_for

ANA = Change("ana", "because")


def memory(*flags):
    return MemoryProvider(FlagSet.of(flags))


ON = Flag.boolean("agent")


@pytest.fixture
def over():
    """A function that opens a client over a shadow that compares everything."""
    opened = []

    def open_(old, new, **options):
        shadow = Shadow(old, new, **{"sample": 1, **options})
        flags = Flags.over(shadow)
        opened.append(flags)
        return flags, shadow

    yield open_
    for one in opened:
        one.close()


def counted(shadow, flag="agent"):
    counts = shadow.report().counts.get(flag, {})
    return {outcome: count for outcome, count in counts.items() if count}


# What is served


def test_the_first_answers_and_the_second_is_only_compared(over):
    new = Deciding(agent=False)
    flags, shadow = over(memory(ON), new)
    for _ in range(5):
        result = flags.evaluate("agent", "ada")
        assert (result.value, result.provider) == (True, "memory")
    wait_for(lambda: counted(shadow) == {Outcome.VALUE: 5})
    assert len(new.asked) == 5


@pytest.mark.parametrize("new", [OSError("boom"), error(ErrorCode.GENERAL), SystemError()])
@pytest.mark.rule("E1")
def test_whatever_the_second_does_is_no_affair_of_the_caller_and_never_counts_as_agreement(
    over, new
):
    flags, shadow = over(memory(ON), Deciding(agent=new))
    assert flags.evaluate("agent", "ada", default=False).value is True
    wait_for(lambda: counted(shadow) == {Outcome.ERROR_NEW: 1})
    assert shadow.report().parity() is None
    assert shadow.report().mismatches == ()
    assert Outcome.ERROR_NEW in shadow.report().errors


def test_the_words_of_the_first_are_what_is_known_joined_with_the_tags_of_the_second(over):
    old = memory(Flag.boolean("agent", tags=("agents",)), Flag.boolean("other"))
    new = memory(Flag.boolean("agent", on=False, tags=("beta",)), Flag.boolean("more"))
    flags, _ = over(old, new)
    assert set(flags.evaluate_all("ada")) == {"agent", "other"}
    flags.operator("ana").kill("tag:beta", reason="it burns")
    assert not flags.is_enabled("agent", "ada")
    assert flags.is_enabled("other", "ada")


def test_rules_segments_and_prerequisites_of_the_first_decide_as_without_a_shadow(over):
    base = Flag.boolean("base")
    rule = Rule("on", (Clause("plan", Operator.IN, ("pro",)),))
    ruled = Flag.boolean("ruled", percent=0, rules=(rule,))
    needing = Flag.boolean("needing", prerequisites=(Prerequisite("base"),))
    old = memory(base, ruled, needing)
    flags, _ = over(old, memory())
    heard = []
    flags.on_change(heard.append)
    assert flags.is_enabled("ruled", Context("ada", {"plan": "pro"}))
    assert not flags.is_enabled("ruled", "ada")
    assert flags.evaluate("ruled", Context("ada", {"plan": "pro"})).metadata["rule"] == "0"
    old.switch_off("base", ANA)
    assert not flags.is_enabled("needing", "ada")
    assert frozenset().union(*heard) == {"base", "needing"}


@pytest.mark.rule("K1")
def test_a_kill_holds_over_both_and_over_what_requires_the_killed_flag(over):
    needing = Flag.boolean("needing", prerequisites=(Prerequisite("agent"),))
    flags, _ = over(memory(ON, needing), Deciding(agent=True, needing=True))
    flags.operator("ana").kill("agent", reason="it burns")
    assert flags.evaluate("agent", "ada").reason is Reason.KILLED
    assert not flags.is_enabled("needing", "ada")


def test_what_the_second_says_of_its_flags_is_heard_by_nobody_but_for_tags(over):
    old, new = memory(ON), memory(ON)
    flags, _ = over(old, new)
    new.switch_off("agent", ANA)
    new.put(Flag.boolean("more"), ANA)
    assert flags.is_enabled("agent", "ada")
    assert set(flags.evaluate_all("ada")) == {"agent"}
    assert flags.evaluate("more", "ada").error_code is ErrorCode.FLAG_NOT_FOUND


def test_a_client_is_told_of_each_flag_once_for_each_word(over):
    old, heard = memory(ON, Flag.boolean("other")), []
    flags, _ = over(old, memory(ON))
    flags.on_change(heard.append)
    old.set_rollout("agent", "on", 5_000, ANA)
    assert heard == [{"agent"}]


def test_whoever_decides_otherwise_by_another_segment_is_told_once(over):
    rule = Rule("on", (Clause("", Operator.IN_SEGMENT, ("staff",)),))
    ruled = Flag.boolean("ruled", percent=0, rules=(rule,))
    old, heard = memory(ruled, ON), []
    flags, _ = over(old, memory())
    flags.on_change(heard.append)
    old.put_segment(Segment("staff", (Keys(frozenset({"ada"})),)), ANA)
    assert flags.is_enabled("ruled", "ada")
    assert heard == [{"ruled"}]
    # All at once, as after contact was lost: what is known of the flags is the same.
    listener = old._listener
    listener.replaced(FlagSet({**old.list().flags}, {"staff": Segment("staff")}, "9"))
    assert not flags.is_enabled("ruled", "ada")
    assert heard[1:] == [{"ruled"}]
    changed = {**old.list().flags, "agent": Flag.boolean("agent", percent=0, version="9")}
    listener.replaced(FlagSet(changed, {"staff": Segment("staff")}, "10"))
    assert heard[2:] == [{"agent"}]


def test_what_is_managed_is_the_first(over):
    old, new = memory(ON), memory(ON)
    _, shadow = over(old, new)
    shadow.switch_off("agent", ANA)
    assert (old.get("agent").on, new.get("agent").on) == (False, True)
    managing = old.capabilities - {Capability.FLAG_SET}
    assert shadow.capabilities == managing | {Capability.RESOLVE}
    assert shadow.publishes_within == old.publishes_within


# How answers compare


def result(value, **fields):
    return Result(value, **fields)


DEFAULT = Result(None, reason=Reason.DISABLED, authoritative=False)
GONE = error(ErrorCode.FLAG_NOT_FOUND)
BROKEN = error(ErrorCode.PARSE_ERROR)


@pytest.mark.parametrize(
    "old, new, outcome",
    [
        (result(True), result(True), Outcome.MATCH),
        (result(True, variant="on"), result(True, variant="yes"), Outcome.MATCH),
        (result("a"), result("b"), Outcome.VALUE),
        (result(1), result(True), Outcome.TYPE),
        (result(1), result(1.0), Outcome.TYPE),
        (result("1"), result(1), Outcome.TYPE),
        (result({"a": [1]}), result({"a": [1]}), Outcome.MATCH),
        (result({"a": [1]}), result({"a": [True]}), Outcome.VALUE),
        (result({"a": 1}), result({"b": 1}), Outcome.VALUE),
        (result([1, 2]), result([1]), Outcome.VALUE),
        (result([1]), result({}), Outcome.TYPE),
        (DEFAULT, DEFAULT, Outcome.MATCH),
        (DEFAULT, result(False), Outcome.VALUE),
        (GONE, result(False), Outcome.NOT_FOUND),
        (result(False), GONE, Outcome.NOT_FOUND),
        (GONE, GONE, Outcome.NOT_FOUND),
        (BROKEN, result(True), Outcome.ERROR_OLD),
        (result(True), BROKEN, Outcome.ERROR_NEW),
        (BROKEN, BROKEN, Outcome.ERROR_OLD),
        (GONE, BROKEN, Outcome.ERROR_NEW),
    ],
)
def test_answers_compare_by_value_and_type_and_an_error_is_no_answer(old, new, outcome):
    assert compared(old, new) is outcome


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, JSON)
def test_a_match_is_the_same_json_and_nothing_else(old, new):
    import json

    same = json.dumps(old, sort_keys=True) == json.dumps(new, sort_keys=True)
    outcome = compared(result(old), result(new))
    if outcome is Outcome.MATCH and not same:
        assert "-0.0" in json.dumps([old, new])  # equal, and written in two ways
    else:
        assert (outcome is Outcome.MATCH) is same


def test_each_flag_is_counted_for_itself_with_its_last_mismatches(over):
    new = Deciding(agent=True, other=False, gone=True, typed="yes")
    old = memory(ON, Flag.boolean("other"), Flag.boolean("typed"))
    flags, shadow = over(old, new)
    for key in ("agent", "other", "typed", "nobody"):
        flags.evaluate(key, Context("ada", {"email": "ada@example.org"}))
    wait_for(lambda: shadow.report().total(*Outcome) == 4)
    report = shadow.report()
    found = {key: [one for one in counts if counts[one]] for key, counts in report.counts.items()}
    assert found == {
        "agent": [Outcome.MATCH],
        "other": [Outcome.VALUE],
        "typed": [Outcome.TYPE],
        "nobody": [Outcome.NOT_FOUND],
    }
    assert report.parity() == 0.25
    assert report.parity("agent") == 1
    other = report.mismatches[0]
    assert (other.flag, other.outcome) == ("other", Outcome.VALUE)
    assert (other.old.provider, other.old.value) == ("memory", "True")
    assert (other.new.provider, other.new.value) == ("vendor", "False")


@pytest.mark.rule("X1")
def test_nothing_of_who_asked_is_kept_but_a_hash_and_the_names_of_attributes(over):
    flags, shadow = over(memory(ON), Deciding(agent=False))
    organisation = Context("acme", {"plan": "pro"}, "organisation")
    both = Context.multi(Context("ada@example.org", {"email": "ada@example.org"}), organisation)
    flags.evaluate("agent", both)
    flags.evaluate("agent", "ada@example.org")
    flags.evaluate("agent", None)
    wait_for(lambda: len(shadow.report().mismatches) == 3)
    first, second, nobody = shadow.report().mismatches
    assert first.attributes == ("email", "organisation.plan")
    assert first.who == second.who
    assert len(first.who) == 12
    assert nobody.who == ""
    shown = repr(shadow.report())
    assert "ada@" not in shown
    assert "acme" not in shown
    assert "pro'" not in shown
    _, another = over(memory(ON), Deciding(agent=False))
    another.resolve("agent", Context("ada@example.org"), None)
    wait_for(lambda: another.report().mismatches)
    assert another.report().mismatches[0].who != first.who  # the salt is another one


def test_the_last_hundred_mismatches_are_kept_and_values_are_shown_short(over):
    old = memory(
        Flag(key="agent", kind=FlagKind.STRING, variants={"a": "x" * 500}, default="a", on=True)
    )
    flags, shadow = over(old, Deciding(agent="y"))
    for number in range(150):
        flags.evaluate("agent", f"user-{number}")
    wait_for(lambda: counted(shadow) == {Outcome.VALUE: 150})
    mismatches = shadow.report().mismatches
    assert len(mismatches) == 100
    assert len(mismatches[0].old.value) == 80


def test_what_was_expected_counts_apart_until_its_day_is_over(over):
    today = [dt.date(2026, 11, 30)]
    expected = Expectation("ag*", "the vendor draws lots", dt.date(2026, 11, 30))
    flags, shadow = over(
        memory(ON, Flag.boolean("other")),
        Deciding(agent=False, other=False),
        expected=[expected],
        today=lambda: today[0],
    )
    flags.evaluate("agent", "ada")
    flags.evaluate("other", "ada")
    wait_for(lambda: shadow.report().total(*Outcome) == 2)
    assert counted(shadow) == {Outcome.EXPECTED: 1}
    assert counted(shadow, "other") == {Outcome.VALUE: 1}
    assert shadow.report().parity("agent") is None
    today[0] = dt.date(2026, 12, 1)
    flags.evaluate("agent", "ada")
    wait_for(lambda: counted(shadow) == {Outcome.EXPECTED: 1, Outcome.VALUE: 1})


def test_an_expected_flag_that_fails_is_an_error_all_the_same(over):
    expected = Expectation("*", "all of them", dt.date(9999, 1, 1))
    flags, shadow = over(memory(ON), Deciding(agent=OSError()), expected=[expected])
    flags.evaluate("agent", "ada")
    wait_for(lambda: counted(shadow) == {Outcome.ERROR_NEW: 1})


# When there is a comparison


def test_nothing_is_compared_before_both_are_ready_and_a_stale_side_is_no_evidence(over):
    new = Deciding(agent=True, state=State.NOT_READY)
    flags, shadow = over(memory(ON), new)
    for _ in range(3):
        flags.evaluate("agent", "ada")
    assert not shadow.report().comparing
    assert (
        "vendor, which is compared with it, is NOT_READY: away" in flags.status().provider.message
    )
    assert flags.status().state is State.READY
    new.move(State.READY)

    def evaluated():
        flags.evaluate("agent", "ada")
        return shadow.report().comparing

    wait_for(evaluated)
    wait_for(lambda: shadow.report().total(Outcome.MATCH) == 1)
    assert flags.status().provider.message == ""
    asked = len(new.asked)
    new.move(State.STALE)
    flags.evaluate("agent", "ada")
    wait_for(lambda: shadow.report().total(Outcome.ERROR_NEW) == 1)
    assert len(new.asked) == asked
    assert "no fresh flags" in shadow.report().errors[Outcome.ERROR_NEW]


@pytest.mark.parametrize("sample", [0.0, 0.25, 1.0])
def test_the_share_that_is_compared_is_the_one_that_was_asked_for(over, sample):
    draws = iter([number / 100 for number in range(100)])
    new = Deciding(agent=True)
    flags, shadow = over(memory(ON), new, sample=sample, draw=lambda: next(draws))
    for _ in range(100):
        flags.evaluate("agent", "ada")
    wait_for(lambda: shadow.report().total(Outcome.MATCH) == 100 * sample)
    flags.close()
    assert len(new.asked) == 100 * sample


def test_no_thread_is_begun_before_there_is_something_to_compare(over):
    before = set(threading.enumerate())
    flags, shadow = over(memory(ON), Deciding(agent=True), sample=0)
    flags.evaluate("agent", "ada")
    assert set(threading.enumerate()) == before
    assert shadow.report().total(*Outcome) == 0


@pytest.mark.rule("E1")
def test_where_no_thread_can_be_had_the_caller_is_answered(over, monkeypatch):
    flags, shadow = over(memory(ON), Deciding(agent=True))

    def none(_self):
        message = "can't start new thread"
        raise RuntimeError(message)

    monkeypatch.setattr(threading.Thread, "start", none)
    assert flags.evaluate("agent", "ada").value is True
    monkeypatch.undo()
    assert shadow.report().total(Outcome.DROPPED) == 1
    assert flags.evaluate("agent", "ada").value is True
    wait_for(lambda: shadow.report().total(Outcome.MATCH) == 2)


def test_a_context_that_its_caller_changes_afterwards_is_compared_as_it_was(over):
    new = Deciding(agent=lambda context: context.attributes["plans"] == ["pro"])
    new.hangs.clear()
    flags, shadow = over(memory(ON), new)
    attributes = {"plans": ["pro"], "nested": {"a": 1}}
    context = Context("ada", attributes)
    flags.evaluate("agent", context)
    attributes["plans"].append("free")
    attributes["more"] = 1
    del attributes["nested"]["a"]
    organisation = Context("acme", {"plans": ["pro"]}, "organisation")
    flags.evaluate("agent", Context.multi(Context("ada", {"plans": ["pro"]}), organisation))
    new.hangs.set()
    wait_for(lambda: counted(shadow) == {Outcome.MATCH: 2})
    seen, several = (context for _, context, _ in new.asked)
    assert seen.attributes == {"plans": ["pro"], "nested": {"a": 1}}
    assert several.of_kind("organisation").targeting_key == "acme"


def test_an_object_that_its_caller_changes_afterwards_is_compared_as_it_was(over):
    variants = {"a": {"n": [1]}}
    old = memory(Flag(key="agent", kind=FlagKind.OBJECT, variants=variants, default="a", on=True))
    new = Deciding(agent={"n": [1]})
    new.hangs.clear()
    flags, shadow = over(old, new)
    flags.evaluate("agent", "ada").value["n"].append(2)
    new.hangs.set()
    wait_for(lambda: counted(shadow) == {Outcome.MATCH: 1})


def test_the_time_that_an_evaluation_is_about_goes_with_it(over):
    at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    new = Deciding(agent=lambda context: context.at == at)
    flags, shadow = over(memory(ON), new)
    flags.evaluate("agent", Context("ada").at_time(at))
    wait_for(lambda: counted(shadow) == {Outcome.MATCH: 1})


def test_what_is_compared_is_asked_aside(over):
    seen = []
    new = Deciding(agent=lambda _context: seen.append(is_aside()) or True)
    old = Deciding(name="old", agent=lambda _context: seen.append(is_aside()) or True)
    flags, shadow = over(old, new)
    flags.evaluate("agent", "ada")
    wait_for(lambda: counted(shadow) == {Outcome.MATCH: 1})
    assert seen == [False, True]
    assert not is_aside()


# Faults


def test_a_second_that_hangs_costs_the_caller_nothing_and_what_is_too_much_is_dropped(over):
    new = Deciding(agent=True)
    new.hangs.clear()
    flags, shadow = over(memory(ON), new, capacity=50)
    begun = time.monotonic()
    for _ in range(1_000):
        assert flags.evaluate("agent", "ada").value is True
    assert time.monotonic() - begun < 5
    report = shadow.report()
    assert report.waiting == 50
    assert 948 <= report.total(Outcome.DROPPED) <= 950  # one or none is with the second
    new.hangs.set()
    wait_for(lambda: shadow.report().total(*Outcome) == 1_000)
    assert shadow.report().total(Outcome.MATCH) in (50, 51, 52)
    assert CAPACITY == 10_000


def test_a_second_that_dies_in_the_middle_is_an_error_from_then_on(over):
    new = Deciding(agent=True)
    flags, shadow = over(memory(ON), new)
    flags.evaluate("agent", "ada")
    wait_for(lambda: counted(shadow) == {Outcome.MATCH: 1})
    new.answers["agent"] = Unreachable("away")
    flags.evaluate("agent", "ada")
    wait_for(lambda: counted(shadow) == {Outcome.MATCH: 1, Outcome.ERROR_NEW: 1})


def test_a_status_that_fails_is_dropped_and_ends_nothing(over):
    new = Deciding(agent=True)
    flags, shadow = over(memory(ON), new)
    flags.evaluate("agent", "ada")
    wait_for(lambda: counted(shadow) == {Outcome.MATCH: 1})
    new.status = lambda: 1 / 0
    flags.evaluate("agent", "ada")
    flags.evaluate("agent", "ada")
    del new.status
    flags.evaluate("agent", "ada")
    wait_for(lambda: counted(shadow)[Outcome.MATCH] >= 2)


def test_a_flood_of_keys_that_nobody_has_takes_only_so_much_room(over, monkeypatch):
    monkeypatch.setattr("downhaul.wrappers.comparing._FLAGS", 20)
    flags, shadow = over(memory(ON), Deciding(agent=True))
    for number in range(100):
        flags.evaluate(f"key-{number}", "ada")
    wait_for(lambda: shadow.report().total(Outcome.NOT_FOUND) == 100)
    assert len(shadow.report().counts) == 21
    assert shadow.report().counts["*"][Outcome.NOT_FOUND] == 80


def test_a_flood_of_keys_that_are_dropped_takes_only_so_much_room(over, monkeypatch):
    monkeypatch.setattr("downhaul.wrappers.comparing._FLAGS", 20)
    new = Deciding(agent=True)
    new.hangs.clear()
    flags, shadow = over(memory(ON), new, capacity=1)
    for number in range(100):
        flags.evaluate(f"key-{number}", "ada")
    report = shadow.report()
    assert len(report.counts) == 21
    assert report.total(Outcome.DROPPED) >= 98
    new.hangs.set()


@pytest.mark.rule("P1")
def test_closing_keeps_its_time_though_the_second_hangs(over):
    new = Deciding(agent=True)
    new.close = lambda timeout=2.0: threading.Event().wait(60)
    new.hangs.clear()
    flags, shadow = over(memory(ON), new)
    flags.evaluate("agent", "ada")
    wait_for(lambda: new.asked)
    begun = time.monotonic()
    shadow.close(0.3)
    assert time.monotonic() - begun < 2
    assert flags.evaluate("agent", "ada").value is True
    new.hangs.set()


def test_a_shadow_that_was_closed_can_be_started_again(over):
    old, new = memory(ON), Deciding(agent=True)
    shadow = Shadow(old, new, sample=1)
    for round_ in (1, 2):
        with Flags.over(shadow) as flags:
            flags.evaluate("agent", "ada")
            wait_for(lambda: shadow.report().total(Outcome.MATCH) == round_)  # noqa: B023
        assert "downhaul-compare" not in [one.name for one in threading.enumerate()]


def test_what_waits_when_it_closes_is_dropped_and_counted(over):
    new = Deciding(agent=True)
    new.hangs.clear()
    flags, shadow = over(memory(ON), new)
    for _ in range(5):
        flags.evaluate("agent", "ada")
    wait_for(lambda: new.asked)
    shadow._comparing.stop()
    new.hangs.set()
    wait_for(lambda: counted(shadow) == {Outcome.MATCH: 1, Outcome.DROPPED: 4})


@pytest.mark.rule("P3")
def test_what_was_closed_compares_nothing_in_a_forked_child(over):
    flags, shadow = over(Deciding("old", agent=True), Deciding(agent=True))
    flags.close()
    shadow.after_fork()  # as in a child
    assert shadow.resolve("agent", Context("ada"), None).value is True
    assert counted(shadow) == {Outcome.DROPPED: 1}
    assert "downhaul-compare" not in [one.name for one in threading.enumerate()]


@pytest.mark.parametrize("broken", [0, 1])
def test_nothing_is_left_of_a_start_that_failed(tmp_path, broken):
    stores = [SqliteProvider(tmp_path / name, poll=0.02) for name in ("old.db", "new.db")]

    def fail(_listener):
        message = "no such thing"
        raise OSError(message)

    stores[broken].start = fail
    before = set(threading.enumerate())
    with pytest.raises(OSError, match="no such thing"):
        Flags.over(Shadow(*stores))
    assert set(threading.enumerate()) == before


@pytest.mark.rule("P3")
def test_a_child_that_is_forked_while_the_queue_is_full_compares_what_it_is_asked(over):
    new = Deciding(agent=True)
    new.hangs.clear()
    flags, shadow = over(memory(ON), new, capacity=20)
    for _ in range(100):
        flags.evaluate("agent", "ada")

    def act():
        assert shadow.report().total(*Outcome) == shadow.report().waiting == 0
        new.hangs = threading.Event()
        new.hangs.set()
        assert flags.evaluate("agent", "ada").value is True
        wait_for(lambda: counted(shadow) == {Outcome.MATCH: 1})
        return True

    assert in_child(act) == 0
    new.hangs.set()
    wait_for(lambda: shadow.report().total(*Outcome) == 100)  # nothing of it went to the child


@pytest.mark.rule("P3")
def test_a_child_follows_both_however_it_was_forked(over):
    old, done = memory(ON), threading.Event()
    flags, shadow = over(old, memory(ON))

    def churn():
        while not done.is_set():
            old.set_rollout("agent", "on", 50_000, ANA)
            flags.evaluate("agent", "ada")

    churning = [threading.Thread(target=churn) for _ in range(2)]
    for one in churning:
        one.start()

    def act():
        old.put(Flag.boolean("agent", on=False), ANA)
        off = not flags.is_enabled("agent", "ada", default=True)
        wait_for(lambda: shadow.report().total(*Outcome) > 0)
        return off

    try:
        assert [in_child(act) for _ in range(10)] == [0] * 10
    finally:
        done.set()
        for one in churning:
            one.join()


# Sinks


class Sink:
    def __init__(self):
        self.given, self.fails = [], False

    def add(self, batch):
        if self.fails:
            message = "no such table"
            raise OSError(message)
        self.given.append({key: dict(one) for key, one in batch.counts.items()})

    def total(self, outcome):
        return sum(one.get(outcome, 0) for counts in self.given for one in counts.values())


def test_a_sink_gets_what_was_counted_since_it_last_took_something(over):
    sink = Sink()
    flags, shadow = over(memory(ON), Deciding(agent=True), sink=sink, flush_every=0.01)
    for number in range(1, 4):
        flags.evaluate("agent", "ada")
        wait_for(lambda: sink.total(Outcome.MATCH) == number)  # noqa: B023
    assert sink.given == [{"agent": {Outcome.MATCH: 1}}] * 3
    shadow.flush()
    assert len(sink.given) == 3  # no news is not told


def test_a_sink_that_fails_loses_nothing_and_is_told_of_once(over, caplog):
    sink = Sink()
    sink.fails = True
    flags, shadow = over(memory(ON), Deciding(agent=True), sink=sink, flush_every=0.01)
    flags.evaluate("agent", "ada")
    wait_for(lambda: "can't be kept" in caplog.text)
    flags.evaluate("agent", "ada")
    wait_for(lambda: shadow.report().total(Outcome.MATCH) == 2)
    sink.fails = False
    flags.close()
    assert sink.total(Outcome.MATCH) == 2
    assert caplog.text.count("can't be kept") == 1


def test_what_is_left_when_it_closes_is_told_to_the_sink(over):
    sink, new = Sink(), Deciding(agent=True)
    flags, shadow = over(memory(ON), new, sink=sink)
    flags.evaluate("agent", "ada")
    wait_for(lambda: shadow.report().total(Outcome.MATCH) == 1)
    flags.close()
    assert sink.given == [{"agent": {Outcome.MATCH: 1}}]


# Life and configuration


def test_a_failover_within_is_answered_by_whoever_is_in_charge(over):
    old = Failover(memory(ON), memory(Flag.boolean("agent", on=False)))
    flags, shadow = over(old, memory(ON))
    assert flags.is_enabled("agent", "ada")
    assert stack_of(shadow) == "shadow(failover(memory, memory), memory)"
    wait_for(lambda: counted(shadow) == {Outcome.MATCH: 1})


def test_the_first_is_waited_for_and_the_second_is_not(tmp_path):
    with Flags.over(Shadow(memory(ON), SqliteProvider(tmp_path / "nowhere" / "x.db"))) as flags:
        assert flags.wait_ready(0)
        assert flags.is_enabled("agent", "ada")
    shadow = Shadow(SqliteProvider(tmp_path / "nowhere" / "x.db"), memory(ON))
    with Flags.over(shadow, ready_within=0) as flags:
        assert not flags.wait_ready(0.05)
        assert flags.evaluate("agent", "ada").error_code is ErrorCode.PROVIDER_NOT_READY


TABLE = """
[provider]
url = "memory:"
wrap = ["shadow"]
[provider.shadow]
to = "sqlite:///new.db"
sample = 0.5
queue = 7
[[provider.shadow.expected]]
flag = "checkout-*"
reason = "the vendor draws lots"
until = 2027-01-31
"""


def test_it_is_made_from_configuration(tmp_path):
    path = tmp_path / "downhaul.toml"
    path.write_text(TABLE)
    assert check(file=path, environ={}) == []
    with Flags.connect(file=path, cache_dir=str(tmp_path / "cache")) as flags:
        shadow = flags._engine.provider
        assert stack_of(shadow) == "shadow(memory, sqlite)"
        comparing = shadow._comparing
        assert (comparing.sample, comparing._capacity) == (0.5, 7)
        assert comparing._expected == (
            Expectation("checkout-*", "the vendor draws lots", dt.date(2027, 1, 31)),
        )


@pytest.mark.rule("X1")
@pytest.mark.parametrize(
    "wrong, path",
    [
        (("sample = 0.5", "sample = 1.5"), "provider.shadow.sample"),
        (("queue = 7", "queue = 0"), "provider.shadow.queue"),
        (("until = 2027-01-31", ""), "provider.shadow.expected[0].until"),
        (('reason = "the vendor draws lots"', ""), "provider.shadow.expected[0].reason"),
        (("until = ", "untill = "), "provider.shadow.expected[0].until"),
    ],
)
def test_what_is_wrong_with_its_table_is_named(tmp_path, wrong, path):
    file = tmp_path / "downhaul.toml"
    file.write_text(TABLE.replace(*wrong))
    found = {one.path: one for one in check(file=file, environ={}, directory=tmp_path)}
    assert found[path].origin.startswith("downhaul.toml:")
    if "untill" in wrong[1]:
        assert found[f"{path}l"].hint == "did you mean until?"


@pytest.mark.slow
@pytest.mark.parametrize("how", ["ok", "hangs", "raises", "away"])
def test_at_most_ten_microseconds_are_added_to_all_but_one_call_of_a_hundred(how):
    new = Deciding(agent=OSError() if how == "raises" else True)
    attributes = {"plan": "pro", "country": "de", "age": 42, "groups": ["a"], "email": "a@b.c"}
    contexts = [Context(f"user-{number}", dict(attributes)) for number in range(100)]
    shadow = Shadow(memory(ON), new, sample=0.1)
    with Flags.over(shadow):
        if how == "hangs":
            new.hangs.clear()
        if how == "away":
            new.move(State.NOT_READY)

        def p99(ask):
            clock, took = time.thread_time_ns, []
            for number in range(20_000):
                context = contexts[number % 100]
                begun = clock()
                ask("agent", context, FlagKind.BOOLEAN)
                took.append(clock() - begun)
            return sorted(took)[19_800] / 1_000

        # The best of several: a busy machine adds, and nothing takes away.
        alone = min(p99(shadow._ask) for _ in range(3))
        through = min(p99(shadow.resolve) for _ in range(3))
    assert through - alone < 10
