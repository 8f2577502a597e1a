"""A vendor's REST API: what is repeated, what is told, and what an answer must have."""

import pytest
import requests
import responses
from downhaul_emulators.serving import Emulator, Response
from responses import matchers

from downhaul.config import Secret
from downhaul.errors import FlagNotFound, ProviderError, Refused, Unreachable, VersionConflict
from downhaul.vendors.rest import Denied, Exists, Refusal, RestApi
from downhaul.vendors.shapes import Shape

URL = "https://flags.example/api"
REFUSALS = {
    403: Refusal("does not let this token do that (403)", "ask somebody who may"),
    412: Refusal("is ahead", "read it again", VersionConflict),
}


def api(**fields):
    given = {"vendor": "Acme", "provider": "acme", "refusals": REFUSALS, "deadline": 2.0}
    return RestApi(fields.pop("url", URL), Secret("t-5ecret"), **{**given, **fields})


@pytest.fixture
def server():
    with responses.RequestsMock(assert_all_requests_are_fired=False) as mocked:
        yield mocked


class Part(Shape):
    key: str


class Page(Shape):
    some_parts: list[Part]
    total_count: int | None = None


# What is repeated


@pytest.mark.rule("P7")
@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_what_does_no_harm_is_repeated_and_known_to_be_unsure_where_it_may_have_been_done(
    server, status
):
    server.put(f"{URL}/f", status=status, headers={"Retry-After": "0"})
    server.put(f"{URL}/f", json={"key": "f"})
    with api().begin() as asking:
        assert asking.put("/f", {}) == {"key": "f"}
        assert asking.unsure is (status >= 500)
        assert asking.put("/f", {}) == {"key": "f"}
        assert not asking.unsure  # that is of the last request


@pytest.mark.rule("P7")
@pytest.mark.parametrize(
    "trouble, asked",
    [
        (500, 1),
        (504, 1),
        (503, 2),
        (429, 2),
        (requests.ConnectTimeout("late"), 2),
        (requests.ConnectionError("NewConnectionError: refused"), 2),
        (requests.ConnectionError("RemoteDisconnected"), 1),
        (requests.ReadTimeout("late"), 1),
    ],
    ids=range(8),
)
def test_what_makes_something_is_repeated_only_where_it_was_not_done(server, trouble, asked):
    if isinstance(trouble, int):
        server.post(f"{URL}/f", status=trouble, headers={"Retry-After": "0"})
    else:
        server.post(f"{URL}/f", body=trouble)
    server.post(f"{URL}/f", json={})
    with api().begin() as asking:
        if asked == 1:
            with pytest.raises(Unreachable, match="did not do POST /f") as late:
                asking.post("/f", {}, "f")
            assert "look at the flag" in late.value.hint
        else:
            assert asking.post("/f", {}, "f") == {}
            assert asking.unsure is (trouble == 503)
    assert len(server.calls) == asked


@pytest.mark.rule("P7")
def test_one_request_may_be_repeated_after_other_answers_than_the_rest(server):
    server.patch(f"{URL}/f", status=409, headers={"Retry-After": "0"})
    server.patch(f"{URL}/f", json={})
    with api().begin() as asking:
        assert asking.patch("/f", {}, failures=frozenset({409})) == {}


@pytest.mark.rule("P7")
def test_what_is_gone_at_a_second_try_was_removed_by_the_first(server):
    server.delete(f"{URL}/f", status=502, headers={"Retry-After": "0"})
    server.delete(f"{URL}/f", status=404)
    with api().begin() as asking:
        assert asking.delete("/f", "f") is None
        with pytest.raises(FlagNotFound):
            asking.delete("/f", "f")


@pytest.mark.rule("P7")
def test_a_verb_that_is_tried_again_ends_at_its_deadline():
    def try_again(asking):
        while True:
            asking.pause("somebody writes it all the time")

    with api(deadline=0.3).begin() as asking, pytest.raises(Unreachable, match="all the time"):
        try_again(asking)


class Counting(Emulator):
    """Answers everything, and counts its connections."""

    def __init__(self):
        super().__init__()
        self.connections = 0

    def opened(self, one):
        self.connections += 1
        super().opened(one)

    def answer(self, request):
        return Response(200, {"key": "f"})


