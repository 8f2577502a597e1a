"""What is published is what is asked: after every change, in every thread, and never half of it."""

import gc
import os
import threading
import weakref

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from strategies import contexts, flag_sets

from downhaul import Context, Flag, Segment
from downhaul.evaluator.compile import World
from downhaul.evaluator.view import View
from downhaul.flag import Clause, Keys, Operator, Prerequisite, Rule, SegmentRule
from downhaul.overlay import NO_KILLS, KillRecord, Overlay, Scope, ScopeKind
from downhaul.result import Reason


def world_of(flags=(), segments=(), overlay=NO_KILLS):
    return World({one.key: one for one in flags}, {one.key: one for one in segments}, overlay)


def killing(*texts):
    records = [KillRecord(Scope.parse(text), 1, killed=True) for text in texts]
    return Overlay(
        flags={one.scope.name: one for one in records if one.scope.kind == "flag"},
        tags={one.scope.name: one for one in records if one.scope.kind == "tag"},
        everything=next((one for one in records if one.scope.kind == "everything"), None),
    )


def requiring(key, *others, **fields):
    return Flag.boolean(key, prerequisites=tuple(map(Prerequisite, others)), **fields)


def inside(key, *segments, **fields):
    rule = Rule("on", (Clause("", Operator.IN_SEGMENT, segments),))
    return Flag(key=key, default="off", on=True, rules=(rule,), **fields)


def segment(key, *keys, within=(), serves=()):
    clauses = [Clause("", Operator.IN_SEGMENT, (name,)) for name in within]
    clauses += [Clause(name, Operator.SERVES, ("on",)) for name in serves]
    rules = tuple(SegmentRule((clause,)) for clause in clauses)
    return Segment(key, included=(Keys(frozenset(keys)),), rules=rules)


def seen(view):
    """Return what both tables say of every flag for the user ``u``, compiled or not."""
    enabled = {key: decide("u") for key, decide in dict(view.enabled).items()}
    assert enabled == {key: decide("u").value for key, decide in dict(view.results).items()}
    return enabled


# --- who has to be told of what


@pytest.mark.parametrize("compiled", [True, False])
def test_a_change_reaches_all_who_depend_on_it_through_prerequisites(compiled):
    view = View(world_of([
        Flag.boolean("a"), requiring("b", "a"), requiring("c", "b"), Flag.boolean("x")
    ]))  # fmt: skip
    before = seen(view) if compiled else None
    untouched = view.enabled["x"]
    touched = view.change({"a": Flag.boolean("a", on=False)}, {})
    assert touched == {"a", "b", "c"}
    assert seen(view) == {"a": False, "b": False, "c": False, "x": True}
    assert view.enabled["x"] is untouched or not compiled
    assert view.change({"a": Flag.boolean("a")}, {}) == {"a", "b", "c"}
    assert seen(view) == (before or dict.fromkeys("abcx", True))


def test_a_change_reaches_all_who_depend_on_it_through_nested_segments():
    view = View(world_of(
        [inside("a", "outer"), requiring("b", "a"), inside("x", "other")],
        [segment("outer", within=["inner"]), segment("inner"), segment("other", "u")],
    ))  # fmt: skip
    assert seen(view) == {"a": False, "b": False, "x": True}
    assert view.change({}, {"inner": segment("inner", "u")}) == {"a", "b"}
    assert seen(view) == {"a": True, "b": True, "x": True}
    assert view.change({}, {"outer": segment("outer")}) == {"a", "b"}
    assert seen(view) == {"a": False, "b": False, "x": True}
    # Nobody depends on it any more.
    assert view.change({}, {"inner": segment("inner")}) == set()


