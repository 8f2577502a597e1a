"""Providers whose snapshots, kills and events are wrong."""

from dataclasses import replace
from functools import partial

from broken import caught_by
from resolving import ResolvingProvider

from downhaul.backends.memory import MemoryProvider
from downhaul.overlay import Scope

# Snapshots


@caught_by(
    "test_a_bad_segment_is_taken_back_exactly",
    "test_a_regression_takes_everything_back_exactly",
    "test_a_ring_may_be_a_segment",
    "test_a_rollback_by_hand_takes_everything_back_exactly",
    "test_a_snapshot_can_be_kept_as_text",
    "test_a_snapshot_is_restored_exactly",
    "test_blue_green_shows_its_audience_first_then_switches_and_back",
    "test_green_that_regresses_gives_way_to_blue",
    "test_named_users_are_served_before_any_percentage",
    "test_what_is_restored_is_as_it_was",
)
class SnapshotLacksTargets(MemoryProvider):
    """Brings everything back but the lists."""

    def snapshot(self, key):
        taken = super().snapshot(key)
        document = {name: one for name, one in taken.document.items() if name != "targets"}
        return replace(taken, document=document)


@caught_by(
    "test_a_bad_segment_is_taken_back_exactly",
    "test_a_portable_rollout_has_the_same_users_at_every_step",
    "test_a_regression_takes_everything_back_exactly",
    "test_a_ring_may_be_a_segment",
    "test_a_rollback_by_hand_takes_everything_back_exactly",
    "test_a_rollout_climbs_step_by_step_and_is_completed",
    "test_a_snapshot_can_be_kept_as_text",
    "test_a_step_that_the_backend_cannot_keep_is_refused_before_the_start",
    "test_blue_green_shows_its_audience_first_then_switches_and_back",
    "test_green_that_regresses_gives_way_to_blue",
    "test_named_users_are_served_before_any_percentage",
    "test_what_somebody_lowered_by_hand_stays_low",
    by_luck=[  # a set has its elements in another order in each process
        "test_a_snapshot_is_restored_exactly",
        "test_later_writes_leave_a_snapshot_alone",
        "test_what_is_restored_is_as_it_was",
    ],
)
class SnapshotIsNoText(MemoryProvider):
    """Has something in its document that is no JSON."""

    def snapshot(self, key):
        taken = super().snapshot(key)
        return replace(
            taken, document={**taken.document, "tags": set(taken.document.get("tags", ()))}
        )


@caught_by(
    "test_a_snapshot_is_restored_exactly",
    "test_later_writes_leave_a_snapshot_alone",
    "test_what_is_restored_is_as_it_was",
)
class SnapshotIsAlive(MemoryProvider):
    """Hands out the document that later writes change."""

    taken = ()

    def snapshot(self, key):
        made = super().snapshot(key)
        self.taken = [*self.taken, made]
        return made

    def switch_off(self, key, change):
        for one in self.taken:
            one.document["on"] = False
        return super().switch_off(key, change)


@caught_by(
    "test_a_snapshot_is_restored_exactly",
    "test_a_snapshot_of_nothing_and_one_of_somebody_else_are_refused",
    "test_what_is_declared_does_not_refuse",
)
class RestoresAnything(MemoryProvider):
    """Takes the snapshot of somebody else."""

    def restore(self, snapshot, change, *, expected=None):
        return super().restore(replace(snapshot, provider=self.name), change, expected=expected)


@caught_by(
    "test_restoring_touches_no_other_flag",
    "test_what_is_declared_does_not_refuse",
)
class RestoresTooMuch(MemoryProvider):
    """Brings back all flags, for one."""

    def snapshot(self, key):
        taken = super().snapshot(key)
        self.then = self.list().flags
        return taken

    def restore(self, snapshot, change, *, expected=None):
        for key, flag in self.then.items():
            if key != snapshot.flag and snapshot.provider == self.name:
                self.put(flag, change)
        return super().restore(snapshot, change, expected=expected)


# Kills


@caught_by(
    "test_no_write_lifts_a_kill",
)
class EnablingRevives(MemoryProvider):
    """Lifts the kill of a flag that is switched on."""

    def switch_on(self, key, change):
        self.control.record_kill(Scope.parse(key), change, killed=False)
        return super().switch_on(key, change)


@caught_by(
    "test_killing_a_tag_kills_the_flags_that_bear_it",
)
class TellsNoTags(ResolvingProvider):
    """Publishes its flags without their tags."""

    def known(self, flag):
        return replace(super().known(flag), tags=())


@caught_by(
    "test_a_kill_wins_over_everything_the_backend_says",
    "test_a_killed_string_serves_its_off_variant",
    "test_a_string_flag_serves_its_value",
)
class TellsNoOffVariant(ResolvingProvider):
    """Publishes its flags without what they serve when off."""

    def known(self, flag):
        return replace(super().known(flag), off_variant=None)


# Events


@caught_by(
    "test_a_change_made_elsewhere_is_served",
    "test_a_child_hears_what_changes_after_the_fork",
    "test_a_flag_that_is_gone_is_not_found",
    "test_a_large_change_is_heard",
    "test_a_new_flag_is_served",
    "test_a_revive_begins_at_the_first_step",
    "test_changes_of_another_writer_are_heard",
    "test_every_narrow_verb_reaches_a_running_client",
    "test_many_changes_are_all_heard",
    "test_the_end_of_an_unsubscribed_listener_is_heeded",
    "test_the_last_of_many_changes_is_what_is_served",
    "test_whoever_listens_is_told_which_flag_changed",
)
class TellsNothing(MemoryProvider):
    """Publishes the first payload alone."""

    def _publish(self, flag_set, delta):
        self._flag_set = flag_set


@caught_by(
    "test_a_flag_that_is_gone_is_not_found",
    "test_changes_of_another_writer_are_heard",
)
class TellsNoDeletions(MemoryProvider):
    """Publishes changes, and no deletions."""

    def _publish(self, flag_set, delta):
        kept = {key: flag for key, flag in delta.flags.items() if flag is not None}
        super()._publish(flag_set, replace(delta, flags=kept))


@caught_by(
    "test_changes_of_another_writer_are_heard",
    "test_many_changes_are_all_heard",
    "test_whoever_listens_is_told_which_flag_changed",
)
class TellsTooMuch(MemoryProvider):
    """Says that every flag changed, with every change."""

    def _publish(self, flag_set, delta):
        flags = {key: replace(one, version=delta.revision) for key, one in flag_set.flags.items()}
        super()._publish(flag_set, replace(delta, flags={**flags, **delta.flags}))


@caught_by(
    "test_a_change_made_elsewhere_is_served",
    "test_a_child_hears_what_changes_after_the_fork",
    "test_a_revive_begins_at_the_first_step",
    "test_every_narrow_verb_reaches_a_running_client",
    "test_many_changes_are_all_heard",
    "test_the_end_of_an_unsubscribed_listener_is_heeded",
    "test_the_last_of_many_changes_is_what_is_served",
    "test_whoever_listens_is_told_which_flag_changed",
)
class TellsOutOfOrder(MemoryProvider):
    """Tells the newest change before the one before it."""

    last = None

    def _publish(self, flag_set, delta):
        super()._publish(flag_set, delta)
        if self.last is not None and self._listener is not None:
            self._delivery.add(partial(self._listener.changed, self.last))
        self.last = delta
