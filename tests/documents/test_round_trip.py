"""Documents in three formats: what is written reads back as equal, whatever the flags."""

import json

import pytest
from hypothesis import given
from strategies import flag_sets, flags

from downhaul.documents import FORMATS, check_flag, check_segment, parse_document, render_document
from downhaul.errors import DocumentError
from downhaul.flag import Flag, FlagKind, FlagSet


def has_null(value):
    if isinstance(value, dict):
        return any(map(has_null, value.values()))
    return any(map(has_null, value)) if isinstance(value, list) else value is None


@given(flag_sets())
def test_what_json_and_yaml_write_reads_back_as_equal(flag_set):
    for format_ in ("json", "yaml"):
        back = parse_document(render_document(flag_set, format_), format_)
        assert back == flag_set
        assert repr(render_document(back, "json")) == repr(render_document(flag_set, "json"))


@given(flag_sets())
def test_what_toml_writes_reads_back_as_equal_unless_a_value_holds_null(flag_set):
    if any(has_null(dict(flag.variants)) for flag in flag_set.flags.values()):
        with pytest.raises(DocumentError, match="TOML has no null"):
            render_document(flag_set, "toml")
    else:
        back = parse_document(render_document(flag_set, "toml"), "toml")
        assert repr(render_document(back, "json")) == repr(render_document(flag_set, "json"))


@given(flag_sets())
def test_a_valid_flag_has_no_problem_in_its_own_set(flag_set):
    for flag in flag_set.flags.values():
        assert check_flag(flag, flag_set) == []
        assert check_flag(flag) == []
    for segment in flag_set.segments.values():
        assert check_segment(segment, flag_set) == []


@given(flags())
def test_a_mapping_by_key_says_the_same_as_a_list(flag):
    document = json.loads(render_document(FlagSet.of([flag])))
    (data,) = document["flags"]
    document["flags"] = {data.pop("key"): data}
    assert parse_document(json.dumps(document), "json") == FlagSet.of([flag])


@pytest.mark.parametrize(
    "text", ["on", "off", "yes", "no", "y", "~", "null", "1e5", "1.0e5", "0o17", "0x1F", "1_000"]
)
@pytest.mark.parametrize("format_", FORMATS)
def test_a_word_that_looks_like_something_else_stays_text(text, format_):
    flag = Flag(
        key="a", kind=FlagKind.STRING, variants={text: text}, off_variant=text, default=text
    )
    flag_set = FlagSet.of([flag])
    assert parse_document(render_document(flag_set, format_), format_) == flag_set


def test_an_unknown_format_says_what_there_is():
    with pytest.raises(DocumentError, match='did you mean "json"'):
        render_document(FlagSet(), "jason")
