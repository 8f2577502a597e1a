"""A Downhaul client as an OpenFeature provider, through the real OpenFeature SDK."""

import asyncio
import datetime as dt
import os
import subprocess
import sys
import threading
import time
import uuid
from types import MappingProxyType

import pytest
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.event import ProviderEvent
from openfeature.exception import ErrorCode, ProviderNotReadyError
from openfeature.flag_evaluation import FlagEvaluationOptions, Reason
from openfeature.hook import Hook
from openfeature.provider import ProviderStatus
from openfeature.track import TrackingEventDetails

from downhaul import Change, Context, Flag, Flags
from downhaul.backends.memory import MemoryProvider
from downhaul.flag import Clause, FlagKind, FlagSet, Operator, Rule
from downhaul.integrations.openfeature import DownhaulProvider
from downhaul.integrations.openfeature_contexts import context_from
from downhaul.overlay import Scope
from downhaul.provider import ProviderStatus as OurStatus
from downhaul.provider import State

ANA = Change("ana", "because")
SHAPE = {"title": "Pictures", "sizes": [1, 2], "nested": {"wide": True}}


def flag(key, kind, value, **fields):
    fields = {"variants": {"served": value, "off": None}, "off_variant": None, **fields}
    return Flag(key=key, kind=kind, default="served", on=True, **fields)


FLAGS = [
    Flag.boolean("bool"),
    Flag.boolean("dark", on=False),
    flag("text", FlagKind.STRING, "hi"),
    flag("empty", FlagKind.STRING, ""),
    flag("ten", FlagKind.NUMBER, 10),
    flag("half", FlagKind.NUMBER, 0.5),
    flag("huge", FlagKind.NUMBER, 2**53 + 1),
    flag("shape", FlagKind.OBJECT, SHAPE),
    flag("list", FlagKind.OBJECT, [1, {"a": None}]),
    flag("unsaid", FlagKind.STRING, "x", variants={"served": "x"}),
]


class Slow(MemoryProvider):
    """A backend whose state is what a test says."""

    state = State.NOT_READY

    def start(self, listener):
        if self.state is State.READY:
            super().start(listener)

    def wait_ready(self, timeout):
        time.sleep(min(timeout, 0.01))
        return self.state in (State.READY, State.STALE)

    def status(self):
        return OurStatus(self.state, "so the test says", age=3.0)


@pytest.fixture
def domain():
    """A domain of its own for each test, and nothing left of it: the SDK keeps all in modules."""
    yield uuid.uuid4().hex
    api.shutdown()


@pytest.fixture
def flags():
    with Flags.in_memory(FLAGS) as made:
        yield made


@pytest.fixture
def client(flags, domain):
    api.set_provider_and_wait(DownhaulProvider(flags), domain)
    return api.get_client(domain)


ASKS = {
    "boolean": ("get_boolean_details", False),
    "string": ("get_string_details", "fallback"),
    "integer": ("get_integer_details", 7),
    "float": ("get_float_details", 7.5),
    "object": ("get_object_details", {"fall": "back"}),
    "list": ("get_object_details", ["fallback"]),
}


def ask(client, asked, key, how="sync", **more):
    method, default = ASKS[asked]
    if how == "sync":
        return getattr(client, method)(key, default, **more)
    return asyncio.run(getattr(client, f"{method}_async")(key, default, **more))


def kill(flags, text, *, killed=True):
    flags.operator("ana").control.record_kill(Scope.parse(text), ANA, killed=killed)


def until(holds, limit=5.0):
    """Wait for what holds, with a limit."""
    end = time.monotonic() + limit
    while not holds():
        assert time.monotonic() < end, "it did not come to hold"
        time.sleep(0.005)


SERVED = {
    "bool": ("boolean", True),
    "text": ("string", "hi"),
    "empty": ("string", ""),
    "ten": ("integer", 10),
    "half": ("float", 0.5),
    "shape": ("object", SHAPE),
    "list": ("list", [1, {"a": None}]),
}


@pytest.mark.rule("E1")
@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize("key", SERVED)
def test_every_type_comes_with_its_details(client, key, how):
    asked, value = SERVED[key]
    details = ask(client, asked, key, how)
    assert (details.value, type(details.value)) == (value, type(value))
    assert details.flag_key == key
    assert details.variant == ("on" if key == "bool" else "served")
    assert (details.reason, details.error_code) == (Reason.STATIC, None)
    assert details.flag_metadata["provider"] == "memory"
    assert details.flag_metadata["version"].isdigit()


