"""Start, events, end and forks of an OpenFeature provider that stands behind a client."""

import logging
import os
import threading
import time

import pytest
from downhaul_openfeature.provider import OpenFeatureProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode as TheirCode
from openfeature.exception import ProviderFatalError, ProviderNotReadyError
from stubs_openfeature import Silent, Stub

from downhaul import Change, Context, Flags
from downhaul.config import Declaration
from downhaul.errors import ReadOnly, UnsupportedCapability
from downhaul.flag import Flag, FlagKind
from downhaul.overlay import Scope
from downhaul.provider import Capability, State
from downhaul.result import ErrorCode, Reason

ANA = Change("ana", "because")


def code_of(flags, key="on"):
    result = flags.evaluate(key, "ada", False)
    assert result.authoritative is (result.error_code is None)
    return result.error_code


def threads():
    return [one for one in threading.enumerate() if one.name.startswith("downhaul-openfeature")]


@pytest.mark.rule("P1", "E3")
def test_a_start_that_blocks_blocks_nobody(over, until):
    stub = Stub()
    stub.ready.clear()
    began = time.monotonic()
    flags = over(stub, ready_within=0.05)
    assert time.monotonic() - began < 1.0
    assert not flags.wait_ready(0.01)
    assert flags.status().state is State.NOT_READY
    assert code_of(flags) is ErrorCode.PROVIDER_NOT_READY
    stub.ready.set()
    assert flags.wait_ready(5)
    assert (flags.status().state, flags.status().age) == (State.READY, 0.0)
    assert code_of(flags) is None


@pytest.mark.rule("P1", "P2")
@pytest.mark.parametrize(
    "error,state,code",
    [
        (ProviderFatalError("wrong key"), State.FATAL, ErrorCode.PROVIDER_FATAL),
        (ProviderNotReadyError("no server"), State.ERROR, None),
        (OSError("no route"), State.ERROR, None),
    ],
)
def test_a_start_that_fails_is_told(over, until, error, state, code):
    class Broken(Stub):
        def initialize(self, evaluation_context):
            raise error

    flags = over(Broken(), ready_within=0.05)
    until(lambda: flags.status().state is state)
    assert str(error.args[0]) in flags.status().provider.message
    assert not flags.wait_ready(0.01)
    assert code_of(flags) is code  # as OpenFeature's client: one in error is asked all the same


@pytest.mark.rule("E3")
def test_what_was_never_ready_says_not_that_a_flag_is_missing(over, until):
    class Broken(Silent):
        def initialize(self, evaluation_context):
            raise ProviderNotReadyError("no server")

    flags = over(Broken({}), ready_within=0.05)
    until(lambda: flags.status().state is State.ERROR)
    assert code_of(flags) is ErrorCode.PROVIDER_NOT_READY


@pytest.mark.rule("P2")
def test_a_provider_that_cannot_be_made_is_fatal(until):
    def make():
        message = "no such file"
        raise FileNotFoundError(message)

    with Flags.over(OpenFeatureProvider(make), ready_within=5) as flags:
        assert flags.status().state is State.FATAL
        assert code_of(flags) is ErrorCode.PROVIDER_FATAL
        assert "FileNotFoundError: no such file" in flags.evaluate("on", "ada", False).error_message


@pytest.mark.rule("P2")
def test_the_status_follows_the_providers_events(over):
    stub = Stub()
    flags = over(stub)
    stub.tell("STALE", message="lost the stream")
    status = flags.status().provider
    assert (status.state, status.message) == (State.STALE, "lost the stream")
    assert status.age >= 0
    assert code_of(flags) is None  # stale data goes on serving
    stub.tell("CONFIGURATION_CHANGED", flags_changed=["on"])
    assert flags.status().state is State.STALE
    stub.tell("ERROR", message="broken", error_code=TheirCode.GENERAL)
    assert flags.status().state is State.ERROR
    assert code_of(flags) is None
    stub.tell("READY")
    assert flags.status().state is State.READY
    stub.tell("ERROR", message="revoked", error_code=TheirCode.PROVIDER_FATAL)
    assert flags.status().state is State.FATAL
    assert code_of(flags) is ErrorCode.PROVIDER_FATAL


@pytest.mark.rule("P2")
def test_a_provider_that_recovers_by_itself_is_ready(over, until):
    class Late(Stub):
        def initialize(self, evaluation_context):
            raise ProviderNotReadyError("not yet")

    stub = Late()
    flags = over(stub, ready_within=0.05)
    until(lambda: flags.status().state is State.ERROR)
    stub.tell("READY")
    assert flags.wait_ready(1)
    assert flags.status().state is State.READY


def test_changes_reach_on_change_by_key_or_as_everything(over):
    stub = Stub()
    flags = over(stub, watch=True)
    seen = []
    flags.on_change(seen.append)
    stub.tell("CONFIGURATION_CHANGED", flags_changed=["on", "text"])
    stub.tell("CONFIGURATION_CHANGED")
    stub.tell("CONFIGURATION_CHANGED", flags_changed=[])
    assert seen == [{"on", "text"}, {"*"}]


@pytest.mark.rule("P4")
def test_it_reads_and_nothing_else(over):
    for watch in (True, False):
        provider = OpenFeatureProvider.over(Stub(), watch=watch)
        assert (Capability.WATCH in provider.capabilities) is watch
        assert provider.capabilities - {Capability.WATCH} == {Capability.RESOLVE}
        for call in (
            lambda provider=provider: provider.get("on"),
            lambda provider=provider: provider.list(),
            lambda provider=provider: provider.put(Flag.boolean("on"), ANA),
            lambda provider=provider: provider.switch_off("on", ANA),
            lambda provider=provider: provider.snapshot("on"),
            lambda provider=provider: provider.history(),
        ):
            with pytest.raises((UnsupportedCapability, ReadOnly)):
                call()


