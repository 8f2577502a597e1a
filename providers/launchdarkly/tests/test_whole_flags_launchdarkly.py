"""Whole flags, written through LaunchDarkly's REST API, emulated, and what its SDK serves then."""

import copy
from dataclasses import replace

import pytest
from downhaul_emulators import LaunchDarklyEmulator
from downhaul_emulators.launchdarkly import boolean, flag_of
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ldclient import Context as TheirContext
from ldclient.impl.evaluator import Evaluator
from ldclient.impl.events.types import EventFactory
from ldclient.impl.model import FeatureFlag
from ldclient.impl.model import Segment as TheirSegment
from managed_launchdarkly import patches, provider_of
from random_launchdarkly import CONTEXTS, payloads

from downhaul import Flag, Flags
from downhaul.documents import check_flag
from downhaul.errors import DocumentError, FlagNotFound, Refused, VersionConflict
from downhaul.flag import (
    Clause,
    Dialect,
    FlagKind,
    FlagType,
    Gate,
    Missing,
    Operator,
    Prerequisite,
    Rule,
    Split,
    Target,
    Weight,
)
from downhaul.provider import ABSENT, Change

ANA = Change("ana", "it is time")
MODELS = {"m-2": "m-2", "m-1": "m-1"}


def model(**fields):
    made = {"default": "m-2", "off_variant": "m-1", "on": True, **fields}
    return Flag(key="model", kind=FlagKind.STRING, variants=MODELS, **made)


RICH = model(
    targets=(
        Target("m-1", frozenset({"eve", "mallory"})),
        Target("m-2", frozenset({"acme"}), "organisation"),
    ),
    rules=(
        Rule("m-1", (Clause("plan", Operator.IN, ("pro", 5)),), description="pro users"),
        Rule(
            Split((Weight("m-2", 10_000), Weight("m-1", 90_000))),
            (
                Clause("age", Operator.LESS, (30,), negate=True),
                Clause("contextKind", Operator.IN, ("user",)),
            ),
        ),
    ),
    tags=("ai", "models"),
    owner="team-models",
    description="which model answers",
    type=FlagType.EXPERIMENT,
)


@pytest.fixture
def provider(service):
    return provider_of(service)


@pytest.mark.rule("P5")
def test_a_flag_is_made_and_every_part_of_it_is_there(service, provider):
    made = provider.put(RICH, ANA, expected=ABSENT)
    assert provider.get("model") == made == provider.list().flags["model"]
    kept = [replace(one, id="") for one in made.rules]
    asked = [
        replace(
            one, clauses=tuple(replace(each, dialect=Dialect.LAUNCHDARKLY) for each in one.clauses)
        )
        for one in RICH.rules
    ]
    assert [(one.clauses, one.description) for one in kept] == [
        (one.clauses, one.description) for one in asked
    ]
    assert kept[1].serve.weights == RICH.rules[1].serve.weights
    same = ("key", "kind", "off_variant", "on", "targets", "tags", "owner", "description", "type")
    assert {name: getattr(made, name) for name in same} == {
        name: getattr(RICH, name) for name in same
    }
    (sent,) = patches(service)
    assert sent.body["comment"] == "ana: it is time"
    assert sent.body["patch"][0]["op"] == "test"
    shown = service.about["model"]
    assert (shown["names"], shown["temporary"]) == (["m-2", "m-1"], True)


@pytest.mark.rule("P5", "E5")
def test_what_was_written_is_what_the_sdk_serves(provider):
    provider.put(RICH, ANA)
    with Flags.over(provider) as flags:
        assert flags.wait_ready(15)
        served = {
            who: flags.value("model", context, "none")
            for who, context in {
                "denied": "eve",
                "organisation": {
                    "kind": "multi",
                    "user": {"key": "u"},
                    "organisation": {"key": "acme"},
                },
                "pro": {"targetingKey": "ada", "plan": "pro"},
                "five": {"targetingKey": "ada", "plan": 5},
                "text": {"targetingKey": "ada", "plan": "5"},
            }.items()
        }
    assert served == {
        "denied": "m-1",
        "organisation": "m-2",
        "pro": "m-1",
        "five": "m-1",
        "text": "m-2",
    }


@pytest.mark.rule("P5")
def test_a_new_flag_is_off_until_it_is_whole(service, provider):
    service.fail("/api/v2/flags/default/model", status=400, times=1)  # reading whether it is there
    with pytest.raises(Refused):
        provider.put(RICH, ANA)
    assert not service.flags
    service.heal()
    seen = []
    broadcast = service.broadcast

    def heard(event, data):
        seen.append(data["data"]["on"])
        broadcast(event, data)

    service.broadcast = heard
    provider.put(RICH, ANA)
    assert seen == [False, True]


