"""Rules E1 to E5: what comes back from an evaluation, whatever is asked."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import json_values, texts

from downhaul import Context, Flag, Flags
from downhaul.backends.memory import MemoryProvider
from downhaul.client.assembly import MemoryKeeper
from downhaul.client.engine import Engine
from downhaul.flag import (
    Clause,
    FlagKind,
    Operator,
    Rule,
    Segment,
    SegmentRule,
    Split,
    Target,
    Weight,
)
from downhaul.provider import (
    Capability,
    Change,
    FlagProvider,
    FlagSet,
    FlagSetDelta,
    ProviderStatus,
    State,
)
from downhaul.result import ErrorCode, Reason, Result

ANA = Change("ana", "because")


def serving(value, kind=FlagKind.OBJECT):
    variants = {"it": value, "other": None}
    return Flags.in_memory(
        [Flag(key="f", kind=kind, variants=variants, off_variant="other", default="it", on=True)]
    )


def kill(flags, text, killed=True):
    from downhaul.overlay import Scope

    control = flags._engine.provider.control
    control.record_kill(Scope.parse(text), ANA, killed=killed)


# --- E2

BIG = 2**53 + 1
TYPES = [
    # served, default, what comes back (... is a mismatch)
    (True, False, True),
    (True, 0, ...),
    (True, 0.0, ...),
    (True, "", ...),
    (1, False, ...),
    (1, 0, 1),
    (1, 0.0, 1.0),
    (10, 0.5, 10.0),
    (BIG, 0.5, ...),
    (2**53, 0.5, float(2**53)),
    (10**400, 0.5, ...),
    (BIG, 0, BIG),
    (0.5, 0, ...),
    (1.0, 0, ...),
    (0.5, 0.0, 0.5),
    (0.5, False, ...),
    ("1", 0, ...),
    ("true", False, ...),
    ("x", "", "x"),
    ("x", {}, ...),
    ({"a": 1}, {}, {"a": 1}),
    ({"a": 1}, [], ...),
    ([1], [], [1]),
    ([1], (), [1]),
    ([1], {}, ...),
    ([1], "", ...),
    ({"a": 1}, "", ...),
]


@pytest.mark.rule("E2")
@pytest.mark.parametrize("case", TYPES, ids=lambda case: f"{case[0]!s:.9} as {type(case[1])}")
def test_the_type_of_the_default_is_the_type_asked_for(case):
    served, default, expected = case
    flags = serving(served)
    result = flags.evaluate("f", "u", default)
    if expected is ...:
        assert result.value is default
        assert result.error_code is ErrorCode.TYPE_MISMATCH
        assert result.reason is Reason.ERROR
        assert result.variant is None
        assert not result.authoritative
        assert "asks for" in result.error_message
    else:
        assert result.value == expected
        assert type(result.value) is type(expected)
        assert result.authoritative
        assert result.variant == "it"
    assert flags.value("f", "u", default) == result.value


@pytest.mark.rule("E1", "E2")
@given(json_values)
def test_a_default_of_none_asks_for_any_type(value):
    result = serving(value).evaluate("f", "u")
    assert result.value == value
    assert type(result.value) is type(value)
    assert result.authoritative


@pytest.mark.rule("E2")
@given(st.integers())
def test_an_integer_becomes_a_float_only_without_loss(number):
    found = serving(number).value("f", "u", 0.5)
    exact = abs(number) < 2**1023 and int(float(number)) == number
    assert found == (number if exact else 0.5)
    assert type(found) is float


@pytest.mark.rule("E2")
def test_numbers_that_are_none_and_infinite_pass_as_floats():
    assert math.isnan(serving(math.nan).value("f", "u", 0.5))
    assert serving(math.inf).value("f", "u", 0.5) == math.inf


def test_an_object_that_the_caller_changes_is_not_the_flags():
    flags = serving({"a": [1]})
    flags.value("f", "u", {})["a"].append(2)
    flags.evaluate("f", "u").value["b"] = 3
    flags.evaluate_all("u")["f"].value["c"] = 4
    for result in flags.evaluate_many("f", ["u", "v"]):
        result.value["d"] = 5
    with flags.override(f={"e": [6]}):
        flags.value("f", "u", {})["e"].append(7)
        assert flags.value("f", "u", {}) == {"e": [6]}
    assert flags.value("f", "u", {}) == {"a": [1]}


@pytest.mark.rule("E1")
def test_any_other_kind_is_enabled_where_it_serves_another_variant_than_its_off_variant():
    flag = Flag(
        key="f",
        kind=FlagKind.STRING,
        variants={"old": "", "new": "x"},
        off_variant="old",
        on=True,
        default="old",
        targets=(Target("new", frozenset({"ana"})),),
    )
    flags = Flags.in_memory([flag])
    assert flags.is_enabled("f", "ana") is True
    assert flags.is_enabled("f", "bob", default=True) is False


# --- E3


@pytest.mark.rule("E3")
@pytest.mark.parametrize("default", [None, False, True, 7, "x", {"a": 1}])
def test_an_unknown_flag_is_the_callers_default(default):
    for flags in (Flags.in_memory(), Flags.in_memory([Flag.boolean("g")])):
        result = flags.evaluate("f", "u", default)
        assert result.value is default
        assert result.error_code is ErrorCode.FLAG_NOT_FOUND
        assert result.reason is Reason.ERROR
        assert not result.authoritative
        assert result.provider == "memory"
        assert '"f"' in result.error_message
    assert flags.is_enabled("f", "u") is False
    assert flags.is_enabled("f", "u", default=True) is True


class Silent(FlagProvider):
    """A backend from which nothing has come."""

    name = "silent"
    capabilities = frozenset({Capability.FLAG_SET})

    def __init__(self, status):
        self._status = status

    def start(self, listener):
        self.listener = listener

    def wait_ready(self, timeout):
        return False

    def status(self):
        return self._status

    def close(self, timeout=2.0):
        pass


class Nothing:
    """Keeps no kills."""

    unknown = False

    def start(self):
        pass

    def wait_ready(self, timeout):
        return True

    def status(self):
        return None

    def close(self, timeout=2.0):
        pass


def client_on(provider):
    engine = Engine(provider, lambda _on_overlay: Nothing())
    engine.start(0)
    return Flags(engine)


@pytest.mark.rule("E3")
@pytest.mark.parametrize(
    "case",
    [
        (State.NOT_READY, ErrorCode.PROVIDER_NOT_READY),
        (State.ERROR, ErrorCode.PROVIDER_NOT_READY),
        (State.FATAL, ErrorCode.PROVIDER_FATAL),
        (State.STALE, ErrorCode.FLAG_NOT_FOUND),
    ],
)
def test_before_the_first_payload_nobody_says_that_a_flag_is_not_there(case):
    state, code = case
    provider = Silent(ProviderStatus(state, "no route to host"))
    flags = client_on(provider)
    result = flags.evaluate("f", "u", True)
    assert (result.value, result.error_code) == (True, code)
    assert not result.authoritative
    if code is not ErrorCode.FLAG_NOT_FOUND:
        assert "no route to host" in result.error_message
    provider.listener.replaced(FlagSet())  # a payload of no flags is a payload
    assert flags.evaluate("f", "u", True).error_code is ErrorCode.FLAG_NOT_FOUND


class Vendor(Silent):
    """A backend that resolves by itself."""

    name = "vendor"
    capabilities = frozenset({Capability.RESOLVE})

    def __init__(self, answer):
        super().__init__(ProviderStatus(State.READY))
        self.answer = answer

    def resolve(self, key, context, kind):
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


@pytest.mark.rule("E1", "E3")
def test_a_backend_that_resolves_is_asked_and_its_answer_is_held_to_the_rules():
    flags = client_on(Vendor(Result(True, "on", Reason.TARGETING_MATCH, provider="vendor")))
    assert flags.is_enabled("f", "u")
    assert flags.evaluate("f", "u", False).variant == "on"
    assert flags.evaluate("f", "u", "x").error_code is ErrorCode.TYPE_MISMATCH
    assert flags.evaluate_all("u") == {}
    with flags.override(g=True):
        assert set(flags.evaluate_all("u")) == {"g"}
        assert flags.is_enabled("f", "u")
    excuse = Result(None, error_code=ErrorCode.FLAG_NOT_FOUND, authoritative=False)
    assert client_on(Vendor(excuse)).value("f", "u", "mine") == "mine"
    for broken in (RuntimeError("vendor"), None):
        answer = client_on(Vendor(broken)).evaluate("f", "u", "mine")
        assert (answer.value, answer.error_code) == ("mine", ErrorCode.GENERAL)


# --- E4


@pytest.mark.rule("E4")
def test_off_serves_the_off_variant_and_never_the_callers_default():
    flags = Flags.in_memory(
        [
            Flag.boolean("f", on=False, allow=["ana"]),
            Flag(
                key="model",
                kind=FlagKind.STRING,
                variants={"old": "m-1", "new": "m-2"},
                off_variant="old",
                default="new",
            ),
        ]
    )
    for context in ("ana", None, Context(), 17):
        result = flags.evaluate("f", context, default=True)
        assert (result.value, result.variant, result.reason) == (False, "off", Reason.DISABLED)
        assert result.authoritative
        assert flags.value("model", context, "mine") == "m-1"
        assert flags.is_enabled("f", context, default=True) is False


@pytest.mark.rule("E4")
@pytest.mark.parametrize("default", [True, False])
def test_an_imported_flag_without_an_off_variant_serves_the_callers_default_while_off(default):
    flags = Flags.in_memory([Flag(key="f", default="on", off_variant=None)])
    result = flags.evaluate("f", "u", default)
    assert (result.value, result.variant, result.reason) == (default, None, Reason.DISABLED)
    assert not result.authoritative
    assert flags.is_enabled("f", "u", default) is default


@pytest.mark.rule("E4")
@given(st.booleans(), st.sampled_from(["known", "unknown", "split"]), st.none() | texts)
def test_an_answer_that_is_the_callers_default_is_not_authoritative(default, flag, key):
    flags = Flags.in_memory([Flag.boolean("known"), Flag.boolean("split", percent=50)])
    result = flags.evaluate(flag, key, default)
    assert result.authoritative is (result.variant is not None)
    assert result.authoritative is (result.error_code is None)
    if not result.authoritative:
        assert result.value is default


# --- E5


@pytest.mark.rule("E5", "K1")
def test_an_override_stands_above_a_kill_and_a_kill_above_everything_else():
    flag = Flag.boolean("f", allow=["ana"], tags=("agents",))
    rule = Rule("on", (Clause("plan", Operator.IN, ("pro",)),))
    flags = Flags.in_memory([flag, Flag(key="g", default="on", rules=(rule,), on=True)])
    for scope, key in (("f", "f"), ("tag:agents", "f"), ("*", "f"), ("*", "g"), ("g", "g")):
        kill(flags, scope)
        for context in ("ana", Context("u", {"plan": "pro"}), None, 17, {"targetingKey": 5}):
            result = flags.evaluate(key, context, default=True)
            assert (result.value, result.reason) == (False, Reason.KILLED)
            assert result.authoritative
            assert flags.is_enabled(key, context, default=True) is False
            assert flags.evaluate_all(context)[key] == result
            assert flags.evaluate_many(key, [context], True) == [result]
            with flags.override({key: True}):
                assert flags.is_enabled(key, context)
                assert flags.evaluate(key, context).metadata["override"]
                assert flags.evaluate_many(key, [context])[0].value is True
        kill(flags, scope, killed=False)
        assert flags.is_enabled(key, "ana")


@pytest.mark.rule("K2")
def test_a_kill_tells_who_and_why():
    flags = Flags.in_memory([Flag.boolean("f", tags=("agents",))])
    kill(flags, "tag:agents")
    told = flags.evaluate("f", "u").metadata["kill"]
    assert (told["scope"], told["actor"], told["reason"]) == ("tag:agents", "ana", "because")
    assert told["at"].endswith("Z")
    assert "killed by ana" in str(flags.explain("f", "u"))


@pytest.mark.rule("K2")
def test_killing_everything_covers_flags_that_nobody_knows():
    flags = Flags.in_memory([Flag.boolean("known")])
    kill(flags, "*")
    assert flags.is_enabled("unknown", "u", default=True) is False
    assert flags.evaluate("unknown", "u", default=True).value is False
    assert flags.evaluate("unknown", "u", default=True).authoritative
    text = flags.evaluate("unknown", "u", default="mine")
    assert (text.value, text.reason, text.authoritative) == ("mine", Reason.KILLED, False)
    assert flags.explain("unknown", "u", default=True).steps[-1].what == "kill"
    with flags.override(unknown=True):
        assert flags.is_enabled("unknown", "u") is True
    kill(flags, "*", killed=False)
    assert flags.is_enabled("unknown", "u", default=True) is True


@pytest.mark.rule("K2")
def test_a_kill_of_a_flag_that_nobody_knows_yet_holds_and_waits():
    flags = Flags.in_memory()
    kill(flags, "later")
    assert flags.is_enabled("later", "u", default=True) is False
    flags._engine.provider.put(Flag.boolean("later"), ANA)
    assert flags.evaluate("later", "u", True).reason is Reason.KILLED
    kill(flags, "later", killed=False)
    assert flags.is_enabled("later", "u") is True


def raw(*flags, segments=()):
    """A client on flags as a hand may have edited them: nobody checked."""
    provider = MemoryProvider(FlagSet.of(flags, segments), validate=False)
    engine = Engine(provider, lambda on_overlay: MemoryKeeper(provider.control, on_overlay))
    engine.start(1)
    return Flags(engine)


@pytest.mark.rule("K2")
def test_a_killed_boolean_without_a_known_off_variant_is_false():
    for off in (None, "no such variant"):
        flags = raw(Flag(key="f", default="on", off_variant=off, on=True))
        kill(flags, "f")
        result = flags.evaluate("f", "u", default=True)
        assert (result.value, result.reason, result.authoritative) == (False, Reason.KILLED, True)
        assert flags.is_enabled("f", "u", default=True) is False


@pytest.mark.rule("K2")
def test_a_killed_string_without_a_known_off_variant_is_the_callers_default():
    for off in (None, "no such variant"):
        flag = Flag(
            key="f",
            kind=FlagKind.STRING,
            variants={"a": "1"},
            default="a",
            off_variant=off,
            on=True,
        )
        flags = raw(flag)
        kill(flags, "f")
        result = flags.evaluate("f", "u", default="mine")
        assert (result.value, result.reason, result.authoritative) == (
            "mine", Reason.KILLED, False,
        )  # fmt: skip
        assert flags.is_enabled("f", "u", default=True) is False


# --- E1: whatever is asked, and whoever asks


class Hostile(dict):
    """A mapping that is against us."""

    def get(self, *_):
        raise RuntimeError("get")

    def keys(self):
        raise RuntimeError("keys")

    def __iter__(self):
        raise RuntimeError("iter")

    def __getitem__(self, _):
        raise RuntimeError("getitem")


class Unequal(str):
    __slots__ = ()

    def __eq__(self, other):
        raise RuntimeError("eq")

    def __hash__(self):
        raise RuntimeError("hash")

    def __format__(self, _):
        raise RuntimeError("format")

    def __str__(self):
        raise RuntimeError("str")


class Unspeakable(Exception):
    def __str__(self):
        raise RuntimeError("str")


class Speechless(Hostile):
    def get(self, *_):
        raise Unspeakable

    keys = get
    __iter__ = get


def nested(depth):
    value = {}
    for _ in range(depth):
        value = {"a": value, "plan": value}
    return value


JUNK = [
    17,
    2.5,
    float("nan"),
    10**5000,
    b"bytes",
    object(),
    [],
    ("a", "b"),
    Hostile(),
    Hostile(targetingKey="u"),
    Speechless(),
    Unequal("u"),
    "\udc80",
    "u" * 100_000,
    {},
    {"targetingKey": 5},
    {"targetingKey": None},
    {"targetingKey": "\ud800"},
    {"kind": "multi"},
    {"kind": "multi", "user": "u"},
    {"kind": "multi", "user": {"key": 5}},
    {"kind": "user", "key": None},
    {"kind": 5, "key": "u"},
    {5: 6, None: None},
    nested(3_000),
    Context("u", Hostile()),
    Context("u", Speechless(plan="pro")),
    Context("u", None),
    Context("u", {"plan": Unequal("pro"), "age": 10**5000, "/": float("nan")}),
    Context("u", {"plan": [Unequal("pro")], "roles": [Hostile()], "version": Unequal("1")}),
    Context("u", {"plan": object(), "roles": object(), "address": Hostile()}),
    Context("u", {"plan": nested(2_000), "roles": [[[]]]}),
    Context("u", {"roles": iter(["a"]), "since": 1e308, "ip": "\udc80", "plan": "\udc80"}),
    Context("\udc80", {"plan": "pro"}),
    Context.multi(Context("u", Hostile()), Context("o", {}, "org")),
]


def a_clause_of_each():
    values = {"semver": "1.0.0", "in_cidr": "10.0.0.0/8", "matches": "^pro"}
    for operator in Operator:
        value = next((v for prefix, v in values.items() if operator.startswith(prefix)), "pro")
        for attribute in ("plan", "roles", "/address/city", "age", "since", "ip"):
            yield Clause(attribute, operator, () if operator is Operator.PRESENT else (value, 5))


MANY = [
    Flag.boolean("plain"),
    Flag.boolean("off", on=False),
    Flag.boolean("split", percent=30),
    Flag.boolean("targeted", percent=30, allow=["u"]),
    Flag.boolean("constant", allow=["u"]),
    *(
        Flag(key=f"clause-{index}", default="off", on=True, rules=(Rule("on", (clause,)),))
        for index, clause in enumerate(a_clause_of_each())
    ),
    Flag(
        key="object",
        kind=FlagKind.OBJECT,
        variants={"on": {"a": 1}, "off": {}},
        on=True,
        default=Split((Weight("on", 50_000), Weight("off", 50_000))),
    ),
]


@pytest.fixture(scope="module")
def many():
    return raw(*MANY)


def ask_everything(flags, key, context, default):
    result = flags.evaluate(key, context, default)
    assert isinstance(result, Result)
    assert flags.value(key, context, default) == result.value or result.value != result.value
    assert isinstance(flags.is_enabled(key, context, default=False), bool)
    assert flags.evaluate_many(key, [context, "v"], default)[0].error_code == result.error_code
    assert flags.explain(key, context, default).result.error_code == result.error_code
    if type(key) is str:
        assert str(flags.explain(key, context, default))
    assert flags.choose(key, context, {"on": 1, "off": 2}) in (1, 2)
    if result.error_code is not None:
        assert result.value is default
        assert not result.authoritative
        assert result.reason is Reason.ERROR
        assert result.error_message
    return result


@pytest.mark.rule("E1")
@pytest.mark.parametrize("context", JUNK, ids=lambda one: type(one).__name__)
def test_no_context_makes_an_evaluation_raise(many, context):
    for key in ("plain", "off", "split", "targeted", "constant", "object", "unknown"):
        ask_everything(many, key, context, default=True)
    over = many.with_context({"targetingKey": "base", "plan": "pro"})
    for client in (many, over):
        everything = client.evaluate_all(context)
        assert set(everything) == {flag.key for flag in MANY}
        for flag in MANY:
            assert everything[flag.key].error_code == client.evaluate(flag.key, context).error_code
            client.is_enabled(flag.key, context)
        ask_everything(client, "split", context, default=False)


@pytest.mark.rule("E1")
@pytest.mark.parametrize(
    "key", ["", "\udc80", 5, None, [], {}, object(), Unequal("plain"), "x" * 100_000, ("a",)],
    ids=lambda key: type(key).__name__,
)  # fmt: skip
def test_no_name_of_a_flag_makes_an_evaluation_raise(many, key):
    ask_everything(many, key, "u", default=True)


@pytest.mark.rule("E1")
@given(
    key=texts | st.text(),
    context=json_values | st.text() | st.dictionaries(st.text(), json_values),
    default=json_values,
    seed=st.integers(0, 2**16),
)
def test_no_question_makes_an_evaluation_raise(many, key, context, default, seed):
    chosen = random.Random(seed).sample([flag.key for flag in MANY], 4)
    for name in (key, *chosen):
        ask_everything(many, name, context, default)


@pytest.mark.rule("E1")
def test_a_defect_is_logged_with_its_flag(many, caplog):
    context = Context("u", Hostile())
    assert many.is_enabled("clause-0", context, default=True) is True
    assert "clause-0" in caplog.text
    assert "RuntimeError" in caplog.text


BROKEN = [
    Flag(key="variant", default="no such", on=True),
    Flag(key="rule", default="on", on=True, rules=(Rule("no such"),)),
    Flag(key="value", default="on", on=True, variants={"on": "yes", "off": "no"}),
    Flag(key="total", default=Split((Weight("on", 5),), None), on=True),
    Flag(key="values", default="on", on=True, rules=(Rule("on", (Clause("a", Operator.IN, 5),)),)),
    Flag(
        key="segments",
        default="on",
        on=True,
        rules=(Rule("on", (Clause("", Operator.IN_SEGMENT, ([], {})),)),),
    ),
    Flag(key="\udc80", default=Split((Weight("on", 5), Weight("off", 99_995))), on=True),
]


@pytest.mark.rule("E1")
@pytest.mark.parametrize("flag", BROKEN, ids=lambda flag: repr(flag.key))
@pytest.mark.parametrize("default", [True, False])
def test_a_flag_that_cannot_be_understood_is_the_callers_default_and_harms_no_other(flag, default):
    flags = raw(flag, Flag.boolean("good"))
    result = flags.evaluate(flag.key, "u", default)
    if flag.key != "segments":  # which names nothing, and so matches nobody
        assert result.value is default
        assert not result.authoritative
        assert flags.is_enabled(flag.key, "u", default) is default
    assert set(flags.evaluate_all("u")) == {flag.key, "good"}
    assert flags.evaluate_all("u")["good"].value is True
    flags._engine.changed(FlagSetDelta({"other": Flag.boolean("other")}))
    assert flags.is_enabled("other", "u")
    kill(flags, "*")
    assert flags.is_enabled(flag.key, "u", default=True) is False


@pytest.mark.rule("E1")
def test_a_chain_of_prerequisites_as_long_as_can_be_is_harmless():
    from downhaul.flag import Prerequisite

    chain = [Flag.boolean("f0")]
    chain += [
        Flag.boolean(f"f{n}", prerequisites=(Prerequisite(f"f{n - 1}"),)) for n in range(1, 1_200)
    ]
    flags = raw(*chain)
    assert flags.is_enabled("f20", "u")
    assert flags.is_enabled("f1199", "u", default=False) is False
    assert flags.evaluate("f1199", "u", True).error_code in (
        ErrorCode.PARSE_ERROR,
        ErrorCode.GENERAL,
    )


@pytest.mark.rule("E1")
def test_segments_that_all_name_each_other_are_compiled_at_once():
    names = [f"s{n}" for n in range(12)]
    segments = [
        Segment(
            name,
            rules=(SegmentRule((Clause("", Operator.IN_SEGMENT, tuple(names)),)),),
        )
        for name in names
    ]
    rule = Rule("on", (Clause("", Operator.IN_SEGMENT, tuple(names)),))
    flags = raw(Flag(key="f", default="off", on=True, rules=(rule,)), segments=segments)
    assert flags.is_enabled("f", "u") is False
