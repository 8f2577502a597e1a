"""What the admin client does with the answers of LaunchDarkly's API that are no success."""

import json
import threading
import time
from dataclasses import replace

import pytest
import responses
from downhaul_emulators.launchdarkly import boolean, flag_of
from managed_launchdarkly import patches, provider_of

from downhaul import Flag, Flags
from downhaul.errors import FlagNotFound, ProviderError, Refused, Unreachable, VersionConflict
from downhaul.flag import Bucketing, Segment, Split, Weight
from downhaul.provider import ABSENT, Change
from downhaul.result import ErrorCode

ANA = Change("ana", "it must be told")
URL = "https://ld.example"
FLAG = f"{URL}/api/v2/flags/proj/agent"


@pytest.fixture
def provider(service):
    return provider_of(service)


@pytest.fixture
def vendor():
    """LaunchDarkly's API as its documentation shows its bodies."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mock:
        yield mock


class Elsewhere:
    """Where the documented bodies are answered, in place of an emulator."""

    url, admin_token, project = URL, "api-5ecret", "proj"
    sdk_key, environment = "sdk-k", "production"


def documented(on=True, version=7):
    here = {
        "on": on,
        "archived": False,
        "salt": "YWx0ZXJuYXRlLnBhZ2U=",
        "sel": "45501b9314dc4641841af774cb038b96",
        "lastModified": 1627071171347,
        "version": version,
        "targets": [{"values": ["eve"], "variation": 1, "contextKind": "user"}],
        "contextTargets": [],
        "rules": [],
        "fallthrough": {"variation": 0},
        "offVariation": 1,
        "prerequisites": [],
        "_site": {"href": "/default/production/features/agent"},
        "_environmentName": "Production",
        "trackEvents": False,
        "trackEventsFallthrough": False,
        "_summary": {"variations": {"0": {"rules": 0}}, "prerequisites": 0},
    }
    return {
        "name": "Agent",
        "kind": "boolean",
        "description": "",
        "key": "agent",
        "_version": 1,
        "creationDate": 1627071171347,
        "includeInSnippet": True,
        "clientSideAvailability": {"usingMobileKey": False, "usingEnvironmentId": False},
        "variations": [
            {"_id": "e432f62b-55f6-49dd-a02f-eb24acf39d05", "value": True},
            {"_id": "a00bf58d-d252-476c-b915-15a74becacb4", "value": False},
        ],
        "temporary": True,
        "tags": [],
        "_links": {"self": {"href": "/api/v2/flags/proj/agent"}},
        "experiments": {"baselineIdx": 0, "items": []},
        "customProperties": {},
        "archived": False,
        "defaults": {"onVariation": 0, "offVariation": 1},
        "environments": {"production": here},
    }


# Bodies as they are documented


def test_what_is_sent_names_its_version_of_the_api_and_nobody_but_us(vendor):
    vendor.get(FLAG, json=documented())
    vendor.get(FLAG, json=documented(on=False, version=8))
    vendor.patch(FLAG, json=documented(on=False, version=8))
    flag = provider_of(Elsewhere).switch_off("agent", ANA)
    assert (flag.on, flag.version) == (False, "8")
    (sent,) = [one.request for one in vendor.calls if one.request.method == "PATCH"]
    assert sent.headers["LD-API-Version"] == "20240415"
    assert sent.headers["Authorization"] == "api-5ecret"
    assert sent.headers["Content-Type"].endswith("domain-model=launchdarkly.semanticpatch")
    assert json.loads(sent.body) == {
        "environmentKey": "production",
        "comment": "ana: it must be told",
        "instructions": [{"kind": "turnFlagOff"}],
    }


@pytest.mark.rule("P6")
def test_a_whole_flag_goes_over_a_documented_body_as_one_tested_patch(vendor):
    vendor.get(FLAG, json=documented())
    vendor.get(FLAG, json=documented(on=False, version=8))
    vendor.patch(FLAG, json=documented(on=False, version=8))
    asked = Flag.boolean("agent", on=False, deny=["eve"])
    assert provider_of(Elsewhere).put(asked, ANA, expected="7").version == "8"
    (sent,) = [one.request for one in vendor.calls if one.request.method == "PATCH"]
    assert sent.headers["Content-Type"] == "application/json"
    assert json.loads(sent.body)["patch"] == [
        {"op": "test", "path": "/environments/production/version", "value": 7},
        {"op": "replace", "path": "/environments/production/on", "value": False},
    ]


@pytest.mark.rule("P5")
def test_a_flag_is_seen_to_be_put_away_by_its_own_field_and_not_the_environments(vendor):
    away = {**documented(version=8), "archived": True}
    vendor.get(FLAG, json=documented())
    vendor.get(FLAG, json=documented())
    vendor.get(f"{URL}/api/v2/flags/proj", json={"items": [documented()], "totalCount": 1})
    vendor.patch(FLAG, json=away)
    vendor.get(FLAG, json=away)
    provider_of(Elsewhere).delete("agent", ANA, expected="7")
    assert vendor.calls[-1].request.method == "GET"


@pytest.mark.rule("P6")
def test_a_write_is_never_taken_for_a_failure_because_its_answer_is_short(vendor):
    short = {name: value for name, value in documented().items() if name != "environments"}
    vendor.get(FLAG, json=documented())
    vendor.get(FLAG, json=documented(on=False, version=8))
    vendor.patch(FLAG, json=short)
    asked = Flag.boolean("agent", on=False, deny=["eve"])
    assert not provider_of(Elsewhere).put(asked, ANA, expected="7").on


def test_a_token_is_not_replaced_by_what_the_host_has_for_it(vendor, tmp_path, monkeypatch):
    secrets = tmp_path / "netrc"
    secrets.write_text("machine ld.example login somebody password else\n")
    monkeypatch.setenv("NETRC", str(secrets))
    vendor.get(FLAG, json=documented())
    provider_of(Elsewhere).get("agent")
    assert vendor.calls[0].request.headers["Authorization"] == "api-5ecret"


@pytest.mark.rule("P7")
def test_a_token_is_never_taken_along_to_another_place(vendor):
    vendor.get(FLAG, status=302, headers={"Location": "https://elsewhere.example/"})
    with pytest.raises(ProviderError, match="302") as caught:
        provider_of(Elsewhere).get("agent")
    assert len(vendor.calls) == 1
    assert "5ecret" not in f"{caught.value} {caught.value!r}"


# Bodies of another shape


def here(**fields):
    """Return a documented flag with other fields in its environment; None leaves one out."""
    found = documented()
    part = {**found["environments"]["production"], **fields}
    kept = {name: value for name, value in part.items() if value is not None}
    return {**found, "environments": {"production": kept}}


STRANGE = [
    ({}, "key"),
    ([], "an object"),
    ("a proxy's page", "an object"),
    ({**documented(), "environments": []}, "environments"),
    ({**documented(), "environments": {"production": None}}, "environments.production"),
    ({**documented(), "variations": [{"value": True}]}, "variations[0]._id"),
    (here(version=None), "environments.production.version"),
    (here(fallthrough=None), "environments.production.fallthrough"),
    (here(on="true"), "environments.production.on"),
    (here(targets=[{"values": ["ada"]}]), "targets[0].variation"),
    (here(rules=[{"variation": 0}]), "rules[0].clauses"),
    (here(rules=[{"clauses": [{}]}]), "rules[0].clauses[0].op"),
    (here(prerequisites=[{}]), "prerequisites[0].key"),
]


@pytest.mark.rule("X1")
@pytest.mark.parametrize("body, missing", STRANGE, ids=range(len(STRANGE)))
@pytest.mark.parametrize(
    "verb",
    [
        lambda one: one.get("agent"),
        lambda one: one.switch_off("agent", ANA),
        lambda one: one.set_rollout("agent", "on", 10_000, ANA),
        lambda one: one.put(Flag.boolean("agent"), ANA),
        lambda one: one.delete("agent", ANA),
        lambda one: one.snapshot("agent"),
    ],
    ids=["get", "switch_off", "set_rollout", "put", "delete", "snapshot"],
)
def test_a_flag_of_another_shape_names_the_endpoint_and_what_it_lacks(vendor, body, missing, verb):
    vendor.get(FLAG, json=body)
    with pytest.raises(
        ProviderError, match="something unexpected to GET /flags/proj/agent"
    ) as told:
        verb(provider_of(Elsewhere))
    assert missing in str(told.value)
    assert f"GET {FLAG} must answer with" in told.value.hint
    assert missing in told.value.hint
    assert {one.request.method for one in vendor.calls} == {"GET"}


@pytest.mark.rule("X1")
@pytest.mark.parametrize("place", ["flags/proj", "segments/proj/production"])
@pytest.mark.parametrize(
    "body, missing",
    [({}, "items"), ([], "an object"), ({"items": {}}, "items"), ({"items": [{}]}, "items[0].key")],
)
def test_a_page_of_another_shape_names_the_endpoint_and_what_it_lacks(vendor, place, body, missing):
    vendor.get(f"{URL}/api/v2/flags/proj", json={"items": []})
    vendor.get(f"{URL}/api/v2/segments/proj/production", json={"items": []})
    vendor.replace(responses.GET, f"{URL}/api/v2/{place}", json=body)
    with pytest.raises(ProviderError, match=f"something unexpected to GET /{place}") as told:
        provider_of(Elsewhere).list()
    assert missing in str(told.value)
    assert f"GET {URL}/api/v2/{place} must answer with" in told.value.hint


@pytest.mark.rule("X1")
@pytest.mark.parametrize("body, missing", [({"key": "staff"}, "version"), ([], "an object")])
def test_a_segment_of_another_shape_names_the_endpoint_and_what_it_lacks(vendor, body, missing):
    vendor.get(f"{URL}/api/v2/flags/proj", json={"items": []})
    vendor.get(f"{URL}/api/v2/segments/proj/production", json={"items": []})
    vendor.get(f"{URL}/api/v2/segments/proj/production/staff", json=body)
    with pytest.raises(ProviderError, match="something unexpected to GET /segments") as told:
        provider_of(Elsewhere).put_segment(Segment("staff"), ANA)
    assert missing in told.value.hint


@pytest.mark.rule("P6")
@pytest.mark.parametrize("answer", [[], {"environments": {"production": {}}}, {"environments": 5}])
def test_a_write_is_never_taken_for_a_failure_because_its_answer_has_another_shape(vendor, answer):
    vendor.get(FLAG, json=documented())
    vendor.get(FLAG, json=documented(on=False, version=8))
    vendor.patch(FLAG, json=answer)
    asked = Flag.boolean("agent", on=False, deny=["eve"])
    assert not provider_of(Elsewhere).put(asked, ANA, expected="7").on


@pytest.mark.rule("P6")
def test_a_segment_is_not_taken_for_unwritten_because_the_answer_is_short(vendor):
    place = f"{URL}/api/v2/segments/proj/production"
    staff = {"key": "staff", "version": 3, "included": [], "excluded": [], "rules": [], "tags": []}
    vendor.get(f"{URL}/api/v2/flags/proj", json={"items": []})
    vendor.get(place, json={"items": []})
    vendor.get(f"{place}/staff", json=staff)
    vendor.get(f"{place}/staff", json={**staff, "version": 4, "description": "who works here"})
    vendor.patch(f"{place}/staff", json={})
    wanted = Segment("staff", description="who works here")
    assert provider_of(Elsewhere).put_segment(wanted, ANA).version == "4"


# What says no


@pytest.mark.rule("P7", "X1")
@pytest.mark.parametrize(
    "status, told, fix",
    [
        (401, "refuses the admin token", "admin_token"),
        (403, "does not let this token", "role"),
        (405, "requires approvals", "kill the flag in Downhaul"),
    ],
)
def test_a_token_that_is_wrong_one_that_may_not_and_approvals_are_told_apart(
    service, provider, status, told, fix
):
    service.put(boolean("agent"))
    service.fail("/api/v2", status=status)
    for verb in (
        lambda: provider.switch_off("agent", ANA),
        lambda: provider.put(Flag.boolean("agent", on=False), ANA),
        provider.list,
        lambda: provider.put_segment(Segment("staff"), ANA),
    ):
        with pytest.raises(ProviderError, match=told) as caught:
            verb()
        assert fix in caught.value.hint
        assert service.admin_token not in f"{caught.value} {caught.value!r}"
    assert len(service.requests) == 4  # none of them is tried again


@pytest.mark.rule("K1")
def test_approvals_never_let_a_whole_flag_or_a_restore_through_by_half(service, provider):
    made = provider.put(Flag.boolean("agent", percent=5), ANA)
    taken = provider.snapshot("agent")
    provider.switch_off("agent", ANA)
    service.approvals = True
    sent = len(patches(service))
    for verb in (
        lambda: provider.put(Flag.boolean("agent"), ANA),
        lambda: provider.put(Flag.boolean("other"), ANA, expected=ABSENT),
        lambda: provider.restore(taken, ANA),
        lambda: provider.delete("agent", ANA),
        lambda: provider.set_rollout("agent", "on", 9_000, ANA),
        lambda: provider.set_targets("agent", "on", ["ada"], ANA),
    ):
        with pytest.raises(ProviderError, match="requires approvals"):
            verb()
    assert len(patches(service)) == sent + 5
    assert list(service.flags) == ["agent"]
    assert provider.get("agent").default == made.default


@pytest.mark.rule("R4", "P5")
def test_a_scheduled_change_never_stops_the_way_back_and_is_never_broken_unasked(service, provider):
    made = provider.put(Flag.boolean("agent", percent=5), ANA)
    taken = provider.snapshot("agent")
    provider.set_rollout("agent", "on", 50_000, ANA)
    service.conflicts = True
    for verb in (
        lambda: provider.put(Flag.boolean("agent"), ANA),
        lambda: provider.delete("agent", ANA),
    ):
        with pytest.raises(Refused, match="conflicts with a scheduled change"):
            verb()
    assert not provider.switch_off("agent", ANA).on
    assert provider.restore(taken, ANA).default == made.default


@pytest.mark.rule("X1")
def test_a_flag_that_is_missing_and_a_project_that_is_wrong_are_told_apart(service, provider):
    with pytest.raises(FlagNotFound, match='no flag "agent"') as caught:
        provider.switch_off("agent", ANA)
    assert "project" in caught.value.hint
    service.project = "another"
    with pytest.raises(ProviderError, match="404") as caught:
        provider.list()
    assert "`project`" in caught.value.hint
    with pytest.raises(FlagNotFound) as caught:
        provider.put(Flag.boolean("agent"), ANA)
    assert "project" in caught.value.hint


# What passes


@pytest.mark.rule("P7")
@pytest.mark.parametrize("status", [409, 429, 500, 502, 503, 504])
def test_a_narrow_verb_is_tried_again_and_done_once(service, provider, status):
    service.put(boolean("agent"))
    service.fail("/api/v2", status=status, headers={"Retry-After": "0"}, times=2)
    before = service.flags["agent"]["version"]
    assert not provider.switch_off("agent", ANA).on
    assert service.flags["agent"]["version"] == before + 1


@pytest.mark.rule("P7")
@pytest.mark.parametrize("header", ["Retry-After", "X-Ratelimit-Reset"])
def test_a_limited_rate_is_waited_for_as_its_headers_say(service, provider, header):
    service.put(boolean("agent"))
    begun = time.time()
    until = str(int((begun + 1) * 1000)) if header == "X-Ratelimit-Reset" else "1"
    service.fail("/api/v2", status=429, headers={header: until}, times=1)
    provider.get("agent")
    assert 0.9 < time.time() - begun < 15
    assert len(service.requests) == 2


@pytest.mark.rule("P7")
@pytest.mark.parametrize("headers", [{"Retry-After": "3600"}, {"X-Ratelimit-Reset": "9" * 13}])
def test_a_limit_that_lasts_beyond_the_deadline_is_told_by_then(service, headers):
    service.put(boolean("agent"))
    service.fail("/api/v2", status=429, headers=headers)
    begun = time.monotonic()
    with pytest.raises(Unreachable, match="429"):
        provider_of(service, deadline=0.3).switch_off("agent", ANA)
    assert time.monotonic() - begun < 5


@pytest.mark.rule("P7")
@pytest.mark.parametrize(
    "verb",
    [
        lambda one: one.get("agent"),
        lambda one: one.list(),
        lambda one: one.put(Flag.boolean("agent"), ANA),
        lambda one: one.delete("agent", ANA),
        lambda one: one.snapshot("agent"),
        lambda one: one.delete_segment("staff", ANA),
    ],
    ids=["get", "list", "put", "delete", "snapshot", "delete_segment"],
)
def test_a_black_hole_never_holds_a_verb_beyond_its_deadline(service, verb):
    service.put(boolean("agent"))
    service.fail("/api/v2", silent=True)
    begun = time.monotonic()
    with pytest.raises(Unreachable, match="in time"):
        verb(provider_of(service, deadline=0.3))
    assert time.monotonic() - begun < 5


@pytest.mark.rule("P7")
def test_a_flag_that_may_have_been_made_is_not_made_again(service, provider):
    answer = service.answer

    def lost(request):
        made = answer(request)
        return type(made)(502, {"message": "lost"}) if request.method == "POST" else made

    service.answer = lost
    with pytest.raises(ProviderError):
        provider.put(Flag.boolean("agent"), ANA)
    assert len([one for one in service.requests if one.method == "POST"]) == 1
    assert service.flags["agent"]["on"] is False


@pytest.mark.rule("P6")
def test_two_who_make_a_flag_at_once_make_one(service, provider):
    answer = service.answer

    def somebody_else_first(request):
        if request.method == "POST" and "agent" not in service.flags:
            service.put(boolean("agent", on=False))
        return answer(request)

    service.answer = somebody_else_first
    with pytest.raises(VersionConflict) as refused:
        provider.put(Flag.boolean("agent"), ANA, expected=ABSENT)
    assert refused.value.found == "1"
    assert provider.put(Flag.boolean("agent"), ANA).on


# What is accepted and not done


@pytest.mark.rule("P6")
def test_an_answer_of_success_is_never_believed_unread(service, provider):
    service.put(boolean("agent"))
    read = provider.get("agent")
    answer = service.answer

    def ignored(request):
        return answer(replace(request, method="GET"))

    service.answer = ignored
    with pytest.raises(ProviderError, match="but on is not so"):
        provider.switch_off("agent", ANA)
    with pytest.raises(ProviderError, match="fallthrough is not so"):
        provider.set_rollout("agent", "on", 5_000, ANA)
    with pytest.raises(ProviderError, match="it is not so now"):
        provider.put(Flag.boolean("agent", on=False), ANA, expected=read.version)


@pytest.mark.rule("P5", "P6")
def test_what_somebody_else_writes_right_after_is_not_taken_for_a_failure(service, provider):
    service.put(boolean("agent"))
    read = provider.get("agent")
    answer = service.answer
    wrote = []

    def somebody_else_after(request):
        made = answer(request)
        if request.method == "PATCH":
            wrote.append(service.change("agent", on=True, offVariation=0))
        return made

    service.answer = somebody_else_after
    after = provider.put(Flag.boolean("agent", on=False), ANA, expected=read.version)
    assert (after.on, len(wrote)) == (False, 1)
    assert int(after.version) == wrote[0]["version"] - 1
    # A narrow verb looks at its own field alone.
    assert provider.set_targets("agent", "on", ["ada"], ANA).off_variant == "on"


@pytest.mark.rule("P6")
def test_writers_who_race_lose_no_update(service):
    providers = [provider_of(service) for _ in range(3)]
    providers[0].put(Flag.boolean("count", description="0"), ANA)
    failed = []

    def count(provider):
        for _ in range(5):
            while True:
                read = provider.get("count")
                more = replace(read, description=str(int(read.description) + 1))
                try:
                    provider.put(more, ANA, expected=read.version)
                    break
                except VersionConflict:
                    continue
                except ProviderError as error:
                    failed.append(error)
                    return

    threads = [threading.Thread(target=count, args=(one,)) for one in providers]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert not failed
    assert providers[0].get("count").description == "15"


# What LaunchDarkly would take, and not do as we mean it


@pytest.mark.rule("P6", "E8")
def test_a_share_by_an_attribute_that_may_be_missing_never_gives_it_to_who_lacks_it(
    service, provider
):
    by_team = Split((Weight("on", 1_000), Weight("off", 99_000)), Bucketing(by=("team",)))
    provider.put(Flag.boolean("agent", default=by_team), ANA)
    assert "bucketBy" not in json.dumps(service.flags["agent"])
    with Flags.over(provider) as flags:
        assert flags.wait_ready(15)
        result = flags.evaluate("agent", "ada", False)
        assert result.error_code is ErrorCode.TARGETING_KEY_MISSING
        teams = [{"targetingKey": "ada", "team": f"team-{number}"} for number in range(500)]
        assert 0 < sum(flags.is_enabled("agent", one) for one in teams) < 25


@pytest.mark.rule("P6", "E7")
@pytest.mark.parametrize("weight", [-1, 100_001])
def test_a_weight_out_of_bounds_is_never_sent(service, provider, weight):
    service.put(boolean("agent"))
    with pytest.raises(Refused, match="between 0 and 100000"):
        provider.set_rollout("agent", "on", weight, ANA)
    assert not patches(service)


@pytest.mark.rule("K2", "P5")
def test_switching_off_never_serves_the_dangerous_value(service):
    provider = provider_of(service)
    service.put(boolean("agent", offVariation=None))
    assert provider.switch_off("agent", ANA).off_variant == "off"
    service.put(flag_of("model", ["m-2", "m-1"], offVariation=0))
    kept = provider.switch_off("model", ANA)  # nobody declared which is safe: it stays as it was
    assert (kept.on, kept.off_variant) == (False, "m-2")
