"""django-waffle's tables: what its flags, switches and samples decide, and what can't be kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from in_house import decisions

from downhaul.backends.inhouse.database import Found
from downhaul.backends.inhouse.options import WaffleOptions
from downhaul.backends.inhouse.waffle_rows import translate
from downhaul.context import Context
from downhaul.flag import Scheme
from downhaul.ledger import Fidelity

COLUMNS = dict.fromkeys(
    ("id", "name", "everyone", "percent", "superusers", "staff", "authenticated", "languages",
     "testing", "rollout", "note")
)  # fmt: skip
ROW = {
    "id": 1, "name": "search", "everyone": None, "percent": None, "superusers": False,
    "staff": False, "authenticated": False, "languages": "", "testing": False, "rollout": False,
    "note": "",
}  # fmt: skip
GROUPS = {1: "editors", 2: "beta testers", 3: "others"}


def tables(flag=None, users=(), groups=(), switches=(), samples=()):
    def table(*rows):
        return Found({}, tuple(rows), ())

    return {
        "flags": table(*([{**ROW, **flag}] if flag is not None else [])),
        "users": table(*({"flag_id": 1, "user_id": one} for one in users)),
        "groups": table(*({"flag_id": 1, "group_id": one} for one in groups)),
        "group_names": table(*({"id": one, "name": name} for one, name in GROUPS.items())),
        "switches": table(*({"name": name, "active": active} for name, active in switches)),
        "samples": table(*({"name": name, "percent": percent} for name, percent in samples)),
    }


def translated(flag=None, users=(), groups=(), switches=(), samples=(), **options):
    found = tables(flag, users, groups, switches, samples)
    return translate(found, WaffleOptions(**options))


def entry(translation, column, table="waffle_flag", name="search"):
    (found,) = [one for one in translation.ledger if one.path == f'{table}[name="{name}"].{column}']
    return found


# What waffle decides, by its own source


def is_active(flag, users, groups, user, language):  # noqa: PLR0911  (as there)
    """AbstractBaseFlag.is_active and AbstractUserFlag.is_active_for_user, without chance."""
    if flag["everyone"] is not None:
        return flag["everyone"]
    if flag["languages"]:
        languages = [one.strip() for one in flag["languages"].split(",")]
        if language in languages:
            return True
    if flag["authenticated"] and user["is_authenticated"]:
        return True
    if flag["staff"] and user["is_staff"]:
        return True
    if flag["superusers"] and user["is_superuser"]:
        return True
    if user["pk"] in users:
        return True
    return bool(set(groups) & set(user["groups"]))


flags = st.fixed_dictionaries(
    {
        "everyone": st.sampled_from([None, None, None, True, False]),
        "superusers": st.booleans(),
        "staff": st.booleans(),
        "authenticated": st.booleans(),
        "languages": st.sampled_from(["", "", "en", "en, de", "pt-br,,"]),
    }
)
people = st.fixed_dictionaries(
    {
        "pk": st.integers(1, 5),
        "is_superuser": st.booleans(),
        "is_staff": st.booleans(),
        "is_authenticated": st.booleans(),
        "groups": st.lists(st.sampled_from(sorted(GROUPS)), unique=True),
    }
)
ids = st.lists(st.integers(1, 5), max_size=2, unique=True)
group_ids = st.lists(st.sampled_from(sorted(GROUPS)), max_size=2, unique=True)
requests = st.lists(st.tuples(people, st.sampled_from(["en", "de", "fr", ""])), min_size=20)


def context_of(user, language):
    sent = {name: user[name] for name in ("is_superuser", "is_staff", "is_authenticated")}
    names = [GROUPS[one] for one in user["groups"]]
    return Context(str(user["pk"]), {**sent, "groups": names, "language": language})


@given(flags, ids, group_ids, requests)
def test_a_flag_answers_as_waffle_answers_where_there_is_no_chance(flag, users, groups, asked):
    made = translated(flag, users, groups)
    expected = [is_active(flag, users, groups, *one) for one in asked]
    contexts = [context_of(*one) for one in asked]
    assert decisions(made, contexts)["search"] == expected


# What becomes of it


def test_a_percentage_drawn_into_a_cookie_is_partial_and_says_so():
    made = translated({"percent": "12.5"})
    one = entry(made, "percent")
    assert (one.fidelity, "cookie" in one.reason) == (Fidelity.PARTIAL, True)
    split = made.flags[0].default
    assert (split.bucketing.scheme, split.weights[0].weight) == (Scheme.DOWNHAUL, 12_500)


@pytest.mark.parametrize("column", ["superusers", "staff", "authenticated"])
def test_what_the_application_has_to_send_is_partial(column):
    one = entry(translated({column: True}), column)
    assert one.fidelity is Fidelity.PARTIAL
    assert "attribute" in one.reason


def test_groups_and_languages_are_to_be_sent_too():
    made = translated({"languages": "en, de"}, groups=[2])
    assert entry(made, "languages").fragment == "en, de"
    assert entry(made, "groups").fragment == ["beta testers"]
    assert entry(made, "groups").fidelity is Fidelity.PARTIAL


def test_the_mode_for_tests_is_told():
    assert entry(translated({"testing": True, "staff": True}), "testing").lossy


def test_a_flag_that_is_decided_for_everyone_skips_the_rest():
    made = translated({"everyone": False, "staff": True, "percent": 5}, users=[1])
    assert not made.flags[0].on
    for part in ("staff", "percent", "users"):
        assert entry(made, part).fidelity is Fidelity.SKIPPED
    assert not made.ledger.lossy


def test_users_are_targets_by_id_or_by_name():
    by_id = translated({}, users=[3]).flags[0].targets
    assert [one.keys for one in by_id] == [{"3"}]
    found = tables({}, users=[3, 9])
    found["usernames"] = Found({}, ({"id": 3, "username": "ada"},), ())
    made = translate(found, WaffleOptions(users="username"))
    assert [one.keys for one in made.flags[0].targets] == [{"ada"}]
    assert [one.path for one in made.ledger if one.fidelity is Fidelity.SKIPPED] == [
        "waffle_flag.user_id"
    ]


def test_switches_are_on_or_off_for_all():
    made = translated(switches=[("a", True), ("b", 0), ("c", None)])
    assert decisions(made, [Context("ada")]) == {"a": [True], "b": [False]}
    assert entry(made, "active", "waffle_switch", "c").fidelity is Fidelity.MANUAL


def test_samples_are_drawn_at_each_request():
    made = translated(samples=[("a", 25), ("b", 0), ("c", "100.0"), ("d", None)])
    drawn = decisions(made, [Context("ada")] * 2000)
    assert 400 < sum(drawn["a"]) < 600
    assert (set(drawn["b"]), set(drawn["c"])) == ({False}, {True})
    assert "d" not in drawn
    assert entry(made, "percent", "waffle_sample", "a").fidelity is Fidelity.FULL


def test_a_name_that_stands_twice_is_told_until_one_has_a_prefix():
    given = {"switches": [("search", True)], "samples": [("other", 50)]}
    made = translated({"staff": True}, **given)
    assert [one.key for one in made.flags] == ["other"]
    told = {one.path for one in made.ledger if one.fidelity is Fidelity.MANUAL}
    assert told == {'waffle_flag[name="search"]', 'waffle_switch[name="search"]'}
    made = translated({"staff": True}, switch_prefix="switch.", **given)
    assert [one.key for one in made.flags] == ["other", "search", "switch.search"]


@pytest.mark.parametrize("flag", [{"everyone": "maybe"}, {"percent": 101}, {"staff": 7}])
def test_what_a_cell_can_not_mean_leaves_the_flag_out(flag):
    made = translated(flag)
    assert not made.flags
    assert [one for one in made.ledger if one.fidelity is Fidelity.MANUAL]


TABLES = """
    CREATE TABLE waffle_flag (id INTEGER PRIMARY KEY, name VARCHAR(100), everyone BOOL,
        percent DECIMAL, testing BOOL NOT NULL, superusers BOOL NOT NULL, staff BOOL NOT NULL,
        authenticated BOOL NOT NULL, languages TEXT NOT NULL, rollout BOOL NOT NULL,
        note TEXT NOT NULL, created TEXT, modified TEXT);
    CREATE TABLE waffle_flag_users (id INTEGER PRIMARY KEY, flag_id INTEGER, user_id INTEGER);
    CREATE TABLE waffle_flag_groups (id INTEGER PRIMARY KEY, flag_id INTEGER, group_id INTEGER);
    CREATE TABLE auth_group (id INTEGER PRIMARY KEY, name VARCHAR(150));
    CREATE TABLE waffle_switch (id INTEGER PRIMARY KEY, name VARCHAR(100), active BOOL,
        note TEXT);
    CREATE TABLE waffle_sample (id INTEGER PRIMARY KEY, name VARCHAR(100), percent DECIMAL,
        note TEXT);
