"""What a decision writes at a provider, and how the flag is to look afterwards.

Each act is a few narrow verbs with absolute targets: done twice it is done once. Every verb reads
back what it wrote (rule P6).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from downhaul.backends.edits import (
    names_segment,
    targeted,
    weight_of_variant,
    with_on,
    with_rollout,
    with_segments,
    with_targets,
    without_segments,
)
from downhaul.encoding import flag_from_data, flag_to_data
from downhaul.errors import DownhaulError, FlagNotFound, Refused
from downhaul.flag import Bucketing, Flag, Split
from downhaul.provider import Capability, Change, FlagProvider, ProviderSnapshot
from downhaul.rollout.deciding.case import Action, Operation
from downhaul.rollout.drift import with_about


def perform(
    provider: FlagProvider,
    flag: Flag,
    variant: str,
    action: Action,
    snapshot: ProviderSnapshot,
    change: Change,
    *,
    at_once: bool = False,
) -> Flag:
    """Do what was decided to ``flag``, which was read just now, and return it as it is then.

    ``at_once`` raises in one write, and only if the flag is still as it was read: for a backend
    that compares and sets, so that whoever comes late changes nothing. So does a plan that names
    segments, as no narrow verb writes rules. Raises what the provider's verbs raise: Refused,
    VersionConflict, Unreachable.
    """
    match action.operation:
        case Operation.START | Operation.RAISE:
            whole = at_once or action.segments is not None
            expose = _expose_at_once if whole else _expose
            after = expose(provider, flag, variant, action, change)
            return _read_back(provider, after, variant, action)
        case Operation.OFF:
            return provider.switch_off(flag.key, change) if flag.on else flag
        case Operation.LOWER:
            return _lower(provider, flag, variant, action, change, at_once=at_once)
        case Operation.RESTORE:
            back = _with_about(provider, snapshot, flag)
            return provider.restore(back, change, expected=flag.version or None)


def lowered(flag: Flag, variant: str, action: Action) -> Flag:
    """Return how the flag will look after an act that lowers it. Raises Refused."""
    after = flag
    if weight_of_variant(flag, variant) > action.weight:  # who lowered it further has a reason
        after = with_rollout(flag, variant, action.weight)
    if action.leaving:
        after = with_targets(after, variant, targeted(flag, variant) - set(action.leaving))
    return without_segments(after, variant, action.obsolete, anywhere=True)


def aim(flag: Flag, variant: str, action: Action) -> Flag | None:
    """Return how the flag will look after an act that raises it; None for the acts of the way back.

    A controller that finds the flag like this, and the intent unsettled, knows whose write it was.
    """
    if action.operation not in (Operation.START, Operation.RAISE):
        return None
    raised = with_rollout(flag, variant, action.weight)
    if action.targets is not None:
        raised = with_targets(raised, variant, _audience(flag, variant, action.targets))
    raised = with_segments(raised, variant, action.segments or ())
    raised = without_segments(raised, variant, action.obsolete)
    return with_on(raised, True) if action.operation is Operation.START else raised


def as_kept(kept: Flag, meant: Flag) -> Flag:
    """Return what was meant, in the words of a backend that keeps it in its own.

    Such a backend splits by its own hash, and gives rules ids of its own.
    """
    meant = in_buckets_of(kept, meant)
    if len(kept.rules) != len(meant.rules):
        return meant
    rules = tuple(
        replace(mine, id=theirs.id) if not mine.id else mine
        for mine, theirs in zip(meant.rules, kept.rules, strict=True)
    )
    return replace(meant, rules=rules)


def in_buckets_of(kept: Flag, meant: Flag) -> Flag:
    """Return what was meant, with a split by no hash in particular as the backend splits.

    A backend may have fewer buckets; a weight that falls between two of them stays as it was meant.
    """
    mine, theirs = meant.default, kept.default
    if not (isinstance(mine, Split) and isinstance(theirs, Split)):
        return meant
    how = theirs.bucketing
    finer = any(one.weight * how.total % mine.bucketing.total for one in mine.weights)
    if mine.bucketing != Bucketing() or finer:
        return meant
    weights = tuple(
        replace(one, weight=one.weight * how.total // mine.bucketing.total) for one in mine.weights
    )
    return replace(meant, default=replace(mine, weights=weights, bucketing=how))


def snapshot_data(snapshot: ProviderSnapshot) -> dict[str, Any]:
    """Return a snapshot as JSON data."""
    return {
        "flag": snapshot.flag,
        "provider": snapshot.provider,
        "version": snapshot.version,
        "document": dict(snapshot.document),
        "taken_at": snapshot.taken_at,
    }


def snapshot_from(data: Mapping[str, Any]) -> ProviderSnapshot:
    """Return the snapshot that :func:`snapshot_data` wrote."""
    return ProviderSnapshot(
        flag=str(data["flag"]),
        provider=str(data["provider"]),
        version=str(data["version"]),
        document=data["document"],
        taken_at=str(data["taken_at"]),
    )


def _expose(
    provider: FlagProvider, flag: Flag, variant: str, action: Action, change: Change
) -> Flag:
    """Set the weight, then the preview's targets, then ``on``: nobody is served on the way.

    A flag that was on when it was read is never turned on: who put it off meanwhile meant it.
    """
    was_on = flag.on
    if weight_of_variant(flag, variant) != action.weight:
        flag = provider.set_rollout(flag.key, variant, action.weight, change)
    if action.targets is not None:
        audience = _audience(flag, variant, action.targets)
        flag = provider.set_targets(flag.key, variant, audience, change)
    if action.operation is Operation.START and not was_on and not flag.on:
        flag = provider.switch_on(flag.key, change)
    return flag


def _expose_at_once(
    provider: FlagProvider, flag: Flag, variant: str, action: Action, change: Change
) -> Flag:
    """Write the whole flag as it is to be, if it is still as it was read."""
    raised = aim(flag, variant, action)
    if raised is None or raised == flag:
        return flag
    return provider.put(raised, change, expected=flag.version)


def _lower(
    provider: FlagProvider,
    flag: Flag,
    variant: str,
    action: Action,
    change: Change,
    *,
    at_once: bool,
) -> Flag:
    """Lower the exposure as far as the backend can say it, or else put the flag off.

    Somebody may have reshaped the split, or the backend knows no percentage beside the rules that
    are there. Taking the exposure off is never refused (rule R8).
    """
    if not action.obsolete:
        try:
            after = flag
            if weight_of_variant(flag, variant) > action.weight:
                after = provider.set_rollout(flag.key, variant, action.weight, change)
            if action.leaving:
                left = targeted(after, variant) - set(action.leaving)
                after = provider.set_targets(flag.key, variant, left, change)
        except Refused:
            if not at_once:
                return provider.switch_off(flag.key, change)
        else:
            return after
    try:
        after = lowered(flag, variant, action)
        return provider.put(after, change, expected=flag.version) if after != flag else flag
    except Refused:
        return provider.switch_off(flag.key, change)


def _read_back(provider: FlagProvider, flag: Flag, variant: str, action: Action) -> Flag:
    """Return the flag if it reads back as it was written. Raises DownhaulError."""
    if lacking := _lacking(flag, variant, action):
        raise DownhaulError(
            f'"{flag.key}" reads back without {lacking}, which was written',
            flag=flag.key,
            provider=provider.name,
        )
    if weight_of_variant(flag, variant) != action.weight or not flag.on:
        raise DownhaulError(
            f'"{flag.key}" reads back as {weight_of_variant(flag, variant) / 1000:g} %'
            f"{'' if flag.on else ' and off'}, and {action.weight / 1000:g} % was written",
            flag=flag.key,
            provider=provider.name,
        )
    return flag


def _lacking(flag: Flag, variant: str, action: Action) -> str:
    """Return who was named and is not there, in words."""
    users = set(action.targets or ()) - targeted(flag, variant)
    segments = [
        one
        for one in action.segments or ()
        if one not in action.obsolete and not names_segment(flag, variant, one)
    ]
    found = [f'target "{one}"' for one in sorted(users)]
    return ", ".join([*found, *(f'segment "{one}"' for one in segments)])


def _audience(flag: Flag, variant: str, audience: tuple[str, ...]) -> frozenset[str]:
    """Return the keys that the variant's targets are to hold: who is there already stays."""
    return targeted(flag, variant) | set(audience)


def _with_about(provider: FlagProvider, snapshot: ProviderSnapshot, flag: Flag) -> ProviderSnapshot:
    """Carry edits of description, owner and the like over, where the document is one of ours."""
    if Capability.FLAG_SET not in provider.capabilities:
        return snapshot
    was = flag_from_data(snapshot.document)
    return replace(snapshot, document=flag_to_data(with_about(was, flag)))


def the_flag(provider: FlagProvider, key: str) -> Flag:
    """Return a flag as it is kept now. Raises FlagNotFound."""
    flag = provider.get(key)
    if flag is None:
        message = f'the flag "{key}" is gone'
        raise FlagNotFound(message, flag=key, provider=provider.name)
    return flag
