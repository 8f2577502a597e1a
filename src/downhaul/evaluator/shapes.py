"""The common shapes of a flag, each as one closure without any inner call.

Most flags are an answer for everybody or a split in two by the user's key, with some targeted
users before it. A call in Python costs a tenth of a whole evaluation, so these shapes spell out
what :mod:`.compile` composes for all others.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import mmh3

from downhaul.context import Context, as_context
from downhaul.evaluator.bucketing import Heads, hash_limit
from downhaul.evaluator.outcome import (
    FALL_THROUGH,
    NO_KEY,
    CallersDefault,
    Decide,
    Leaf,
    Outcome,
)
from downhaul.flag import TARGETING_KEY, USER, Flag, NoKey, Scheme, Split
from downhaul.result import Reason

T = TypeVar("T")


def always(answer: Any) -> Decide[Any]:
    """Return the decision that asks nothing."""
    return lambda _context: answer


def keyless_of(leaf: Leaf[T]) -> Callable[[], T]:
    """Return what answers a context without a key: a ready answer, or CallersDefault raised.

    ``is_enabled`` has no third answer to return, and asking every answer whether it is one would
    cost each call a seventh of the floor.
    """
    answer = leaf(NO_KEY)
    if answer is not None:
        return lambda: answer

    def raising() -> T:
        raise CallersDefault

    return raising


def targeted(flag: Flag, leaf: Leaf[T]) -> tuple[tuple[str, dict[str, T]], ...]:
    """Return the answer for each targeted key, per context kind; who is named twice gets the first.

    The empty key is a missing one, and so nobody's.
    """
    kinds: dict[str, dict[str, T]] = {}
    for target in flag.targets:
        answer = leaf(Outcome(target.variant, Reason.TARGETING_MATCH))
        answers = kinds.setdefault(target.context_kind, {})
        for key in target.keys:
            if key:
                answers.setdefault(key, answer)
    return tuple(kinds.items())


def two_way(serve: str | Split) -> tuple[str | None, str | None, int] | None:
    """Return (inside, outside, hash limit) of a native split in two by the user's key, or None."""
    if not isinstance(serve, Split) or len(serve.weights) != 2:  # noqa: PLR2004  (in and out)
        return None
    how = serve.bucketing
    native = how.scheme is Scheme.DOWNHAUL and how.no_key is NoKey.ERROR
    if not native or how.by != (TARGETING_KEY,) or how.context_kind != USER:
        return None
    inside, outside = serve.weights
    if inside.weight + outside.weight != how.total or not 0 < inside.weight < how.total:
        return None
    return inside.variant, outside.variant, hash_limit(inside.weight, how.total)


def salt_of(flag: Flag, split: Split) -> str:
    """Return the salt that a split of this flag hashes with."""
    return flag.key if split.bucketing.salt is None else split.bucketing.salt


def native_split(flag: Flag, split: Split, rule: str, leaf: Leaf[T]) -> Decide[Any] | None:
    """Compile the common split, in two by the user's key, within a larger flag; None for others."""
    found = two_way(split)
    if found is None:
        return None
    inside, outside, limit = found
    within, beyond = (
        FALL_THROUGH if variant is None else leaf(Outcome(variant, Reason.SPLIT, rule=rule))
        for variant in (inside, outside)
    )
    keyless = keyless_of(leaf)
    heads = Heads(salt_of(flag, split))
    digest = mmh3.mmh3_32_uintdigest

    def native(context: Context) -> Any:
        part = context if context.kind == USER else context.of_kind(USER)
        if part is None or part.targeting_key is None:
            return keyless()
        key = part.targeting_key.encode()
        return within if digest(heads[len(key)] + key) < limit else beyond

    return native


def whole_flag(flag: Flag, leaf: Leaf[T]) -> Decide[T] | None:
    """Compile a flag of user targets and at most one native split in two; None for others."""
    targets = targeted(flag, leaf)
    if len(targets) > 1 or (targets and targets[0][0] != USER):
        return None
    answers = targets[0][1] if targets else {}
    if isinstance(flag.default, str):
        reason = Reason.DEFAULT if flag.targets else Reason.STATIC
        answer = leaf(Outcome(flag.default, reason))
        return _constant_with(answers, answer) if answers else _constant(answer)
    found = two_way(flag.default)
    if found is None or found[0] is None or found[1] is None:
        return None
    heads = Heads(salt_of(flag, flag.default))
    within = leaf(Outcome(found[0], Reason.SPLIT))
    beyond = leaf(Outcome(found[1], Reason.SPLIT))
    keyless = keyless_of(leaf)
    if answers:
        return _split_with(answers, heads, found[2], within, beyond, keyless)
    return _split(heads, found[2], within, beyond, keyless)


def _user_key(context: Any) -> str | None:
    """Return the user's targeting key of whatever a caller passed as a context."""
    part = as_context(context).of_kind(USER)
    return None if part is None else part.targeting_key


def _constant(answer: Any) -> Decide[Any]:
    def constant(context: Any) -> Any:
        if type(context) is not str and type(context) is not Context:
            as_context(context)  # what can't be a context is told, whatever the flag
        return answer

    return constant


def _constant_with(answers: dict[str, Any], answer: Any) -> Decide[Any]:
    def constant(context: Any) -> Any:
        key: Any
        if type(context) is str:
            key = context
        elif type(context) is Context and context.kind == USER:
            key = context.targeting_key
        else:
            key = _user_key(context)
        return answers.get(key, answer)

    return constant


def _split(
    heads: Heads, limit: int, within: Any, beyond: Any, keyless: Callable[[], Any]
) -> Decide[Any]:
    digest = mmh3.mmh3_32_uintdigest

    def split(context: Any) -> Any:
        key: str | None
        if type(context) is str:
            key = context
        elif type(context) is Context and context.kind == USER:
            key = context.targeting_key
        else:
            key = _user_key(context)
        if not key:
            return keyless()
        text = key.encode()
        return within if digest(heads[len(text)] + text) < limit else beyond

    return split


def _split_with(
    answers: dict[str, Any],
    heads: Heads,
    limit: int,
    within: Any,
    beyond: Any,
    keyless: Callable[[], Any],
) -> Decide[Any]:
    digest = mmh3.mmh3_32_uintdigest

    def split(context: Any) -> Any:
        key: str | None
        if type(context) is str:
            key = context
        elif type(context) is Context and context.kind == USER:
            key = context.targeting_key
        else:
            key = _user_key(context)
        if key in answers:
            return answers[key]
        if not key:
            return keyless()
        text = key.encode()
        return within if digest(heads[len(text)] + text) < limit else beyond

    return split
