"""Every flag in killed state on the evaluator alone: the path of a kill is code that is run."""

import dataclasses

import pytest

from downhaul.control import offline
from downhaul.control.offline import rehearse_kills
from downhaul.evaluator.view import View
from downhaul.flag import Flag, FlagKind, FlagSet, Prerequisite, Split, Weight

pytestmark = pytest.mark.rule("K2")


def text(**fields):
    known = {
        "key": "tone",
        "kind": FlagKind.STRING,
        "variants": {"warm": "w", "curt": "c"},
        "off_variant": "curt",
        "default": Split((Weight("warm", 40_000), Weight("curt", 60_000))),
        "on": True,
    }
    return Flag(**{**known, **fields})


def found(*flags):
    return {one.key: one for one in rehearse_kills(FlagSet.of(flags))}


def test_each_flag_says_what_it_serves_when_it_is_killed():
    seen = found(Flag.boolean("agent", percent=25, tags=("a", "b")), text())
    assert [(one.variant, one.value, one.problem) for one in seen.values()] == [
        ("off", False, ""),
        ("curt", "c", ""),
    ]


def test_one_whose_off_variant_is_true_is_no_flag_to_kill():
    flag = dataclasses.replace(Flag.boolean("agent"), off_variant="on")
    assert "a kill leaves it on" in found(flag)["agent"].problem


def test_one_without_an_off_variant_is_told_of():
    seen = found(text(off_variant=None), dataclasses.replace(Flag.boolean("a"), off_variant=None))
    assert seen["tone"].variant is None
    assert "each caller gets its own default" in seen["tone"].advice
    assert "killed it is false" in seen["a"].advice
    assert not any(one.problem for one in seen.values())


def test_one_that_depends_on_a_killed_one_is_asked_too(monkeypatch):
    needs = dataclasses.replace(Flag.boolean("needs"), prerequisites=(Prerequisite("agent"),))
    asked = []
    plain = offline._asked
    monkeypatch.setattr(
        offline, "_asked", lambda view, key, *rest: asked.append(key) or plain(view, key, *rest)
    )
    assert not any(one.problem for one in found(Flag.boolean("agent"), needs).values())
    assert asked.count("needs") > asked.count("agent")


def test_what_breaks_in_killed_state_is_found(monkeypatch):
    view = View.overlay

    def broken(self, overlay):
        touched = view(self, overlay)

        def fails(_context):
            raise ZeroDivisionError("a defect in the path of a kill")

        if "agent" in overlay.flags:
            self.results["agent"] = fails
        return touched

    monkeypatch.setattr(View, "overlay", broken)
    seen = found(Flag.boolean("agent"), Flag.boolean("other"))
    assert "breaks: ZeroDivisionError" in seen["agent"].problem
    assert seen["other"].problem == ""


def test_a_kill_that_does_not_take_a_flag_down_is_found(monkeypatch):
    view = View.overlay

    def deaf(self, overlay):
        return view(self, dataclasses.replace(overlay, tags={}))

    monkeypatch.setattr(View, "overlay", deaf)
    seen = found(Flag.boolean("agent", tags=("a",)), Flag.boolean("other"))
    assert "not every kill" in seen["agent"].problem
    assert seen["other"].problem == ""


def test_one_flag_is_asked_for_alone():
    flags = FlagSet.of([Flag.boolean("agent"), Flag.boolean("other")])
    assert [one.key for one in rehearse_kills(flags, ["agent"])] == ["agent"]


def test_a_flag_that_can_not_be_understood_is_found_without_taking_the_others_along():
    bad = dataclasses.replace(Flag.boolean("bad"), off_variant="nowhere")
    seen = found(bad, Flag.boolean("agent"))
    assert seen["bad"].problem
    assert seen["agent"].problem == ""
