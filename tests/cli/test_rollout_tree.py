"""A rollout drawn and told, in every state: made by hand, so that each word is pinned."""

from dataclasses import replace
from textwrap import dedent

import pytest

from downhaul.analysis.model import Check, Finding, Measure, Verdict
from downhaul.backends.edits import with_on, with_rollout
from downhaul.cli import rollout_words as words
from downhaul.cli.rollout_render import explain_lines, list_rows, rollout_data, stands
from downhaul.cli.rollout_tree import DRAWN, TYPED, headline, signs_for, tree
from downhaul.encoding import flag_to_data
from downhaul.flag import Flag
from downhaul.rollout.plan import OnUndecided, Plan, Step, Strategy
from downhaul.rollout.results import Rollout, RolloutEvent
from downhaul.rollout.state import Act, Baked, Because, Phase, State

SECOND = 1_000_000
BEGAN = 1_795_766_400 * SECOND  # 2026-11-27T08:00:00Z
ERRORS = Check(Measure.ERROR_RATE, limit=0.02, min_sample=200)
LATENCY = Check(Measure.LATENCY, limit=2000, min_sample=200)
SUCCESSES = Check(Measure.SUCCESS_RATE, over_control=0.02, min_sample=200)
PLAN = Plan(
    flag="agent",
    variant="on",
    steps=tuple(Step(weight, 600.0, 1800.0) for weight in (1000, 5000, 25_000, 100_000)),
    guardrails=(ERRORS, LATENCY),
    signals=(SUCCESSES,),
)


def desired(weight, *, on=True):
    return flag_to_data(with_on(with_rollout(Flag.boolean("agent", percent=0), "on", weight), on))


def seen(errors=0.004, latency=1100.0, requests=812, verdict=Verdict.CLEAN, message=""):
    return (
        Finding(ERRORS.name, verdict, errors, None, requests, 200, message=message),
        Finding(LATENCY.name, Verdict.CLEAN, latency, None, requests, 200),
    )


def baked(step, seconds=600.0, findings=None):
    entered = BEGAN + step * 600 * SECOND
    left = entered + int(seconds * SECOND)
    return Baked(step, entered, left, seconds, seen() if findings is None else findings)


def rollout(*, plan=PLAN, now=1700, controllers=1, pending=(), **fields):
    """Return a rollout that is at 25 % unless said, ``now`` seconds after it began."""
    known = {
        "phase": Phase.PROGRESSING,
        "step": 2,
        "entered": True,
        "entered_at": BEGAN + 1200 * SECOND,
        "baked": 498.0,
        "waited": 498.0,
        "desired": desired(25_000),
        "started_at": BEGAN,
        "looked_at": BEGAN + 1698 * SECOND,
        "findings": seen(),
        "history": (baked(0), baked(1)),
        "act": Act.EXPOSED,
    }
    return Rollout(
        id="4f2a9c01de",
        environment="production",
        provider="sqlite",
        plan=plan,
        state=State(**{**known, **fields}),
        created_at=BEGAN,
        updated_at=BEGAN,
        due_at=BEGAN + (now + 5) * SECOND,
        now=BEGAN + now * SECOND,
        actor="ana",
        reason="v2 goes out",
        controllers=controllers,
        pending=pending,
    )


