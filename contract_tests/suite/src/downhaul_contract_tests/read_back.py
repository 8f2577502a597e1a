"""Narrow verbs: what they return is what is kept, and nothing else changed (rules P5 and P6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from downhaul.errors import FlagNotFound, Refused
from downhaul.flag import Flag
from downhaul.provider import ABSENT, Capability, FlagProvider
from downhaul_contract_tests.backend import Feature
from downhaul_contract_tests.base import CHANGE, Contract, needs
from downhaul_contract_tests.case import Case, enabled
from downhaul_contract_tests.seeds import ON, USERS

Verb = Callable[[FlagProvider, str], Flag]

_VERBS: dict[str, Verb] = {
    "switch_on": lambda one, key: one.switch_on(key, CHANGE),
    "switch_off": lambda one, key: one.switch_off(key, CHANGE),
    "set_rollout": lambda one, key: one.set_rollout(key, "on", 75_000, CHANGE),
    "set_targets": lambda one, key: one.set_targets(key, "on", ["grace"], CHANGE),
}
_KEY = "contract-verbs"
_verbs = pytest.mark.parametrize("verb", list(_VERBS))


@needs(Capability.READ, Capability.WRITE)
class ReadBackContract(Contract):
    """For providers that write."""

    group = "read-back"

    @pytest.mark.rule("P5", "P6")
    @_verbs
    def test_a_verb_returns_what_is_kept(self, case: Case, verb: str) -> None:
        """What comes back is what anybody reads afterwards.

        If this fails, check that the write is read back from the backend, and not from memory.
        """
        case.seed(_flag())
        written = _VERBS[verb](case.writer, _KEY)
        assert case.writer.get(_KEY) == written
        assert case.provider().get(_KEY) == written
        assert case.provider().list().flags[_KEY] == written

    @pytest.mark.rule("P5")
    @_verbs
    def test_a_verb_of_a_flag_that_is_not_there_says_so(self, case: Case, verb: str) -> None:
        """Nothing is made by the way.

        If this fails, check for an upsert, and map the vendor's 404 to FlagNotFound.
        """
        case.seed(_flag())
        with pytest.raises(FlagNotFound):
            _VERBS[verb](case.writer, "contract-missing")
        assert case.writer.get("contract-missing") is None

    @pytest.mark.rule("P5")
    @needs(Feature.TARGETS)
    def test_switching_keeps_percentage_and_targets(self, case: Case) -> None:
        """Off and on again is as before.

        If this fails, check that ``switch_off`` writes the switch, and clears nothing.
        """
        case.seed(_flag())
        with case.client() as flags:
            before = enabled(flags, _KEY, ("ada", "eve", *USERS))
        off = case.writer.switch_off(_KEY, CHANGE)
        assert not off.on
        with case.client() as flags:
            case.eventually(lambda: not enabled(flags, _KEY, USERS), "it is off")
        on = case.writer.switch_on(_KEY, CHANGE)
        assert on.on
        assert (on.targets, on.default) == (off.targets, off.default)
        with case.client() as flags:
            assert enabled(flags, _KEY, ("ada", "eve", *USERS)) == before

    @pytest.mark.rule("P5")
    @needs(Feature.TARGETS)
    def test_a_percentage_keeps_switch_and_targets(self, case: Case) -> None:
        """A rollout turns nothing on, and drops nobody from a list.

        If this fails, check that ``set_rollout`` writes the default's split alone.
        """
        case.seed(replace(_flag(), on=False))
        before = case.writer.get(_KEY)
        assert before is not None
        after = case.writer.set_rollout(_KEY, "on", 75_000, CHANGE)
        assert not after.on
        assert after.targets == before.targets
        assert after.default != before.default

    @pytest.mark.rule("P5")
    @needs(Feature.TARGETS)
    def test_targets_keep_switch_and_percentage(self, case: Case) -> None:
        """Who is put on a list changes nothing for the others.

        If this fails, check that ``set_targets`` writes the targets alone.
        """
        case.seed(replace(_flag(), on=False))
        before = case.writer.get(_KEY)
        assert before is not None
        after = case.writer.set_targets(_KEY, "on", ["grace"], CHANGE)
        assert (after.on, after.default) == (before.on, before.default)

    @pytest.mark.rule("P5")
    @_verbs
    def test_a_verb_said_twice_is_said_once(self, case: Case, verb: str) -> None:
        """The second time changes nothing, and is no error.

        If this fails, check for a write that adds to what is there.
        """
        case.seed(_flag())
        once = _VERBS[verb](case.writer, _KEY)
        twice = _VERBS[verb](case.writer, _KEY)
        assert replace(twice, version="") == replace(once, version="")

    @pytest.mark.rule("P5", "P6")
    def test_a_write_that_makes_no_sense_is_refused_and_changes_nothing(self, case: Case) -> None:
        """A variant that is not there and a weight out of bounds never reach the backend.

        If this fails, check what ``set_rollout`` and ``set_targets`` look at before they write.
        """
        case.seed(_flag())
        before = case.writer.get(_KEY)
        for variant, weight in (("newest", 1_000), ("on", -1), ("on", 100_001)):
            with pytest.raises(Refused):
                case.writer.set_rollout(_KEY, variant, weight, CHANGE)
        with pytest.raises(Refused):
            case.writer.set_targets(_KEY, "newest", ["ada"], CHANGE)
        assert case.writer.get(_KEY) == before

    @pytest.mark.rule("P5")
    def test_a_whole_flag_is_put_and_deleted(self, case: Case) -> None:
        """What is created is there, with a version; what is deleted is gone.

        If this fails, check ``put`` with ABSENT, and that ``delete`` leaves no archived flag that
        ``get`` or ``list`` still show.
        """
        written = case.writer.put(ON, CHANGE, expected=ABSENT)
        assert written.version
        assert (written.key, written.on) == (ON.key, True)
        assert case.provider().get(ON.key) == written
        case.writer.delete(ON.key, CHANGE)
        assert case.provider().get(ON.key) is None
        assert case.writer.list().flags == {}
        with pytest.raises(FlagNotFound):
            case.writer.delete(ON.key, CHANGE)

    @pytest.mark.rule("P5")
    def test_all_flags_are_listed(self, case: Case) -> None:
        """A list goes on to its last page.

        If this fails, check the paging of your backend's API.
        """
        keys = [f"contract-page-{number:03d}" for number in range(120)]
        case.seed(*(Flag.boolean(key, on=number % 2 == 0) for number, key in enumerate(keys)))
        listed = case.writer.list().flags
        assert sorted(listed) == keys
        assert [listed[key].on for key in keys] == [number % 2 == 0 for number in range(120)]


def _flag() -> Flag:
    return Flag.boolean(_KEY, percent=50, allow=["ada"], deny=["eve"])
