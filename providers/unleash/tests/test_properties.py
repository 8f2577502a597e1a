"""For every document: the ledger tells of each part, and nothing but a refusal is raised."""

import copy
import json

import pytest
from downhaul_unleash.translate import flags_from
from hypothesis import given
from hypothesis import strategies as st
from unleash_documents import documents

from downhaul.documents import parse_document, render_document
from downhaul.errors import DocumentError
from downhaul.ledger import Fidelity

PARTS = ("strategies", "constraints", "variants", "overrides", "dependencies")


def parts(value, path=""):
    """The place of each part of a document that decides something."""
    for name, one in value.items():
        if name in ("features", "segments", *PARTS) and isinstance(one, list):
            for index, item in enumerate(one):
                if isinstance(item, dict):
                    place = f"{path}.{name}[{index}]".lstrip(".")
                    yield place
                    yield from parts(item, place)


@pytest.mark.rule("M1")
@given(documents())
@pytest.mark.slow
def test_each_part_of_the_source_has_an_entry_or_is_within_a_fragment(document):
    ledger = flags_from(document).ledger
    told = {entry.path: entry.fidelity for entry in ledger}
    for place in parts(document):
        within = [path for path in told if place == path or place.startswith(f"{path}.")]
        whole = told.get(place) is Fidelity.FULL
        assert whole or any(told[path] is not Fidelity.FULL for path in within), place


@pytest.mark.rule("M1")
@given(documents())
@pytest.mark.slow
def test_what_is_not_carried_whole_has_a_reason_and_the_fragment(document):
    for entry in flags_from(document).ledger:
        if entry.fidelity is not Fidelity.FULL:
            assert entry.reason
            assert entry.fragment is not None
        json.dumps(entry.as_mapping())


@given(documents())
def test_what_is_made_is_a_document_of_ours(document):
    made = flags_from(document).flag_set()
    read = parse_document(render_document(made, "json"), "json", "test")
    assert read.flags == made.flags
    assert read.segments == made.segments


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


def places(value):
    """Every container of a document with each of its keys."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value)
    for key, one in pairs:
        yield value, key
        if isinstance(one, (dict, list)):
            yield from places(one)


@given(documents(), st.data())
def test_a_broken_document_is_translated_or_refused_and_nothing_else(document, data):
    broken = copy.deepcopy(document)
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(list(places(broken))))
        if isinstance(container, dict) and data.draw(st.booleans()):
            del container[key]
        else:
            container[key] = data.draw(JSON)
        if not broken:
            break
    try:
        made = flags_from(broken)
    except DocumentError:
        return
    parse_document(render_document(made.flag_set(), "json"), "json", "test")
    assert {entry.flag for entry in made.ledger} >= {flag.key for flag in made.flags}


@given(JSON)
def test_any_other_data_is_refused(data):
    with pytest.raises(DocumentError):
        flags_from(data)
