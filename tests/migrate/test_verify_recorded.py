"""Contexts from traffic are read line by line, and what can't be read is named by its line."""

import json
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import contexts

from downhaul import Context
from downhaul.context import as_context
from downhaul.errors import DocumentError
from downhaul.migrate.verify import recorded


def read(tmp_path, text, name="traffic.csv"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(recorded(path))


def refused(tmp_path, text, name="traffic.csv"):
    with pytest.raises(DocumentError) as caught:
        read(tmp_path, text, name)
    return str(caught.value).removeprefix(str(tmp_path) + "/")


def test_a_table_holds_a_key_and_typed_attributes(tmp_path):
    found = read(tmp_path, (
        "targetingKey,plan,age:int,score:float,beta:bool,roles:json,zip:text\n"
        'anna,pro,41,1.5,TRUE,"[""a"", 1]",04109\n'
        "ben,,,,false,,\n"
    ))  # fmt: skip
    assert [one.context for one in found] == [
        Context(
            "anna",
            {"plan": "pro", "age": 41, "score": 1.5, "beta": True, "roles": ["a", 1],
             "zip": "04109"},
        ),
        Context("ben", {"beta": False}),
    ]  # fmt: skip
    assert [(one.flag, one.line) for one in found] == [(None, 2), (None, 3)]
    assert type(found[0].context.attributes["age"]) is int


def test_columns_of_other_kinds_make_contexts_of_several_kinds(tmp_path):
    found = read(tmp_path, (
        "targetingKey,organisation.targetingKey,organisation.size:int,device.os\n"
        "anna,acme,5,\n"
        ",acme,,linux\n"
        ",,,\n"
    ))  # fmt: skip
    assert [one.context for one in found] == [
        Context.multi(Context("anna"), Context("acme", {"size": 5}, "organisation")),
        Context.multi(
            Context("acme", {}, "organisation"), Context(None, {"os": "linux"}, "device")
        ),
        Context(),
    ]


def test_a_column_names_the_flag_to_ask_about(tmp_path):
    found = read(tmp_path, "flag,targetingKey\nf,anna\n,ben\n")
    assert [(one.flag, one.context.targeting_key) for one in found] == [
        ("f", "anna"),
        (None, "ben"),
    ]


def test_quotes_line_breaks_and_a_byte_order_mark_are_those_of_a_table(tmp_path):
    found = read(
        tmp_path, '\ufefftargetingKey,note\r\nanna,"two\r\nlines, one ""cell"""\r\nben,x\r\n'
    )
    assert found[0].context == Context("anna", {"note": 'two\r\nlines, one "cell"'})
    assert [one.line for one in found] == [3, 4]


def test_lines_of_json_are_contexts(tmp_path):
    found = read(
        tmp_path,
        '{"targetingKey": "anna", "age": 41}\n'
        "\n"
        '{"kind": "multi", "user": {"key": "ben"}, "organisation": {"key": "acme"}}\n'
        '{"context": {"targetingKey": "carl"}, "flag": "f"}\n'
        '{"targetingKey": "dora", "context": {"a": 1}}\n',
        "traffic.jsonl",
    )
    assert [(one.flag, one.line) for one in found] == [(None, 1), (None, 3), ("f", 4), (None, 5)]
    assert found[0].context == Context("anna", {"age": 41})
    assert set(found[1].context.kinds) == {"user", "organisation"}
    assert found[2].context == Context("carl")
    assert found[3].context == Context("dora", {"context": {"a": 1}})


@pytest.mark.parametrize("text, told", [
    ("", "traffic.csv:1: it has no header"),
    ("plan\nx\n", "traffic.csv:1: no column is called targetingKey"),
    ("targetingKey,a,a\n", 'traffic.csv:1: the column "a" is there twice'),
    ("targetingKey,a:int,a\n", 'traffic.csv:1: the column "a:int" is there twice'),
    ("targetingKey,a:date\n", 'traffic.csv:1: the column "a:date" has no type "date" (types are '),
    ("targetingKey,\n", 'traffic.csv:1: the column "" has no name'),
    ("targetingKey,.a\n", 'traffic.csv:1: the column ".a" has no name'),
    ("targetingKey,a\nx,1\ny\n", "traffic.csv:3: it has 1 cells, and the header 2"),
    ("targetingKey,a:int\nx,1\ny,one\n", "traffic.csv:3: \"a:int\": 'one' can't be read"),
    ("targetingKey,a:bool\nx,yes\n", "traffic.csv:2: \"a:bool\": 'yes' can't be read"),
    ("targetingKey,a:json\nx,{\n", "traffic.csv:2: \"a:json\": '{' can't be read"),
    ('targetingKey,a\nx,"1\n', "traffic.csv:2: it is no CSV: "),
    (b"targetingKey,a\nx,\xff\n", "it is no UTF-8 text"),
])  # fmt: skip
def test_what_is_wrong_with_a_table_is_told_with_its_line(tmp_path, text, told):
    assert told in refused(tmp_path, text)


@pytest.mark.parametrize("text, told", [
    ('{"targetingKey": "a"}\n{"targetingKey": \n', "traffic.jsonl:2: it is no JSON: "),
    ("[1]\n", "traffic.jsonl:1: a context is an object, not list"),
    ('{"targetingKey": 5}\n', "traffic.jsonl:1: a targeting key is a string, not int"),
    ('{"kind": "multi", "user": 1}\n', 'traffic.jsonl:1: context kind "user" holds int'),
    ('{"context": {}, "flag": 5}\n', "traffic.jsonl:1: a flag's key is text, not int"),
])  # fmt: skip
def test_what_is_wrong_with_a_line_of_json_is_told_with_its_line(tmp_path, text, told):
    assert refused(tmp_path, text, "traffic.jsonl").startswith(told)


def test_a_file_of_another_format_is_refused_with_those_that_are_read(tmp_path):
    assert "read from .csv, .jsonl and .ndjson" in refused(tmp_path, "", "traffic.parquet")


@given(st.lists(contexts(), max_size=5))
def test_any_context_is_read_back_from_a_line_of_json(tmp_path_factory, many):
    path = tmp_path_factory.mktemp("recorded") / "x.ndjson"
    path.write_text("".join(f"{json.dumps(one.as_mapping())}\n" for one in many))
    assert [one.context for one in recorded(path)] == [as_context(one.as_mapping()) for one in many]


def test_a_file_is_a_stream_that_takes_no_memory(tmp_path):
    path = tmp_path / "many.csv"
    with path.open("w") as file:
        file.write("targetingKey,plan,age:int\n")
        file.writelines(f"user-{n},pro,{n % 90}\n" for n in range(20_000))
    tracemalloc.start()
    count = sum(1 for _ in recorded(path))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert count == 20_000
    assert most < 500_000
