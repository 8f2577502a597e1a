"""What an OpenFeature provider's answers are worth, whatever its habits."""

import itertools

import pytest
from downhaul_openfeature.provider import OpenFeatureProvider
from openfeature.exception import ErrorCode as TheirCode
from openfeature.exception import OpenFeatureError, ProviderNotReadyError
from openfeature.flag_evaluation import FlagResolutionDetails
from openfeature.flag_evaluation import Reason as TheirReason
from stubs_openfeature import (
    VALUES,
    Cutting,
    Disabled,
    Failing,
    Parsing,
    Passing,
    Silent,
    Stub,
)

from downhaul.config import Declaration
from downhaul.context import Context
from downhaul.flag import FlagKind
from downhaul.result import ErrorCode, Reason

KINDS = {
    "on": FlagKind.BOOLEAN,
    "off": FlagKind.BOOLEAN,
    "text": FlagKind.STRING,
    "blank": FlagKind.STRING,
    "digits": FlagKind.STRING,
    "ten": FlagKind.NUMBER,
    "zero": FlagKind.NUMBER,
    "half": FlagKind.NUMBER,
    "tenish": FlagKind.NUMBER,
    "shape": FlagKind.OBJECT,
    "list": FlagKind.OBJECT,
}
DEFAULTS = {
    "boolean": [False, True],
    "string": ["", "fallback"],
    "integer": [0, 7],
    "float": [0.0, 7.5],
    "object": [{}, {"fall": "back"}],
    "array": [[], [9]],
}
PROVIDERS = [Stub, Passing, Silent, Cutting]


def kind_of(value):
    names = {bool: "boolean", str: "string", int: "integer", float: "float", dict: "object"}
    return names.get(type(value), "array")


@pytest.mark.rule("E1", "E2")
@pytest.mark.parametrize("make", PROVIDERS)
@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("key", VALUES)
def test_a_flag_serves_its_value_whatever_the_default(over, make, declared, key):
    declarations = {key: Declaration(kind=KINDS[key])} if declared else {}
    flags = over(make(), declarations=declarations)
    value = VALUES[key]
    for default in (*DEFAULTS[kind_of(value)], None):
        result = flags.evaluate(key, "ada", default)
        assert (result.value, result.authoritative) == (value, True)
        if default is not None:
            assert type(result.value) is type(default)
        assert (result.flag, result.provider) == (key, "openfeature")


def fits(make, key, asked):
    """Whether a flag may answer what is asked: numbers may, where nothing is lost."""
    served = kind_of(VALUES[key])
    if key == "tenish" and asked == "integer":
        return make in (Passing, Cutting)  # these take their 10.0 for a 10, too
    return asked == served or (served, asked) == ("integer", "float")


CROSSES = [
    (make, key, asked)
    for make, key, asked in itertools.product(PROVIDERS, VALUES, DEFAULTS)
    if not fits(make, key, asked)
]


@pytest.mark.rule("E2")
@pytest.mark.parametrize("declared", [True, False])
@pytest.mark.parametrize("make,key,asked", CROSSES)
def test_a_value_of_another_type_never_reaches_the_caller(over, make, key, asked, declared):
    declarations = {key: Declaration(kind=KINDS[key])} if declared else {}
    flags = over(make(), declarations=declarations)
    for default in DEFAULTS[asked]:
        result = flags.evaluate(key, "ada", default)
        assert result.value is default
        assert (result.reason, result.error_code) == (Reason.ERROR, ErrorCode.TYPE_MISMATCH)
        assert not result.authoritative


@pytest.mark.rule("E2")
@pytest.mark.parametrize("make", [*PROVIDERS, Parsing])
@pytest.mark.parametrize("asked", DEFAULTS)
def test_a_half_is_never_cut_down_to_an_integer(over, make, asked):
    flags = over(make({"half": 0.5}), declarations={"half": Declaration(kind=FlagKind.NUMBER)})
    for default in DEFAULTS[asked]:
        value = flags.value("half", "ada", default)
        assert value == (0.5 if asked == "float" else default)


@pytest.mark.rule("E2")
def test_the_declared_kind_is_what_is_asked_for(over):
    stub = Parsing({"count": "10", "yes": "true"})
    kinds = {"count": FlagKind.NUMBER, "yes": FlagKind.BOOLEAN}
    flags = over(stub, declarations={key: Declaration(kind=kind) for key, kind in kinds.items()})
    assert flags.evaluate("count", "ada", 0).value == 10
    assert flags.is_enabled("yes", "ada")
    assert {kind for kind, key in stub.asked if key == "yes"} == {"boolean"}
    assert not {kind for kind, key in stub.asked if key == "count"} & {"boolean", "string"}


@pytest.mark.rule("E2")
def test_what_a_declaration_gets_wrong_is_a_mismatch(over):
    flags = over(Stub(), declarations={"text": Declaration(kind=FlagKind.NUMBER)})
    result = flags.evaluate("text", "ada", 7)
    assert (result.value, result.error_code) == (7, ErrorCode.TYPE_MISMATCH)


def test_a_declaration_that_leaves_the_kind_open_asks_for_any():
    provider = OpenFeatureProvider(Stub, kinds={"text": None})

    class Deaf:
        def __getattr__(self, name):
            return lambda *arguments: None

    provider.start(Deaf())
    assert provider.wait_ready(5)
    # The core takes a declared flag of no known kind for a boolean.
    assert provider.resolve("text", Context("ada"), FlagKind.BOOLEAN).value == "hi"
    provider.close()


