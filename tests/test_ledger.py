"""Rule M1: nothing is dropped in silence."""

import json

import pytest

from downhaul import Flag
from downhaul.ledger import Fidelity, Ledger, LedgerEntry, Translation

pytestmark = pytest.mark.rule("M1")
ENTRIES = (
    LedgerEntry("a", "flags[0]", Fidelity.FULL),
    LedgerEntry("a", "flags[0].x", Fidelity.PARTIAL, "a reason", {"x": 1}),
    LedgerEntry("b", "flags[1].y", Fidelity.MANUAL, "another", {"y": 1}),
    LedgerEntry("", "version", Fidelity.SKIPPED, "a third", 2),
)


def test_what_is_not_carried_whole_needs_a_reason():
    for fidelity in (Fidelity.PARTIAL, Fidelity.MANUAL, Fidelity.SKIPPED):
        with pytest.raises(ValueError, match="needs a reason"):
            LedgerEntry("a", "flags[0]", fidelity)


def test_a_translation_cannot_hold_a_flag_that_the_ledger_says_nothing_of():
    flag = Flag.boolean("c")
    with pytest.raises(ValueError, match='nothing of "c"'):
        Translation((flag,), (), Ledger(ENTRIES))
    told = Ledger((*ENTRIES, LedgerEntry("c", "flags[2]", Fidelity.FULL)))
    assert Translation((flag,), (), told).flag_set("1").flags == {"c": flag}


def test_a_ledger_counts_and_finds():
    ledger = Ledger(ENTRIES)
    assert len(ledger) == 4
    assert list(ledger) == list(ENTRIES)
    assert ledger.of("a") == ENTRIES[:2]
    assert ledger.lossy == ENTRIES[1:3]
    assert set(ledger.counts().values()) == {1}
    assert Ledger().counts() == dict.fromkeys(Fidelity, 0)


def test_an_entry_is_data_and_a_line():
    data = json.loads(json.dumps(ENTRIES[1].as_mapping()))
    assert data == {
        "flag": "a",
        "path": "flags[0].x",
        "fidelity": "partial",
        "reason": "a reason",
        "fragment": {"x": 1},
        "loss": "",
    }
    assert str(ENTRIES[1]) == "PARTIAL a flags[0].x: a reason"
    assert str(ENTRIES[0]) == "FULL a flags[0]: carried whole"