@pytest.mark.rule("P5")
def test_only_what_differs_is_asked_for(service, provider):
    before = provider.put(RICH, ANA)
    assert provider.put(before, ANA) == before
    assert len(patches(service)) == 1
    provider.put(replace(before, on=False, tags=("ai",)), ANA, expected=before.version)
    asked = [(one["op"], one["path"]) for one in patches(service)[1].body["patch"]]
    assert asked == [
        ("test", "/environments/production/version"),
        ("replace", "/environments/production/on"),
        ("replace", "/tags"),
    ]


@pytest.mark.rule("P5", "M2")
def test_a_flag_that_says_the_same_in_other_words_is_not_written(service, provider):
    made = provider.put(RICH, ANA)
    plain = Flag.boolean("agent", percent=25, allow=["ada"], prerequisites=(Prerequisite("base"),))
    provider.put(Flag.boolean("base"), ANA)
    provider.put(plain, ANA)
    sent = len(patches(service))
    assert provider.put(RICH, ANA) == made
    assert provider.put(plain, ANA).default.weights == plain.default.weights
    assert len(patches(service)) == sent
    seeded = service.flags["agent"]["fallthrough"]["rollout"] | {"seed": 61}
    service.change("agent", fallthrough={"rollout": seeded})
    provider.put(plain, ANA)  # which says nothing of a seed
    assert "seed" not in service.flags["agent"]["fallthrough"]["rollout"]


@pytest.mark.rule("P5")
def test_a_rule_that_is_doubled_or_serves_a_new_variant_gets_an_id_of_its_own(service, provider):
    made = provider.put(RICH, ANA)
    first, second = made.rules
    new = Rule("m-3", first.clauses)
    doubled = (replace(first, id=""), first, new, second)
    more = {**MODELS, "m-3": "m-3"}
    after = provider.put(replace(made, variants=more, rules=doubled), ANA)
    assert [one.serve for one in after.rules[:3]] == ["m-1", "m-1", "m-3"]
    ids = [one["id"] for one in service.flags["model"]["rules"]]
    assert len(set(ids)) == 4
    assert second.id in ids


@pytest.mark.rule("P5")
def test_what_we_know_nothing_of_survives_a_write_around_it(service, provider):
    rule = {
        "id": "r",
        "description": "by hand",
        "clauses": [{"contextKind": "user", "attribute": "plan", "op": "in", "values": ["pro"]}],
        "variation": 0,
        "trackEvents": True,
    }
    experiment = {
        "contextKind": "user",
        "kind": "experiment",
        "seed": 7,
        "variations": [
            {"variation": 0, "weight": 50_000, "untracked": False},
            {"variation": 1, "weight": 50_000, "untracked": True},
        ],
    }
    service.put(flag_of("model", ["m-2", "m-1"], rules=[rule], fallthrough={"rollout": experiment}))
    read = provider.get("model")
    new = Rule("m-1", (Clause("plan", Operator.IN, ("free",)),))
    after = provider.put(replace(read, rules=(new, *read.rules)), ANA)
    assert service.flags["model"]["rules"][1] == rule
    assert service.flags["model"]["fallthrough"] == {"rollout": experiment}
    edited = replace(after.rules[1], serve="m-1")
    provider.put(replace(after, rules=(after.rules[0], edited)), ANA)
    (_new, kept) = service.flags["model"]["rules"]
    assert (kept["id"], kept["trackEvents"], kept["variation"]) == ("r", True, 1)


@pytest.mark.rule("P5", "P6")
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40, deadline=None
)
@given(payload=payloads())
def test_a_flag_that_is_put_back_as_it_was_read_is_not_written(service, payload):
    service.replace(
        {
            key: {**one, "contextTargets": one["contextTargets"], "version": 1}
            for key, one in payload["flags"].items()
        },
        payload["segments"],
    )
    provider = provider_of(service)
    del service.requests[:]
    for key in payload["flags"]:
        before = copy.deepcopy(service.flags[key])
        read = provider.get(key)
        if check_flag(read):
            continue  # LaunchDarkly keeps clauses that match nobody; a whole flag may have none
        assert provider.put(read, ANA, expected=read.version) == read
        assert not patches(service)
        after = provider.put(replace(read, description="new"), ANA, expected=read.version)
        assert replace(after, description=read.description, version=read.version) == read
        assert {**service.flags[key], "version": 1} == {**before, "version": 1}
        del service.requests[:]