"""


def test_the_tables_are_read_as_django_makes_them(sql, path, connect, heard):
    for statement in filter(str.strip, TABLES.split(";")):
        sql(statement)
    sql(
        "INSERT INTO waffle_flag VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (4, "search", None, None, 0, 1, 0, 0, "", 0, "the new one", "", ""),
    )
    sql("INSERT INTO waffle_flag_users (flag_id, user_id) VALUES (?, ?)", (4, 12))
    sql("INSERT INTO waffle_switch (name, active) VALUES (?, ?)", ("up", 1))
    provider = connect(f"waffle+sqlite:///{path}", poll=0.02)
    provider.start(heard)
    assert provider.wait_ready(10)
    assert heard.flag_set.flags["search"].description == "the new one"
    assert [one.keys for one in heard.flag_set.flags["search"].targets] == [{"12"}]
    sql("UPDATE waffle_switch SET active = 0")
    heard.wait_for(lambda one: not one.flag_set.flags["up"].on)
    assert "waffle_flag.created" in {one.path for one in provider.export().ledger}


def test_tables_that_are_not_used_need_not_be_there(sql, path, connect):
    sql("CREATE TABLE waffle_switch (id INTEGER, name TEXT, active BOOL)")
    sql("INSERT INTO waffle_switch VALUES (?, ?, ?)", (1, "up", 1))
    provider = connect(f"waffle+sqlite:///{path}", flags="", samples="")
    assert list(provider.list().flags) == ["up"]


@pytest.mark.postgres
def test_the_tables_are_read_from_postgresql(fresh_postgres, connect):
    import psycopg

    with psycopg.connect(fresh_postgres) as connection:
        connection.execute(TABLES)
        connection.execute(
            "INSERT INTO waffle_flag VALUES "
            "(1, 'search', NULL, 12.5, false, true, false, false, 'en', false, '', NULL, NULL)"
        )
        connection.execute("INSERT INTO waffle_sample VALUES (1, 'draw', 100.0, '')")
    flags = connect(f"waffle+{fresh_postgres}").list().flags
    assert flags["search"].default.weights[0].weight == 12_500
    assert [one.id for one in flags["search"].rules] == ["languages", "superusers"]
    assert flags["draw"].on