@pytest.mark.rule("E2")
@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize("key", SERVED)
@pytest.mark.parametrize("asked", ASKS)
def test_a_value_of_another_type_is_the_callers_default(client, key, asked, how):
    kind, value = SERVED[key]
    details = ask(client, asked, key, how)
    if asked == kind:
        assert details.value == value
    elif (kind, asked) == ("integer", "float"):
        assert (details.value, type(details.value)) == (10.0, float)
    else:
        default = ASKS[asked][1]
        assert (details.value, type(details.value)) == (default, type(default))
        assert (details.reason, details.error_code) == (Reason.ERROR, ErrorCode.TYPE_MISMATCH)
        assert details.variant is None
        assert details.error_message


@pytest.mark.rule("E2")
def test_an_integer_becomes_a_float_only_without_loss(client):
    assert client.get_float_details("huge", 0.5).error_code is ErrorCode.TYPE_MISMATCH
    assert client.get_integer_value("huge", 0) == 2**53 + 1


@pytest.mark.rule("E2")
def test_the_resolver_says_the_type_whatever_the_default_is(client):
    # Many write get_float_value("half", 1): an integer where a float is asked for.
    assert client.get_float_value("half", 1) == 0.5
    assert client.get_float_value("nothing", 1) == 1
    assert client.get_object_value("shape", None) == SHAPE
    assert client.get_object_value("list", None) == [1, {"a": None}]
    details = client.get_object_details("text", None)
    assert (details.value, details.error_code) == (None, ErrorCode.TYPE_MISMATCH)


@pytest.mark.rule("E3")
@pytest.mark.parametrize("how", ["sync", "async"])
@pytest.mark.parametrize("asked", ASKS)
def test_an_unknown_flag_is_not_found(client, asked, how):
    details = ask(client, asked, "nothing", how)
    assert details.value == ASKS[asked][1]
    assert (details.reason, details.error_code) == (Reason.ERROR, ErrorCode.FLAG_NOT_FOUND)


@pytest.mark.rule("E4")
def test_off_serves_the_off_variant_and_not_the_callers_default(client):
    details = client.get_boolean_details("dark", True)
    assert (details.value, details.variant, details.reason) == (False, "off", Reason.DISABLED)


@pytest.mark.rule("E4")
def test_a_flag_without_an_off_variant_answers_the_callers_default_without_an_error(domain):
    off = flag("legacy", FlagKind.STRING, "x", variants={"served": "x"})
    with Flags.in_memory(
        [
            Flag(
                key="legacy",
                kind=off.kind,
                variants=off.variants,
                off_variant=None,
                default="served",
                on=False,
            )
        ]
    ) as flags:
        api.set_provider_and_wait(DownhaulProvider(flags), domain)
        details = api.get_client(domain).get_string_details("legacy", "mine")
        assert details.flag_metadata["authoritative"] is False
        assert (details.value, details.reason, details.error_code) == (
            "mine",
            Reason.DISABLED,
            None,
        )


@pytest.mark.rule("E4", "K1", "K2")
@pytest.mark.parametrize("how", ["sync", "async"])
def test_a_kill_holds_and_is_told_as_disabled(client, flags, how):
    kill(flags, "bool")
    details = ask(client, "boolean", "bool", how)
    assert (details.value, details.variant, details.reason) == (False, "off", Reason.DISABLED)
    assert details.error_code is None
    assert details.flag_metadata["kill.actor"] == "ana"
    assert details.flag_metadata["kill.reason"] == "because"
    assert client.get_boolean_value("bool", True) is False
    kill(flags, "bool", killed=False)
    assert ask(client, "boolean", "bool", how).value is True


@pytest.mark.rule("K2")
def test_killing_everything_covers_flags_that_nobody_knows(client, flags):
    kill(flags, "*")
    assert client.get_boolean_value("never heard of", True) is False
    assert client.get_string_details("never heard of", "mine").value == "mine"


@pytest.mark.rule("K1")
def test_a_kill_holds_for_a_context_that_cannot_be_read(client, flags):
    hostile = EvaluationContext(targeting_key=7)
    details = client.get_boolean_details("bool", True, hostile)
    assert (details.value, details.error_code) == (True, ErrorCode.INVALID_CONTEXT)
    kill(flags, "bool")
    assert client.get_boolean_value("bool", True, hostile) is False


