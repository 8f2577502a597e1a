"""A forked child serves, obeys and follows as its parent does (rule P3)."""

from __future__ import annotations

import os
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import replace

import pytest

from downhaul.flag import Flag
from downhaul.provider import Capability
from downhaul.result import ErrorCode
from downhaul_contract_tests.backend import Feature, Offer
from downhaul_contract_tests.base import CHANGE, Contract, needs
from downhaul_contract_tests.case import Case, enabled
from downhaul_contract_tests.seeds import OFF, ON, USERS

_LIFE = 30.0  # seconds that a child may take, at most


class ForksContract(Contract):
    """For every provider, where there are forks."""

    group = "forks"

    @pytest.mark.rule("P3")
    def test_a_child_serves_what_its_parent_served(self, case: Case) -> None:
        """The same users, and the same errors.

        If this fails, check ``after_fork``: it may lose nothing of what is known.
        """
        case.seed(ON, OFF, Flag.boolean("contract-half", percent=50))
        flags = case.client()
        before = enabled(flags, "contract-half", USERS)

        def serves() -> bool:
            gone = flags.evaluate("contract-missing", "ada", default=True).error_code
            return (
                flags.is_enabled(ON.key, "ada")
                and not flags.is_enabled(OFF.key, "ada", default=True)
                and enabled(flags, "contract-half", USERS) == before
                and gone is ErrorCode.FLAG_NOT_FOUND
            )

        assert _in_a_child(serves)
        assert serves()

    @pytest.mark.rule("P3", "K3")
    def test_a_kill_holds_in_a_child(self, case: Case) -> None:
        """What was killed before the fork is killed after it.

        If this fails, check for a feature that is on in every worker of a preloaded server.
        """
        case.seed(ON)
        flags = case.client()
        flags.operator("contract").kill(ON.key, "to see it hold")
        case.eventually(lambda: not flags.is_enabled(ON.key, "ada"), "it is killed")
        assert _in_a_child(lambda: not flags.is_enabled(ON.key, "ada", default=True))

    @pytest.mark.rule("P3")
    @needs(Capability.WATCH, Offer.CHANGE)
    def test_a_child_hears_what_changes_after_the_fork(self, case: Case) -> None:
        """A worker that was forked follows its backend with threads of its own.

        If this fails, check ``after_fork``: the parent's threads are not there.
        """
        case.seed(OFF)
        flags = case.client()

        def hears() -> bool:
            # In the child: also a backend that lives in one process can be changed from here.
            case.change(replace(OFF, on=True))
            return _comes(lambda: flags.is_enabled(OFF.key, "ada"), case.patience)

        assert _in_a_child(hears)

    @pytest.mark.rule("P3")
    @needs(Capability.WATCH, Offer.CHANGE, Feature.PROCESSES)
    def test_a_child_hears_what_its_parents_process_changes(self, case: Case) -> None:
        """Parent and child both follow one backend.

        If this fails, check that the child opens connections of its own, and leaves the parent's.
        """
        case.seed(OFF)
        flags = case.client()
        forked = threading.Event()

        def change() -> None:
            forked.wait(_LIFE)
            case.change(replace(OFF, on=True))

        changing = threading.Thread(target=change)
        changing.start()
        found = _in_a_child(
            lambda: _comes(lambda: flags.is_enabled(OFF.key, "ada"), case.patience), forked.set
        )
        changing.join()
        assert found
        case.eventually(lambda: flags.is_enabled(OFF.key, "ada"), "the parent hears it too")

    @pytest.mark.rule("P3")
    @needs(Capability.READ, Capability.WRITE)
    def test_a_child_can_write(self, case: Case) -> None:
        """No lock of the parent's is held for good in the child.

        If this fails, check the locks and the connections that a child inherits.
        """
        case.seed(ON)
        case.client()

        def writes() -> bool:
            off = case.writer.switch_off(ON.key, CHANGE)
            return not off.on and case.writer.get(ON.key) == off

        assert _in_a_child(writes)


def _comes(holds: Callable[[], bool], within: float) -> bool:
    until = time.monotonic() + within
    pause = threading.Event()
    while not holds():
        if time.monotonic() > until:
            return False
        pause.wait(0.01)
    return True


def _in_a_child(asked: Callable[[], bool], then: Callable[[], None] = lambda: None) -> bool:
    """Return what is found in a forked child; ``then`` is called in the parent after the fork."""
    if not hasattr(os, "fork"):
        pytest.skip("declined: there are no forks on this system")
    out, into = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
        child = os.fork()
    if child == 0:  # no test may go on in here
        try:
            os.write(into, b"y" if asked() else b"n")
        finally:
            os._exit(0)
    os.close(into)
    then()
    watch = threading.Timer(_LIFE, os.kill, (child, 9))
    watch.start()
    try:
        answer = os.read(out, 1)
        os.waitpid(child, 0)
    finally:
        watch.cancel()
        os.close(out)
    return answer == b"y"
