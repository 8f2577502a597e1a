"""Segments as they are kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from downhaul.errors import DocumentError, FlagNotFound, Refused, VersionConflict
from downhaul.flag import Keys, Segment
from downhaul.provider import ABSENT, Capability, FlagProvider
from downhaul_contract_tests.base import CHANGE, Contract, needs
from downhaul_contract_tests.seeds import in_segment, nested

_STAFF = Segment("staff", included=(Keys(frozenset({"ada"})),), description="us")


@needs(Capability.READ, Capability.WRITE, Capability.SEGMENTS)
class SegmentsContract(Contract):
    """For providers with SEGMENTS."""

    group = "segments"

    @pytest.mark.rule("P5")
    def test_a_segment_is_read_back_as_it_was_written(self, provider: FlagProvider) -> None:
        """Every field comes back.

        If this fails, check how segments are encoded and decoded.
        """
        written = provider.put_segment(_STAFF, CHANGE, expected=ABSENT)
        assert replace(written, version="") == _STAFF
        assert provider.list().segments == {"staff": written}

    @pytest.mark.rule("P6")
    @needs(Capability.COMPARE_AND_SET)
    def test_a_write_on_an_old_version_is_refused(self, provider: FlagProvider) -> None:
        """Who read an older version is told so.

        If this fails, check that ``expected`` is compared by the backend, in the write.
        """
        first = provider.put_segment(_STAFF, CHANGE)
        second = provider.put_segment(
            replace(first, description="all of us"), CHANGE, expected=first.version
        )
        with pytest.raises(VersionConflict):
            provider.put_segment(first, CHANGE, expected=first.version)
        with pytest.raises(VersionConflict):
            provider.delete_segment("staff", CHANGE, expected=first.version)
        assert provider.list().segments == {"staff": second}

    @pytest.mark.rule("P6")
    def test_a_segment_that_is_named_cannot_go(self, provider: FlagProvider) -> None:
        """No flag is left with a segment that is gone.

        If this fails, check that ``delete_segment`` looks at what names it.
        """
        provider.put_segment(_STAFF, CHANGE)
        provider.put(in_segment("one", "staff"), CHANGE)
        with pytest.raises(Refused, match='flag "one"'):
            provider.delete_segment("staff", CHANGE)
        provider.delete("one", CHANGE)
        provider.delete_segment("staff", CHANGE)
        assert provider.list().segments == {}
        with pytest.raises(FlagNotFound):
            provider.delete_segment("staff", CHANGE)

    @pytest.mark.rule("P6")
    def test_what_a_segment_names_must_be_there_and_make_no_cycle(
        self, provider: FlagProvider
    ) -> None:
        """Segments nest, and make no circle.

        If this fails, check that ``put_segment`` calls ``check_segment``.
        """
        with pytest.raises(DocumentError):
            provider.put_segment(nested("outer", "inner"), CHANGE)
        provider.put_segment(Segment("inner"), CHANGE)
        provider.put_segment(nested("outer", "inner"), CHANGE)
        with pytest.raises(DocumentError, match="cycle"):
            provider.put_segment(nested("inner", "outer"), CHANGE)
        with pytest.raises(DocumentError):
            provider.put(in_segment("one", "nowhere"), CHANGE)

    @pytest.mark.rule("X4")
    @needs(Capability.HISTORY)
    def test_changes_of_segments_are_in_the_history(self, provider: FlagProvider) -> None:
        """Segments have a history as flags have.

        If this fails, check what is recorded for segments.
        """
        provider.put_segment(_STAFF, CHANGE)
        provider.delete_segment("staff", CHANGE)
        records = provider.history()
        assert [(one.entity, one.key, one.action) for one in records] == [
            ("segment", "staff", "delete"),
            ("segment", "staff", "create"),
        ]
