"""Rule K3: a register of kills forgets nothing, and all who heard the same words agree."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downhaul.overlay import (
    BREAK_GLASS,
    EVERYTHING,
    KillRecord,
    KillRegister,
    Overlay,
    Scope,
    ScopeKind,
)

names = st.text(min_size=1, max_size=8).map(str.strip).filter(bool)
scopes = st.just(EVERYTHING) | st.builds(
    Scope, st.sampled_from([ScopeKind.FLAG, ScopeKind.TAG, ScopeKind.SWITCH]), names
)
few_scopes = st.sampled_from([EVERYTHING, Scope.parse("a"), Scope.parse("tag:a")])
booleans = st.booleans()
sequences = st.integers(1, 6)
stores = st.sampled_from(["one", "two", BREAK_GLASS])


def records(killed=booleans, sequence=sequences):
    return st.builds(
        KillRecord,
        few_scopes,
        sequence,
        killed,
        actor=st.sampled_from(["ana", "bob"]),
        environment=st.sampled_from(["default", "*"]),
        store=stores,
        lifts=st.sampled_from([0, 0, 0, 3, 5]),
    )


words = st.lists(records(), max_size=8)


def heard(*batches):
    register = KillRegister()
    for batch in batches:
        register = register.hear(batch)
    return register


def killed(text, sequence, store="one", **fields):
    return KillRecord(Scope.parse(text), sequence, killed=True, store=store, **fields)


def revived(text, sequence, store="one", **fields):
    return KillRecord(Scope.parse(text), sequence, killed=False, store=store, **fields)


def observed(register, *named, revive=(), sequence=10):
    return register.observe(
        {Scope.parse(one) for one in named},
        {Scope.parse(one) for one in revive},
        sequence=sequence,
        at="2026-01-01T00:00:00Z",
        origin="/etc/kill",
    )


# --- hearing


@pytest.mark.rule("K3")
@given(words, words)
def test_hearing_is_commutative(one, other):
    assert heard(one, other) == heard(other, one) == heard([*other, *one])


@pytest.mark.rule("K3")
@given(words, st.randoms())
def test_the_order_of_words_does_not_matter(batch, random):
    shuffled = list(batch)
    random.shuffle(shuffled)
    assert heard(batch) == heard(shuffled) == heard(*([one] for one in shuffled))


@pytest.mark.rule("K3")
@given(words, words, words)
def test_hearing_is_associative(one, two, three):
    whole = heard(two, three)
    assert heard(one, two, three) == heard(one, whole.words.values())


@pytest.mark.rule("K3")
@given(words)
def test_hearing_again_is_no_news(batch):
    register = heard(batch)
    assert register.hear(batch) is register
    assert register.hear(register.words.values()) is register
    assert register.hear([]) is register


@pytest.mark.rule("K3")
@given(words)
def test_a_register_reads_back_from_json_as_it_was(batch):
    register = heard(batch)
    assert KillRegister.from_mapping(json.loads(json.dumps(register.as_mapping()))) == register


@pytest.mark.rule("K3")
@given(words)
def test_what_stands_is_what_is_in_the_overlay(batch):
    register = heard(batch)
    overlay = register.overlay()
    for scope in {one.scope for one in batch}:
        found = {
            ScopeKind.FLAG: overlay.flags.get(scope.name),
            ScopeKind.TAG: overlay.tags.get(scope.name),
            ScopeKind.SWITCH: overlay.switches.get(scope.name),
            ScopeKind.EVERYTHING: overlay.everything,
        }[scope.kind]
        assert found == register.standing(scope)


# --- kills last


@pytest.mark.rule("K3")
@given(words, st.lists(records(killed=st.just(True)), max_size=3))
def test_absence_never_revives(batch, more):
    """Whatever words are heard, dropping some of a store's words from a message lifts nothing."""
    register = heard(batch, more)
    for size in range(len(batch)):
        for part in itertools.islice(itertools.combinations(batch, size), 8):
            assert register.hear(part) is register


@pytest.mark.rule("K3")
def test_another_store_does_not_lift_a_kill_by_reviving_what_it_killed_itself():
    register = heard([killed("a", 5)], [killed("a", 6, "two"), revived("a", 7, "two")])
    assert register.standing(Scope.parse("a")).store == "one"
    assert register.hear([revived("a", 8, "one")]).standing(Scope.parse("a")) is None


@pytest.mark.rule("K3")
def test_an_older_word_never_lifts_a_kill():
    register = heard([killed("a", 5)])
    assert register.hear([revived("a", 4)]) is register  # as a restored backup would say
    assert register.hear([revived("a", 5)]) is register  # in doubt, killed
    assert not register.hear([revived("a", 6)]).overlay().flags


@pytest.mark.rule("K3")
def test_a_person_who_revives_lifts_the_kills_that_other_stores_recorded_before():
    register = heard([killed("a", 5, "lost")], [revived("a", 9, "new", lifts=9)])
    assert not register.overlay().flags
    later = register.hear([killed("a", 10, "lost")])
    assert later.overlay().flags["a"].store == "lost"


