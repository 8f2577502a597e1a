"""What a closed provider leaves behind: nothing (rule P1)."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from downhaul.flag import Flag
from downhaul.provider import Capability
from downhaul_contract_tests.base import CHANGE, Contract, needs
from downhaul_contract_tests.case import Case
from downhaul_contract_tests.listening import Recorder
from downhaul_contract_tests.seeds import ON

_OPEN = Path("/proc/self/fd") if Path("/proc/self/fd").exists() else Path("/dev/fd")
_SETTLE = 5.0  # seconds for threads that were told to end


class LeaksContract(Contract):
    """For every provider."""

    group = "shutdown leaks"

    @pytest.mark.rule("P1")
    def test_no_thread_outlives_its_provider(self, case: Case) -> None:
        """Every thread that came with a provider ends with it.

        If this fails, check that ``close`` stops what ``start`` started, the SDK's threads too.
        """
        case.seed(ON)
        _live_and_die(case)  # what is started once for a process is there now
        before = set(threading.enumerate())
        for _ in range(3):
            _live_and_die(case)
        case.eventually(lambda: not _new(before), "no new thread is left", _SETTLE)

    @pytest.mark.rule("P1")
    def test_no_file_or_socket_outlives_its_provider(self, case: Case) -> None:
        """Descriptors don't grow with the clients that came and went.

        If this fails, check that ``close`` closes connections, files and pools.
        """
        case.seed(ON)
        _live_and_die(case)
        before = _descriptors()
        for _ in range(5):
            _live_and_die(case)
        case.eventually(lambda: _descriptors() <= before + 2, "descriptors are closed", _SETTLE)

    @pytest.mark.rule("P1")
    def test_a_provider_that_never_started_leaves_nothing(self, case: Case) -> None:
        """To make one costs nothing that has to be given back.

        If this fails, check that the constructor opens nothing and starts no thread.
        """
        case.seed(ON)
        case.provider().close(1.0)
        before, open_before = set(threading.enumerate()), _descriptors()
        for _ in range(5):
            case.provider().close(1.0)
        case.eventually(lambda: not _new(before), "no new thread is left", _SETTLE)
        assert _descriptors() <= open_before + 2

    @pytest.mark.rule("P1")
    @needs(Capability.READ, Capability.WRITE)
    def test_managing_leaves_nothing(self, case: Case) -> None:
        """A writer that was closed has given back what it used.

        If this fails, check that the admin client's connections are closed.
        """
        case.seed(Flag.boolean("contract-leak"))
        _write_and_die(case)
        before, open_before = set(threading.enumerate()), _descriptors()
        for _ in range(5):
            _write_and_die(case)
        case.eventually(lambda: not _new(before), "no new thread is left", _SETTLE)
        case.eventually(
            lambda: _descriptors() <= open_before + 2, "descriptors are closed", _SETTLE
        )


def _live_and_die(case: Case) -> None:
    provider = case.backend.provider()
    provider.start(Recorder())
    assert provider.wait_ready(case.patience)
    provider.close(2.0)


def _write_and_die(case: Case) -> None:
    provider = case.backend.provider()
    provider.switch_off("contract-leak", CHANGE)
    provider.switch_on("contract-leak", CHANGE)
    provider.close(2.0)


def _new(before: set[threading.Thread]) -> list[threading.Thread]:
    return [one for one in threading.enumerate() if one not in before and one.is_alive()]


def _descriptors() -> int:
    return len(list(_OPEN.iterdir()))
