"""Providers that answer in a wrong way when they are asked."""

import json
import unicodedata
from dataclasses import replace

from broken import caught_by
from resolving import ResolvingProvider

from downhaul import Context
from downhaul.flag import FlagSet
from downhaul.result import ErrorCode, Reason


@caught_by(
    "test_a_clause_on_a_missing_attribute_matches_nobody",
    "test_a_clients_context_lies_below_the_calls",
    "test_a_deny_wins_over_a_rule",
    "test_a_portable_rollout_has_the_same_users_everywhere",
    "test_an_attribute_decides",
    "test_any_text_is_an_attribute",
    "test_asking_changes_no_context",
    "test_each_kind_of_a_context_is_matched_by_its_own_key",
    "test_number_and_boolean_attributes_decide",
    "test_the_first_rule_that_matches_decides",
)
class DropsTheContext(ResolvingProvider):
    """Asks with the targeting key alone."""

    def resolve(self, key, context, kind):
        return super().resolve(key, Context(context.targeting_key), kind)


@caught_by(
    "test_a_missing_targeting_key_is_not_the_text_none",
    "test_a_split_without_a_targeting_key_is_the_default",
)
class WritesNone(ResolvingProvider):
    """Makes a text of a missing key."""

    def resolve(self, key, context, kind):
        made = Context(str(context.targeting_key), context.attributes, context.kind)
        made.kinds = context.kinds
        return super().resolve(key, made, kind)


@caught_by(
    "test_a_missing_targeting_key_is_not_the_text_none",
    "test_a_target_is_exact",
    "test_any_text_is_a_targeting_key",
)
class IgnoresCase(ResolvingProvider):
    """Asks in lower case."""

    def resolve(self, key, context, kind):
        if context.targeting_key is None or context.kinds is not None:
            return super().resolve(key, context, kind)
        made = Context(context.targeting_key.lower(), context.attributes, context.kind)
        return super().resolve(key, made, kind)


@caught_by(
    "test_any_text_is_a_targeting_key",
)
class Normalises(ResolvingProvider):
    """Writes keys in another normal form of Unicode."""

    def resolve(self, key, context, kind):
        if context.targeting_key is None or context.kinds is not None:
            return super().resolve(key, context, kind)
        normal = unicodedata.normalize("NFC", context.targeting_key)
        return super().resolve(key, Context(normal, context.attributes, context.kind), kind)


@caught_by(
    "test_a_clause_on_a_missing_attribute_matches_nobody",
    "test_a_clients_context_lies_below_the_calls",
    "test_an_attribute_decides",
)
class RemembersTheContext(ResolvingProvider):
    """Adds the attributes of whoever asked before."""

    def __init__(self):
        super().__init__()
        self.before = {}

    def resolve(self, key, context, kind):
        if context.kinds is not None:
            return super().resolve(key, context, kind)
        self.before.update(context.attributes)
        return super().resolve(key, Context(context.targeting_key, dict(self.before)), kind)


@caught_by(
    "test_asking_changes_no_context",
)
class ChangesTheContext(ResolvingProvider):
    """Writes its own attribute into the caller's mapping."""

    def resolve(self, key, context, kind):
        if type(context.attributes) is dict:
            context.attributes["asked"] = key
        return super().resolve(key, context, kind)


class _Answering(ResolvingProvider):
    """Answers something else than what was found."""

    def resolve(self, key, context, kind):
        return self.answer(super().resolve(key, context, kind))

    def answer(self, found):
        raise NotImplementedError


@caught_by(
    "test_whole_numbers_and_others_are_told_apart",
)
class CutsFloats(_Answering):
    """Makes whole numbers of all."""

    def answer(self, found):
        return replace(found, value=int(found.value)) if type(found.value) is float else found


@caught_by(
    "test_a_large_whole_number_is_exact",
    "test_whole_numbers_and_others_are_told_apart",
    "test_zero_is_a_value",
)
class MakesFloats(_Answering):
    """Reads all numbers as floats."""

    def answer(self, found):
        return replace(found, value=float(found.value)) if type(found.value) is int else found


@caught_by(
    "test_a_large_whole_number_is_exact",
    "test_whole_numbers_and_others_are_told_apart",
    "test_zero_is_a_value",
)
class MakesTexts(_Answering):
    """Has texts for numbers, as a store of strings has."""

    def answer(self, found):
        number = type(found.value) in (int, float)
        return replace(found, value=json.dumps(found.value)) if number else found


@caught_by(
    "test_an_empty_string_is_a_value",
    "test_zero_is_a_value",
)
class LosesWhatIsFalse(_Answering):
    """Takes what is empty or zero for missing."""

    def answer(self, found):
        if type(found.value) is bool or found.value:
            return found
        return replace(found, value=None, variant=None, authoritative=False)