def test_a_change_reaches_all_who_depend_on_it_through_served_variants():
    serves = Rule("on", (Clause("a", Operator.SERVES, ("on",)),))
    view = View(world_of(
        [
            Flag.boolean("a"),
            Flag(key="b", default="off", on=True, rules=(serves,)),
            inside("c", "s"),
        ],
        [segment("s", serves=["a"])],
    ))  # fmt: skip
    assert seen(view) == {"a": True, "b": True, "c": True}
    assert view.change({"a": Flag.boolean("a", on=False)}, {}) == {"a", "b", "c"}
    assert seen(view) == {"a": False, "b": False, "c": False}


def test_what_appears_reaches_those_who_were_waiting_for_it():
    view = View(world_of([requiring("b", "a"), inside("c", "s")]))
    assert seen(view) == {"b": False, "c": False}
    assert view.change({"a": Flag.boolean("a")}, {}) == {"a", "b"}
    assert view.change({}, {"s": segment("s", "u")}) == {"c"}
    assert seen(view) == {"a": True, "b": True, "c": True}


def test_what_disappears_is_gone_and_fails_those_who_need_it():
    view = View(world_of([Flag.boolean("a"), requiring("b", "a")], [segment("s", "u")]))
    seen(view)
    assert view.change({"a": None}, {"s": None}) == {"a", "b"}
    assert seen(view) == {"b": False}
    assert view.change({"never there": None}, {"nor this": None}) == {"never there"}
    assert seen(view) == {"b": False}


def test_a_flag_that_begins_to_depend_is_reached_from_then_on():
    view = View(world_of([Flag.boolean("a"), Flag.boolean("b")]))
    seen(view)
    view.change({"b": requiring("b", "a")}, {})
    assert view.change({"a": Flag.boolean("a", on=False)}, {}) == {"a", "b"}
    assert seen(view) == {"a": False, "b": False}
    view.change({"b": Flag.boolean("b")}, {})
    assert view.change({"a": Flag.boolean("a")}, {}) == {"a"}


@pytest.mark.rule("K1", "K4")
def test_a_kill_reaches_the_flag_its_tag_and_who_depends_on_it():
    view = View(world_of([
        Flag.boolean("a", tags=("t",)), requiring("b", "a"), Flag.boolean("x", tags=("y",))
    ]))  # fmt: skip
    seen(view)
    on = {"a": True, "b": True, "x": True}
    for kill in ("a", "tag:t"):
        assert view.overlay(killing(kill)) == {"a", "b"}
        assert seen(view) == {"a": False, "b": False, "x": True}
        assert view.overlay(NO_KILLS) == {"a", "b"}
        assert seen(view) == on
    assert view.overlay(killing("*")) == {"a", "b", "x"}
    assert seen(view) == dict.fromkeys("abx", False)
    view.overlay(killing("*", "a"))
    assert view.results["a"]("u").metadata["kill"]["scope"] == "*"  # everything stands above
    assert view.overlay(killing("a")) == {"a", "b", "x"}
    assert view.results["a"]("u").metadata["kill"]["scope"] == "a"
    assert seen(view) == {"a": False, "b": False, "x": True}


@pytest.mark.rule("K2")
def test_a_killed_flag_fails_those_who_require_it_unless_they_take_it_while_off():
    view = View(world_of([
        Flag.boolean("a"),
        Flag.boolean("b", prerequisites=(Prerequisite("a", ("off", "on")),)),
        Flag.boolean("c", prerequisites=(Prerequisite("a", ("off",), while_off=True),)),
        Flag.boolean("d", prerequisites=(Prerequisite("a", negate=True),)),
    ]))  # fmt: skip
    assert seen(view) == {"a": True, "b": True, "c": False, "d": False}
    for change in (
        lambda: view.overlay(killing("a")),
        lambda: (view.overlay(NO_KILLS), view.change({"a": Flag.boolean("a", on=False)}, {})),
    ):
        change()
        assert seen(view) == {"a": False, "b": False, "c": True, "d": True}


