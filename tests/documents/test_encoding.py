"""Flags and segments as data, and back, exactly."""

import json
import subprocess
import sys

from hypothesis import given
from strategies import flags, segments

from downhaul.encoding import flag_from_data, flag_to_data, segment_from_data, segment_to_data
from downhaul.flag import Bucketing, Clause, Flag, FlagKind, Operator, Rule, Split, Target, Weight


def exact(one):
    """What `==` forgives: the order of variants, 1 for True, 5.0 for 5, -0.0 for 0.0."""
    return repr(one)


@given(flags())
def test_every_flag_comes_back_from_json_as_it_was(flag):
    back = flag_from_data(json.loads(json.dumps(flag_to_data(flag))))
    assert back == flag
    assert exact(list(back.variants.items())) == exact(list(flag.variants.items()))
    assert exact(flag_to_data(back)) == exact(flag_to_data(flag))


@given(segments())
def test_every_segment_comes_back_from_json_as_it_was(segment):
    assert segment_from_data(json.loads(json.dumps(segment_to_data(segment)))) == segment


def test_defaults_are_left_out():
    assert flag_to_data(Flag(key="a", default="on")) == {"key": "a", "on": False, "default": "on"}


def test_sets_are_written_sorted_so_that_equal_flags_have_equal_documents():
    flag = Flag.boolean("a", allow=["c", "a", "b"])
    assert flag_to_data(flag)["targets"] == [{"variant": "on", "keys": ["a", "b", "c"]}]


def test_the_off_variant_of_an_imported_flag_that_serves_the_callers_default_is_written_as_null():
    flag = Flag(key="a", default="on", off_variant=None)
    assert flag_to_data(flag)["off_variant"] is None
    assert flag_from_data(flag_to_data(flag)).off_variant is None


def test_the_order_of_variants_is_kept():
    flag = Flag(key="a", default="off", variants={"off": False, "on": True})
    assert list(flag_from_data(flag_to_data(flag)).variants) == ["off", "on"]


def test_a_document_reads_as_the_format_page_shows_it():
    flag = Flag(
        key="checkout",
        kind=FlagKind.STRING,
        variants={"old": "v1", "new": "v2"},
        off_variant="old",
        on=True,
        targets=(Target("new", frozenset({"anna"})),),
        rules=(Rule("new", (Clause("plan", Operator.IN, ("pro",), negate=True),), id="r1"),),
        default=Split((Weight("new", 25_000), Weight("old", 75_000)), Bucketing(salt="s")),
    )
    assert flag_to_data(flag) == {
        "key": "checkout",
        "kind": "string",
        "on": True,
        "variants": {"old": "v1", "new": "v2"},
        "off_variant": "old",
        "targets": [{"variant": "new", "keys": ["anna"]}],
        "rules": [
            {
                "id": "r1",
                "when": [
                    {"attribute": "plan", "operator": "in", "values": ["pro"], "negate": True}
                ],
                "serve": "new",
            }
        ],
        "default": {
            "split": [{"variant": "new", "weight": 25_000}, {"variant": "old", "weight": 75_000}],
            "bucketing": {"salt": "s"},
        },
    }


def test_reading_stored_documents_imports_no_validation():
    code = (
        "import sys, downhaul.encoding, downhaul.backends.memory, downhaul.backends.file;"
        "assert not {'pydantic', 'yaml', 're2', 'sqlalchemy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