STARTING = rollout(
    phase=Phase.STARTING,
    step=0,
    entered=False,
    entered_at=0,
    baked=0.0,
    waited=0.0,
    started_at=0,
    history=(),
    findings=(),
    act=Act.NONE,
    desired=desired(0, on=False),
    looked_at=0,
)
HEALTHY = rollout()
SHORT = rollout(
    findings=seen(verdict=Verdict.UNDECIDED, requests=120),
    hold=Because.UNDECIDED.value,
    hold_message="error_rate <= 2 %: 120 of 200 requests",
    baked=600.0,
    waited=900.0,
)
PAUSED = rollout(
    phase=Phase.PAUSED,
    because=Because.DRIFT_LOWERED.value,
    message="somebody lowered it by hand",
    desired=desired(10_000),
)
BAD = seen(0.123, verdict=Verdict.REGRESSED, message="12.3 %", requests=244)
RETURNING = rollout(
    phase=Phase.ROLLING_BACK,
    because=Because.REGRESSED.value,
    message="error_rate <= 2 %: 12.3 %",
    history=(baked(0), baked(1), baked(2, 90.0, BAD)),
    findings=BAD,
)
ROLLED_BACK = replace(
    RETURNING,
    state=replace(
        RETURNING.state,
        phase=Phase.ROLLED_BACK,
        act=Act.RESTORED,
        ended_at=BEGAN + 1700 * SECOND,
        entered=False,
    ),
)
LATCHED = replace(
    RETURNING,
    state=replace(
        RETURNING.state,
        phase=Phase.LATCHED,
        act=Act.OFF,
        hold_message="off, and not restored: somebody changed the flag since",
        foreign=("rules: 0 -> 1",),
    ),
)
COMPLETED = rollout(
    phase=Phase.COMPLETED,
    step=3,
    entered=False,
    history=tuple(baked(step) for step in range(4)),
    desired=desired(100_000),
    ended_at=BEGAN + 2400 * SECOND,
    now=2500,
)
KILLED = rollout(
    phase=Phase.STOPPED,
    because=Because.KILLED.value,
    message="killed: agent by bo: refund loop",
    history=(baked(0), baked(1), baked(2, 90.0)),
    entered=False,
    ended_at=BEGAN + 1700 * SECOND,
)
EVERY = {
    "starting": STARTING,
    "healthy": HEALTHY,
    "short": SHORT,
    "paused": PAUSED,
    "returning": RETURNING,
    "rolled back": ROLLED_BACK,
    "latched": LATCHED,
    "completed": COMPLETED,
    "killed": KILLED,
}


def drawn(one, signs=DRAWN):
    return "\n".join(line.text for line in tree(one, signs))


def text(expected):
    return dedent(expected).strip("\n")


def test_a_healthy_one():
    assert drawn(HEALTHY) == text(
        """
        agent  on  production  4f2a9c01de   ● progressing   step 3/4   25 %   next 100 % in 1m 40s
        ├─ ✔ 1 %     10m of 10m      error_rate 0.4 %   latency 1100 ms
        ├─ ✔ 5 %     10m of 10m      error_rate 0.4 %   latency 1100 ms
        ├─ ● 25 %    8m 20s of 10m   error_rate 0.4 %   latency 1100 ms   checks ok
        ├─ ○ 100 %   10m
        ├─ signals: success_rate >= control -2 points
        └─ guards: error_rate <= 2 %, latency <= 2000 ms
        """
    )


def test_one_that_waits_for_requests():
    assert drawn(SHORT) == text(
        """
        agent  on  production  4f2a9c01de   ⚠ progressing   step 3/4   25 %   held
        ├─ ✔ 1 %     10m of 10m   error_rate 0.4 %   latency 1100 ms
        ├─ ✔ 5 %     10m of 10m   error_rate 0.4 %   latency 1100 ms
        ├─ ⚠ 25 %    10m of 10m   error_rate 0.4 %   latency 1100 ms   requests 120/200
        ├─ ○ 100 %   10m
        ├─ signals: success_rate >= control -2 points
        └─ guards: error_rate <= 2 %, latency <= 2000 ms
           why      The checks can't tell yet: error_rate <= 2 %: 120 of 200 requests
           waits    error_rate <= 2 %: 120 of 200 requests
           next     100 % once that is so, else it is paused in 15m
        """
    )


def test_a_paused_one():
    assert drawn(PAUSED) == text(
        """
        agent  on  production  4f2a9c01de   ॥ paused   step 3/4   10 %
        ├─ ✔ 1 %     10m of 10m      error_rate 0.4 %   latency 1100 ms
        ├─ ✔ 5 %     10m of 10m      error_rate 0.4 %   latency 1100 ms
        ├─ ॥ 25 %    8m 18s of 10m   error_rate 0.4 %   latency 1100 ms   checks ok
        ├─ ○ 100 %   10m
        ├─ signals: success_rate >= control -2 points
        └─ guards: error_rate <= 2 %, latency <= 2000 ms
           why      What is lowered by hand stays lowered: somebody lowered it by hand
           waits    a person: resume, promote, roll back or cancel
           next     nothing until a person decides; guardrails go on watching, and take it back
           do       downhaul rollout resume 4f2a9c01de
                    downhaul rollout promote 4f2a9c01de --reason "..."
                    downhaul rollout rollback 4f2a9c01de --reason "..."
                    downhaul rollout cancel 4f2a9c01de --reason "..."
                    downhaul kill agent --reason "..."
        """
    )


