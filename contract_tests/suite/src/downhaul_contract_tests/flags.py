"""Flags as they are kept: reading, writing, comparing and setting, the narrow verbs, history."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest

from downhaul.encoding import flag_to_data
from downhaul.errors import (
    DocumentError,
    FlagNotFound,
    Refused,
    VersionConflict,
)
from downhaul.flag import Flag, Prerequisite, Split, Target, Weight
from downhaul.provider import ABSENT, Capability, Change, FlagProvider
from downhaul_contract_tests.backend import Feature
from downhaul_contract_tests.base import CHANGE, Contract, MakeProvider, needs
from downhaul_contract_tests.seeds import needing, rich_flag


def _same(one: Flag, other: Flag) -> bool:
    """Whether two flags are equal but for the version, to the type and order of every value."""
    pair = (flag_to_data(replace(flag, version="")) for flag in (one, other))
    first, second = (repr(data) for data in pair)
    return first == second


@needs(Capability.READ, Capability.WRITE)
class FlagsContract(Contract):
    """For providers with READ and WRITE."""

    group = "writes and versions"

    @pytest.mark.rule("P5")
    @needs(Feature.EVERY_FIELD)
    def test_a_flag_is_read_back_as_it_was_written(self, provider: FlagProvider) -> None:
        """Every field comes back, to the type and order of every value.

        If this fails, check how flags are encoded and decoded.
        """
        flag = rich_flag()
        written = provider.put(flag, CHANGE, expected=ABSENT)
        assert _same(written, flag)
        assert written.version
        assert provider.get(flag.key) == written
        assert provider.list().flags == {flag.key: written}

    @pytest.mark.rule("P5")
    def test_a_flag_that_is_not_there_is_none(self, provider: FlagProvider) -> None:
        """Reading what is not there is no error.

        If this fails, check that ``get`` maps "not found" to None.
        """
        assert provider.get("nobody") is None
        assert provider.list().flags == {}

    @pytest.mark.rule("P6")
    @needs(Capability.COMPARE_AND_SET)
    def test_creating_needs_that_it_is_absent(self, provider: FlagProvider) -> None:
        """ABSENT creates, and replaces nothing.

        If this fails, check that ``expected`` is part of the write itself.
        """
        first = provider.put(Flag.boolean("one"), CHANGE, expected=ABSENT)
        with pytest.raises(VersionConflict) as refused:
            provider.put(Flag.boolean("one", on=False), CHANGE, expected=ABSENT)
        assert (refused.value.expected, refused.value.found) == (ABSENT, first.version)
        assert provider.get("one") == first

    @pytest.mark.rule("P6")
    @needs(Capability.COMPARE_AND_SET)
    def test_a_write_on_an_old_version_is_refused_and_changes_nothing(
        self, provider: FlagProvider
    ) -> None:
        """Who read an older version is told so.

        If this fails, check that ``expected`` is compared by the backend, in the write.
        """
        first = provider.put(Flag.boolean("one"), CHANGE)
        second = provider.put(replace(first, on=False), CHANGE, expected=first.version)
        assert second.version != first.version
        for write in (
            lambda: provider.put(first, CHANGE, expected=first.version),
            lambda: provider.delete("one", CHANGE, expected=first.version),
        ):
            with pytest.raises(VersionConflict):
                write()
        assert provider.get("one") == second

    @pytest.mark.rule("P6")
    def test_a_version_is_never_used_again(self, provider: FlagProvider) -> None:
        """A flag that was deleted and made anew has another version than before.

        If this fails, check that versions count on over a deletion.
        """
        seen = {provider.put(Flag.boolean("one"), CHANGE).version}
        provider.delete("one", CHANGE)
        seen.add(provider.put(Flag.boolean("one"), CHANGE, expected=ABSENT).version)
        seen.add(provider.switch_off("one", CHANGE).version)
        assert len(seen) == 3

    @pytest.mark.rule("P5")
    def test_what_is_deleted_is_gone(self, provider: FlagProvider) -> None:
        """A deleted flag is neither got nor listed.

        If this fails, check for archived flags that are still shown.
        """
        provider.put(Flag.boolean("one"), CHANGE)
        provider.delete("one", CHANGE)
        assert provider.get("one") is None
        assert provider.list().flags == {}
        with pytest.raises(FlagNotFound):
            provider.delete("one", CHANGE)

    @pytest.mark.rule("P5")
    @needs(Feature.EVERY_FIELD)
    def test_narrow_verbs_touch_their_own_field_only(self, provider: FlagProvider) -> None:
        """All else of the flag is as it was.

        If this fails, check what each verb writes.
        """
        flag = provider.put(rich_flag(), CHANGE)
        off = provider.switch_off(flag.key, CHANGE)
        assert _same(off, replace(flag, on=False))
        assert _same(provider.switch_on(flag.key, CHANGE), flag)
        raised = provider.set_rollout(flag.key, "new", 50_000, CHANGE)
        half = Split((Weight("new", 50_000), Weight("old", 50_000)))
        assert _same(raised, replace(flag, default=half))
        targeted = provider.set_targets(flag.key, "new", ["ada", "alan"], CHANGE)
        others = flag.targets[1:]
        keys = frozenset({"ada", "alan"})
        assert _same(targeted, replace(raised, targets=(Target("new", keys), *others)))
        assert provider.get(flag.key) == targeted

    @pytest.mark.rule("P5")
    @needs(Feature.EVERY_FIELD)
    def test_narrow_verbs_refuse_what_they_cannot_do(self, provider: FlagProvider) -> None:
        """Unknown variants, bad weights and missing flags.

        If this fails, check what is looked at before a write.
        """
        flag = provider.put(rich_flag(), CHANGE)
        with pytest.raises(Refused):
            provider.set_rollout(flag.key, "newest", 1, CHANGE)
        with pytest.raises(Refused):
            provider.set_rollout(flag.key, "new", 100_001, CHANGE)
        with pytest.raises(FlagNotFound):
            provider.switch_off("nobody", CHANGE)
        assert provider.get(flag.key) == flag

    @pytest.mark.rule("P6")
    @needs(Feature.EVERY_FIELD)
    def test_a_bad_flag_is_refused_with_every_problem(self, provider: FlagProvider) -> None:
        """A flag that is not sound is never kept.

        If this fails, check that ``put`` calls ``check_flag``.
        """
        kept = provider.put(rich_flag(), CHANGE)
        bad = replace(kept, off_variant="nowhere", default="neither")
        with pytest.raises(DocumentError) as refused:
            provider.put(bad, CHANGE)
        assert {problem.path for problem in refused.value.problems} >= {"off_variant", "default"}
        assert provider.get(kept.key) == kept

    @pytest.mark.rule("P6")
    @needs(Feature.PREREQUISITES, Feature.EVERY_FIELD)
    def test_a_flag_may_not_need_itself_by_any_way(self, provider: FlagProvider) -> None:
        """Prerequisites make no circle.

        If this fails, check that ``put`` looks at the flags that are there.
        """
        provider.put(Flag.boolean("a"), CHANGE)
        provider.put(needing("b", "a"), CHANGE)
        provider.put(needing("c", "b"), CHANGE)
        with pytest.raises(DocumentError, match="cycle"):
            provider.put(needing("a", "c"), CHANGE)
        with pytest.raises(DocumentError):
            provider.put(needing("d", "nobody"), CHANGE)

    @pytest.mark.rule("P6")
    @needs(Feature.PREREQUISITES, Feature.EVERY_FIELD)
    def test_a_variant_that_others_name_stays(self, provider: FlagProvider) -> None:
        """A prerequisite names variants that are there.

        If this fails, check that ``put`` looks at the flags that name this one.
        """
        base = rich_flag("base")
        provider.put(base, CHANGE)
        needs = Prerequisite("base", ("wild",))
        provider.put(Flag.boolean("user", prerequisites=(needs,)), CHANGE)
        fewer = {name: value for name, value in base.variants.items() if name != "wild"}
        without = replace(base, variants=fewer, rules=(), targets=base.targets[:1])
        with pytest.raises(DocumentError):
            provider.put(without, CHANGE)

    @pytest.mark.rule("P6")
    @needs(Feature.PREREQUISITES, Feature.EVERY_FIELD)
    def test_two_writers_cannot_make_a_cycle_together(self, make_provider: MakeProvider) -> None:
        """Checking and writing are one step.

        If this fails, check that flags are checked in the transaction that writes them.
        """
        first, second = make_provider(), make_provider()
        for key in ("a", "b"):
            first.put(Flag.boolean(key), CHANGE)
        outcomes = _at_once(
            lambda: first.put(needing("a", "b"), CHANGE),
            lambda: second.put(needing("b", "a"), CHANGE),
        )
        assert sorted(type(one).__name__ for one in outcomes) == ["DocumentError", "Flag"]
        first.close()
        second.close()

    @pytest.mark.rule("P6")
    @needs(Capability.COMPARE_AND_SET, Feature.EVERY_FIELD)
    def test_racing_writers_lose_no_update(self, make_provider: MakeProvider) -> None:
        """Whoever reads, changes and compares loses nothing.

        If this fails, check that ``expected`` is compared by the backend, in the write.
        """
        providers = [make_provider() for _ in range(4)]
        providers[0].put(Flag.boolean("count", description="0"), CHANGE)

        def count(provider: FlagProvider) -> None:
            for _ in range(5):
                while True:
                    flag = provider.get("count")
                    assert flag is not None
                    more = replace(flag, description=str(int(flag.description) + 1))
                    try:
                        provider.put(more, CHANGE, expected=flag.version)
                        break
                    except VersionConflict:
                        continue

        outcomes = _at_once(*(partial(count, provider) for provider in providers))
        assert outcomes == [None] * len(providers)
        flag = providers[0].get("count")
        assert flag is not None
        assert flag.description == "20"
        for provider in providers:
            provider.close()

    @pytest.mark.rule("X4")
    @needs(Capability.HISTORY)
    def test_every_change_is_in_the_history(self, provider: FlagProvider) -> None:
        """Who, why, before and after, the newest first.

        If this fails, check that the change is recorded in the transaction that writes.
        """
        change = Change("ada", "a reason", marked=True)
        first = provider.put(Flag.boolean("one"), change)
        second = provider.switch_off("one", Change("grace"))
        provider.put(Flag.boolean("other"), CHANGE)
        provider.delete("one", Change("alan"))
        records = provider.history("one")
        assert [record.action for record in records] == ["delete", "off", "create"]
        assert [record.actor for record in records] == ["alan", "grace", "ada"]
        created = records[-1]
        assert (created.reason, created.marked, created.change_id) == ("a reason", True, change.id)
        assert (created.before, created.version) == (None, first.version)
        assert records[1].after is not None
        assert records[1].after["on"] is False
        assert records[1].before is not None
        assert records[1].before["on"] is True
        assert records[1].version == second.version
        assert records[0].after is None
        assert created.at <= records[0].at
        assert created.at.endswith("Z")
        assert len(provider.history()) == 4
        page = provider.history("one", limit=1, before=records[0].id)
        assert page == records[1:2]

    @pytest.mark.rule("P5")
    @needs(Capability.SNAPSHOT, Capability.COMPARE_AND_SET, Feature.EVERY_FIELD)
    def test_a_snapshot_is_restored_exactly(self, provider: FlagProvider) -> None:
        """A restore is a new version of what was.

        If this fails, check that a snapshot holds the whole document.
        """
        flag = provider.put(rich_flag(), CHANGE)
        snapshot = provider.snapshot(flag.key)
        assert (snapshot.flag, snapshot.version) == (flag.key, flag.version)
        changed = provider.switch_off(flag.key, CHANGE)
        with pytest.raises(VersionConflict):
            provider.restore(snapshot, CHANGE, expected=flag.version)
        back = provider.restore(snapshot, CHANGE, expected=changed.version)
        assert _same(back, flag)
        assert back.version not in (flag.version, changed.version)
        provider.delete(flag.key, CHANGE)
        assert _same(provider.restore(snapshot, CHANGE, expected=ABSENT), flag)
        with pytest.raises(Refused):
            provider.restore(replace(snapshot, provider="somebody else"), CHANGE)


def _at_once(*calls: Callable[[], object]) -> list[object]:
    """Run calls in threads that begin together; return what each gave or raised."""
    barrier = threading.Barrier(len(calls))
    outcomes: list[object] = [None] * len(calls)

    def run(index: int) -> None:
        barrier.wait()
        try:
            outcomes[index] = calls[index]()
        except Exception as error:  # noqa: BLE001  (the test looks at it)
            outcomes[index] = error

    threads = [threading.Thread(target=run, args=(index,)) for index in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes
