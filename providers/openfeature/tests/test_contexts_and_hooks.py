"""Contexts and hooks: who stands above whom, as OpenFeature's specification has it."""

import datetime as dt

import pytest
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode as TheirCode
from openfeature.exception import TargetingKeyMissingError
from openfeature.flag_evaluation import FlagType
from openfeature.hook import Hook
from openfeature.transaction_context import ContextVarsTransactionContextPropagator
from stubs_openfeature import Disabled, Stub

from downhaul import Context
from downhaul.config import Declaration
from downhaul.flag import FlagKind
from downhaul.integrations.openfeature_contexts import context_from
from downhaul.result import ErrorCode, Reason


class Noting(Hook):
    """Writes into a common list what it is told; ``gives`` is the context it adds."""

    def __init__(self, notes, name, *, gives=None, fails=(), only=None):
        self.notes, self.name, self.gives, self.fails, self.only = notes, name, gives, fails, only

    def _note(self, stage, about, *more):
        self.notes.append((self.name, stage, *more))
        self.about = about
        if stage in self.fails:
            message = f"{self.name} fails in {stage}"
            raise TargetingKeyMissingError(message)

    def before(self, hook_context, hints):
        self._note("before", hook_context)
        self.seen = dict(hook_context.evaluation_context.attributes)
        return self.gives

    def after(self, hook_context, details, hints):
        self._note("after", hook_context, details.value, details.reason)

    def error(self, hook_context, exception, hints):
        self._note("error", hook_context, exception.error_code)

    def finally_after(self, hook_context, details, hints):
        self._note("finally", hook_context, details.value, details.error_code)

    def supports_flag_value_type(self, flag_type):
        return self.only in (None, flag_type)


def stages(notes):
    return [one[:2] for one in notes]


LEVELS = ["API", "Transaction", "Client", "Invocation", "Before Hooks"]


@pytest.mark.parametrize("upto", range(1, 6))
def test_each_level_of_context_stands_above_those_before(over, upto):
    stub = Stub()
    api.set_transaction_context_propagator(ContextVarsTransactionContextPropagator())
    given = dict.fromkeys(LEVELS)
    for level in LEVELS[:upto]:
        given[level] = {"shared": level, level: level}

    def attributes(level):
        return given[level] or {}

    api.set_evaluation_context(EvaluationContext("api-key", attributes("API")))
    api.set_transaction_context(EvaluationContext(None, attributes("Transaction")))
    hook = Noting([], "hook", gives=EvaluationContext(None, attributes("Before Hooks")))
    api.add_hooks([hook])
    flags = over(stub).with_context(Context(None, attributes("Client")))
    assert flags.is_enabled("on", Context(None, attributes("Invocation")))
    merged = stub.contexts[-1]
    assert merged.attributes["shared"] == LEVELS[upto - 1]
    assert set(merged.attributes) == {"shared", *LEVELS[:upto]}
    assert merged.targeting_key == "api-key"
    api.set_transaction_context(EvaluationContext())


def test_our_targeting_key_stands_above_the_apis(over):
    stub = Stub()
    api.set_evaluation_context(EvaluationContext("api-key"))
    flags = over(stub)
    flags.is_enabled("on", "ada")
    assert stub.contexts[-1].targeting_key == "ada"


def test_no_targeting_key_is_none_and_never_a_word(over):
    stub = Stub()
    flags = over(stub)
    for context in (None, "", Context(), {"plan": "pro"}):
        flags.is_enabled("on", context)
        assert stub.contexts[-1].targeting_key is None


CONTEXTS = [
    (Context("ada"), "ada", {}),
    (Context("ada", {"gone": None, "n": 1, "ok": True}), "ada", {"n": 1, "ok": True}),
    (
        Context("ada", {"at": dt.datetime(2026, 2, 1, tzinfo=dt.timezone(dt.timedelta(hours=2)))}),
        "ada",
        {"at": "2026-01-31T22:00:00Z"},
    ),
    (
        Context("ada", {"deep": {"at": [dt.datetime(2026, 1, 1, 0, 0, 0, 5, tzinfo=dt.UTC)]}}),
        "ada",
        {"deep": {"at": ["2026-01-01T00:00:00.000005Z"]}},
    ),
    (
        Context("acme", {"size": 3}, "organisation"),
        "acme",
        {"kind": "organisation", "key": "acme", "size": 3},
    ),
    (
        Context.multi(Context("ada", {"plan": "pro"}), Context("acme", {}, "organisation")),
        "ada",
        {"kind": "multi", "user": {"key": "ada", "plan": "pro"}, "organisation": {"key": "acme"}},
    ),
]