def test_one_on_its_way_back():
    assert drawn(RETURNING) == text(
        """
        agent  on  production  4f2a9c01de   ✖ rolling back   step 3/4   25 %
        ├─ ✔ 1 %     10m of 10m      error_rate 0.4 %   latency 1100 ms
        ├─ ✔ 5 %     10m of 10m      error_rate 0.4 %   latency 1100 ms
        ├─ ✖ 25 %    1m 30s of 10m   error_rate 12.3 % BAD   latency 1100 ms
        ├─ ○ 100 %   not reached
        ├─ ● exposure off: not seen yet
        ├─ ○ restored as it was: not yet
        ├─ signals: success_rate >= control -2 points
        └─ guards: error_rate <= 2 %, latency <= 2000 ms
           why      A guardrail found it worse than it may be: error_rate <= 2 %: 12.3 %
           waits    the exposure to be seen off
           next     the exposure goes off, then the flag is restored as it was
        """
    )


def test_one_that_is_back():
    assert drawn(ROLLED_BACK) == text(
        """
        agent  on  production  4f2a9c01de   ✖ rolled back   step 3/4   as before
        ├─ ✔ 1 %     10m of 10m      error_rate 0.4 %   latency 1100 ms
        ├─ ✔ 5 %     10m of 10m      error_rate 0.4 %   latency 1100 ms
        ├─ ✖ 25 %    1m 30s of 10m   error_rate 12.3 % BAD   latency 1100 ms
        ├─ ○ 100 %   not reached
        ├─ ✔ exposure off
        ├─ ✔ restored as it was
        ├─ signals: success_rate >= control -2 points
        └─ guards: error_rate <= 2 %, latency <= 2000 ms
           why      A guardrail found it worse than it may be: error_rate <= 2 %: 12.3 %
           next     nothing: it has ended
        """
    )


def test_one_that_is_latched():
    assert drawn(LATCHED) == text(
        """
        agent  on  production  4f2a9c01de   ⚠ latched   step 3/4   0 %
        ├─ ✔ 1 %     10m of 10m      error_rate 0.4 %   latency 1100 ms
        ├─ ✔ 5 %     10m of 10m      error_rate 0.4 %   latency 1100 ms
        ├─ ✖ 25 %    1m 30s of 10m   error_rate 12.3 % BAD   latency 1100 ms
        ├─ ○ 100 %   not reached
        ├─ ✔ exposure off
        ├─ ⚠ restored as it was: waits for a person
        ├─ signals: success_rate >= control -2 points
        └─ guards: error_rate <= 2 %, latency <= 2000 ms
           why      A guardrail found it worse than it may be: error_rate <= 2 %: 12.3 %
           but      off, and not restored: somebody changed the flag since
           differs  rules: 0 -> 1
           waits    a person: restore the flag over what somebody changed, or leave it as it is
           next     nothing until a person decides; the exposure stays off
           do       downhaul rollout rollback 4f2a9c01de --overwrite --reason "..."
                    downhaul rollout cancel 4f2a9c01de --reason "..."
                    downhaul kill agent --reason "..."
        """
    )


def test_a_completed_one():
    assert drawn(COMPLETED) == text(
        """
        agent  on  production  4f2a9c01de   ✔ completed   step 4/4   100 %
        ├─ ✔ 1 %     10m of 10m   error_rate 0.4 %   latency 1100 ms
        ├─ ✔ 5 %     10m of 10m   error_rate 0.4 %   latency 1100 ms
        ├─ ✔ 25 %    10m of 10m   error_rate 0.4 %   latency 1100 ms
        ├─ ✔ 100 %   10m of 10m   error_rate 0.4 %   latency 1100 ms
        ├─ signals: success_rate >= control -2 points
        └─ guards: error_rate <= 2 %, latency <= 2000 ms
           next     nothing; it can be reverted until 2026-11-30T08:40:00Z
        """
    )


