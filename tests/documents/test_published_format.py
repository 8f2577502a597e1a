"""The page and the schema that we publish say what the code does."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from strategies import flag_sets

from downhaul.documents import json_schema, parse_document, read_segment, render_document
from downhaul.documents.models import _Model
from downhaul.flag import Dialect, FlagType, Missing, NoKey, Operator, Scheme

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "flag-documents.md").read_text()


def examples(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def validator():
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_the_published_schema_is_the_one_of_the_code():
    published = json.loads((DOCS / "flag-document.schema.json").read_text())
    assert published == json_schema(), "write json_schema() to docs/flag-document.schema.json"


@given(flag_sets())
@pytest.mark.slow
def test_whatever_is_written_holds_by_the_schema(flag_set):
    validator().validate(json.loads(render_document(flag_set)))


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"downhaul": 2},
        {"downhaul": 1, "flag": []},
        {"downhaul": 1, "flags": [{"key": "a"}]},
        {"downhaul": 1, "flags": [{"key": "a b", "default": "on"}]},
        {"downhaul": 1, "flags": [{"key": "a", "default": 1}]},
        {"downhaul": 1, "flags": [{"key": "a", "default": "on", "kind": "bool"}]},
    ],
)
def test_the_schema_refuses_what_is_no_document(document):
    assert not validator().is_valid(document)


def test_the_three_examples_of_the_page_are_one_and_the_same():
    (yaml,), (toml,), json_ = examples("yaml"), examples("toml"), examples("json")[0]
    flag_set = parse_document(json_, "json")
    assert parse_document(yaml, "yaml") == parse_document(toml, "toml") == flag_set
    assert flag_set.flags["new_checkout"].rules[0].serve == "on"
    validator().validate(json.loads(json_))


def test_the_other_examples_of_the_page_hold():
    _, split, segment = map(json.loads, examples("json"))
    flag = {"key": "a", "default": split}
    parse_document(json.dumps({"downhaul": 1, "flags": [flag]}), "json")
    read_segment(segment)


@pytest.mark.parametrize("words", [Operator, Dialect, Missing, NoKey, Scheme, FlagType])
def test_the_page_names_every_word_of_the_format(words):
    assert [one.value for one in words if f"`{one.value}`" not in PAGE] == []


def test_the_page_names_every_field_of_the_format():
    fields = {name for model in _Model.__subclasses__() for name in model.model_fields}
    assert [one for one in sorted(fields) if f"`{one}`" not in PAGE and f'"{one}"' not in PAGE] == [
        "callers_default"  # shown in TOML's words
    ]
