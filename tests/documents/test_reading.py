"""What a document's text may hold: limits, lines, and what YAML, TOML and JSON do differently."""

import json

import pytest

from downhaul.documents import format_of, parse_document
from downhaul.documents.reading import LARGEST
from downhaul.errors import DocumentError

FLAG = '{"key": "a", "default": "on"%s}'


def document(flag=FLAG % ""):
    return '{"downhaul": 1, "flags": [%s]}' % flag  # noqa: UP031  (braces)


def problems(text, format_="json", origin="flags"):
    with pytest.raises(DocumentError) as caught:
        parse_document(text, format_, origin)
    assert caught.value.problems or not str(caught.value).count("\n")
    return caught.value.problems


# --- lines and paths


def test_broken_text_names_its_line():
    assert problems('{"downhaul": 1,\n "flags": ]}')[0].origin == "flags:2"
    assert problems("downhaul = 1\nflags = [", "toml")[0].origin == "flags:2"
    assert problems("downhaul: 1\nflags: {a: ]", "yaml")[0].origin == "flags:2"


def test_a_wrong_value_names_its_line_and_path():
    found = problems('{"downhaul": 1,\n "flags": [\n{"key": "a",\n "default": "onn"}]}')
    assert [(one.origin, one.path) for one in found] == [("flags:4", "flags[0].default")]
    text = "downhaul: 1\nflags:\n  a.b:\n    default: on\n    owner: 5\n"
    found = problems(text, "yaml")
    assert [(one.origin, one.path) for one in found] == [("flags:5", 'flags["a.b"].owner')]
    text = 'downhaul = 1\n[[flags]]\nkey = "a"\ndefault = "on"\n\n[[flags]]\nkey = "b"\n'
    found = problems(text, "toml")
    assert [(one.origin, one.path) for one in found] == [("flags:6", "flags[1].default")]


# --- what is refused in any format


@pytest.mark.parametrize("text", ["", "[]", "1", "null", '"x"', "{}", '{"downhaul": 2}'])
def test_what_is_no_document_of_this_version_is_refused(text):
    for format_ in ("json", "yaml"):
        with pytest.raises(DocumentError):
            parse_document(text, format_)


def test_a_key_given_twice_is_refused():
    for text in (document(FLAG % ', "on": true, "on": false'), '{"downhaul": 1, "downhaul": 1}'):
        assert "given twice" in problems(text)[0].message
        assert "given twice" in problems(text, "yaml")[0].message
    found = problems('{"downhaul": 1,\n"flags": [],\n"flags": []}')
    assert found[0].origin == "flags:3"
    with pytest.raises(DocumentError):
        parse_document("downhaul = 1\ndownhaul = 1\n", "toml")


def test_two_flags_of_one_key_are_refused():
    text = document(FLAG % "" + "," + FLAG % "")
    assert problems(text)[0].message == 'there are two flags "a"'


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_none_are_refused_in_json(number):
    text = document('{"key": "a", "kind": "number", "variants": {"x": %s}}' % number)  # noqa: UP031
    assert "no number" in str(problems(text)[0])


@pytest.mark.parametrize("format_, number", [("toml", "nan"), ("toml", "inf"), ("yaml", ".inf")])
def test_numbers_that_are_none_are_refused_elsewhere(format_, number):
    equals = "=" if format_ == "toml" else ":"
    text = f"downhaul {equals} {number}\n"
    assert any("no number" in one.message for one in problems(text, format_))


def test_integers_fit_64_bits_and_long_ones_do_not_stop_the_reader():
    for digits in (30, 5_000):
        for format_ in ("json", "yaml"):
            assert problems('{"downhaul": %s}' % ("9" * digits), format_)
        assert problems(f"downhaul = {'9' * digits}", "toml")