def test_a_killed_one():
    assert drawn(KILLED) == text(
        """
        agent  on  production  4f2a9c01de   ✖ stopped   step 3/4   25 % (killed)
        ├─ ✔ 1 %     10m of 10m      error_rate 0.4 %   latency 1100 ms
        ├─ ✔ 5 %     10m of 10m      error_rate 0.4 %   latency 1100 ms
        ├─ ✖ 25 %    1m 30s of 10m   error_rate 0.4 %   latency 1100 ms
        ├─ ○ 100 %   not reached
        ├─ signals: success_rate >= control -2 points
        └─ guards: error_rate <= 2 %, latency <= 2000 ms
           why      A kill ends a rollout: killed: agent by bo: refund loop
           next     nothing: it has ended
        """
    )


def test_one_that_starts():
    assert drawn(STARTING) == text(
        """
        agent  on  production  4f2a9c01de   ○ starting   step 1/4   0 %
        ├─ ○ 1 %     on its way to the backend
        ├─ ○ 5 %     10m
        ├─ ○ 25 %    10m
        ├─ ○ 100 %   10m
        ├─ signals: success_rate >= control -2 points
        └─ guards: error_rate <= 2 %, latency <= 2000 ms
           waits    the first step to be seen at the backend
           next     1 %, and the flag is turned on
        """
    )


@pytest.mark.rule("X2")
@pytest.mark.parametrize("encoding, signs", [("utf-8", DRAWN), ("ascii", TYPED), (None, TYPED)])
def test_signs_are_those_that_the_encoding_has(encoding, signs):
    assert signs_for(encoding) == signs
    assert signs_for("no-such-encoding") == TYPED


@pytest.mark.parametrize("one", EVERY.values(), ids=EVERY)
def test_typed_signs_need_no_more_than_ascii(one):
    drawn(one, TYPED).encode("ascii")


def test_without_a_controller_it_says_that_nothing_will_move():
    alone = rollout(controllers=0, pending=("pause",))
    said = drawn(alone)
    assert words.NOBODY in said
    assert "pause: no controller took it yet" in said
    assert "a controller: none is alive" in words.waits(alone)
    assert explain_lines(alone, [])[3] == "Before anything else"


def test_a_bake_counts_on_between_two_looks_and_no_further():
    assert words.bake_left(rollout(now=1700)) == 100
    assert words.bake_left(rollout(now=1703)) == 97
    assert words.bake_left(rollout(now=1800)) == 92  # at most two intervals count unseen
    assert words.bake_left(rollout(now=1703, controllers=0)) == 102
    assert words.bake_left(rollout(now=1703, hold=Because.METRICS_LOST.value)) == 102


@pytest.mark.parametrize(
    "policy, because, said",
    [
        (OnUndecided.PAUSE, Because.UNDECIDED, "else it is paused in 15m"),
        (OnUndecided.PROMOTE, Because.UNDECIDED, "else it goes on all the same in 15m"),
        (OnUndecided.PROMOTE, Because.NO_DATA, "else it is paused in 15m"),
        (OnUndecided.ROLLBACK, Because.NO_DATA, "else it is rolled back in 15m"),
        (OnUndecided.ROLLBACK, Because.SIGNAL, "else it is paused in 15m"),
        (OnUndecided.PAUSE, Because.METRICS_LOST, "100 % once that is so"),
    ],
)
@pytest.mark.rule("R5")
def test_a_held_one_says_what_becomes_of_it(policy, because, said):
    held = rollout(plan=replace(PLAN, on_undecided=policy), hold=because.value, waited=900.0)
    assert words.coming(held).endswith(said)


@pytest.mark.parametrize("because", Because)
def test_every_reason_is_said_in_words(because):
    paused = rollout(phase=Phase.PAUSED, because=because.value, message="this and that")
    assert words.why(paused).endswith(": this and that")
    assert "_" not in words.why(paused)