@pytest.mark.rule("K1", "K2")
def test_a_kill_needs_nothing_of_the_provider(over):
    stub = Stub()
    flags = over(stub, declarations={"text": Declaration(kind=FlagKind.STRING, off="plain")})
    control = flags.operator("ana").control
    for scope in ("on", "text"):
        control.record_kill(Scope.parse(scope), ANA, killed=True)
    stub.asked.clear()
    assert not flags.is_enabled("on", "ada", default=True)
    killed = flags.evaluate("text", "ada", "mine")
    assert (killed.value, killed.reason) == ("plain", Reason.KILLED)
    assert not stub.asked
    stub.tell("ERROR", error_code=TheirCode.PROVIDER_FATAL)
    assert not flags.is_enabled("on", "ada", default=True)


# The end


@pytest.mark.rule("P1")
def test_closing_shuts_the_provider_down_once_and_leaves_no_thread(over):
    stub = Stub()
    flags = over(stub)
    provider = flags.operator("ana").provider
    for _ in range(2):
        provider.close(2.0)
    assert stub.calls == ["initialize", "shutdown"]
    assert not threads()
    assert provider.status().state is State.NOT_READY
    assert not provider.wait_ready(0.01)
    assert code_of(flags) is ErrorCode.PROVIDER_NOT_READY
    stub.tell("READY")
    assert provider.status().state is State.NOT_READY


@pytest.mark.rule("P1")
@pytest.mark.parametrize("stuck", ["initialize", "shutdown"])
def test_closing_keeps_its_time_whatever_the_provider_does(stuck):
    free = threading.Event()

    class Stuck(Stub):
        pass

    setattr(Stuck, stuck, lambda self, *arguments: free.wait(20))
    flags = Flags.over(OpenFeatureProvider.over(Stuck()), ready_within=0.05)
    began = time.monotonic()
    flags.close(0.2)
    assert time.monotonic() - began < 1.5
    free.set()
    for one in threads():
        one.join(5)


def test_a_shutdown_that_fails_is_logged_without_secrets(caplog):
    class Broken(Stub):
        def shutdown(self):
            message = "cannot close with hunter22"
            raise OSError(message)

    made = OpenFeatureProvider(Broken, redact=lambda text: text.replace("hunter22", "***"))
    flags = Flags.over(made)
    with caplog.at_level(logging.WARNING, "downhaul"):
        flags.close()
    assert "cannot close with ***" in caplog.text


@pytest.mark.rule("P7")
def test_no_secret_is_in_what_is_told(until):
    class Leaky(Stub):
        def answer(self, kind, key, default):
            message = "401 for hunter22"
            raise OSError(message)

        def get_provider_hooks(self):
            if self.values:
                return []
            message = "hunter22"
            raise OSError(message)

    stub = Leaky()
    made = OpenFeatureProvider(lambda: stub, redact=lambda text: text.replace("hunter22", "***"))
    with Flags.over(made) as flags:
        assert flags.evaluate("on", "ada", False).error_message == "OSError: 401 for ***"
        stub.values = {}
        assert flags.evaluate("on", "ada", False).error_message == "OSError: ***"
        stub.tell("STALE", message="lost hunter22")
        assert flags.status().provider.message == "lost ***"


@pytest.mark.rule("E1")
def test_a_provider_that_was_not_started_answers_that(over):
    provider = OpenFeatureProvider.over(Stub())
    assert provider.status().state is State.NOT_READY
    assert not provider.wait_ready(0.01)
    result = provider.resolve("on", Context("ada"), None)
    assert result.error_code is ErrorCode.PROVIDER_NOT_READY
    provider.close()
    provider.after_fork()
    assert provider.status().state is State.NOT_READY


# Forks


class Following(Stub):
    """Follows its backend by a thread, which a forked child does not have."""

    def initialize(self, evaluation_context: EvaluationContext) -> None:
        self.ready.clear()
        threading.Thread(target=self.ready.wait, args=(20,), daemon=True, name="stub").start()
        self.values["pid"] = os.getpid()

    def shutdown(self):
        self.ready.set()


@pytest.mark.fault
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of a fork beside threads
@pytest.mark.rule("P3")
def test_a_forked_child_gets_a_provider_of_its_own():
    made = []

    def make():
        made.append(Following())
        return made[-1]

    with Flags.over(OpenFeatureProvider(make)) as flags:
        assert flags.value("pid", "ada", 0) == os.getpid()
        child = os.fork()
        if child == 0:
            code = 1
            try:
                ready = flags.wait_ready(10)
                mine = flags.value("pid", "ada", 0) == os.getpid()
                follows = any(one.name == "stub" for one in threading.enumerate())
                code = 0 if ready and mine and follows and len(made) == 2 else 2
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert flags.value("pid", "ada", 0) == os.getpid()
        assert len(made) == 1


@pytest.mark.fault
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of a fork beside threads
@pytest.mark.rule("P3")
def test_a_lock_that_was_held_over_a_fork_blocks_no_child():
    lock = threading.Lock()

    class Locking(Stub):
        def __init__(self):
            super().__init__()
            self.lock = lock if not made else threading.Lock()
            made.append(self)

        def answer(self, kind, key, default):
            with self.lock:
                return super().answer(kind, key, default)

    made = []
    with Flags.over(OpenFeatureProvider(Locking)) as flags:
        with lock:
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    flags.is_enabled("on", "ada")  # at once, ready or not
                    code = 0 if flags.wait_ready(10) and flags.is_enabled("on", "ada") else 2
                finally:
                    os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
