"""Flipper's tables: every gate, with its percentage of actors kept bit by bit."""

import itertools
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from in_house import decisions

from downhaul.backends.inhouse.database import Found
from downhaul.backends.inhouse.flipper_gates import translate
from downhaul.backends.inhouse.options import FlipperOptions
from downhaul.context import Context
from downhaul.flag import Bucketing, NoKey, Scheme
from downhaul.ledger import Fidelity

ACTORS = [f"User;{number}" for number in range(60)]
FEATURES = Found({"key": "key"}, ({"key": "search"},), ("id", "created_at"))
GATES = {"feature": "feature_key", "key": "key", "value": "value"}


def translated(*gates, features=FEATURES, **options):
    rows = tuple({"feature": "search", "key": key, "value": value} for key, value in gates)
    return translate((features, Found(GATES, rows, ())), FlipperOptions(**options))


def entry(translation, gate):
    path = 'flipper_gates[feature_key="search"]' + (f".{gate}" if gate else "")
    (found,) = [one for one in translation.ledger if one.path == path]
    return found


def on(translation, *contexts):
    return decisions(translation, contexts)["search"]


# What the gates decide, by Flipper's own source


def ruby_number(text):
    return float(text) if "." in text else int(text)


def flipper_enabled(gates, actor, properties):  # noqa: PLR0911  (as there)
    """lib/flipper/gates, for one actor or none (version 1.4)."""
    values = {key: [value for other, value in gates if other == key] for key, _ in gates}
    if values.get("boolean") in (["true"], ["1"]):
        return True
    if "expression" in values and evaluated(json.loads(values["expression"][0]), properties):
        return True
    if actor is not None and actor in values.get("actors", ()):
        return True
    share = ruby_number(values.get("percentage_of_actors", ["0"])[0])
    if actor is not None and share > 0:
        if share >= 100:
            return True
        if zlib.crc32(f"search{actor}".encode()) % 100_000 < share * 1000:
            return True
    if ruby_number(values.get("percentage_of_time", ["0"])[0]) >= 100:
        return True
    return actor is not None and any(
        group in properties.get("groups", ()) for group in values.get("groups", ())
    )


def evaluated(data, properties):  # noqa: PLR0911  (a return for each file there)
    """lib/flipper/expressions."""
    if not isinstance(data, dict):
        return data
    ((name, args),) = data.items()
    if name == "Property":
        return properties.get(args[0])
    values = [evaluated(one, properties) for one in args]
    if name in ("All", "Any"):
        return all(values) if name == "All" else any(values)
    if name == "PercentageOfActors":
        return zlib.crc32(f"search{values[0]}".encode()) % 100_000 < values[1] * 1000
    left, right = values
    if name in ("Equal", "NotEqual"):
        same = type(left) is type(right) and left == right  # true is no 1 in Ruby
        same = same or ({type(left), type(right)} == {int, float} and left == right)
        return same is (name == "Equal")
    if isinstance(left, bool) or not isinstance(left, (int, float)):
        return False
    return {
        "GreaterThan": left > right,
        "GreaterThanOrEqualTo": left >= right,
        "LessThan": left < right,
        "LessThanOrEqualTo": left <= right,
    }[name]


properties = st.sampled_from(["plan", "age", "beta"])
constants = st.sampled_from(["pro", "free", 18, 18.0, 21.5, True, False, ""])
comparisons = st.builds(
    lambda name, left, right: {name: [{"Property": [left]}, right]},
    st.sampled_from(["Equal", "NotEqual"]),
    properties,
    constants,
) | st.builds(
    lambda name, left, right: {name: [{"Property": [left]}, right]},
    st.sampled_from(["GreaterThan", "GreaterThanOrEqualTo", "LessThan", "LessThanOrEqualTo"]),
    properties,
    st.sampled_from([18, 21, 21.5]),
)
shares_of_actors = st.sampled_from([5, 50, 12.5]).map(
    lambda share: {"PercentageOfActors": [{"Property": ["flipper_id"]}, share]}
)
expressions = st.recursive(
    comparisons | shares_of_actors,
    lambda inner: st.builds(
        lambda name, args: {name: args},
        st.sampled_from(["All", "Any"]),
        st.lists(inner, max_size=3),
    ),
    max_leaves=5,
)
percentages = (
    st.integers(0, 100).map(str)
    | st.floats(0, 100).map(lambda one: repr(round(one, 3)))
    | st.sampled_from(["0.07", "0.0005", "33.3333", "99.999"])
)
gates = st.fixed_dictionaries(
    {},
    optional={
        "boolean": st.sampled_from([["true"], ["false"]]),
        "actors": st.lists(st.sampled_from(ACTORS), min_size=1, max_size=4, unique=True),
        "groups": st.lists(st.sampled_from(["admins", "staff"]), min_size=1, unique=True),
        "percentage_of_actors": percentages.map(lambda one: [one]),
        "percentage_of_time": st.sampled_from([["0"], ["100"]]),
        "expression": expressions.map(lambda one: [json.dumps(one)]),
    },
).map(lambda found: [(key, value) for key, values in found.items() for value in values])
attributes = st.fixed_dictionaries(
    {},
    optional={
        "plan": st.sampled_from(["pro", "free", "", 18]),
        "age": st.sampled_from([17, 18, 18.0, 21.5, 30, "18"]),
        "beta": st.booleans(),
        "groups": st.lists(st.sampled_from(["admins", "staff", "other"]), max_size=2),
    },
)