@pytest.mark.parametrize(
    "verdict, requests, said",
    [
        (Verdict.CLEAN, 812, ""),
        (Verdict.NO_DATA, 0, "requests for error_rate <= 2 %: none were seen"),
        (Verdict.UNDECIDED, 120, "error_rate <= 2 %: 120 of 200 requests"),
        (Verdict.UNDECIDED, 300, "error_rate <= 2 % to be decided: close to the line"),
        (Verdict.REGRESSED, 300, "error_rate <= 2 % to be good again: close to the line"),
    ],
)
def test_what_a_check_still_needs(verdict, requests, said):
    finding = Finding(ERRORS.name, verdict, 0.1, None, requests, 200, message="close to the line")
    assert words.in_way(finding) == said
    assert words.in_way(replace(finding, dry_run=True)) == ""


@pytest.mark.rule("R9")
def test_blue_green_says_preview_and_switched_back():
    plan = Plan(
        flag="agent",
        variant="on",
        strategy=Strategy.BLUE_GREEN,
        steps=(Step(0, 60.0, 180.0, preview=True), Step(100_000, 600.0, 1800.0)),
        unguarded="watched by hand",
        audience=("qa-1",),
    )
    shown = rollout(plan=plan, step=0, history=(), findings=(), desired=desired(0), baked=10.0)
    assert "● preview" in drawn(shown)
    assert "unguarded: watched by hand" in drawn(shown)
    assert "There are none: watched by hand" in "\n".join(explain_lines(shown, []))
    back = rollout(plan=plan, step=1, phase=Phase.REVERTED, act=Act.RESTORED, findings=())
    assert "✔ switched back" in drawn(back)


def test_two_checks_of_one_measure_are_said_once_the_bad_one_first():
    other = Check(Measure.ERROR_RATE, over_control=0.01, min_sample=200)
    plan = replace(PLAN, guardrails=(ERRORS, other), signals=())
    both = (
        Finding(ERRORS.name, Verdict.CLEAN, 0.015, None, 300, 200),
        Finding(other.name, Verdict.REGRESSED, 0.015, 0.001, 300, 200),
    )
    line = drawn(rollout(plan=plan, findings=both)).splitlines()[3]
    assert line.count("error_rate") == 1
    assert "error_rate 1.5 % (control 0.1 %) BAD" in line


def test_the_head_is_one_line_that_tells_where_it_stands():
    assert headline(PAUSED) == "agent  on  production  4f2a9c01de   ॥ paused   step 3/4   10 %"


@pytest.mark.parametrize("one", EVERY.values(), ids=EVERY)
def test_explaining_says_where_it_stands_and_what_is_next(one):
    event = RolloutEvent(1, "2026-11-27T08:00:00Z", "rolling_back", "controller", "bad")
    said = explain_lines(one, [event])
    titles = [line for line in said if line and not line.startswith(" ")]
    assert titles[0].startswith("agent: rollout 4f2a9c01de of on")
    assert {"Where it stands", "What happens next", "What happened"} <= set(titles)
    assert "  2026-11-27T08:00:00Z  rolling back  controller  bad" in said


@pytest.mark.parametrize("one", EVERY.values(), ids=EVERY)
def test_the_data_says_the_same(one):
    data = rollout_data(one)
    assert data["phase"] == one.phase.value
    assert data["waits"] == words.waits(one)
    assert [step["number"] for step in data["steps"]] == [1, 2, 3, 4]
    assert data["due_at"] is None or one.state.live
    (row,) = list_rows([one])
    assert row[3] == words.spoken(one.phase)


def test_percent_is_what_the_flag_serves_or_nothing_where_that_is_unknown():
    found = {name: rollout_data(one)["percent"] for name, one in EVERY.items()}
    assert found["healthy"] == 25.0
    assert found["paused"] == 10.0
    assert found["latched"] == 0.0
    assert found["rolled back"] is None


def test_a_row_that_somebody_broke_is_shown_all_the_same():
    broken = rollout(desired={"unreadable": "?"})
    assert words.exposed(broken) == "25 %"


# --- strategies


def steps_of(one):
    count = len(one.plan.steps)
    return [line.text[3:].rstrip() for line in tree(one)[1 : count + 1]]