@pytest.mark.rule("K2")
def test_a_kill_of_a_flag_that_nobody_knows_comes_and_goes():
    view = View(world_of([Flag.boolean("x")]))
    assert view.overlay(killing("a")) == {"a"}
    assert view.enabled["a"]("u") is False
    assert view.results["a"]("u").reason is Reason.KILLED
    view.change({"a": Flag.boolean("a")}, {})
    assert view.results["a"]("u").variant == "off"
    view.change({"a": None}, {})
    assert view.enabled["a"]("u") is False
    view.overlay(killing("a", "*"))
    view.overlay(killing("a"))
    assert view.results["a"]("u").metadata["kill"]["scope"] == "a"
    assert view.overlay(NO_KILLS) == {"a"}
    assert set(view.enabled) == set(view.results) == {"x"}


def test_a_new_tag_brings_a_flag_under_the_kill_of_that_tag():
    view = View(world_of([Flag.boolean("a")], overlay=killing("tag:t")))
    assert seen(view) == {"a": True}
    view.change({"a": Flag.boolean("a", tags=("t",))}, {})
    assert seen(view) == {"a": False}


def test_a_whole_new_flag_set_says_what_it_changes():
    view = View(
        world_of([Flag.boolean("a"), requiring("b", "a"), inside("c", "s"), Flag.boolean("x")])
    )
    seen(view)
    flags = {"b": requiring("b", "a"), "c": inside("c", "s"), "x": Flag.boolean("x")}
    assert view.replace(flags, {"s": segment("s", "u")}) == {"a", "b", "c"}
    assert seen(view) == {"b": False, "c": True, "x": True}
    assert view.replace(dict(flags), {"s": segment("s", "u")}) == set()
    assert view.replace({**flags, "a": Flag.boolean("a")}, {}) == {"a", "b", "c"}
    assert seen(view) == {"a": True, "b": True, "c": False, "x": True}


# --- whatever happens, the view is as one made afresh


@st.composite
def histories(draw, most):
    """Flag sets to jump to, and single changes between them."""
    sets = draw(st.lists(flag_sets(most=most), min_size=2, max_size=3))
    steps = []
    for one in sets:
        names = [str(Scope(ScopeKind.FLAG, key)) for key in list(one.flags)[:1]]
        overlay = draw(st.sampled_from([[], ["*"], ["tag:x"], names]))
        steps.append(draw(st.sampled_from(["replace", "flags first", "segments first"])))
        steps.append((one, killing(*overlay)))
    return list(zip(steps[::2], steps[1::2], strict=True)), draw(st.booleans())


def answer(decide, context):
    """Return what can be compared of a decision; what is up to chance only has a shape."""
    result = decide(context)
    return None if result is None else (result.variant, result.reason, dict(result.metadata))


def without_chance(flag_set):
    return "RANDOM" not in repr(flag_set)


def diff(before, after):
    return {
        key: after.get(key)
        for key in before.keys() | after.keys()
        if before.get(key) != after.get(key)
    }


def check_history(history, context):
    steps, look = history
    view = View()
    for how, (flag_set, overlay) in steps:
        world = view.world
        flags = diff(world.flags, flag_set.flags)
        segments = diff(world.segments, flag_set.segments)
        if how == "replace":
            view.replace(flag_set.flags, flag_set.segments)
        elif how == "flags first":
            view.change(flags, {})
            view.change({}, segments)
        else:
            view.change({}, segments)
            view.change(flags, {})
        view.overlay(overlay)
        fresh = View(world_of(flag_set.flags.values(), flag_set.segments.values(), overlay))
        assert view.results.keys() == view.enabled.keys() == fresh.results.keys()
        if look and without_chance(flag_set):
            for key in fresh.results:
                assert answer(view.results[key], context) == answer(fresh.results[key], context)


@settings(max_examples=20, suppress_health_check=list(HealthCheck))
@given(histories(most=3), contexts())
@pytest.mark.slow
def test_after_any_history_the_view_is_as_one_made_afresh(history, context):
    check_history(history, context)