@pytest.mark.rule("E9")
@given(gates, attributes)
def test_every_actor_is_answered_as_flipper_answers(found, sent):
    made = translated(*found, groups="groups")
    contexts = [Context(actor, sent) for actor in ACTORS]
    expected = [flipper_enabled(found, one, {**sent, "flipper_id": one}) for one in ACTORS]
    assert on(made, *contexts) == expected


@given(gates.filter(lambda found: "expression" not in dict(found)))
def test_nobody_is_answered_as_flipper_answers_without_an_actor(found):
    made = translated(*found, groups="groups")
    assert on(made, Context()) == [flipper_enabled(found, None, {})]


@pytest.mark.rule("E9")
@given(expressions, attributes)
def test_an_expression_is_true_for_whom_flipper_finds_it_true(expression, sent):
    made = translated(("expression", json.dumps(expression)))
    contexts = [Context(actor, sent) for actor in ACTORS]
    expected = [evaluated(expression, {**sent, "flipper_id": one}) for one in ACTORS]
    assert on(made, *contexts) == [bool(one) for one in expected]


def actor_in(bucket):
    """Return the first actor in a bucket of the feature."""
    names = map(str, itertools.count())
    found = (one for one in names if zlib.crc32(f"search{one}".encode()) % 100_000 == bucket)
    return Context(next(found))


@pytest.mark.rule("E9")
@pytest.mark.parametrize(
    "share, last", [("2.007", 2007), ("1.001", 1000), ("0.0005", 0), ("12.5", 12_499)]
)
def test_the_last_bucket_of_a_percentage_is_in_as_ruby_computes_it(share, last):
    assert last < float(share) * 1000 <= last + 1
    made = translated(("percentage_of_actors", share))
    assert on(made, actor_in(last), actor_in(last + 1)) == [True, False]


def test_two_percentages_in_one_condition_let_the_fewer_through():
    both = [{"PercentageOfActors": [{"Property": ["flipper_id"]}, one]} for one in (5, 50)]
    contexts = [Context(f"User;{number}") for number in range(500)]
    assert on(translated(("expression", json.dumps({"All": both}))), *contexts) == on(
        translated(("percentage_of_actors", "5")), *contexts
    )


# What becomes of it


def test_the_percentage_of_actors_goes_by_flippers_own_hash():
    made = translated(("percentage_of_actors", "25"))
    split = made.flags[0].default
    assert split.bucketing == Bucketing(Scheme.FLIPPER, "search", no_key=NoKey.MISS)
    assert split.weights[0].weight == 25_000
    assert entry(made, "percentage_of_actors").fidelity is Fidelity.FULL


def test_the_percentage_of_time_is_drawn_at_each_request():
    made = translated(("percentage_of_time", "25"))
    drawn = on(made, *[Context("User;1")] * 2000)
    assert 400 < sum(drawn) < 600
    assert entry(made, "percentage_of_time").fidelity is Fidelity.FULL
    fine = translated(("percentage_of_time", "0.00051"))
    assert entry(fine, "percentage_of_time").lossy


def test_a_group_is_code_of_theirs_unless_an_attribute_has_it():
    left_out = translated(("groups", "admins"))
    assert not left_out.flags
    assert entry(left_out, "groups").fidelity is Fidelity.MANUAL
    mapped = translated(("groups", "admins"), groups="roles")
    assert [one.key for one in mapped.segments] == ["flipper-admins"]
    assert entry(mapped, "groups").fidelity is Fidelity.PARTIAL
    assert on(mapped, Context("a", {"roles": ["admins"]}), Context("a")) == [True, False]