HELD_BACK = Plan(
    "agent",
    "on",
    (Step(50_000, 600.0, 1800.0), Step(98_000, 600.0, 1800.0), Step(100_000, 0.0, 0.0)),
    unguarded="an example",
)


@pytest.mark.parametrize(
    "fields, shown",
    [
        (
            {"step": 0, "history": (), "desired": desired(50_000)},
            [
                "● 50 %    8m 20s of 10m",
                "○ 98 %    10m             2 % held back",
                "○ 100 %   at once         lets in the 2 % held back",
            ],
        ),
        (
            {"phase": Phase.COMPLETED, "step": 2, "history": (baked(0), baked(1), baked(2, 0.0))},
            [
                "✔ 50 %    10m of 10m",
                "✔ 98 %    10m of 10m   2 % held back",
                "✔ 100 %   at once      lets in the 2 % held back",
            ],
        ),
    ],
    ids=["begun", "completed"],
)
def test_a_holdback_says_what_it_holds_back_and_lets_in(fields, shown):
    history = tuple(replace(one, findings=()) for one in fields["history"])
    one = rollout(plan=HELD_BACK, findings=(), **{**fields, "history": history})
    assert steps_of(one) == shown


RELEASE = Plan(
    "agent",
    "on",
    (
        Step(0, 600.0, 1800.0, preview=True, targets=("ana", "ben"), segments=("staff",)),
        Step(5_000, 600.0, 1800.0),
        Step(100_000, 600.0, 1800.0),
    ),
    Strategy.RELEASE,
    unguarded="an example",
)


def test_a_release_says_in_words_who_is_named():
    one = rollout(plan=RELEASE, step=0, history=(), findings=(), desired=desired(0))
    assert steps_of(one) == [
        "● named   8m 20s of 10m   ana, ben and segment staff",
        "○ 5 %     10m",
        "○ 100 %   10m",
    ]
    assert words.exposed(one) == "ana, ben and segment staff"
    assert "   ana, ben and segment staff   next 5 % in" in headline(one)
    some = rollout(plan=RELEASE, step=0, history=(), findings=(), desired=desired(2_000))
    assert words.exposed(some) == "2 % and ana, ben and segment staff"
    later = rollout(plan=RELEASE, step=1, history=(baked(0),), desired=desired(5_000))
    assert words.exposed(later) == "5 %"
    off = replace(one, state=replace(one.state, desired=desired(0, on=False)))
    assert words.exposed(off) == "0 %"
    waiting = replace(STARTING, plan=RELEASE)
    assert words.coming(waiting) == "ana, ben and segment staff, and the flag is turned on"
    many = replace(RELEASE.steps[0], targets=("a", "b", "c", "d"), segments=())
    crowd = replace(RELEASE, steps=(many, *RELEASE.steps[1:]))
    assert words.exposed(rollout(plan=crowd, step=0, desired=desired(0))) == "4 users"


RINGS = replace(
    RELEASE,
    strategy=Strategy.RINGS,
    steps=(
        Step(0, 600.0, 1800.0, preview=True, targets=("ana", "ben"), name="us"),
        Step(0, 600.0, 1800.0, preview=True, segments=("staff", "beta")),
        *RELEASE.steps[1:],
    ),
)


def test_rings_are_drawn_by_their_names():
    one = rollout(plan=RINGS, step=1, history=(baked(0),), findings=(), desired=desired(0))
    assert [text.split("   ")[0] for text in steps_of(one)] == [
        "✔ ring us",
        "● ring 2",
        "○ 5 %",
        "○ 100 %",
    ]
    assert "ana and ben" in steps_of(one)[0]
    assert steps_of(one)[1].endswith("8m 20s of 10m   segment staff and segment beta")
    assert words.exposed(one) == "rings us and 2"
    first = rollout(plan=RINGS, step=0, history=(), findings=(), desired=desired(0))
    assert words.exposed(first) == "ring us (ana and ben)"
    assert words.coming(first) == "ring 2 (segment staff and segment beta) in 1m 40s"
    assert "which serves rings us and 2" in stands(one)