def test_metadata_holds_scalars_only(client, flags):
    kill(flags, "bool")
    for key, asked in (("bool", "boolean"), ("text", "string"), ("nothing", "string")):
        metadata = ask(client, asked, key).flag_metadata
        assert all(type(one) in (bool, int, float, str) for one in metadata.values())


def test_what_a_caller_does_to_a_value_is_its_own_affair(client):
    mine = client.get_object_value("shape", {})
    mine["nested"]["wide"] = False
    mine["sizes"].append(3)
    assert client.get_object_value("shape", {}) == SHAPE


def test_the_provider_names_itself_and_its_backend(client, domain):
    metadata = api.get_provider_metadata(domain)
    assert (metadata.name, metadata.backend) == ("downhaul", "memory")


def test_tracking_is_harmless(client):
    client.track("bought", EvaluationContext("ada"), TrackingEventDetails(9.5, {"currency": "eur"}))
    client.track("bought")


# Hooks


class Notes(Hook):
    def __init__(self):
        self.notes = []

    def before(self, hook_context, hints):
        self.notes.append(("before", hook_context.flag_key))

    def after(self, hook_context, details, hints):
        self.notes.append(("after", details.reason, details.variant))

    def error(self, hook_context, exception, hints):
        self.notes.append(("error", exception.error_code))

    def finally_after(self, hook_context, details, hints):
        self.notes.append(("finally", details.reason, details.error_code))


@pytest.mark.parametrize("how", ["sync", "async"])
def test_hooks_see_reasons_and_errors(client, flags, how):
    notes = Notes()
    options = FlagEvaluationOptions(hooks=[notes])
    kill(flags, "bool")
    ask(client, "boolean", "bool", how, flag_evaluation_options=options)
    ask(client, "integer", "text", how, flag_evaluation_options=options)
    assert notes.notes == [
        ("before", "bool"),
        ("after", Reason.DISABLED, "off"),
        ("finally", Reason.DISABLED, None),
        ("before", "text"),
        ("error", ErrorCode.TYPE_MISMATCH),
        ("finally", Reason.ERROR, ErrorCode.TYPE_MISMATCH),
    ]


# Contexts


def test_targeting_reads_the_key_and_the_attributes_of_every_level(domain):
    rules = (
        Rule("on", (Clause("/team/name", Operator.IN, ("blue",)),)),
        Rule("on", (Clause("since", Operator.BEFORE, ("2026-02-01T00:00:00Z",)),)),
    )
    targeted = Flag.boolean("targeted", percent=0, allow=["ada"], rules=rules)
    with Flags.in_memory([targeted]) as flags:
        api.set_provider_and_wait(DownhaulProvider(flags), domain)
        client = api.get_client(domain)

        def served(key=None, **attributes):
            return client.get_boolean_value("targeted", False, EvaluationContext(key, attributes))

        assert served("ada")
        assert not served("bob")
        assert served("bob", team={"name": "blue"})
        paris = dt.timezone(dt.timedelta(hours=1))
        assert served("bob", since=dt.datetime(2026, 2, 1, 0, 30, tzinfo=paris))
        assert not served("bob", since=dt.datetime(2026, 2, 1, 1, 30, tzinfo=paris))
        assert not served("bob", since=dt.datetime(2026, 1, 1))  # noqa: DTZ001  (no offset: no time)
        api.set_evaluation_context(EvaluationContext("ada"))
        assert served()
        client.context = EvaluationContext("bob")
        assert not served()


def test_the_clients_own_context_lies_below(domain):
    with Flags.in_memory([Flag.boolean("targeted", percent=0, allow=["ada"])]) as flags:
        api.set_provider_and_wait(DownhaulProvider(flags.with_context("ada")), domain)
        client = api.get_client(domain)
        assert client.get_boolean_value("targeted", False)
        assert not client.get_boolean_value("targeted", True, EvaluationContext("bob"))


@pytest.mark.rule("E8")
@pytest.mark.parametrize("key", [None, ""])
def test_no_targeting_key_is_a_missing_one(domain, key):
    with Flags.in_memory([Flag.boolean("split", percent=50)]) as flags:
        api.set_provider_and_wait(DownhaulProvider(flags), domain)
        details = api.get_client(domain).get_boolean_details("split", True, EvaluationContext(key))
        assert (details.value, details.error_code) == (True, ErrorCode.TARGETING_KEY_MISSING)