@pytest.mark.rule("P5", "E9")
@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None
)
@given(payload=payloads(), asked=st.lists(CONTEXTS, min_size=1, max_size=5))
def test_what_is_written_decides_as_what_was_read(service, payload, asked):
    segments = {key: TheirSegment(one) for key, one in payload["segments"].items()}
    service.replace(payload["flags"], payload["segments"])
    provider = provider_of(service)
    read = {key: provider.get(key) for key in payload["flags"]}
    for key, flag in read.items():
        if check_flag(flag):
            continue
        service.put(flag_of(key, payload["flags"][key]["variations"], version=100))
        provider.put(flag, ANA)
        models = [
            {
                **{one: FeatureFlag(raw) for one, raw in payload["flags"].items()},
                key: FeatureFlag(raw),
            }
            for raw in (payload["flags"][key], service.flags[key])
        ]
        before, after = (Evaluator(one.get, segments.get, lambda _key: None) for one in models)
        for context in asked:
            parts = [TheirContext.from_dict({"kind": kind, **one}) for kind, one in context.items()]
            theirs = parts[0] if len(parts) == 1 else TheirContext.create_multi(*parts)
            answers = [
                one.evaluate(model[key], theirs, EventFactory(False)).detail.value
                for one, model in zip((before, after), models, strict=True)
            ]
            assert answers[0] == answers[1]


# Compared and set


@pytest.mark.rule("P6")
@pytest.mark.parametrize("status", [409, 400, 412, 422])
def test_a_write_between_reading_and_writing_is_never_lost(service, provider, status):
    service.mismatch = status
    read = provider.put(RICH, ANA)
    answer = service.answer
    moved = []

    def somebody_else_first(request):
        if request.method == "PATCH" and not moved:
            moved.append(service.change("model", offVariation=0))
        return answer(request)

    service.answer = somebody_else_first
    with pytest.raises(VersionConflict) as refused:
        provider.put(replace(read, on=False), ANA, expected=read.version)
    assert refused.value.found == str(moved[0]["version"])
    assert (service.flags["model"]["on"], service.flags["model"]["offVariation"]) == (True, 0)
    moved.clear()
    after = provider.put(replace(read, on=False), ANA)  # over whatever is there
    assert (after.on, after.off_variant) == (False, "m-1")


@pytest.mark.rule("P6", "P7")
def test_a_patch_whose_answer_was_lost_is_not_taken_for_a_conflict(service, provider):
    read = provider.put(RICH, ANA)
    answer = service.answer
    lost = []

    def answered(request):
        made = answer(request)
        if request.method == "PATCH" and not lost:
            lost.append(made)
            return type(made)(503, {"message": "the way back is down"}, {"Retry-After": "0"})
        return made

    service.answer = answered
    after = provider.put(replace(read, on=False), ANA, expected=read.version)
    assert (after.on, len(lost)) == (False, 1)


@pytest.mark.rule("P6")
def test_expected_is_compared_before_anything_is_sent(service, provider):
    made = provider.put(Flag.boolean("agent"), ANA, expected=ABSENT)
    sent = len(patches(service))
    for expected in (ABSENT, "99"):
        with pytest.raises(VersionConflict) as refused:
            provider.put(Flag.boolean("agent", on=False), ANA, expected=expected)
        assert refused.value.found == made.version
    with pytest.raises(VersionConflict):
        provider.put(Flag.boolean("other"), ANA, expected="1")
    with pytest.raises(VersionConflict):
        provider.delete("agent", ANA, expected="99")
    assert len(patches(service)) == sent
    assert "other" not in service.flags


# Putting away


@pytest.mark.rule("P5")
def test_deleting_archives_and_making_it_anew_keeps_its_users(service, provider):
    provider.put(Flag.boolean("agent", percent=30), ANA)
    salt = service.flags["agent"]["salt"]
    with Flags.over(provider) as flags:
        assert flags.wait_ready(15)
        before = {user for user in range(300) if flags.is_enabled("agent", f"user-{user}")}
        provider.delete("agent", ANA)
        service.wait_for(lambda: flags.evaluate("agent", "ada").error_code is not None, 15)
        assert provider.get("agent") is None
        assert not provider.list().flags
        with pytest.raises(FlagNotFound):
            provider.switch_on("agent", ANA)
        again = provider.put(Flag.boolean("agent", percent=30), ANA, expected=ABSENT)
        assert service.flags["agent"]["salt"] == salt
        service.wait_for(lambda: flags.evaluate("agent", "ada").flag_version == again.version, 15)
        assert {user for user in range(300) if flags.is_enabled("agent", f"user-{user}")} == before


