"""Providers that start, close, declare, fork, fail or keep a secret in a wrong way."""

import logging
import os
import threading
from dataclasses import replace

from broken import caught_by
from resolving import ResolvingProvider

from downhaul.backends.memory import MemoryProvider
from downhaul.flag import FlagSet
from downhaul.provider import Capability, Change, ProviderStatus, State

_BY = Change("mutant")
_log = logging.getLogger("mutant")


# Lifecycle and shutdown


@caught_by(
    "test_before_it_is_started_it_is_not_ready",
    "test_it_is_ready_with_its_first_payload",
)
class ReadyTooEarly(MemoryProvider):
    """Says READY before anything came."""

    def status(self):
        return ProviderStatus(State.READY, age=0.0)


@caught_by(
    "test_before_it_is_started_it_is_not_ready",
)
class WaitsForNothing(MemoryProvider):
    """Says that it is ready whenever it is asked."""

    def wait_ready(self, timeout):
        return True


@caught_by("test_closing_while_it_starts_keeps_its_time")
class ClosesSlowly(MemoryProvider):
    """Can't be closed in time before anybody saw it ready."""

    waited = False

    def wait_ready(self, timeout):
        self.waited = True
        return super().wait_ready(timeout)

    def close(self, timeout=2.0):
        if self._listener is not None and not self.waited:
            threading.Event().wait(3.1)
        super().close(timeout)


@caught_by(
    "test_no_thread_outlives_its_provider",
)
class LeaksAThread(MemoryProvider):
    """Leaves a thread of each start behind."""

    def start(self, listener):
        threading.Thread(target=threading.Event().wait, args=(15,), daemon=True).start()
        super().start(listener)


@caught_by(
    "test_no_file_or_socket_outlives_its_provider",
)
class LeaksAFile(MemoryProvider):
    """Leaves a descriptor of each start behind."""

    left = None

    def start(self, listener):
        self.left = [*(self.left or ()), open(os.devnull, "rb")]  # noqa: PTH123, SIM115
        super().start(listener)


# Capabilities


@caught_by(
    "test_what_is_not_declared_refuses_by_name_and_changes_nothing",
)
class CanMoreThanItSays(MemoryProvider):
    """Has a history, and doesn't declare it."""

    capabilities = MemoryProvider.capabilities - {Capability.HISTORY}


@caught_by(
    "test_a_bad_segment_is_taken_back_exactly",
    "test_a_portable_rollout_has_the_same_users_at_every_step",
    "test_a_regression_takes_everything_back_exactly",
    "test_a_ring_may_be_a_segment",
    "test_a_rollback_by_hand_takes_everything_back_exactly",
    "test_a_rollout_climbs_step_by_step_and_is_completed",
    "test_a_step_that_the_backend_cannot_keep_is_refused_before_the_start",
    "test_a_snapshot_can_be_kept_as_text",
    "test_a_snapshot_is_restored_exactly",
    "test_a_snapshot_of_nothing_and_one_of_somebody_else_are_refused",
    "test_blue_green_shows_its_audience_first_then_switches_and_back",
    "test_green_that_regresses_gives_way_to_blue",
    "test_later_writes_leave_a_snapshot_alone",
    "test_named_users_are_served_before_any_percentage",
    "test_restoring_again_changes_nothing",
    "test_restoring_touches_no_other_flag",
    "test_what_is_declared_does_not_refuse",
    "test_what_is_restored_is_as_it_was",
    "test_what_somebody_lowered_by_hand_stays_low",
)
class SaysMoreThanItCan(MemoryProvider):
    """Declares snapshots, and refuses them."""

    def snapshot(self, key):
        raise self._unsupported(Capability.SNAPSHOT)


# Forks


@caught_by(
    "test_a_child_serves_what_its_parent_served",
)
class ForgetsInAFork(MemoryProvider):
    """Begins with no flags in a forked child."""

    def after_fork(self):
        super().after_fork()
        if self._listener is not None:
            self._listener.replaced(FlagSet())


@caught_by(
    "test_a_kill_holds_in_a_child",
)
class FailsOpenInAFork(MemoryProvider):
    """Forgets the kills in a forked child."""

    def after_fork(self):
        super().after_fork()
        for record in self.control.kills():
            self.control.record_kill(record.scope, _BY, killed=False)


@caught_by(
    "test_a_child_hears_what_changes_after_the_fork",
)
class DeafInAFork(MemoryProvider):
    """Hears nothing in a forked child."""

    def after_fork(self):
        super().after_fork()
        self._listener = None


# Outages and secrets


@caught_by(
    "test_what_is_known_goes_on_serving",
)
class ForgetsInAnOutage(ResolvingProvider):
    """Has no flags while the backend is away."""

    def cut(self):
        super().cut()
        if self.inner is not None:
            self.inner.close()
            self.inner = None


@caught_by(
    "test_after_an_outage_it_follows_changes_again",
    "test_lost_contact_is_told_with_the_age_of_the_data",
    "test_what_is_known_goes_on_serving",
)
class SaysNothingOfAnOutage(ResolvingProvider):
    """Is READY whatever happens."""

    def status(self):
        found = super().status()
        return replace(found, state=State.READY) if found.state is State.STALE else found


@caught_by(
    "test_it_becomes_ready_when_the_backend_comes",
)
class NeverComesBack(ResolvingProvider):
    """Tries once."""

    def mend(self):
        if self.ready:
            super().mend()
        else:
            self.cut_at = None


@caught_by(
    "test_a_provider_does_not_show_its_secrets",
)
class ShowsItsToken(ResolvingProvider):
    """Has its token in its repr."""

    def __repr__(self):
        return f"ShowsItsToken({self.token!r})"


@caught_by(
    "test_no_error_has_a_secret",
    "test_no_log_has_a_secret",
)
class LogsItsToken(ResolvingProvider):
    """Has its token in a log."""

    def begin(self):
        _log.debug("connecting with %s", self.token)
        super().begin()