@caught_by(
    "test_an_object_is_served_whole",
)
class LosesNesting(_Answering):
    """Serves the first level of an object."""

    def answer(self, found):
        if not isinstance(found.value, dict):
            return found
        flat = {name: one for name, one in found.value.items() if not isinstance(one, dict)}
        return replace(found, value=flat)


@caught_by(
    "test_a_child_serves_what_its_parent_served",
    "test_a_flag_that_is_gone_is_not_found",
    "test_a_new_flag_is_served",
    "test_an_unknown_flag_is_the_default_and_says_so",
    "test_an_unknown_key_of_any_kind_is_not_found",
    "test_resolving_raises_nothing",
    "test_what_is_known_goes_on_serving",
)
class ExcusesItself(_Answering):
    """Answers False for a flag that it doesn't have, without an error."""

    def answer(self, found):
        if found.error_code is not ErrorCode.FLAG_NOT_FOUND:
            return found
        return replace(
            found,
            value=False,
            variant="off",
            reason=Reason.DEFAULT,
            error_code=None,
            error_message=None,
            authoritative=True,
        )


@caught_by(
    "test_a_child_serves_what_its_parent_served",
    "test_a_flag_that_is_gone_is_not_found",
    "test_a_new_flag_is_served",
    "test_an_unknown_flag_is_the_default_and_says_so",
    "test_resolving_raises_nothing",
)
class RaisesWhenAsked(_Answering):
    """Raises for a flag that it doesn't have."""

    def answer(self, found):
        if found.error_code is ErrorCode.FLAG_NOT_FOUND:
            raise KeyError(found.flag)
        return found


@caught_by(
    "test_a_child_serves_what_its_parent_served",
    "test_a_flag_that_is_gone_is_not_found",
    "test_a_killed_prerequisite_holds_a_flag_back",
    "test_a_prerequisite_holds_a_flag_back",
    "test_a_string_flag_serves_its_value",
    "test_off_is_the_off_variant_and_not_the_default",
    "test_off_is_the_off_variant_of_a_text_too",
    "test_off_wins_over_a_target",
    "test_what_is_known_goes_on_serving",
    "test_what_is_seeded_is_served",
    "test_without_a_split_no_targeting_key_is_needed",
)
class OffIsTheDefault(_Answering):
    """Leaves it to the caller what a flag serves that is off."""

    def answer(self, found):
        if found.reason is not Reason.DISABLED:
            return found
        return replace(found, value=None, variant=None, authoritative=False)


@caught_by(
    "test_a_flag_for_everybody_has_the_reason_static_or_default",
    "test_a_split_has_the_reason_split",
    "test_off_has_the_reason_disabled",
)
class KnowsOneReason(_Answering):
    """Says TARGETING_MATCH of everything."""

    def answer(self, found):
        return replace(found, reason=Reason.TARGETING_MATCH) if found.authoritative else found


@caught_by(
    "test_a_result_says_the_version_of_its_flag",
)
class TellsNoVersion(_Answering):
    """Says no version."""

    def answer(self, found):
        return replace(found, flag_version="")


@caught_by(
    "test_a_kill_wins_over_everything_the_backend_says",
    "test_a_killed_string_serves_its_off_variant",
    "test_a_string_flag_serves_its_value",
    "test_all_flags_at_once_are_as_each_alone",
    "test_killing_a_tag_kills_the_flags_that_bear_it",
    "test_whoever_listens_is_told_which_flag_changed",
)
class PublishesNothing(ResolvingProvider):
    """Answers when asked, and tells nobody what it has."""

    def publish(self):
        if self.listener is not None:
            self.listener.replaced(FlagSet())


@caught_by(
    "test_a_portable_rollout_has_the_same_users_at_every_step",
    "test_lowering_a_percentage_only_removes_users",
    "test_one_client_after_another_sees_the_same",
    "test_raising_a_percentage_only_adds_users",
    "test_switching_keeps_percentage_and_targets",
    "test_what_is_restored_is_as_it_was",
    "test_who_is_in_is_no_matter_of_the_process",
)
class BucketsByProcess(ResolvingProvider):
    """Serves others after each start."""

    starts = 0

    def start(self, listener):
        self.starts += 1
        super().start(listener)

    def resolve(self, key, context, kind):
        found = super().resolve(key, context, kind)
        if found.reason is not Reason.SPLIT or context.kinds is not None:
            return found
        made = Context(f"{context.targeting_key}{self.starts}", context.attributes)
        return super().resolve(key, made, kind)