@pytest.mark.rule("P5")
def test_a_flag_that_another_one_requires_is_not_put_away(service, provider):
    provider.put(Flag.boolean("base"), ANA)
    provider.put(Flag.boolean("agent", prerequisites=(Prerequisite("base"),)), ANA)
    assert service.flags["agent"]["prerequisites"] == [{"key": "base", "variation": 0}]
    with pytest.raises(Refused, match="required by agent"):
        provider.delete("base", ANA)
    provider.delete("agent", ANA)
    provider.delete("base", ANA)
    assert service.flags == {}


# What LaunchDarkly cannot say


@pytest.mark.rule("P6")
@pytest.mark.parametrize(
    "flag, told",
    [
        (Flag.boolean("with/slash"), "its keys are others"),
        (
            replace(
                model(), variants={"new": "m-2", "old": "m-1"}, default="new", off_variant="old"
            ),
            '"new" would be served as "m-2"',
        ),
        (
            Flag(
                key="size",
                kind=FlagKind.NUMBER,
                variants={"big": 10, "small": 1},
                default="big",
                off_variant="small",
            ),
            '"big" would be served as "variation-0"',
        ),
        (model(rules=(Rule("m-1", (Clause("a", Operator.IN_CIDR, ("10.0.0.0/8",)),)),)), "in_cidr"),
        (
            model(rules=(Rule("m-1", (Clause("a", Operator.IN, ("x",), ignore_case=True),)),)),
            "ignores case",
        ),
        (
            model(rules=(Rule("m-1", (Clause("a", Operator.IN, ("x",), missing=Missing.FALSE),)),)),
            "missing attribute",
        ),
        (
            model(rules=(Rule("m-1", (Clause("a", Operator.IN, ("x",), dialect=Dialect.SPLIT),)),)),
            "reads values as split does",
        ),
        (model(rules=(Rule("m-1", (Clause("key", Operator.IN, ("x",)),)),)), "never sent"),
        (
            model(
                rules=(
                    Rule(
                        Split((Weight("m-1", 5), Weight(None, 99_995))),
                        gate=Gate(5, outside="m-2"),
                    ),
                )
            ),
            "falls through",
        ),
    ],
)
def test_what_launchdarkly_cannot_say_is_refused_and_named(service, provider, flag, told):
    with pytest.raises(Refused, match=told) as refused:
        provider.put(flag, ANA)
    assert refused.value.hint
    assert not service.flags


@pytest.mark.rule("P6")
def test_a_flag_that_is_not_sound_is_never_sent(service, provider):
    with pytest.raises(DocumentError) as refused:
        provider.put(model(default="m-9", off_variant="m-8"), ANA)
    assert {one.path for one in refused.value.problems} >= {"default", "off_variant"}
    with pytest.raises(DocumentError):
        provider.put(Flag.boolean("agent", prerequisites=(Prerequisite("nobody"),)), ANA)
    inside = Rule("on", (Clause("", Operator.IN_SEGMENT, ("nowhere",)),))
    with pytest.raises(DocumentError, match="nowhere"):
        provider.put(Flag.boolean("agent", rules=(inside,)), ANA)
    provider.put(Flag.boolean("a"), ANA)
    provider.put(Flag.boolean("b", prerequisites=(Prerequisite("a"),)), ANA)
    with pytest.raises(DocumentError, match="cycle"):
        provider.put(Flag.boolean("a", prerequisites=(Prerequisite("b"),)), ANA)
    assert not service.flags["a"]["prerequisites"]


@pytest.mark.rule("P6")
def test_prerequisites_say_one_variant_or_are_refused(service, provider):
    service.put(flag_of("model", ["m-2", "m-1", "m-0"]))
    for needed, told in (
        (Prerequisite("model"), "several variants"),
        (Prerequisite("model", ("m-2",), negate=True), "not to be so"),
        (Prerequisite("model", ("m-2",), while_off=True), "while it is off"),
    ):
        with pytest.raises(Refused, match=told):
            provider.put(Flag.boolean("agent", prerequisites=(needed,)), ANA)
    made = provider.put(
        Flag.boolean("agent", prerequisites=(Prerequisite("model", ("m-1",)),)), ANA
    )
    assert made.prerequisites == (Prerequisite("model", ("m-1",)),)