def test_deep_nesting_is_refused_and_breaks_nothing():
    for depth in (70, 2_000, 100_000):
        for format_ in ("json", "yaml"):
            assert problems("[" * depth + "]" * depth, format_)
            assert problems('{"downhaul": 1, "x": ' + "[" * depth + "]" * depth + "}", format_)
        assert problems("a = " + "[" * depth + "]" * depth, "toml")


def test_text_that_is_no_unicode_is_refused():
    assert "surrogate" in problems(document('{"key": "\\ud800", "default": "on"}'))[0].message
    assert "surrogate" in problems(document('{"\\ud800": 1}'))[0].message
    assert "NUL" in problems(document('{"key": "a\\u0000", "default": "on"}'))[0].message
    found = problems(b'{"downhaul": 1,\n "x": "\xff"}')
    assert (found[0].origin, found[0].hint) == ("flags:2", "save the file as UTF-8")


def test_a_byte_order_mark_is_skipped():
    assert parse_document(("\ufeff" + document()).encode(), "json").flags
    assert parse_document("\ufeff" + document(), "yaml").flags


def test_a_document_has_a_largest_size():
    with pytest.raises(DocumentError, match="larger than 32 MiB"):
        parse_document(" " * (LARGEST + 1), "json")


# --- YAML


def test_words_of_yaml_are_text_unless_they_are_true_false_null_or_numbers():
    text = """
    downhaul: 1
    flags:
      a:
        on: true
        kind: string
        variants: {on: yes, off: no, 5: 2026-01-31, x: 12:30:00}
        off_variant: off
        default: on
    """
    flag = parse_document(text, "yaml").flags["a"]
    assert dict(flag.variants) == {"on": "yes", "off": "no", "5": "2026-01-31", "x": "12:30:00"}
    assert flag.on is True
    assert flag.default == "on"


def test_aliases_are_refused_so_that_none_can_explode():
    bomb = "a: &a [x, x]\n" + "".join(
        f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n"
        for before, name in zip("abcdefgh", "bcdefghi", strict=True)
    )
    assert "not taken" in problems(bomb, "yaml")[0].message
    assert problems("&a [*a]", "yaml")
    assert problems("downhaul: 1\n*a : 2", "yaml")


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system [true]",
        "downhaul: !!int 1",
        "--- {}\n--- {}",
        "? [a]\n: b",
        "<<: {downhaul: 1}",
        "a: b: c",
        "\x01",
        "%YAML 3.0\n---\n{}",
        "'",
        "\t- a",
    ],
)
def test_odd_yaml_is_refused(text):
    assert problems(text, "yaml")


# --- TOML


def test_a_date_in_toml_is_refused_with_the_text_to_write():
    text = """
    downhaul = 1
    [flags.a]
    default = "on"
    rules = [{ when = [{ attribute = "x", operator = "after", values = [2026-01-31T09:00:00Z] }] }]
    """
    (found,) = problems(text, "toml")
    assert found.path == "flags.a.rules[0].when[0].values[0]"
    assert '"2026-01-31T09:00:00+00:00"' in found.hint


def test_toml_has_no_null_so_the_callers_default_is_spelled_out():
    text = 'downhaul = 1\n[flags.a]\ndefault = "on"\noff_variant = { callers_default = true }\n'
    assert parse_document(text, "toml").flags["a"].off_variant is None


# --- names of files


@pytest.mark.parametrize(
    "name, format_",
    [("a.json", "json"), ("/x/A.YML", "yaml"), ("b.yaml", "yaml"), ("c.toml", "toml")],
)
def test_the_suffix_says_the_format(name, format_):
    assert format_of(name) == format_


@pytest.mark.parametrize("name", ["flags", "flags.ini", "/etc.d/flags"])
def test_another_suffix_is_refused(name):
    with pytest.raises(DocumentError, match=r"json, .toml or .yaml"):
        format_of(name)


def test_ten_thousand_flags_are_one_document():
    flags = [{"key": f"flag-{number}", "default": "on"} for number in range(10_000)]
    assert len(parse_document(json.dumps({"downhaul": 1, "flags": flags}), "json").flags) == 10_000
