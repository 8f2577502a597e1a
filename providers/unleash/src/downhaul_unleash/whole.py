"""A whole flag of ours as what Unleash can keep of it, or a refusal that says what it can't."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from downhaul.errors import Refused
from downhaul.flag import USER, WHOLE, Flag, FlagKind, FlagType, Split
from downhaul_unleash.texts import is_text
from downhaul_unleash.values import weighted

_NAME: Final = re.compile(r"[A-Za-z0-9_.~-]{1,255}")
VARIANT_NAME: Final = re.compile(r"[A-Za-z0-9_.~!*'()-]{1,100}")
_LONGEST_KEY: Final = 100
_TYPES: Final = {FlagType.KILL_SWITCH: "kill-switch"}


def weight_of(flag: Flag) -> tuple[int, str]:
    """Return the weight of a flag's default, in thousandths of a percent, and of which variant.

    Raises Refused for what has no place in Unleash: a key that is no name there, variants of a
    boolean that are not ``on`` and ``off``, an empty text, splits between several variants,
    targets of another context kind.
    """
    check_whole(flag)
    serving = _serving(flag)
    for one in flag.targets:
        if one.context_kind != USER or one.variant not in (serving, flag.off_variant):
            hint = f'targets are users, and get "{serving}" or "{flag.off_variant}"'
            raise _refused(flag, f'Unleash cannot keep its targets of "{one.variant}"', hint)
    if isinstance(flag.default, str):
        return (0 if flag.default == flag.off_variant else WHOLE), serving
    part = sum(one.weight for one in flag.default.weights if one.variant == serving)
    weight, rest = divmod(part * WHOLE, flag.default.bucketing.total)
    if rest:
        raise _refused(flag, "its percentage is finer than 0.001 %", "choose a coarser one")
    return weight, serving


def check_whole(flag: Flag) -> None:
    """Raise Refused for a key that is no name in Unleash, and for variants that it can't keep."""
    if not _NAME.fullmatch(flag.key) or flag.key in (".", ".."):
        raise _refused(flag, "Unleash's names are letters, digits and -._~", "choose another key")
    if flag.kind is FlagKind.BOOLEAN:
        if dict(flag.variants) != {"on": True, "off": False} or flag.off_variant != "off":
            hint = 'a boolean has the variants "on" and "off", and off serves "off"'
            raise _refused(flag, "Unleash's booleans have no other variants", hint)
    elif any(type(value) is bool for value in flag.variants.values()):
        raise _refused(flag, "a variant holds a boolean", "make it a flag of kind boolean")
    elif "" in flag.variants.values():
        hint = "give it a text that your code takes for none"
        raise _refused(flag, "Unleash takes no empty text as a value", hint)
    else:
        _check_values(flag)
    for one in flag.targets:
        if one.context_kind != USER:
            hint = "target them by a rule on their attributes"
            raise _refused(flag, f"Unleash lists no keys of kind {one.context_kind!r}", hint)


def _check_values(flag: Flag) -> None:
    for name, value in flag.variants.items():
        if not VARIANT_NAME.fullmatch(name):
            hint = "name it by letters, digits and -._~ alone, at most 100"
            raise _refused(flag, f"Unleash takes no variant of the name {name!r}", hint)
        if type(value) is str and not is_text(value):
            hint = "see where the value comes from"
            raise _refused(flag, f'the value of "{name}" is no text that Unleash keeps', hint)


def about_of(flag: Flag) -> dict[str, Any]:
    """Return what Unleash keeps of a flag beside its strategies."""
    kind = _TYPES.get(flag.type, flag.type.value)
    return {"type": kind, "description": flag.description or None}


def variants_of(flag: Flag, serving: str) -> list[dict[str, Any]]:
    """Return the variants of a strategy: the one that is served, and the values of the others."""
    if flag.kind is FlagKind.BOOLEAN:
        return []
    return weighted(flag, serving, everything=True)


def checked_keys(flag: str, keys: Iterable[str]) -> frozenset[str]:
    """Return targeting keys. Raises Refused for one that Unleash would not match."""
    if isinstance(keys, str):
        message = "targeting keys are a collection of strings, not one string"
        raise Refused(message, flag=flag, hint=f"pass [{keys!r}]")
    found = frozenset(keys)
    for key in found:
        if type(key) is not str or not key:
            message = f"a targeting key is a text that is not empty, not {key!r}"
            raise Refused(message, flag=flag, hint="an empty key is a missing one")
        if not key.isprintable() and not is_text(key):
            message = f"Unleash takes no targeting key with a NUL or half a character: {key!r}"
            raise Refused(message, flag=flag, hint="see where the key comes from")
        if len(key) > _LONGEST_KEY:
            message = f"Unleash takes no targeting key of more than {_LONGEST_KEY} characters"
            hint = f"{key[:20]!r}... has {len(key)}: target it by an attribute, or by a hash of it"
            raise Refused(message, flag=flag, hint=hint)
        if key.endswith("\\"):
            message = f"Unleash's engine switches a flag off for everybody that lists {key!r}"
            raise Refused(message, flag=flag, hint="target it by an attribute, or by a hash of it")
    return found


def _serving(flag: Flag) -> str:
    """Return the one variant that is not off which the default serves, or could."""
    if flag.kind is FlagKind.BOOLEAN:
        served: Iterable[str | None] = ("on",)
    elif isinstance(flag.default, Split):
        served = (one.variant for one in flag.default.weights if one.weight)
    else:
        served = (flag.default,)
    names = {name for name in served if name != flag.off_variant}
    if not names:
        names = {next(name for name in flag.variants if name != flag.off_variant)}
    name = names.pop()
    if names or name is None or name not in flag.variants:
        hint = "a default serves one variant, and the off variant to the rest"
        raise _refused(flag, "Unleash has no place for its default", hint)
    return name


def _refused(flag: Flag, why: str, hint: str) -> Refused:
    return Refused(f'flag "{flag.key}" cannot be written: {why}', flag=flag.key, hint=hint)
