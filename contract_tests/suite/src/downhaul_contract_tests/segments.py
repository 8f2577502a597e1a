"""Segments as they are kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from downhaul.errors import DocumentError, FlagNotFound, Refused, VersionConflict
from downhaul.flag import Keys, Segment
from downhaul.provider import ABSENT, FlagProvider
from downhaul_contract_tests.base import CHANGE, Contract, in_segment, nested

_STAFF = Segment("staff", included=(Keys(frozenset({"ada"})),), description="us")


class SegmentsContract(Contract):
    """For providers with SEGMENTS."""

    def test_a_segment_is_read_back_as_it_was_written(self, provider: FlagProvider) -> None:
        written = provider.put_segment(_STAFF, CHANGE, expected=ABSENT)
        assert replace(written, version="") == _STAFF
        assert provider.list().segments == {"staff": written}

    @pytest.mark.rule("P6")
    def test_a_write_on_an_old_version_is_refused(self, provider: FlagProvider) -> None:
        first = provider.put_segment(_STAFF, CHANGE)
        second = provider.put_segment(
            replace(first, description="all of us"), CHANGE, expected=first.version
        )
        with pytest.raises(VersionConflict):
            provider.put_segment(first, CHANGE, expected=first.version)
        with pytest.raises(VersionConflict):
            provider.delete_segment("staff", CHANGE, expected=first.version)
        assert provider.list().segments == {"staff": second}

    def test_a_segment_that_is_named_cannot_go(self, provider: FlagProvider) -> None:
        provider.put_segment(_STAFF, CHANGE)
        provider.put(in_segment("one", "staff"), CHANGE)
        with pytest.raises(Refused, match='flag "one"'):
            provider.delete_segment("staff", CHANGE)
        provider.delete("one", CHANGE)
        provider.delete_segment("staff", CHANGE)
        assert provider.list().segments == {}
        with pytest.raises(FlagNotFound):
            provider.delete_segment("staff", CHANGE)

    def test_what_a_segment_names_must_be_there_and_make_no_cycle(
        self, provider: FlagProvider
    ) -> None:
        with pytest.raises(DocumentError):
            provider.put_segment(nested("outer", "inner"), CHANGE)
        provider.put_segment(Segment("inner"), CHANGE)
        provider.put_segment(nested("outer", "inner"), CHANGE)
        with pytest.raises(DocumentError, match="cycle"):
            provider.put_segment(nested("inner", "outer"), CHANGE)
        with pytest.raises(DocumentError):
            provider.put(in_segment("one", "nowhere"), CHANGE)

    @pytest.mark.rule("X4")
    def test_changes_of_segments_are_in_the_history(self, provider: FlagProvider) -> None:
        provider.put_segment(_STAFF, CHANGE)
        provider.delete_segment("staff", CHANGE)
        records = provider.history()
        assert [(one.entity, one.key, one.action) for one in records] == [
            ("segment", "staff", "delete"),
            ("segment", "staff", "create"),
        ]
