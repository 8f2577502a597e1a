"""Snapshots: what was can be brought back exactly (rules P5 and R8)."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from downhaul.errors import FlagNotFound, Refused
from downhaul.flag import Flag
from downhaul.provider import Capability
from downhaul_contract_tests.base import CHANGE, Contract, needs
from downhaul_contract_tests.case import Case, enabled
from downhaul_contract_tests.seeds import USERS

_KEY = "contract-restore"


@needs(Capability.READ, Capability.WRITE, Capability.SNAPSHOT)
class RestoringContract(Contract):
    """For providers with SNAPSHOT."""

    group = "snapshot and restore"

    @pytest.mark.rule("P5", "R8")
    def test_what_is_restored_is_as_it_was(self, case: Case) -> None:
        """Switch, percentage and targets are back, and the same users are served.

        If this fails, check that the snapshot holds the backend's own document, whole.
        """
        case.seed(_flag())
        was = case.writer.get(_KEY)
        assert was is not None
        with case.client() as flags:
            before = enabled(flags, _KEY, ("ada", "eve", *USERS))
        snapshot = case.writer.snapshot(_KEY)
        _wreck(case)
        back = case.writer.restore(snapshot, CHANGE)
        assert replace(back, version="") == replace(was, version="")
        assert case.provider().get(_KEY) == back
        with case.client() as flags:
            case.eventually(
                lambda: enabled(flags, _KEY, ("ada", "eve", *USERS)) == before,
                "the same users are served as before",
            )

    @pytest.mark.rule("P5")
    def test_a_snapshot_can_be_kept_as_text(self, case: Case) -> None:
        """A rollout's row keeps it as JSON, and restores from what it reads.

        If this fails, check for objects, dates and keys in ``document`` that are no JSON.
        """
        case.seed(_flag())
        was = case.writer.get(_KEY)
        assert was is not None
        snapshot = case.writer.snapshot(_KEY)
        assert (snapshot.flag, snapshot.provider) == (_KEY, case.writer.name)
        read = replace(snapshot, document=json.loads(json.dumps(dict(snapshot.document))))
        _wreck(case)
        back = case.provider().restore(read, CHANGE)
        assert replace(back, version="") == replace(was, version="")

    @pytest.mark.rule("P5")
    def test_later_writes_leave_a_snapshot_alone(self, case: Case) -> None:
        """A snapshot is a copy.

        If this fails, check that ``document`` shares nothing with what is kept or published.
        """
        case.seed(_flag())
        snapshot = case.writer.snapshot(_KEY)
        before = json.dumps(dict(snapshot.document), sort_keys=True)
        _wreck(case)
        assert json.dumps(dict(snapshot.document), sort_keys=True) == before

    @pytest.mark.rule("P5")
    def test_restoring_again_changes_nothing(self, case: Case) -> None:
        """A controller that died in the middle repeats it.

        If this fails, check that ``restore`` says the whole state, and adds nothing to it.
        """
        case.seed(_flag())
        snapshot = case.writer.snapshot(_KEY)
        _wreck(case)
        once = case.writer.restore(snapshot, CHANGE)
        again = case.writer.restore(snapshot, CHANGE)
        assert replace(again, version="") == replace(once, version="")

    @pytest.mark.rule("P5")
    def test_restoring_touches_no_other_flag(self, case: Case) -> None:
        """The way back of one flag is not the way back of all.

        If this fails, check the scope of the document that is written.
        """
        case.seed(_flag(), Flag.boolean("contract-other", percent=10))
        snapshot = case.writer.snapshot(_KEY)
        other = case.writer.set_rollout("contract-other", "on", 20_000, CHANGE)
        case.writer.switch_off(_KEY, CHANGE)
        case.writer.restore(snapshot, CHANGE)
        kept = case.writer.get("contract-other")
        assert kept is not None
        assert replace(kept, version="") == replace(other, version="")

    @pytest.mark.rule("P5")
    def test_a_snapshot_of_nothing_and_one_of_somebody_else_are_refused(self, case: Case) -> None:
        """A document of another backend is no document of this one.

        If this fails, check that ``restore`` looks at ``snapshot.provider``.
        """
        case.seed(_flag())
        with pytest.raises(FlagNotFound):
            case.writer.snapshot("contract-missing")
        snapshot = case.writer.snapshot(_KEY)
        before = case.writer.get(_KEY)
        with pytest.raises(Refused):
            case.writer.restore(replace(snapshot, provider="somebody else"), CHANGE)
        assert case.writer.get(_KEY) == before


def _flag() -> Flag:
    return Flag.boolean(_KEY, percent=25, allow=["ada"], deny=["eve"])


def _wreck(case: Case) -> None:
    """Change whatever a narrow verb can."""
    case.writer.set_rollout(_KEY, "on", 80_000, CHANGE)
    case.writer.set_targets(_KEY, "on", ["eve"], CHANGE)
    case.writer.switch_off(_KEY, CHANGE)