def test_the_kind_that_was_found_is_asked_for_first_from_then_on(over):
    stub = Stub()
    flags = over(stub, watch=True)
    assert flags.value("shape", "ada", {}) == {"a": 1}
    assert [kind for kind, _key in stub.asked] == [
        "boolean",
        "string",
        "float",
        "integer",
        "object",
    ]
    stub.asked.clear()
    assert flags.value("shape", "ada", {}) == {"a": 1}
    assert [kind for kind, _key in stub.asked] == ["object"]
    stub.asked.clear()
    stub.values["shape"] = "now a string"
    assert flags.value("shape", "ada", "") == "now a string"
    assert next(iter(stub.asked)) == ("object", "shape")


@pytest.mark.rule("E3")
@pytest.mark.parametrize("make", PROVIDERS)
@pytest.mark.parametrize("kind", [None, *FlagKind])
def test_a_missing_flag_is_not_found_even_where_the_provider_answers_the_default(over, make, kind):
    flags = over(make(), declarations={"gone": Declaration(kind=kind)} if kind else {})
    for defaults in DEFAULTS.values():
        for default in defaults:
            result = flags.evaluate("gone", "ada", default)
            assert result.value is default
            assert (result.reason, result.error_code) == (Reason.ERROR, ErrorCode.FLAG_NOT_FOUND)
            assert not result.authoritative
    assert flags.is_enabled("gone", "ada", default=True)
    assert not flags.is_enabled("gone", "ada")


@pytest.mark.rule("E3")
def test_a_flag_that_is_false_is_no_missing_one(over):
    stub = Silent()
    flags = over(stub)
    for default in (True, False):
        result = flags.evaluate("off", "ada", default)
        assert (result.value, result.authoritative) == (False, True)
    assert not flags.is_enabled("off", "ada", default=True)


@pytest.mark.rule("E3")
def test_a_flag_that_is_decided_anew_at_every_question_is_no_missing_one(over):
    answers = itertools.cycle([(False, "no"), (True, "yes")])

    class Coin(Stub):
        def answer(self, kind, key, default):
            value, variant = next(answers)
            return FlagResolutionDetails(value, variant=variant)

    result = over(Coin()).evaluate("coin", "ada", True)
    assert (result.value, result.variant, result.authoritative) == (False, "no", True)


@pytest.mark.rule("E4")
@pytest.mark.parametrize("kind", [None, *FlagKind])
def test_a_disabled_flag_is_the_callers_default_without_an_error(over, kind):
    flags = over(Disabled(), declarations={"off": Declaration(kind=kind)} if kind else {})
    for default in (True, False, "x", 1, 0.5, {"a": 1}):
        result = flags.evaluate("off", "ada", default)
        assert result.value is default
        assert (result.reason, result.error_code) == (Reason.DISABLED, None)
        assert not result.authoritative


ERRORS = [
    (OpenFeatureError(code, "the reason why"), ErrorCode(code.value), "the reason why")
    for code in TheirCode
] + [
    (ProviderNotReadyError(), ErrorCode.PROVIDER_NOT_READY, "the provider says PROVIDER_NOT_READY"),
    (TypeError("no such argument"), ErrorCode.GENERAL, "TypeError: no such argument"),
    (KeyError("variant"), ErrorCode.GENERAL, "KeyError: 'variant'"),
]


@pytest.mark.rule("E1")
@pytest.mark.parametrize("error,code,message", ERRORS, ids=lambda one: str(one)[:20])
def test_what_a_provider_raises_is_a_result(over, error, code, message):
    result = over(Failing(error=error)).evaluate("on", "ada", True)
    assert (result.value, result.reason, result.error_code) == (True, Reason.ERROR, code)
    assert result.error_message == message


class Odd(Stub):
    details = FlagResolutionDetails(True)

    def answer(self, kind, key, default):
        return self.details


@pytest.mark.rule("E1")
@pytest.mark.parametrize(
    "details,code",
    [
        (None, ErrorCode.GENERAL),
        (object(), ErrorCode.GENERAL),
        (FlagResolutionDetails(True, reason=TheirReason.ERROR), ErrorCode.GENERAL),
        (
            FlagResolutionDetails(True, error_code=TheirCode.TARGETING_KEY_MISSING),
            ErrorCode.TARGETING_KEY_MISSING,
        ),
        (FlagResolutionDetails(True, error_code="NO_SUCH_CODE"), ErrorCode.GENERAL),
        (FlagResolutionDetails(None), ErrorCode.TYPE_MISMATCH),
    ],
)
def test_what_is_no_answer_is_an_error(over, details, code):
    result = over(Odd(details=details)).evaluate("on", "ada", False)
    assert (result.value, result.error_code) == (False, code)


@pytest.mark.parametrize(
    "said,reason,vendor",
    [
        *[(one.value, Reason(one.value), None) for one in TheirReason if one.value != "ERROR"],
        (TheirReason.SPLIT, Reason.SPLIT, None),
        (None, Reason.UNKNOWN, None),
        ("FALLTHROUGH", Reason.UNKNOWN, "FALLTHROUGH"),
        ("killed", Reason.UNKNOWN, "killed"),
    ],
)
def test_reasons_are_a_closed_set_and_the_vendors_word_is_kept(over, said, reason, vendor):
    details = FlagResolutionDetails(
        True, reason=said, variant="on", flag_metadata={"version": 7, "team": "blue"}
    )
    result = over(Odd(details=details)).evaluate("on", "ada", False)
    assert (result.reason, result.variant, result.flag_version) == (reason, "on", "7")
    assert result.metadata["team"] == "blue"
    assert result.metadata.get("vendor_reason") == vendor