@pytest.mark.rule("P7")
def test_the_requests_of_one_verb_share_a_connection():
    with Counting() as emulator, api(url=emulator.url).begin() as asking:
        for _ in range(3):
            asking.get("/f")
        asking.put("/f", {})
        assert emulator.connections == 1


# What is told


@pytest.mark.rule("X1", "P7")
@pytest.mark.parametrize(
    "status, error, told, hint",
    [
        (400, Refused, "refuses it (400): too much", "change what it names"),
        (409, Exists, "refuses it (409): too much", "change what it names"),
        (403, Denied, "does not let this token do that (403): too much", "somebody who may"),
        (412, VersionConflict, "Acme is ahead: too much", "read it again"),
        (404, FlagNotFound, 'has no rule "f" here: too much', "which place"),
        (418, ProviderError, "something unexpected to PATCH /f (418): too much", "the URL leads"),
        (302, ProviderError, "something unexpected to PATCH /f (302)", "the URL leads"),
    ],
)
def test_each_answer_that_says_no_is_told_as_what_it_is(server, status, error, told, hint):
    server.patch(f"{URL}/f", status=status, json={"message": "too much"})
    with api().begin() as asking, pytest.raises(error) as refused:
        asking.patch("/f", {}, "f", what="rule")
    assert type(refused.value) is error
    assert told in str(refused.value)
    assert hint in refused.value.hint
    assert (refused.value.flag, refused.value.provider) == ("f", "acme")
    assert len(server.calls) == 1


@pytest.mark.rule("P7")
def test_no_secret_is_in_what_is_shown(server):
    def redact(text):
        return text.replace("hidden", "***")

    one = api(url=f"{URL}/hidden", redact=redact)
    server.get(f"{URL}/hidden/f", json={"message": "hidden and t-5ecret"}, status=418)
    server.get(f"{URL}/hidden/g", json={})
    assert repr(one) == f"RestApi('{URL}/***')"
    with one.begin() as asking:
        with pytest.raises(ProviderError) as refused:
            asking.get("/f")
        with pytest.raises(ProviderError) as strange:
            asking.get("/g", shape=Page)
    assert "*** and ***" in str(refused.value)
    assert "hidden" not in f"{refused.value}{refused.value.hint}"
    assert f"GET {URL}/***/g must answer with someParts" in strange.value.hint
    assert "t-5ecret" not in repr(asking)


@pytest.mark.rule("P7")
def test_what_is_sent_has_the_headers_the_content_and_the_query_that_were_asked_for(server):
    sent = server.patch(
        f"{URL}/f",
        json={},
        match=[
            matchers.header_matcher({"Authorization": "t-5ecret", "Content-Type": "text/patch"}),
            matchers.query_param_matcher({"whole": "true"}),
        ],
    )
    with api().begin() as asking:
        asking.patch("/f", {"a": 1}, content="text/patch", query={"whole": "true"})
    assert sent.call_count == 1


# What an answer must have


@pytest.mark.rule("X1")
@pytest.mark.parametrize(
    "body, told",
    [
        ({}, "someParts: it is missing"),
        ([], "an object: it is no object"),
        (None, "an object: it is no object"),
        ({"someParts": [{"key": "a"}, 5]}, "someParts[1]: it is no object"),
        ({"someParts": [{"key": 5}]}, "someParts[0].key: Input should be a valid string"),
        ({"someParts": [], "totalCount": "3"}, "totalCount: Input should be a valid integer"),
    ],
)
def test_an_answer_of_another_shape_is_told_with_each_place(server, body, told):
    server.get(f"{URL}/f", json=body)
    server.post(f"{URL}/f", json=body)
    with api().begin() as asking:
        for ask in (
            lambda: asking.get("/f", shape=Page),
            lambda: asking.post("/f", {}, shape=Page),
        ):
            with pytest.raises(ProviderError, match="something unexpected") as refused:
                ask()
            assert told in str(refused.value)
            assert f"{URL}/f must answer with {told.partition(':')[0]}" in refused.value.hint
    assert Page.lacks(body)


def test_an_answer_is_returned_as_it_came_whatever_else_it_has():
    body = {"someParts": [{"key": "a", "more": 1}], "more": [1]}
    with responses.RequestsMock() as server, api().begin() as asking:
        server.get(f"{URL}/f", json=body)
        assert asking.get("/f", shape=Page) == body
    assert not Page.lacks(body)