@pytest.mark.rule("K3", "K5")
@given(words)
def test_no_kill_lifts_one_of_another_store_unless_it_says_so(batch):
    register = heard(batch)
    for record in register.words.values():
        lifted = record.killed and register.standing(record.scope) is None
        if lifted:
            others = [
                one
                for one in batch
                if one.scope == record.scope and one.store != record.store
                and (one.lifts > record.sequence or not one.killed)
            ]  # fmt: skip
            assert others


# --- break-glass


@pytest.mark.rule("K3")
def test_what_the_break_glass_file_names_is_killed_and_stays_so_when_the_file_is_gone():
    register = observed(KillRegister(), "a", "tag:t", "*")
    assert set(register.overlay().flags) == {"a"}
    assert set(register.overlay().tags) == {"t"}
    assert register.overlay().everything.reason == "named in /etc/kill"
    assert observed(register) is register
    assert observed(register, "a") is register


@pytest.mark.rule("K3")
def test_a_revive_line_lifts_only_what_break_glass_killed():
    register = observed(heard([killed("b", 5)]), "a", "c")
    after = observed(register, "c", revive=["a", "b", "c", "never"], sequence=11)
    assert set(after.overlay().flags) == {"b", "c"}  # c is named still, b is the store's to lift
    assert observed(after, "c", revive=["a"], sequence=12) is after


@pytest.mark.rule("K3")
def test_a_person_who_revives_in_a_store_means_the_break_glass_kill_too():
    register = observed(KillRegister(), "a", sequence=10)
    assert not register.hear([revived("a", 11)]).overlay().flags
    assert register.hear([revived("a", 9)]).overlay().flags


@pytest.mark.rule("K3")
@pytest.mark.parametrize("clock", [5, 15, 25])
def test_what_is_still_named_is_killed_again_whatever_this_machines_clock_says(clock):
    register = observed(KillRegister(), "a", sequence=10).hear([revived("a", 20, lifts=20)])
    assert not register.overlay().flags
    again = observed(register, "a", sequence=clock)
    assert again.overlay().flags["a"].store == BREAK_GLASS
    lifted = observed(again, revive=["a"], sequence=clock)
    assert not lifted.overlay().flags


@given(words, st.lists(few_scopes), st.lists(few_scopes), st.integers(1, 10))
def test_whatever_was_heard_what_break_glass_names_is_killed(batch, named, revive, clock):
    register = heard(batch)
    after = register.observe(named, revive, sequence=clock, at="", origin="x")
    for scope in named:
        assert after.standing(scope) is not None
    assert after.observe(named, revive, sequence=clock, at="", origin="x") is after
    for scope in {one.scope for one in batch} - {*named, *revive}:
        assert after.standing(scope) == register.standing(scope)


# --- scopes


@pytest.mark.rule("K4")
@given(scopes)
def test_a_scope_reads_back_as_it_was_written(scope):
    assert Scope.parse(str(scope)) == scope


@pytest.mark.rule("K4")
@pytest.mark.parametrize(
    "case",
    [
        ("a", ScopeKind.FLAG, "a"),
        ("flag:a", ScopeKind.FLAG, "a"),
        ("flag:tag:a", ScopeKind.FLAG, "tag:a"),
        ("flag:*", ScopeKind.FLAG, "*"),
        ("tag:*", ScopeKind.TAG, "*"),
        ("tag: agents ", ScopeKind.TAG, "agents"),
        ("switch:switch:x", ScopeKind.SWITCH, "switch:x"),
        ("everything", ScopeKind.FLAG, "everything"),
        ("everything:x", ScopeKind.FLAG, "everything:x"),
        ("FLAG:a", ScopeKind.FLAG, "FLAG:a"),
        (" * ", ScopeKind.EVERYTHING, ""),
        ("a:b", ScopeKind.FLAG, "a:b"),
    ],
)
def test_a_scope_is_read_from_text(case):
    text, kind, name = case
    assert Scope.parse(text) == Scope(kind, name)


@pytest.mark.rule("K4")
@pytest.mark.parametrize("text", ["", "  ", "tag:", "switch: ", "flag:"])
def test_a_name_that_names_nothing_is_refused(text):
    with pytest.raises(ValueError, match=r"names no|an empty name"):
        Scope.parse(text)


@pytest.mark.rule("K1", "K4")
def test_everything_stands_above_a_flag_and_a_flag_above_its_tags():
    a, t, everything = killed("a", 1), killed("tag:t", 2), killed("*", 3)
    overlay = Overlay(flags={"a": a}, tags={"t": t})
    assert overlay.kill_of("a", ("t",)) is a
    assert overlay.kill_of("b", ("s", "t")) is t
    assert overlay.kill_of("b", ("s",)) is None
    assert Overlay(flags={"a": a}, everything=everything).kill_of("a") is everything


def test_a_register_of_thousands_of_words_is_read_fast():
    import time

    register = heard(
        [
            (killed if number % 3 else revived)(f"flag-{number}", number + 1, store)
            for number in range(5_000)
            for store in ("one", "two")
        ]
    )
    before = time.process_time()
    assert len(register.overlay().flags) == sum(1 for number in range(5_000) if number % 3)
    assert time.process_time() - before < 1
