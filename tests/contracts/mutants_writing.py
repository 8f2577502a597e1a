"""Providers that write, list and set percentages in a wrong way."""

from dataclasses import replace

from broken import caught_by

from downhaul.backends.memory import MemoryProvider
from downhaul.flag import Bucketing, Flag, Split

# Writes, versions, read-back


@caught_by(
    "test_a_version_is_never_used_again",
)
class ReusesVersions(MemoryProvider):
    """Counts anew when a flag is deleted."""

    def delete(self, key, change, *, expected=None):
        super().delete(key, change, expected=expected)
        self._revision = 0


@caught_by(
    "test_a_write_on_an_old_version_is_refused_and_changes_nothing",
    "test_creating_needs_that_it_is_absent",
    by_luck=["test_racing_writers_lose_no_update"],
)
class LosesUpdates(MemoryProvider):
    """Takes no notice of the version that is expected."""

    def put(self, flag, change, *, expected=None):
        return super().put(flag, change)


@caught_by(
    "test_a_verb_of_a_flag_that_is_not_there_says_so",
)
class MakesFlagsByTheWay(MemoryProvider):
    """Turns a flag on that isn't there, by making it."""

    def switch_on(self, key, change):
        if self.get(key) is None:
            return self.put(Flag.boolean(key), change)
        return super().switch_on(key, change)


@caught_by(
    "test_a_fine_percentage_holds_or_is_refused",
    "test_a_percentage_keeps_switch_and_targets",
    "test_a_verb_returns_what_is_kept",
    "test_a_verb_said_twice_is_said_once",
    "test_narrow_verbs_touch_their_own_field_only",
    "test_restoring_touches_no_other_flag",
)
class DoesNotReadBack(MemoryProvider):
    """Returns what it meant to write."""

    def set_rollout(self, key, variant, weight, change):
        before = self.get(key)
        super().set_rollout(key, variant, weight, change)
        return before


@caught_by(
    "test_a_bad_segment_is_taken_back_exactly",
    "test_a_regression_takes_everything_back_exactly",
    "test_a_ring_may_be_a_segment",
    "test_a_rollback_by_hand_takes_everything_back_exactly",
    "test_named_users_are_served_before_any_percentage",
    "test_narrow_verbs_touch_their_own_field_only",
    "test_switching_keeps_percentage_and_targets",
    by_luck=["test_narrow_verbs_at_once_lose_nothing_of_each_other"],
)
class OffClearsTargets(MemoryProvider):
    """Switching off clears the lists."""

    def switch_off(self, key, change):
        return self._edit(key, "off", change, lambda one: replace(one, on=False, targets=()))


@caught_by(
    "test_a_percentage_keeps_switch_and_targets",
    by_luck=["test_narrow_verbs_at_once_lose_nothing_of_each_other"],
)
class RolloutTurnsOn(MemoryProvider):
    """Setting a percentage switches the flag on."""

    def set_rollout(self, key, variant, weight, change):
        super().set_rollout(key, variant, weight, change)
        return super().switch_on(key, change)


@caught_by(
    "test_narrow_verbs_touch_their_own_field_only",
    "test_targets_that_are_set_are_the_only_ones",
    by_luck=["test_narrow_verbs_at_once_lose_nothing_of_each_other"],
)
class TargetsAreAdded(MemoryProvider):
    """Setting targets adds to those that are there."""

    def set_targets(self, key, variant, keys, change):
        flag = self.get(key)
        there = (
            [one for target in flag.targets for one in target.keys if target.variant == variant]
            if flag
            else []
        )
        return super().set_targets(key, variant, [*there, *keys], change)


@caught_by(
    "test_narrow_verbs_touch_their_own_field_only",
    "test_targets_that_are_set_are_the_only_ones",
    by_luck=["test_narrow_verbs_at_once_lose_nothing_of_each_other"],
)
class TargetsTurnNobodyAway(MemoryProvider):
    """A key stays on the other variant's list too, which is asked first."""

    def set_targets(self, key, variant, keys, change):
        flag = self.get(key)
        done = super().set_targets(key, variant, keys, change)
        other = tuple(one for one in flag.targets if one.variant != variant)
        mine = tuple(one for one in done.targets if one.variant == variant)
        return self._put_flag(replace(done, targets=(*other, *mine)), done, "targets", change)


@caught_by(
    "test_all_flags_are_listed",
)
class ListsOnePage(MemoryProvider):
    """Lists the first hundred flags."""

    def list(self):
        whole = super().list()
        return replace(whole, flags=dict(list(whole.flags.items())[:100]))


@caught_by(
    "test_a_bad_flag_is_refused_with_every_problem",
    "test_a_flag_may_not_need_itself_by_any_way",
    "test_a_variant_that_others_name_stays",
    "test_two_writers_cannot_make_a_cycle_together",
    "test_what_a_segment_names_must_be_there_and_make_no_cycle",
)
class KeepsWhatIsNotSound(MemoryProvider):
    """Checks nothing."""

    def __init__(self):
        super().__init__(validate=False)


@caught_by(
    "test_every_change_is_in_the_history",
)
class ForgetsWhy(MemoryProvider):
    """Keeps no reasons."""

    def _record(self, entity, key, action, change, before, after):
        super()._record(entity, key, action, replace(change, reason=""), before, after)


# Percentages


@caught_by(
    "test_a_portable_rollout_has_the_same_users_everywhere",
    "test_blue_green_shows_its_audience_first_then_switches_and_back",
    "test_green_that_regresses_gives_way_to_blue",
    "test_lowering_a_percentage_only_removes_users",
    "test_narrow_verbs_touch_their_own_field_only",
    "test_raising_a_percentage_only_adds_users",
    by_luck=["test_narrow_verbs_at_once_lose_nothing_of_each_other"],
)
class Reshuffles(MemoryProvider):
    """Gives the split a new salt with every percentage."""

    def set_rollout(self, key, variant, weight, change):
        done = super().set_rollout(key, variant, weight, change)
        salted = (
            Split(done.default.weights, Bucketing(salt=f"{key}-{weight}"))
            if isinstance(done.default, Split)
            else done.default
        )
        return self._put_flag(replace(done, default=salted), done, "rollout", change)


@caught_by(
    "test_a_fine_percentage_holds_or_is_refused",
    "test_a_portable_rollout_has_the_same_users_everywhere",
    "test_a_write_that_makes_no_sense_is_refused_and_changes_nothing",
    "test_narrow_verbs_refuse_what_they_cannot_do",
)
class RoundsPercentages(MemoryProvider):
    """Keeps whole percents only, and says nothing."""

    def set_rollout(self, key, variant, weight, change):
        return super().set_rollout(key, variant, weight // 1_000 * 1_000, change)
