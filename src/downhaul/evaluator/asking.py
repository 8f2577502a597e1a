"""Flags whose rules are their backend's own: the decision is to ask it.

What is known of such a flag (kind, variants, off variant, tags) stands in the world like any other
flag, so that kills cover it; only what is not killed is asked. A flag whose rollout is portable
(rule E10) is asked with its bucket in the context, as an integer attribute of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from downhaul.context import Context, as_context
from downhaul.evaluator.bucketing import Measure, measure_of
from downhaul.evaluator.outcome import CallersDefault, Decide
from downhaul.flag import WHOLE, Bucketing, Flag, FlagKind, Scheme
from downhaul.overlay import Overlay
from downhaul.result import Result

Ask = Callable[[str, Context, FlagKind | None], Result]
"""Asks the backend: the flag's key, who asks, the flag's kind. Raises nothing."""

_COARSE: Final = frozenset({Scheme.SPLIT, Scheme.SPLIT_LEGACY, Scheme.UNLEASH})


def portable_attribute(key: str) -> str:
    """Return the name of the attribute that carries a flag's bucket to a backend (rule E10)."""
    return f"downhaul_{key}"


def portable_bucketing(scheme: Scheme, salt: str | None) -> Bucketing:
    """Return the bucketing of a portable rollout that a declaration names.

    ``salt`` is what the scheme hashes beside the key: the flag's key unless said; ``FLAG.SALT`` for
    LaunchDarkly; the group for Unleash; the seed, in digits, for Split. Raises ValueError for a
    seed that is no number, and for a scheme that is sticky for nobody.
    """
    if scheme is Scheme.RANDOM:
        message = "a portable rollout needs a bucket that stays: no scheme `random`"
        raise ValueError(message)
    if scheme in (Scheme.SPLIT, Scheme.SPLIT_LEGACY):
        try:
            return Bucketing(scheme, seed=int(salt or ""), total=100)
        except ValueError:
            message = f"a rollout by Split's hash needs its seed as the salt, not {salt!r}"
            raise ValueError(message) from None
    return Bucketing(scheme, salt=salt, total=100 if scheme in _COARSE else WHOLE)


def portable_bucket(bucketing: Bucketing, flag: str) -> Callable[[str], int]:
    """Return the function from a targeting key to its bucket 0..99 999, whatever the scheme.

    Schemes of a hundred buckets give thousands, so that a weight of 25 000 is 25 % for all.
    """
    measure: Measure = measure_of(bucketing, flag)
    if bucketing.scheme is Scheme.DOWNHAUL:
        return lambda key: int(measure(key)) * WHOLE >> 32
    if bucketing.scheme is Scheme.LAUNCHDARKLY:
        return lambda key: min(int(measure(key) * WHOLE), WHOLE - 1)
    step = WHOLE // bucketing.total
    return lambda key: (int(measure(key)) - 1) * step


def carrying(bucketing: Bucketing, flag: str) -> Callable[[Context], Context]:
    """Return the function that puts a flag's bucket into a context.

    Nobody without a targeting key gets one: the backend's rule then matches nobody (fails closed).
    """
    name, bucket = portable_attribute(flag), portable_bucket(bucketing, flag)
    kind = bucketing.context_kind

    def carried(context: Context) -> Context:
        single = context.of_kind(kind)
        if single is None or single.targeting_key is None:
            return context
        attributes = {**single.attributes, name: bucket(single.targeting_key)}
        made = Context(single.targeting_key, attributes, kind)
        if context.kinds is not None:
            made = Context.multi(*{**context.kinds, kind: made}.values())
        made.at = context.at
        return made

    return carried


def killed_requirement(flag: Flag, flags: Mapping[str, Flag], overlay: Overlay) -> str:
    """Return the key of a killed flag that this one requires, itself or through others; or "".

    A backend that resolves knows nothing of our kills. What it tells of prerequisites is enough to
    hold back whoever needs what is killed, as where we evaluate (see :class:`Prerequisite`).
    """
    pending, seen = [flag], {flag.key}
    while pending:
        for needed in pending.pop().prerequisites:
            if needed.flag in seen or needed.negate or needed.while_off:
                continue
            seen.add(needed.flag)
            other = flags.get(needed.flag)
            if overlay.kill_of(needed.flag, other.tags if other is not None else ()) is not None:
                return needed.flag
            if other is not None:
                pending.append(other)
    return ""


def asking(flag: Flag, ask: Ask, portable: Bucketing | None) -> Decide[Result]:
    """Return the decision for ``evaluate``: what the backend answers."""
    key, kind = flag.key, flag.kind
    if portable is None:
        return lambda context: ask(key, as_context(context), kind)
    carried = carrying(portable, key)
    return lambda context: ask(key, carried(as_context(context)), kind)


def asking_enabled(flag: Flag, decide: Decide[Result]) -> Decide[bool]:
    """Return the decision for ``is_enabled`` that stands on the one for ``evaluate`` (rule E1)."""
    boolean, off = flag.kind is FlagKind.BOOLEAN, flag.off_variant

    def enabled(context: Any) -> bool:
        result = decide(context)
        value = result.value
        if not result.authoritative or (boolean and type(value) is not bool):
            raise CallersDefault
        return value if boolean else result.variant != off

    return enabled
