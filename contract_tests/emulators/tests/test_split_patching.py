"""JSON patches as the emulated admin API takes them."""

import pytest
from downhaul_emulators.split.admin.patching import patched
from downhaul_emulators.split.refusals import Refusal

DOCUMENT = {"a": {"b": [1, 2, 3]}, "c/d": 1, "e~f": 2}


def op(name, path, **rest):
    return {"op": name, "path": path, **rest}


@pytest.mark.parametrize(
    "operation, made",
    [
        (op("add", "/a/b/1", value=9), {**DOCUMENT, "a": {"b": [1, 9, 2, 3]}}),
        (op("add", "/a/b/3", value=9), {**DOCUMENT, "a": {"b": [1, 2, 3, 9]}}),
        (op("add", "/a/b/-", value=9), {**DOCUMENT, "a": {"b": [1, 2, 3, 9]}}),
        (op("add", "/new", value=[]), {**DOCUMENT, "new": []}),
        (op("add", "/a", value=0), {**DOCUMENT, "a": 0}),
        (op("replace", "/a/b/0", value=9), {**DOCUMENT, "a": {"b": [9, 2, 3]}}),
        (op("replace", "/c~1d", value=9), {**DOCUMENT, "c/d": 9}),
        (op("replace", "/e~0f", value=9), {**DOCUMENT, "e~f": 9}),
        (op("remove", "/a/b/1"), {**DOCUMENT, "a": {"b": [1, 3]}}),
        (op("remove", "/a"), {"c/d": 1, "e~f": 2}),
        (op("move", "/a/x", **{"from": "/a/b"}), {**DOCUMENT, "a": {"x": [1, 2, 3]}}),
        (op("copy", "/x", **{"from": "/a/b/0"}), {**DOCUMENT, "x": 1}),
        (op("test", "/a/b", value=[1, 2, 3]), DOCUMENT),
    ],
)
def test_an_operation_does_what_the_standard_says(operation, made):
    before = {"a": {"b": [1, 2, 3]}, "c/d": 1, "e~f": 2}
    assert patched(before, [operation]) == made
    assert before == DOCUMENT


@pytest.mark.parametrize(
    "operation, words",
    [
        (op("add", "/a/b/4", value=9), "place"),
        (op("add", "/a/b/x", value=9), "place"),
        (op("add", "/z/b", value=9), "no such path"),
        (op("add", "/c~1d/x", value=9), "no such path"),
        (op("add", "/x"), "value"),
        (op("replace", "/x", value=1), "no such path"),
        (op("replace", "/a/b/-", value=1), "place"),
        (op("remove", "/x"), "no such path"),
        (op("remove", "/a/b/3"), "place"),
        (op("move", "/x"), "from"),
        (op("copy", "/x", **{"from": "/y"}), "no such path"),
        (op("test", "/c~1d", value=2), "failed"),
        (op("merge", "/a", value=2), "op"),
        (op("add", "a", value=2), "slash"),
        ({"op": "remove"}, "path"),
        ("remove", "path"),
    ],
)
def test_what_can_not_be_done_is_refused(operation, words):
    with pytest.raises(Refusal, match=words):
        patched(DOCUMENT, [operation])


@pytest.mark.parametrize("operations", [[], {}, None, "[]"])
def test_a_patch_is_a_list_with_something_in_it(operations):
    with pytest.raises(Refusal, match="list"):
        patched(DOCUMENT, operations)