@pytest.mark.rule("P5")
def test_variants_come_but_never_go_or_change_in_other_environments(service, provider):
    made = provider.put(model(), ANA)
    more = replace(made, variants={**MODELS, "m-3": "m-3"}, default="m-3")
    assert provider.put(more, ANA).default == "m-3"
    assert service.flags["model"]["variations"] == ["m-2", "m-1", "m-3"]
    with pytest.raises(Refused, match=r'a variant "m-3", .*in every environment'):
        provider.put(made, ANA)
    assert service.flags["model"]["variations"] == ["m-2", "m-1", "m-3"]


@pytest.mark.rule("P5")
def test_what_cannot_be_read_is_not_written_over(service, provider):
    clause = {"attribute": "plan", "op": "resembles", "values": ["pro"]}
    service.put(boolean("agent", rules=[{"id": "r", "clauses": [clause], "variation": 0}]))
    with pytest.raises(Refused, match=r"would be lost: .*resembles"):
        provider.put(Flag.boolean("agent"), ANA)
    assert not patches(service)


@pytest.mark.rule("P5")
def test_a_rule_that_is_switched_off_is_never_dropped(service, provider):
    clause = {
        "contextKind": "user",
        "attribute": "plan",
        "op": "in",
        "values": ["pro"],
        "negate": False,
    }
    rules = [
        {"id": "r0", "clauses": [clause], "variation": 0, "disabled": True},
        {"id": "r1", "clauses": [clause], "variation": 1},
    ]
    service.put(boolean("agent", rules=rules))
    read = provider.get("agent")
    assert [one.id for one in read.rules] == ["r1"]
    provider.put(replace(read, on=False), ANA)
    assert service.flags["agent"]["rules"] == rules
    with pytest.raises(Refused, match="switched off, which would be lost"):
        provider.put(replace(read, rules=()), ANA)
    service.change("agent", rules=rules[:1])
    with pytest.raises(Refused, match="switched off, which would be lost"):
        provider.set_rollout("agent", "on", 5_000, ANA)
    assert service.flags["agent"]["rules"] == rules[:1]


# Rollouts


@pytest.mark.rule("E10")
def test_a_portable_percentage_of_a_whole_flag_is_by_our_bucket(service):
    provider = provider_of(service, portable=["agent"])
    first = Rule("off", (Clause("plan", Operator.IN, ("free",)),))
    made = provider.put(Flag.boolean("agent", percent=25, rules=(first,)), ANA)
    kept = service.flags["agent"]
    assert [one.get("description") for one in kept["rules"]] == [None, "downhaul:portable"]
    assert kept["rules"][1]["clauses"][0]["values"] == [25_000]
    assert kept["fallthrough"] == {"variation": 1}
    assert (len(made.rules), made.default) == (1, Flag.boolean("agent", percent=25).default)
    more = replace(made, default=Flag.boolean("agent", percent=50).default)
    assert provider_of(service).put(more, ANA).default == more.default
    assert service.flags["agent"]["rules"][1]["clauses"][0]["values"] == [50_000]
    three = Split((Weight("on", 10), Weight("off", 99_980), Weight("on", 10)))
    assert provider.put(replace(made, default=three), ANA).default.weights[0].weight == 20


@pytest.mark.rule("P5", "E7")
def test_a_percentage_never_takes_a_share_from_a_third_variant(service, provider):
    three = [
        {"variation": place, "weight": weight} for place, weight in enumerate((20, 30, 99_950))
    ]
    service.put(
        flag_of("model", ["m-2", "m-1", "m-0"], fallthrough={"rollout": {"variations": three}})
    )
    with pytest.raises(Refused, match="serves a share to m-1 too"):
        provider.set_rollout("model", "m-2", 50_000, ANA)
    seeded = {"seed": 61, "variations": [three[0], {"variation": 2, "weight": 99_980}]}
    service.change("model", fallthrough={"rollout": seeded})
    with pytest.raises(Refused, match="an experiment or a seed"):
        provider.set_rollout("model", "m-2", 50_000, ANA)
    by_team = {"bucketBy": "team", "contextKind": "org", "variations": seeded["variations"]}
    service.change("model", fallthrough={"rollout": by_team})
    provider.set_rollout("model", "m-2", 50_000, ANA)
    after = service.flags["model"]["fallthrough"]["rollout"]
    assert (after["bucketBy"], after["contextKind"]) == ("team", "org")
    assert [one["weight"] for one in after["variations"]] == [50_000, 50_000]


def test_all_of_it_works_in_an_environment_of_any_name():
    with LaunchDarklyEmulator() as service:
        service.environment = "eu~west/1"
        provider = provider_of(service)
        made = provider.put(RICH, ANA)
        assert provider.put(replace(made, on=False), ANA, expected=made.version).on is False