@pytest.mark.slow
@settings(max_examples=500, suppress_health_check=list(HealthCheck))
@given(histories(most=6), contexts())
def test_after_any_history_of_larger_sets_the_view_is_as_one_made_afresh(history, context):
    check_history(history, context)


# --- cycles


def test_cycles_of_prerequisites_and_segments_are_harmless_and_the_same_from_everywhere():
    flags = [
        requiring("a", "b"),
        requiring("b", "c"),
        requiring("c", "a"),
        requiring("self", "self"),
        inside("s", "one"),
        requiring("outside", "a"),
        Flag.boolean("x"),
    ]
    segments = [
        segment("one", within=["two"]),
        segment("two", "v", within=["one"], serves=["s"]),
    ]
    expected = {**dict.fromkeys(("a", "b", "c", "self", "s", "outside"), False), "x": True}
    for first in expected:
        view = View(world_of(flags, segments))
        view.enabled[first]("u")
        assert seen(view) == expected
    # A reference within the cycle is to nothing; what stands outside of it still counts.
    assert view.enabled["s"]("v") is False
    view.change({"s": inside("s", "two")}, {"two": segment("two", "v", within=["one"])})
    assert view.enabled["s"]("v") is True


def test_a_cycle_that_is_broken_up_decides_again():
    view = View(world_of([requiring("a", "b"), requiring("b", "a")]))
    assert seen(view) == {"a": False, "b": False}
    view.change({"b": Flag.boolean("b")}, {})
    assert seen(view) == {"a": True, "b": True}
    view.change({"b": requiring("b", "a")}, {})
    assert seen(view) == {"a": False, "b": False}


def test_a_cycle_is_told_once_where_it_is_compiled(caplog):
    view = View(world_of([requiring("a", "b"), requiring("b", "a")]))
    view.enabled["a"]("u")
    assert 'flag "a" names flag "b", which needs it' in caplog.text
    caplog.clear()
    view.enabled["a"]("u")
    assert caplog.text == ""


# --- what is compiled keeps nothing alive but what it needs


class Mapping(dict):
    """A dictionary that can be watched."""

    __slots__ = ("__weakref__",)


def test_an_old_flag_set_goes_with_the_change_that_replaced_it():
    clauses = (
        Clause("plan", Operator.CONTAINS, ("pro",)),
        Clause("", Operator.IN_SEGMENT, ("s",)),
        Clause("x", Operator.SERVES, ("on",)),
    )
    flag = Flag(
        key="a", default="off", on=True, rules=(Rule("on", clauses),),
        prerequisites=(Prerequisite("x"),),
    )  # fmt: skip
    flags = Mapping({"a": flag, "x": Flag.boolean("x"), "y": Flag.boolean("y")})
    view = View(World(flags, {"s": segment("s")}))
    view.enabled["a"]("u")  # compiled; the others are still to be asked for
    watched = weakref.ref(flags)
    del flags
    view.change({"new": Flag.boolean("new")}, {})
    gc.collect()
    assert watched() is None


# --- threads


