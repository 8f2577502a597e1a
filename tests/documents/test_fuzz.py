"""No input gets anything but DocumentError out of the reader."""

import contextlib
import copy
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import flag_sets, json_values

from downhaul.documents import FORMATS, parse_document, read_flag, read_segment, render_document
from downhaul.encoding import flag_to_data, segment_to_data
from downhaul.errors import DocumentError

NAMES = (
    *("downhaul", "flags", "segments", "key", "default", "variants", "off_variant", "rules"),
    *("when", "serve", "split", "weight", "percent", "operator", "values", "gate", "share"),
    *("bucketing", "total", "by", "targets", "keys", "context_kind", "dialect"),
)

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["on", "off", "boolean", "in", "matches", "in_segment", "serves"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.text() | st.sampled_from(NAMES),
            inner,
            max_size=6,
        )
    ),
    max_leaves=30,
)


@given(anything)
def test_any_json_is_read_or_refused(data):
    for text in (json.dumps(data), json.dumps({"downhaul": 1, "flags": [data], "segments": data})):
        for format_ in ("json", "yaml"):
            with contextlib.suppress(DocumentError):
                parse_document(text, format_)
    for read in (read_flag, read_segment):
        with contextlib.suppress(DocumentError):
            read(data)


@given(st.text() | st.binary(), st.sampled_from(FORMATS))
def test_any_text_is_read_or_refused(text, format_):
    with contextlib.suppress(DocumentError):
        parse_document(text, format_)


def mutated(data, draw):
    data = copy.deepcopy(data)
    if not data:
        return draw(anything)
    place = draw(st.sampled_from([one for one in _walk(data) if one]))
    holder = data
    for step in place[:-1]:
        holder = holder[step]
    action = draw(st.sampled_from(["replace", "remove", "rename"]))
    if action == "remove" or (action == "rename" and isinstance(holder, list)):
        del holder[place[-1]]
    elif action == "rename":
        holder[draw(st.text(max_size=8))] = holder.pop(place[-1])
    else:
        holder[place[-1]] = draw(anything | json_values)
    return data


def _walk(value, place=()):
    yield place
    if isinstance(value, dict):
        for name, one in value.items():
            yield from _walk(one, (*place, name))
    elif isinstance(value, list):
        for index, one in enumerate(value):
            yield from _walk(one, (*place, index))


@given(flag_sets(), st.data())
def test_a_valid_document_with_something_changed_is_read_or_refused(flag_set, data):
    document = json.loads(render_document(flag_set))
    for _ in range(data.draw(st.integers(1, 3))):
        if isinstance(document, dict):
            document = mutated(document, data.draw)
    with contextlib.suppress(DocumentError):
        found = parse_document(json.dumps(document), "json")
        assert parse_document(render_document(found), "json") == found


@given(flag_sets(), st.sampled_from(FORMATS), st.data())
@pytest.mark.slow
def test_a_document_cut_short_or_scratched_is_read_or_refused(flag_set, format_, data):
    with contextlib.suppress(DocumentError):  # TOML can't say every flag
        text = render_document(flag_set, format_)
        at = data.draw(st.integers(0, len(text)))
        parse_document(text[:at], format_)
        parse_document(text[:at] + data.draw(st.text(max_size=3)) + text[at + 1 :], format_)


@given(flag_sets())
def test_a_single_flag_or_segment_reads_as_in_a_document(flag_set):
    for flag in flag_set.flags.values():
        assert read_flag(flag_to_data(flag), flag_set=flag_set) == flag
    for segment in flag_set.segments.values():
        assert read_segment(segment_to_data(segment), flag_set=flag_set) == segment