@pytest.mark.parametrize("ours,key,attributes", CONTEXTS)
def test_a_context_is_handed_on_whole_and_reads_back(over, ours, key, attributes):
    stub = Stub()
    over(stub).is_enabled("on", ours)
    handed = stub.contexts[-1]
    assert (handed.targeting_key, handed.attributes) == (key, attributes)
    again = context_from(handed)
    assert (again.kind, again.targeting_key) == (ours.kind, ours.targeting_key)
    assert (again.kinds or {}).keys() == (ours.kinds or {}).keys()


# Hooks


def test_hooks_run_in_the_order_of_the_specification(over):
    notes = []
    stub = Stub(hooks=[Noting(notes, "provider")])
    api.add_hooks([Noting(notes, "first"), Noting(notes, "second")])
    assert over(stub).is_enabled("on", "ada")
    assert stages(notes) == [
        *[(name, "before") for name in ("first", "second", "provider")],
        *[(name, "after") for name in ("provider", "second", "first")],
        *[(name, "finally") for name in ("provider", "second", "first")],
    ]
    assert notes[3] == ("provider", "after", True, "STATIC")


def test_a_later_hook_sees_the_context_of_an_earlier_one(over):
    stub = Stub()
    first = Noting([], "first", gives=EvaluationContext("hooked", {"a": 1, "b": 1}))
    second = Noting([], "second", gives=EvaluationContext(None, {"b": 2}))
    third = Noting([], "third")
    api.add_hooks([first, second, third])
    over(stub).is_enabled("on", Context("ada", {"a": 0}))
    assert (first.seen, second.seen, third.seen) == ({"a": 0}, {"a": 1, "b": 1}, {"a": 1, "b": 2})
    assert stub.contexts[-1] == EvaluationContext("hooked", {"a": 1, "b": 2})
    assert first.about.evaluation_context.attributes == {"a": 1, "b": 2}


def test_an_error_reaches_the_error_and_finally_hooks(over):
    notes = []
    api.add_hooks([Noting(notes, "hook")])
    backend = over(Stub()).operator("ana").provider
    result = backend.resolve("gone", Context("ada"), FlagKind.STRING)
    assert result.error_code is ErrorCode.FLAG_NOT_FOUND
    assert notes == [
        ("hook", "before"),
        ("hook", "error", TheirCode.FLAG_NOT_FOUND),
        ("hook", "finally", "", TheirCode.FLAG_NOT_FOUND),
    ]


def test_hooks_see_no_default_that_we_made_up(over):
    notes = []
    api.add_hooks([Noting(notes, "hook")])
    backend = over(Disabled()).operator("ana").provider
    result = backend.resolve("off", Context("ada"), FlagKind.STRING)
    assert result.reason is Reason.DISABLED
    assert notes[1:] == [("hook", "after", "", "DISABLED"), ("hook", "finally", "", None)]


@pytest.mark.rule("E1")
@pytest.mark.parametrize("stage", ["before", "after", "error", "finally"])
def test_a_hook_that_fails_is_an_error_and_raises_nothing(over, stage, caplog):
    notes = []
    api.add_hooks([Noting(notes, "good"), Noting(notes, "bad", fails=(stage,))])
    result = over(Stub()).evaluate("gone" if stage == "error" else "on", "ada", False)
    if stage in ("before", "after"):
        assert (result.value, result.error_code) == (False, ErrorCode.TARGETING_KEY_MISSING)
        assert "bad fails" in result.error_message
        assert ("good", "error", TheirCode.TARGETING_KEY_MISSING) in notes
    else:
        expected = ErrorCode.FLAG_NOT_FOUND if stage == "error" else None
        assert result.error_code is expected
        assert "hook failed" in caplog.text
    assert stages(notes)[-1] == ("good", "finally")


def test_one_question_runs_the_hooks_once_however_often_the_provider_is_asked(over):
    notes = []
    api.add_hooks([Noting(notes, "hook")])
    stub = Stub()
    flags = over(stub)
    assert flags.value("ten", "ada", 0) == 10
    assert len(stub.asked) > 1
    assert stages(notes) == [("hook", "before"), ("hook", "after"), ("hook", "finally")]


def test_a_hook_gets_the_type_that_is_declared_or_was_found(over):
    hook = Noting([], "hook")
    api.add_hooks([hook, Noting(strings := [], "strings", only=FlagType.STRING)])
    flags = over(Stub(), declarations={"shape": Declaration(kind=FlagKind.OBJECT)})
    flags.value("shape", "ada", {})
    assert hook.about.flag_type is FlagType.OBJECT
    assert not strings
    for _ in range(2):
        flags.value("text", "ada", "")
    assert hook.about.flag_type is FlagType.STRING
    assert stages(strings) == [("strings", "before"), ("strings", "after"), ("strings", "finally")]
    assert hook.about.provider_metadata.name == "stub"
