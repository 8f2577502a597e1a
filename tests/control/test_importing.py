"""Importing many flags: all checked before the first is written, and a row for each."""

import dataclasses

import pytest

from downhaul.backends.memory import MemoryProvider
from downhaul.control import OnConflict, Operator
from downhaul.errors import DocumentError, Unreachable, UnsupportedCapability, VersionConflict
from downhaul.flag import Clause, Flag, Prerequisite, Rule, Segment
from downhaul.flag import Operator as Op
from downhaul.provider import Capability, FlagSet


def rows(result):
    return {row.key: row.action for row in result.rows}


def test_it_creates_what_is_not_there_and_leaves_the_same_alone(operator):
    given = FlagSet.of([operator.get("agent"), Flag.boolean("fresh")])
    result = operator.import_flags(given)
    assert rows(result) == {"agent": "same", "fresh": "create"}
    again = operator.import_flags(given)
    assert rows(again) == {"agent": "same", "fresh": "same"}


def test_a_conflict_stops_all_before_the_first_write(operator):
    before = operator.list()
    given = FlagSet.of([Flag.boolean("fresh"), Flag.boolean("agent", percent=99)])
    with pytest.raises(VersionConflict, match="--on-conflict skip"):
        operator.import_flags(given)
    assert operator.list() == before


@pytest.mark.parametrize(
    "choice, percent", [(OnConflict.SKIP, 25_000), (OnConflict.REPLACE, 99_000)]
)
def test_a_conflict_is_skipped_or_replaced_where_said(operator, choice, percent):
    given = FlagSet.of([Flag.boolean("fresh"), Flag.boolean("agent", percent=99)])
    result = operator.import_flags(given, on_conflict=choice)
    assert rows(result) == {"agent": choice.value, "fresh": "create"}
    assert operator.get("agent").default.weights[0].weight == percent


def test_one_bad_flag_stops_all_and_every_problem_is_named(operator):
    before = operator.list()
    bad = [
        Flag.boolean("b1", off_variant="gone"),
        Flag.boolean("b2", prerequisites=(Prerequisite("nowhere"),)),
    ]
    with pytest.raises(DocumentError) as caught:
        operator.import_flags(FlagSet.of([Flag.boolean("fresh"), *bad]))
    assert len(caught.value.problems) >= 2
    assert operator.list() == before


def test_what_is_named_is_written_before_what_names_it(operator):
    needs = Flag.boolean("a-needs", prerequisites=(Prerequisite("z-needed"),))
    rule = Rule("on", (Clause("", Op.IN_SEGMENT, ("beta",)),))
    in_segment = Flag.boolean("b-in", rules=(rule,))
    given = FlagSet.of([needs, in_segment, Flag.boolean("z-needed")], [Segment("beta")])
    written = [row.key for row in operator.import_flags(given).rows]
    assert written.index("z-needed") < written.index("a-needs")
    assert written.index("beta") < written.index("b-in")


def test_a_dry_run_writes_nothing(operator):
    before = operator.list()
    result = operator.import_flags(FlagSet.of([Flag.boolean("fresh")]), dry_run=True)
    assert rows(result) == {"fresh": "create"}
    assert not any(row.written for row in result.rows)
    assert operator.list() == before


def test_segments_are_refused_by_a_backend_without_any_before_the_first_write():
    class Plain(MemoryProvider):
        capabilities = MemoryProvider.capabilities - {Capability.SEGMENTS}

    provider = Plain()
    with Operator(provider, provider.control, actor="ana") as operator:
        with pytest.raises(UnsupportedCapability):
            operator.import_flags(FlagSet.of([Flag.boolean("fresh")], [Segment("beta")]))
        assert operator.list().flags == {}


def test_a_backend_that_goes_away_half_way_leaves_a_report_and_a_second_run_goes_on():
    class Leaving(MemoryProvider):
        writes = 2

        def put(self, *args, **options):
            if self.writes == 0:
                raise Unreachable("gone")
            self.writes -= 1
            return super().put(*args, **options)

    provider = Leaving()
    given = FlagSet.of([Flag.boolean(f"f{index}") for index in range(4)])
    with Operator(provider, provider.control, actor="ana") as operator:
        result = operator.import_flags(given)
        assert [row.written for row in result.rows] == [True, True, False, False]
        assert isinstance(result.error, Unreachable)
        provider.writes = 100
        again = operator.import_flags(given)
        assert [row.action for row in again.rows] == ["same", "same", "create", "create"]
        assert len(operator.list().flags) == 4


def test_progress_is_told_to_the_end(operator):
    seen = []
    operator.import_flags(
        FlagSet.of([Flag.boolean("f1"), Flag.boolean("f2")]),
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen == [(1, 2), (2, 2)]


def test_what_was_exported_imports_as_the_same(operator):
    empty = MemoryProvider()
    exported = operator.list()
    with Operator(empty, empty.control, actor="ana") as other:
        other.import_flags(exported)
        plain = [dataclasses.replace(one, version="") for one in other.list().flags.values()]
    assert plain == [dataclasses.replace(one, version="") for one in exported.flags.values()]