@pytest.mark.parametrize(
    "expression",
    [
        {"FeatureEnabled": ["other"]},
        {"GreaterThan": [{"Property": ["age"]}, "18"]},
        {"Equal": [{"Random": [2]}, 1]},
        {"Equal": [{"Property": ["a"]}, {"Property": ["b"]}]},
        {"Equal": [{"Now": []}, {"Time": ["2026-01-01"]}]},
        {"PercentageOfActors": [{"Property": ["account"]}, 5]},
        {"Property": ["beta"]},
        {"Equal": [1]},
        {"All": [{"Any": [{"Equal": [{"Property": ["a"]}, n]} for n in range(9)]}] * 2},
        [],
    ],
)
def test_an_expression_without_a_like_is_left_out_and_told(expression):
    made = translated(("expression", json.dumps(expression)))
    assert not made.flags
    assert entry(made, "expression").fidelity is Fidelity.MANUAL


def test_constants_may_be_wrapped_and_sides_turned():
    made = translated(
        (
            "expression",
            json.dumps(
                {
                    "All": [
                        {"LessThan": [{"Number": [18]}, {"Property": ["age"]}]},
                        {"Equal": [{"String": ["pro"]}, {"Property": ["plan"]}]},
                        {"Boolean": [True]},
                    ]
                }
            ),
        )
    )
    sent = [{"age": 19, "plan": "pro"}, {"age": 18, "plan": "pro"}, {"age": 19}]
    assert on(made, *(Context("a", one) for one in sent)) == [True, False, False]
    told = entry(made, "expression")
    assert (told.fidelity, "age, plan" in told.reason) == (Fidelity.PARTIAL, True)


def test_an_open_boolean_gate_leaves_the_others_without_a_say():
    made = translated(("boolean", "true"), ("actors", "User;1"), ("groups", "admins"))
    assert on(made, Context("anybody"), Context()) == [True, True]
    assert entry(made, "groups").fidelity is Fidelity.SKIPPED


@pytest.mark.parametrize(
    "rows",
    [
        [("percentage_of_actors", "many")],
        [("percentage_of_actors", "5"), ("percentage_of_actors", "50")],
        [("expression", "{")],
        [("boolean", "true"), ("boolean", "false")],
    ],
)
def test_what_a_gate_can_not_mean_leaves_the_feature_out(rows):
    made = translated(*rows)
    assert not made.flags
    assert [one for one in made.ledger if one.fidelity is Fidelity.MANUAL]


def test_a_feature_without_gates_is_off_and_on_for_all_once_it_is_switched_on():
    made = translated()
    (flag,) = made.flags
    assert (flag.on, flag.default) == (False, "on")


def test_the_tables_are_read_as_rails_makes_them(sql, path, connect, heard):
    sql("CREATE TABLE flipper_features (id INTEGER PRIMARY KEY, key TEXT, created_at, updated_at)")
    sql("CREATE TABLE flipper_gates (id INTEGER PRIMARY KEY, feature_key, key, value TEXT)")
    sql("INSERT INTO flipper_features (key) VALUES (?)", ("search",), ("quiet",))
    gate = "INSERT INTO flipper_gates (feature_key, key, value) VALUES (?, ?, ?)"
    sql(gate, ("search", "percentage_of_actors", "100"))
    provider = connect(f"flipper+sqlite:///{path}", poll=0.02)
    provider.start(heard)
    assert provider.wait_ready(10)
    assert sorted(heard.flag_set.flags) == ["quiet", "search"]
    sql(gate, ("quiet", "boolean", "true"))
    heard.wait_for(lambda one: one.flag_set.flags["quiet"].on)
    paths = {one.path for one in provider.export().ledger}
    assert {"flipper_features.id", "flipper_gates.id"} < paths


@pytest.mark.postgres
def test_the_tables_are_read_from_postgresql_under_other_names(fresh_postgres, connect):
    import psycopg

    with psycopg.connect(fresh_postgres) as connection:
        connection.execute("CREATE TABLE app_features (key VARCHAR NOT NULL)")
        connection.execute("CREATE TABLE app_gates (feature_key VARCHAR, key VARCHAR, value TEXT)")
        connection.execute("INSERT INTO app_features VALUES ('search')")
        connection.execute("INSERT INTO app_gates VALUES ('search', 'actors', 'User;1')")
    url = f"flipper+{fresh_postgres}"
    provider = connect(url, features="app_features", gates="app_gates")
    assert on(provider.export(), Context("User;1"), Context("User;2")) == [True, False]