CONTEXTS = [
    (EvaluationContext(), Context()),
    (EvaluationContext("ada", {"plan": "pro"}), Context("ada", {"plan": "pro"})),
    (EvaluationContext(None, {"gone": None}), Context(None, {"gone": None})),
    (EvaluationContext("ada", {"kind": "premium"}), Context("ada", {"kind": "premium"})),
    (
        EvaluationContext("ada", {"kind": "order", "key": "o-1"}),
        Context("ada", {"kind": "order", "key": "o-1"}),
    ),
    (EvaluationContext("ada", {"kind": "multi"}), Context("ada", {"kind": "multi"})),
    (
        EvaluationContext(None, {"kind": "organisation", "key": "acme", "size": 3}),
        Context("acme", {"size": 3}, "organisation"),
    ),
    (
        EvaluationContext("acme", {"kind": "organisation", "key": "acme"}),
        Context("acme", {}, "organisation"),
    ),
    (
        EvaluationContext(
            "ada", {"kind": "multi", "organisation": {"key": "acme", "size": 3}, "plan": "pro"}
        ),
        Context.multi(
            Context("acme", {"size": 3}, "organisation"), Context("ada", {"plan": "pro"})
        ),
    ),
    (
        EvaluationContext("acme", {"kind": "multi", "organisation": {"key": "acme"}}),
        Context("acme", {}, "organisation"),
    ),
    (
        EvaluationContext(
            "ada", MappingProxyType({"at": (dt.datetime(2026, 1, 1, tzinfo=dt.UTC),)})
        ),
        Context("ada", {"at": ["2026-01-01T00:00:00Z"]}),
    ),
]


@pytest.mark.parametrize("given,made", CONTEXTS)
def test_a_context_is_read_as_it_is_meant(given, made):
    assert context_from(given) == made


# Events and life


@pytest.fixture
def heard(domain):
    """Return the list that every event of the domain goes to, by name."""
    seen = []
    client = api.get_client(domain)
    for event in ProviderEvent:
        client.add_handler(event, lambda details, event=event: seen.append((event, details)))
    return seen


def names(heard):
    return [event.value.removeprefix("PROVIDER_") for event, _details in heard]


def test_a_change_comes_with_the_keys_of_its_flags(flags, domain, heard):
    api.set_provider_and_wait(DownhaulProvider(flags), domain)
    operator = flags.operator("ana")
    operator.provider.switch_off("bool", ANA)
    until(lambda: "CONFIGURATION_CHANGED" in names(heard))
    changed = [one for event, one in heard if event is ProviderEvent.PROVIDER_CONFIGURATION_CHANGED]
    assert [one.flags_changed for one in changed] == [["bool"]]
    assert changed[0].provider_name == "downhaul"
    assert names(heard)[0] == "READY"


@pytest.mark.rule("K1")
def test_a_kill_is_a_change_and_a_switch_is_none(flags, domain, heard):
    api.set_provider_and_wait(DownhaulProvider(flags), domain)
    kill(flags, "switch:agents")
    kill(flags, "text")
    kill(flags, "*")
    until(lambda: names(heard).count("CONFIGURATION_CHANGED") == 2)
    changed = [one for event, one in heard if event is ProviderEvent.PROVIDER_CONFIGURATION_CHANGED]
    assert sorted(one.flags_changed or [] for one in changed) == [[], ["text"]]


@pytest.mark.rule("P2")
def test_events_follow_how_the_backend_stands(domain, heard):
    backend = Slow(FlagSet.of(FLAGS))
    backend.state = State.READY
    with Flags.over(backend, ready_within=0) as flags:
        api.set_provider_and_wait(DownhaulProvider(flags), domain)
        client = api.get_client(domain)
        for state, event, status in (
            (State.STALE, "STALE", ProviderStatus.STALE),
            (State.ERROR, "ERROR", ProviderStatus.ERROR),
            (State.READY, "READY", ProviderStatus.READY),
            (State.FATAL, "ERROR", ProviderStatus.ERROR),
        ):
            backend.state = state
            until(lambda status=status: client.get_provider_status() is status)
            until(lambda event=event: names(heard)[-1:] == [event])
            assert client.get_boolean_value("bool", False) is True
        message = heard[-1][1].message
    assert message == "so the test says"
    assert "3 s old" in next(one.message for event, one in heard if event.value.endswith("STALE"))