def racing(*workers, seconds=0.4):
    """Run workers until the first of them ends, or time is up; raise what any of them raised."""
    stop, failures = threading.Event(), []

    def run(worker):
        try:
            worker(stop)
        except BaseException as error:  # noqa: BLE001  (raised again where the test can see it)
            failures.append(error)
            stop.set()

    threads = [threading.Thread(target=run, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    stop.wait(seconds)
    stop.set()
    for thread in threads:
        thread.join(30)
    if failures:
        raise failures[0]


class Ledger:
    """Which change was begun last, and which was finished: the even ones turn things on."""

    def __init__(self):
        self.begun = self.finished = 0

    def make(self, change):
        self.begun += 1
        change(self.begun % 2 == 0)
        self.finished = self.begun

    def check(self, ask):
        finished = self.finished
        found = ask()
        if self.begun != finished or not finished:
            return 0  # a change was under way: either answer is right
        assert found is (finished % 2 == 0)
        return 1


@pytest.mark.rule("K3")
def test_no_reader_sees_an_old_answer_after_a_change_returned():
    view = View(world_of([Flag.boolean("a"), requiring("b", "a"), *map(Flag.boolean, "xyz")]))
    ledger, checked = Ledger(), []
    ways = [
        lambda on: view.change({"a": Flag.boolean("a", on=on)}, {}),
        lambda on: view.replace({**view.world.flags, "a": Flag.boolean("a", on=on)}, {}),
        # The flag is on before, so the kill alone decides.
        lambda on: view.overlay(NO_KILLS if on else killing("a")),
    ]
    asks = [
        lambda: view.enabled["a"]("u"),
        lambda: view.enabled["b"]("u"),
        lambda: view.results["a"]("u").value,
        lambda: view.results["b"]("u").value,
    ]

    def writer(stop):
        while not stop.is_set():
            for way in ways:
                for _ in (1, 2):  # off, then on again
                    ledger.make(way)
                    for ask in asks:
                        assert ledger.check(ask)

    def reader(stop):
        while not stop.is_set():
            checked.append(sum(map(ledger.check, asks)))

    racing(writer, reader, reader)
    assert sum(checked) > 0
    assert ledger.finished > 10


def test_flags_changed_together_are_never_seen_apart_in_a_snapshot():
    view = View(world_of([Flag.boolean("a"), Flag.boolean("b"), requiring("c", "a")]))

    def writer(stop):
        on = True
        while not stop.is_set():
            on = not on
            view.change({key: Flag.boolean(key, on=on) for key in "ab"}, {})
            view.overlay(killing("tag:none") if on else NO_KILLS)

    def reader(stop):
        while not stop.is_set():
            decisions = view.snapshot()
            assert len({decide("u").value for decide in decisions.values()}) == 1

    racing(writer, reader, reader)


def test_first_uses_race_with_writers_and_answer_for_a_world_that_was():
    flags = {f"f{n}": Flag.boolean(f"f{n}", percent=50) for n in range(50)}
    view = View(World(flags, {}))
    expected = {key: view.enabled[key]("u") for key in flags}

    def writer(stop):
        while not stop.is_set():
            view.replace(dict(flags), {})
            view.overlay(killing("tag:none"))
            view.overlay(NO_KILLS)

    def reader(stop):
        while not stop.is_set():
            for key, value in expected.items():
                assert view.enabled[key]("u") is value
                assert view.results[key]("u").value is value

    racing(writer, reader, reader, reader)


def test_a_forked_child_has_a_view_of_its_own_even_if_a_writer_held_the_lock():
    view = View(world_of([Flag.boolean("a"), requiring("b", "a")]))
    seen(view)
    held, release = threading.Event(), threading.Event()

    def hold():
        with view._lock:
            view.enabled["left over"] = view.results["left over"] = lambda _context: None
            held.set()
            release.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    held.wait(30)
    child = os.fork()
    if child == 0:  # no assertion may leave the child
        view.after_fork()
        view.change({"a": Flag.boolean("a", on=False)}, {})
        right = "left over" not in view.enabled and seen(view) == {"a": False, "b": False}
        os._exit(0 if right else 1)
    _, status = os.waitpid(child, 0)
    release.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_context_of_several_kinds_goes_through_prerequisites():
    rule = Rule("on", (Clause("plan", Operator.IN, ("pro",), context_kind="org"),))
    view = View(
        world_of([Flag(key="a", default="off", on=True, rules=(rule,)), requiring("b", "a")])
    )
    both = Context.multi(Context("u"), Context("o", {"plan": "pro"}, "org"))
    assert view.enabled["b"](both) is True
    assert view.enabled["b"]("u") is False