@pytest.mark.rule("K1")
def test_a_kill_holds_while_the_backend_refuses_for_good(domain):
    backend = Slow(FlagSet.of(FLAGS))
    backend.state = State.FATAL
    with Flags.over(backend, ready_within=0) as flags:
        with pytest.raises(ProviderNotReadyError, match="so the test says"):
            api.set_provider_and_wait(DownhaulProvider(flags), domain)
        client = api.get_client(domain)
        details = client.get_boolean_details("bool", True)
        assert (details.value, details.error_code) == (True, ErrorCode.PROVIDER_FATAL)
        kill(flags, "*")
        assert client.get_boolean_value("bool", True) is False


@pytest.mark.rule("P1")
def test_what_is_not_ready_in_time_is_an_error_and_tells_when_it_is_ready(domain, heard):
    backend = Slow(FlagSet.of(FLAGS))
    with Flags.over(backend, ready_within=0) as flags:
        api.set_provider(DownhaulProvider(flags, ready_within=0.05), domain)
        client = api.get_client(domain)
        until(lambda: client.get_provider_status() is ProviderStatus.ERROR)
        details = client.get_boolean_details("bool", True)
        assert (details.value, details.error_code) == (True, ErrorCode.PROVIDER_NOT_READY)
        backend.state = State.READY
        until(lambda: client.get_provider_status() is ProviderStatus.READY)
        until(lambda: names(heard)[-2:] == ["ERROR", "READY"])


def herald_threads():
    return [one for one in threading.enumerate() if one.name == "downhaul-openfeature"]


@pytest.mark.parametrize("owned", [False, True])
def test_shutdown_closes_only_a_client_that_it_was_given_to_close(flags, domain, owned, heard):
    provider = DownhaulProvider(flags, close_flags=owned)
    api.set_provider_and_wait(provider, domain)
    assert herald_threads()
    began = time.monotonic()
    provider.shutdown()
    provider.shutdown()
    assert time.monotonic() - began < 2.0
    assert not herald_threads()
    assert flags.is_enabled("bool")  # what is known goes on serving
    assert flags.status().state is (State.NOT_READY if owned else State.READY)
    seen = len(heard)
    kill(flags, "text")
    assert len(heard) == seen


def test_a_provider_may_be_set_again_after_it_was_shut_down(flags, domain, heard):
    provider = DownhaulProvider(flags)
    for _ in range(2):
        api.set_provider_and_wait(provider, domain)
        provider.shutdown()
    provider.initialize(EvaluationContext())
    assert len(herald_threads()) == 1
    kill(flags, "text")
    until(lambda: names(heard).count("CONFIGURATION_CHANGED") == 1)


@pytest.mark.fault
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of a fork beside threads
@pytest.mark.rule("P3")
def test_a_forked_child_goes_on_telling(flags):
    provider = DownhaulProvider(flags)
    told = []
    provider.attach(lambda provider, event, details: told.append(event))
    provider.initialize(EvaluationContext())
    child = os.fork()
    if child == 0:
        code = 1
        try:
            kill(flags, "text")
            code = 0 if told and len(herald_threads()) == 1 else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    provider.shutdown()


def test_what_nobody_listens_to_any_more_is_told_to_nobody(flags, caplog):
    provider = DownhaulProvider(flags)
    provider.initialize(EvaluationContext())
    kill(flags, "text")  # nobody is attached

    def refuse(provider, event, details):
        message = "cannot schedule new futures after shutdown"
        raise RuntimeError(message)

    provider.attach(refuse)  # as the SDK's threads do while Python exits
    kill(flags, "text", killed=False)
    provider.detach()
    provider.shutdown()
    assert not [one for one in caplog.records if one.levelname == "ERROR"]
    assert client_value(provider) == "hi"


def client_value(provider):
    return provider.resolve_string_details("text", "mine").value


# Imports


def run(code):
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )


def test_importing_downhaul_imports_no_openfeature():
    done = run(
        "import sys, downhaul; downhaul.Flags.in_memory().close();"
        "assert 'openfeature' not in sys.modules"
    )
    assert done.returncode == 0, done.stderr


def test_without_the_sdk_the_import_says_what_to_install():
    done = run(
        "import sys; sys.modules['openfeature'] = None\n"
        "try: import downhaul.integrations.openfeature\n"
        "except ImportError as error: print(error)"
    )
    assert "pip install 'downhaul[openfeature]'" in done.stdout, done.stderr
